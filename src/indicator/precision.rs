//! Precision: share of the predicted positives that are positive.

use super::terms::{LABELLED, PREDICTED_POSITIVE, TRUE_POSITIVE, share};
use super::{Better, Estimate, Indicator, Sums, Term, Undefined};
use crate::event::Task;

/// Share of the outcomes predicted positive that are positive: positive predictive value.
///
/// Higher is better. Depends on how frequent positives are.
///
/// # Definition
///
/// ```text
/// precision = tp / (tp + fp)
/// ```
///
/// where `tp` and `fp` are the decayed weights of the outcomes predicted positive that are and that are not positive.
/// Its samples are the predicted positives.
///
/// # Needs
///
/// A label.
///
/// # Range
///
/// `[0, 1]`, no unit. No value while no weight has been seen, or if nothing was predicted positive (scikit-learn then
/// says 0).
///
/// # Cost
///
/// Three counts, shared with recall and F1; O(1) per outcome.
///
/// # Reference
///
/// T. Fawcett (2006), "An introduction to ROC analysis", Pattern Recognition Letters 27(8), 861–874.
#[derive(Debug)]
pub struct Precision;

impl Indicator for Precision {
    fn name(&self) -> &'static str {
        "precision"
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
        &[&PREDICTED_POSITIVE, &TRUE_POSITIVE, &LABELLED]
    }

    fn read(&self, sums: Sums<'_>) -> Result<Estimate, Undefined> {
        let &[predicted_positive, true_positive, labelled] = sums.cells else { return Err(Undefined::NoSamples) };
        share(true_positive, predicted_positive, labelled, "no predicted positives")
    }
}
