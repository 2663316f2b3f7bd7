//! R²: coefficient of determination of predicted values.

use super::terms::{LABELLED, SQUARED_ERROR, pair, samples};
use super::{Addition, Better, Estimate, Indicator, Sums, Term, Undefined};
use crate::event::Task;

/// Share of the labels' variance that the predictions explain.
///
/// Higher is better; 0 is as good as always predicting the mean of the labels. Falls when the labels vary less, even if
/// the errors stay the same.
///
/// # Definition
///
/// ```text
/// R² = 1 − Σ wᵢ (ŷᵢ − yᵢ)² / SS        SS = Σ wᵢ yᵢ² − (Σ wᵢ yᵢ)² / Σ wᵢ
/// ```
///
/// where `ŷᵢ` is the predicted and `yᵢ` the true value, and `wᵢ` is the decayed weight of the outcome; the mean of the
/// labels is thus the decayed mean. Values beyond ±1e140 count as ±1e140.
///
/// `SS` is a difference of nearly equal numbers if the labels' mean is large against their spread. The sums of a tick are
/// exact, but smoothing rounds them once per tick, so that `SS` is good to about 1e-13 of `Σ wᵢ yᵢ²` (7e-14 was the worst
/// seen in 300 000 ticks). Below 1e-10 of it, a mean more than 10⁵ standard deviations from zero, there is no value; down
/// to there `SS` has at least three good digits.
///
/// # Needs
///
/// A label.
///
/// # Range
///
/// `(−∞, 1]`, no unit. No value while no weight has been seen, or if the labels do not vary measurably (scikit-learn
/// then says 1 or 0).
///
/// # Cost
///
/// Four sums; O(1) per outcome.
///
/// # Reference
///
/// N. R. Draper, H. Smith (1998), "Applied Regression Analysis".
#[derive(Debug)]
pub struct R2;

/// Least `SS` relative to `Σ wᵢ yᵢ²`.
const LEAST_VARIATION: f64 = 1e-10;

const ACTUAL: Term = Term { name: "actual", of: Addition::Real(|outcome| pair(outcome).map(|(_, actual)| actual)) };

const ACTUAL_SQUARED: Term =
    Term { name: "actual_squared", of: Addition::Real(|outcome| pair(outcome).map(|(_, actual)| actual * actual)) };

impl Indicator for R2 {
    fn name(&self) -> &'static str {
        "r2"
    }

    fn task(&self) -> Option<Task> {
        Some(Task::Regression)
    }

    fn better(&self) -> Better {
        Better::Higher
    }

    fn needs_label(&self) -> bool {
        true
    }

    fn terms(&self) -> &'static [&'static Term] {
        &[&LABELLED, &SQUARED_ERROR, &ACTUAL, &ACTUAL_SQUARED]
    }

    fn read(&self, sums: Sums<'_>) -> Result<Estimate, Undefined> {
        let &[count, squared_error, actual, actual_squared] = sums.cells else { return Err(Undefined::NoSamples) };
        let mean = actual / samples(count)?;
        let variation = actual_squared - actual * mean;
        if variation > LEAST_VARIATION * actual_squared {
            // Errors that are absurdly larger than the labels' spread would overflow.
            Ok(Estimate::from((1.0 - squared_error / variation).max(-f64::MAX)))
        } else {
            Err(Undefined::Degenerate("the labels do not vary measurably"))
        }
    }
}
