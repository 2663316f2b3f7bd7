//! F1: harmonic mean of precision and recall.

use super::terms::{ACTUAL_POSITIVE, LABELLED, PREDICTED_POSITIVE, TRUE_POSITIVE, classes, share};
use super::{Addition, Better, Estimate, Indicator, Sums, Term, Undefined};
use crate::event::Task;

/// Harmonic mean of precision and recall: overlap of the predicted positives with the positives.
///
/// Higher is better. Ignores true negatives, and depends on how frequent positives are.
///
/// # Definition
///
/// ```text
/// F1 = 2 tp / (2 tp + fp + fn)
/// ```
///
/// where `tp`, `fp` and `fn` are the decayed weights of the true positives, false positives and false negatives. Its
/// samples are these three; true negatives do not take part. It is the ratio of the smoothed sums, not a mean of ratios.
///
/// # Needs
///
/// A label.
///
/// # Range
///
/// `[0, 1]`, no unit. No value while no weight has been seen, or if nothing is positive or predicted so (scikit-learn
/// then says 0).
///
/// # Cost
///
/// Five counts, four shared with precision and recall; O(1) per outcome.
///
/// # Reference
///
/// C. J. van Rijsbergen (1979), "Information Retrieval", chapter 7.
#[derive(Debug)]
pub struct F1;

const ANY_POSITIVE: Term = Term {
    name: "any_positive",
    of: Addition::Count(|outcome| classes(outcome).is_some_and(|(predicted, actual)| predicted || actual)),
};

impl Indicator for F1 {
    fn name(&self) -> &'static str {
        "f1"
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
        &[&ANY_POSITIVE, &TRUE_POSITIVE, &PREDICTED_POSITIVE, &ACTUAL_POSITIVE, &LABELLED]
    }

    fn read(&self, sums: Sums<'_>) -> Result<Estimate, Undefined> {
        let &[_, true_positive, predicted, actual, labelled] = sums.cells else { return Err(Undefined::NoSamples) };
        share(2.0 * true_positive, predicted + actual, labelled, "no positives, neither predicted nor actual")
    }
}
