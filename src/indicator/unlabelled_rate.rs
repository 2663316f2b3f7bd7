//! Unlabelled rate: share of predictions that expired without a label.

use super::terms::{DECIDED, UNLABELLED, share};
use super::{Better, Estimate, Indicator, Sums, Term, Undefined};
use crate::event::Task;

/// Share of the decided predictions that expired without a label: the complement of the match rate.
///
/// Lower is better. A prediction is decided once its label came or it expired without one.
///
/// # Definition
///
/// ```text
/// unlabelled rate = unlabelled / (labelled + unlabelled)
/// ```
///
/// where both are decayed weights, of the predictions that expired without a label and of those that found theirs.
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
pub struct UnlabelledRate;

impl Indicator for UnlabelledRate {
    fn name(&self) -> &'static str {
        "unlabelled_rate"
    }

    fn task(&self) -> Option<Task> {
        None
    }

    fn better(&self) -> Better {
        Better::Lower
    }

    fn needs_label(&self) -> bool {
        false
    }

    fn terms(&self) -> &'static [&'static Term] {
        &[&DECIDED, &UNLABELLED]
    }

    fn read(&self, sums: Sums<'_>) -> Result<Estimate, Undefined> {
        let &[decided, unlabelled] = sums.cells else { return Err(Undefined::NoSamples) };
        share(unlabelled, decided, decided, "nothing decided")
    }
}
