//! MAE: mean absolute error of predicted values.

use super::terms::{LABELLED, mean, pair};
use super::{Addition, Better, Estimate, Indicator, Sums, Term, Undefined};
use crate::event::Task;

/// Mean absolute difference between predicted and true value.
///
/// Lower is better. Unlike RMSE it is not ruled by a few large errors.
///
/// # Definition
///
/// ```text
/// MAE = Σ wᵢ |ŷᵢ − yᵢ| / Σ wᵢ
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
/// `[0, ∞)`, in the unit of the prediction. No value while no weight has been seen.
///
/// # Cost
///
/// Two sums; O(1) per outcome.
///
/// # Reference
///
/// C. J. Willmott, K. Matsuura (2005), "Advantages of the mean absolute error (MAE) over the root mean square error
/// (RMSE) in assessing average model performance", Climate Research 30, 79–82.
#[derive(Debug)]
pub struct Mae;

const ABSOLUTE_ERROR: Term = Term {
    name: "absolute_error",
    of: Addition::Real(|outcome| pair(outcome).map(|(predicted, actual)| (predicted - actual).abs())),
};

impl Indicator for Mae {
    fn name(&self) -> &'static str {
        "mae"
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
        &[&LABELLED, &ABSOLUTE_ERROR]
    }

    fn read(&self, sums: Sums<'_>) -> Result<Estimate, Undefined> {
        mean(sums.cells)
    }
}
