//! Bias: mean error of predicted values.

use super::terms::{LABELLED, mean, pair};
use super::{Addition, Better, Estimate, Indicator, Sums, Term, Undefined};
use crate::event::Task;

/// Mean of predicted minus true value: positive if the model predicts too high.
///
/// Best at zero. Errors of opposite sign cancel, so it shows a shift and not the spread.
///
/// # Definition
///
/// ```text
/// bias = Σ wᵢ (ŷᵢ − yᵢ) / Σ wᵢ
/// ```
///
/// where `ŷᵢ` is the predicted and `yᵢ` the true value, and `wᵢ` is the decayed weight of the outcome.
/// Values beyond ±1e140 count as ±1e140.
///
/// # Needs
///
/// A label.
///
/// # Range
///
/// Any number, in the unit of the prediction. No value while no weight has been seen.
///
/// # Cost
///
/// Two sums; O(1) per outcome.
///
/// # Reference
///
/// J. Neter, M. H. Kutner, C. J. Nachtsheim, W. Wasserman (1996), "Applied Linear Statistical Models".
#[derive(Debug)]
pub struct Bias;

const ERROR: Term =
    Term { name: "error", of: Addition::Real(|outcome| pair(outcome).map(|(predicted, actual)| predicted - actual)) };

impl Indicator for Bias {
    fn name(&self) -> &'static str {
        "bias"
    }

    fn task(&self) -> Option<Task> {
        Some(Task::Regression)
    }

    fn better(&self) -> Better {
        Better::Neither
    }

    fn needs_label(&self) -> bool {
        true
    }

    fn terms(&self) -> &'static [&'static Term] {
        &[&LABELLED, &ERROR]
    }

    fn read(&self, sums: Sums<'_>) -> Result<Estimate, Undefined> {
        mean(sums.cells)
    }
}
