//! MAPE: mean absolute percentage error of predicted values.

use super::terms::{LABELLED, mean, pair, samples};
use super::{Addition, Better, Estimate, Indicator, Sums, Term, Undefined};
use crate::event::Task;
use crate::join::Outcome;

/// Mean absolute difference between predicted and true value, relative to the true value.
///
/// Lower is better. As a ratio, not in percent: 0.1 is 10 %. Punishes predictions that are too high more than those
/// that are too low, and is ruled by labels near zero.
///
/// # Definition
///
/// ```text
/// MAPE = Σ wᵢ |ŷᵢ − yᵢ| / |yᵢ|  /  Σ wᵢ        over outcomes with |yᵢ| ≥ 2⁻⁵²
/// ```
///
/// where `ŷᵢ` is the predicted and `yᵢ` the true value, and `wᵢ` is the decayed weight of the outcome. Outcomes with
/// a label nearer to zero do not take part: there the ratio says nothing (scikit-learn divides by 2⁻⁵² instead, and
/// one such label then gives values like 1e15). Values beyond ±1e140 count as ±1e140.
///
/// # Needs
///
/// A label that is not zero.
///
/// # Range
///
/// `[0, ∞)`, no unit. No value while no weight has been seen, or if all labels are zero.
///
/// # Cost
///
/// Three sums; O(1) per outcome.
///
/// # Reference
///
/// R. J. Hyndman, A. B. Koehler (2006), "Another look at measures of forecast accuracy", International Journal of
/// Forecasting 22(4), 679–688.
#[derive(Debug)]
pub struct Mape;

const NONZERO: Term = Term { name: "nonzero", of: Addition::Count(|outcome| relative_error(outcome).is_some()) };

const RELATIVE_ERROR: Term = Term { name: "relative_error", of: Addition::Real(relative_error) };

fn relative_error(outcome: &Outcome) -> Option<f64> {
    let (predicted, actual) = pair(outcome)?;
    (actual.abs() >= f64::EPSILON).then(|| (predicted - actual).abs() / actual.abs())
}

impl Indicator for Mape {
    fn name(&self) -> &'static str {
        "mape"
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
        &[&NONZERO, &RELATIVE_ERROR, &LABELLED]
    }

    fn read(&self, sums: Sums<'_>) -> Result<Estimate, Undefined> {
        let &[_, _, labelled] = sums.cells else { return Err(Undefined::NoSamples) };
        samples(labelled)?;
        mean(sums.cells).map_err(|_| Undefined::Degenerate("all labels are zero"))
    }
}
