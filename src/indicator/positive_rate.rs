//! Positive rate: share of predictions that are positive.

use super::terms::{PREDICTED, is_positive, share};
use super::{Addition, Better, Estimate, Indicator, Sums, Term, Undefined};
use crate::event::Task;
use crate::join::Outcome;

/// Share of predictions that are positive, labelled or not.
///
/// Neither direction is better: it is watched for change, and moves before any label arrives.
///
/// # Definition
///
/// ```text
/// positive rate = Σ wᵢ [ŷᵢ = 1] / Σ wᵢ
/// ```
///
/// where `ŷᵢ` is the predicted class and `wᵢ` the decayed weight of the prediction.
///
/// # Needs
///
/// Predictions only.
///
/// # Range
///
/// `[0, 1]`, no unit. No value while no weight has been seen.
///
/// # Cost
///
/// Two counts; O(1) per prediction.
///
/// # Reference
///
/// G. Forman (2008), "Quantifying counts and costs via classification", Data Mining and Knowledge Discovery 17(2),
/// 164–206.
#[derive(Debug)]
pub struct PositiveRate;

const POSITIVE_PREDICTION: Term = Term {
    name: "positive_prediction",
    of: Addition::Count(|outcome| matches!(outcome, Outcome::Predicted { answer, .. } if is_positive(answer.value))),
};

impl Indicator for PositiveRate {
    fn name(&self) -> &'static str {
        "positive_rate"
    }

    fn task(&self) -> Option<Task> {
        Some(Task::Binary)
    }

    fn better(&self) -> Better {
        Better::Neither
    }

    fn needs_label(&self) -> bool {
        false
    }

    fn terms(&self) -> &'static [&'static Term] {
        &[&PREDICTED, &POSITIVE_PREDICTION]
    }

    fn read(&self, sums: Sums<'_>) -> Result<Estimate, Undefined> {
        let &[predicted, positive] = sums.cells else { return Err(Undefined::NoSamples) };
        share(positive, predicted, predicted, "no predictions")
    }
}
