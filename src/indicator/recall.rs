//! Recall: share of the positives that were predicted positive.

use super::terms::{ACTUAL_POSITIVE, LABELLED, TRUE_POSITIVE, share};
use super::{Better, Estimate, Indicator, Sums, Term, Undefined};
use crate::event::Task;

/// Share of the positive outcomes that were predicted positive: sensitivity, true positive rate.
///
/// Higher is better. Does not depend on how frequent positives are.
///
/// # Definition
///
/// ```text
/// recall = tp / (tp + fn)
/// ```
///
/// where `tp` and `fn` are the decayed weights of the positive outcomes that were and that were not predicted positive.
/// Its samples are the positives.
///
/// # Needs
///
/// A label.
///
/// # Range
///
/// `[0, 1]`, no unit. No value while no weight has been seen, or if nothing is positive (scikit-learn then says 0).
///
/// # Cost
///
/// Three counts, shared with precision and F1; O(1) per outcome.
///
/// # Reference
///
/// T. Fawcett (2006), "An introduction to ROC analysis", Pattern Recognition Letters 27(8), 861–874.
#[derive(Debug)]
pub struct Recall;

impl Indicator for Recall {
    fn name(&self) -> &'static str {
        "recall"
    }

    fn task(&self) -> Option<Task> {
        Some(Task::Binary)
    }

    fn better(&self) -> Better {
        Better::Higher
    }

    fn needs_label(&self) -> bool {
        true
    }

    fn terms(&self) -> &'static [&'static Term] {
        &[&ACTUAL_POSITIVE, &TRUE_POSITIVE, &LABELLED]
    }

    fn read(&self, sums: Sums<'_>) -> Result<Estimate, Undefined> {
        let &[actual_positive, true_positive, labelled] = sums.cells else { return Err(Undefined::NoSamples) };
        share(true_positive, actual_positive, labelled, "no actual positives")
    }
}
