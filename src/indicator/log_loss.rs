//! Log loss: mean negative logarithm of the probability given to what happened.

use super::terms::{SCORED, mean, scored};
use super::{Addition, Better, Estimate, Indicator, Sums, Term, Undefined};
use crate::event::Task;

/// Mean negative natural logarithm of the probability that the model gave to the true class.
///
/// Lower is better. Reacts to calibration; ruled by confident errors.
///
/// # Definition
///
/// ```text
/// log loss = − Σ wᵢ ln qᵢ / Σ wᵢ        qᵢ = pᵢ if yᵢ = 1, else 1 − pᵢ, clipped to [ε, 1 − ε]
/// ```
///
/// where `pᵢ` is the predicted probability of the positive class, `yᵢ` the true class, `wᵢ` the decayed weight of the
/// outcome, and `ε` = 2⁻⁵² as in scikit-learn. The logarithm is the same on every platform.
///
/// # Needs
///
/// A label, and a probability in `[0, 1]`; outcomes without one do not take part.
///
/// # Range
///
/// `[0, 36.05]` (52 ln 2), in nats. A constant 0.5 scores 0.693. No value while no weight has been seen.
///
/// # Cost
///
/// Two sums; one logarithm per outcome.
///
/// # Reference
///
/// I. J. Good (1952), "Rational decisions", Journal of the Royal Statistical Society B 14(1), 107–114.
#[derive(Debug)]
pub struct LogLoss;

const LOG_LOSS: Term = Term {
    name: "log_loss",
    of: Addition::Real(|outcome| {
        let (score, actual) = scored(outcome)?;
        let given = if actual { score } else { 1.0 - score };
        Some(-libm::log(given.clamp(f64::EPSILON, 1.0 - f64::EPSILON)))
    }),
};

impl Indicator for LogLoss {
    fn name(&self) -> &'static str {
        "log_loss"
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
        &[&SCORED, &LOG_LOSS]
    }

    fn read(&self, sums: Sums<'_>) -> Result<Estimate, Undefined> {
        mean(sums.cells)
    }
}
