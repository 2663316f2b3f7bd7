//! Brier score: mean squared error of predicted probabilities.

use super::terms::{SCORED, mean, scored};
use super::{Addition, Better, Estimate, Indicator, Sums, Term, Undefined};
use crate::event::Task;

/// Mean squared difference between the predicted probability and what happened.
///
/// Lower is better. Reacts to calibration and to sharpness; compare only where positives are as frequent.
///
/// # Definition
///
/// ```text
/// BS = Σ wᵢ (pᵢ − yᵢ)² / Σ wᵢ
/// ```
///
/// where `pᵢ` is the predicted probability of the positive class, `yᵢ` is 1 if it happened and 0 if not, and `wᵢ` is
/// the decayed weight of the outcome. This is the binary form, half of Brier's original sum over two classes.
///
/// # Needs
///
/// A label, and a probability in `[0, 1]`; outcomes without one do not take part.
///
/// # Range
///
/// `[0, 1]`, no unit. A constant 0.5 scores 0.25. No value while no weight has been seen.
///
/// # Cost
///
/// Two sums; O(1) per outcome.
///
/// # Reference
///
/// G. W. Brier (1950), "Verification of forecasts expressed in terms of probability", Monthly Weather Review 78(1), 1–3.
#[derive(Debug)]
pub struct Brier;

const SQUARED_SCORE_ERROR: Term = Term {
    name: "squared_score_error",
    of: Addition::Real(|outcome| {
        let (score, actual) = scored(outcome)?;
        let error = if actual { 1.0 - score } else { score };
        Some(error * error)
    }),
};

impl Indicator for Brier {
    fn name(&self) -> &'static str {
        "brier"
    }

    fn task(&self) -> Option<Task> {
        Some(Task::Binary)
    }

    fn better(&self) -> Better {
        Better::Lower
    }

    fn needs_label(&self) -> bool {
        true
    }

    fn terms(&self) -> &'static [&'static Term] {
        &[&SCORED, &SQUARED_SCORE_ERROR]
    }

    fn read(&self, sums: Sums<'_>) -> Result<Estimate, Undefined> {
        mean(sums.cells)
    }
}
