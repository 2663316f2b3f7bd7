//! MSE: mean squared error of predicted values.

use super::terms::{LABELLED, SQUARED_ERROR, mean};
use super::{Better, Estimate, Indicator, Sums, Term, Undefined};
use crate::event::Task;

/// Mean squared difference between predicted and true value.
///
/// Lower is better. Ruled by large errors.
///
/// # Definition
///
/// ```text
/// MSE = Σ wᵢ (ŷᵢ − yᵢ)² / Σ wᵢ
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
/// `[0, ∞)`, in the squared unit of the prediction. No value while no weight has been seen.
///
/// # Cost
///
/// Two sums, shared with RMSE; O(1) per outcome.
///
/// # Reference
///
/// E. L. Lehmann, G. Casella (1998), "Theory of Point Estimation".
#[derive(Debug)]
pub struct Mse;

impl Indicator for Mse {
    fn name(&self) -> &'static str {
        "mse"
    }

    fn task(&self) -> Option<Task> {
        Some(Task::Regression)
    }

    fn better(&self) -> Better {
        Better::Lower
    }

    fn needs_label(&self) -> bool {
        true
    }

    fn terms(&self) -> &'static [&'static Term] {
        &[&LABELLED, &SQUARED_ERROR]
    }

    fn read(&self, sums: Sums<'_>) -> Result<Estimate, Undefined> {
        mean(sums.cells)
    }
}
