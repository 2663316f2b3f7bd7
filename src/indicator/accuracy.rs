//! Accuracy: share of correct classes.

use super::terms::{LABELLED, classes, share};
use super::{Addition, Better, Estimate, Indicator, Sums, Term, Undefined};
use crate::event::Task;

/// Share of labelled outcomes whose predicted class is the true one.
///
/// Higher is better. Says little if one class is rare: compare with the share of the frequent class.
///
/// # Definition
///
/// ```text
/// accuracy = Σ wᵢ [ŷᵢ = yᵢ] / Σ wᵢ
/// ```
///
/// where `ŷᵢ` is the predicted and `yᵢ` the true class, and `wᵢ` is the decayed weight of the outcome.
///
/// # Needs
///
/// A label.
///
/// # Range
///
/// `[0, 1]`, no unit. No value while no weight has been seen.
///
/// # Cost
///
/// Two counts; O(1) per outcome.
///
/// # Reference
///
/// M. Sokolova, G. Lapalme (2009), "A systematic analysis of performance measures for classification tasks",
/// Information Processing & Management 45(4), 427–437.
#[derive(Debug)]
pub struct Accuracy;

const CORRECT: Term = Term {
    name: "correct",
    of: Addition::Count(|outcome| classes(outcome).is_some_and(|(predicted, actual)| predicted == actual)),
};

impl Indicator for Accuracy {
    fn name(&self) -> &'static str {
        "accuracy"
    }

    fn task(&self) -> Option<Task> {
        Some(Task::Binary)
    }

    fn better(&self) -> Better {
        Better::Higher
    }

    fn needs_label(&self) -> bool {
        true
    }

    fn terms(&self) -> &'static [&'static Term] {
        &[&LABELLED, &CORRECT]
    }

    fn read(&self, sums: Sums<'_>) -> Result<Estimate, Undefined> {
        let &[labelled, correct] = sums.cells else { return Err(Undefined::NoSamples) };
        share(correct, labelled, labelled, "no labels")
    }
}
