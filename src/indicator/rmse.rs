//! RMSE: root mean squared error of predicted values.

use super::terms::{LABELLED, SQUARED_ERROR, mean};
use super::{Better, Estimate, Indicator, Sums, Term, Undefined};
use crate::event::Task;

/// Square root of the mean squared difference between predicted and true value.
///
/// Lower is better. Ruled by large errors; in the unit of the prediction, unlike MSE.
///
/// # Definition
///
/// ```text
/// RMSE = √( Σ wᵢ (ŷᵢ − yᵢ)² / Σ wᵢ )
/// ```
///
/// where `ŷᵢ` is the predicted and `yᵢ` the true value, and `wᵢ` is the decayed weight of the outcome. The root is
/// taken of the smoothed mean; it is not a mean of roots. Values beyond ±1e140 count as ±1e140.
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
/// Two sums, shared with MSE; O(1) per outcome.
///
/// # Reference
///
/// T. Chai, R. R. Draxler (2014), "Root mean square error (RMSE) or mean absolute error (MAE)?", Geoscientific Model
/// Development 7(3), 1247–1250.
#[derive(Debug)]
pub struct Rmse;

impl Indicator for Rmse {
    fn name(&self) -> &'static str {
        "rmse"
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
        mean(sums.cells).map(|mean| Estimate::from(mean.value.sqrt()))
    }
}
