//! Match rate: share of predictions that found their label.

use super::terms::{DECIDED, LABELLED, share};
use super::{Better, Estimate, Indicator, Sums, Term, Undefined};
use crate::event::Task;

/// Share of the decided predictions that found their label.
///
/// Higher is better: what the labels say about the model is known only for this share. A prediction is decided once its
/// label came or it expired without one.
///
/// # Definition
///
/// ```text
/// match rate = labelled / (labelled + unlabelled)
/// ```
///
/// where both are decayed weights, of the predictions that found their label and of those that expired without one.
/// As labels come before expiry, it reads high until the first `label_timeout` is over.
///
/// # Needs
///
/// Predictions that are decided; it does not fall silent when labels do.
///
/// # Range
///
/// `[0, 1]`, no unit. No value while nothing is decided.
///
/// # Cost
///
/// Two counts; O(1) per outcome.
///
/// # Reference
///
/// American Association for Public Opinion Research (2016), "Standard Definitions", response rates.
#[derive(Debug)]
pub struct MatchRate;

impl Indicator for MatchRate {
    fn name(&self) -> &'static str {
        "match_rate"
    }

    fn task(&self) -> Option<Task> {
        None
    }

    fn better(&self) -> Better {
        Better::Higher
    }

    fn needs_label(&self) -> bool {
        false
    }

    fn terms(&self) -> &'static [&'static Term] {
        &[&DECIDED, &LABELLED]
    }

    fn read(&self, sums: Sums<'_>) -> Result<Estimate, Undefined> {
        let &[decided, labelled] = sums.cells else { return Err(Undefined::NoSamples) };
        share(labelled, decided, decided, "nothing decided")
    }
}
