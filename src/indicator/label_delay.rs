//! Label delay: mean time from a prediction to its label.

use super::terms::{LABELLED, mean};
use super::{Addition, Better, Estimate, Indicator, Sums, Term, Undefined};
use crate::event::Task;
use crate::join::Outcome;

/// Mean time from a prediction to its label.
///
/// Lower is better: every indicator that needs labels lags by it.
///
/// # Definition
///
/// ```text
/// label delay = Σ wᵢ (time of labelᵢ − time of predictionᵢ) / Σ wᵢ
/// ```
///
/// where `wᵢ` is the decayed weight of the outcome. Predictions that never get a label do not take part: see the match
/// rate.
///
/// # Needs
///
/// A label.
///
/// # Range
///
/// Any number, in seconds; negative if labels come before their predictions. No value while no weight has been seen.
///
/// # Cost
///
/// Two sums; O(1) per outcome.
///
/// # Reference
///
/// I. Žliobaitė (2010), "Change with delayed labeling: when is it detectable?", IEEE International Conference on Data
/// Mining Workshops, 843–850.
#[derive(Debug)]
pub struct LabelDelay;

const DELAY: Term = Term {
    name: "delay",
    of: Addition::Real(|outcome| match outcome {
        Outcome::Labelled { delay_seconds, .. } => Some(*delay_seconds),
        Outcome::Predicted { .. } | Outcome::Unlabelled => None,
    }),
};

impl Indicator for LabelDelay {
    fn name(&self) -> &'static str {
        "label_delay"
    }

    fn task(&self) -> Option<Task> {
        None
    }

    fn better(&self) -> Better {
        Better::Lower
    }

    fn needs_label(&self) -> bool {
        true
    }

    fn unit(&self) -> &'static str {
        "s"
    }

    fn terms(&self) -> &'static [&'static Term] {
        &[&LABELLED, &DELAY]
    }

    fn read(&self, sums: Sums<'_>) -> Result<Estimate, Undefined> {
        mean(sums.cells)
    }
}
