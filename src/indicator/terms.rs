//! Terms that several indicators share, and the helpers with which they read sums.

use super::{Addition, Estimate, Term, Undefined};
use crate::join::Outcome;

/// Weight below which evidence counts as gone. Far below any use, and far above where `f64` loses digits.
const FADED: f64 = 1e-150;

/// Largest magnitude of a predicted or true value; greater ones count as this, so that squares and sums stay finite.
const LARGEST: f64 = 1e140;

/// Predictions made.
pub(super) const PREDICTED: Term =
    Term { name: "predicted", of: Addition::Count(|outcome| matches!(outcome, Outcome::Predicted { .. })) };

/// Predictions whose label is known.
pub(super) const LABELLED: Term =
    Term { name: "labelled", of: Addition::Count(|outcome| matches!(outcome, Outcome::Labelled { .. })) };

/// Predictions that expired without a label.
pub(super) const UNLABELLED: Term =
    Term { name: "unlabelled", of: Addition::Count(|outcome| matches!(outcome, Outcome::Unlabelled)) };

/// Predictions of which it is known whether a label came.
pub(super) const DECIDED: Term = Term {
    name: "decided",
    of: Addition::Count(|outcome| matches!(outcome, Outcome::Labelled { .. } | Outcome::Unlabelled)),
};

/// Labelled outcomes that were predicted positive.
pub(super) const PREDICTED_POSITIVE: Term = Term {
    name: "predicted_positive",
    of: Addition::Count(|outcome| classes(outcome).is_some_and(|(predicted, _)| predicted)),
};

/// Labelled outcomes that are positive.
pub(super) const ACTUAL_POSITIVE: Term =
    Term { name: "actual_positive", of: Addition::Count(|outcome| classes(outcome).is_some_and(|(_, actual)| actual)) };

/// Labelled outcomes that are positive and were predicted so.
pub(super) const TRUE_POSITIVE: Term =
    Term { name: "true_positive", of: Addition::Count(|outcome| classes(outcome) == Some((true, true))) };

/// Labelled outcomes whose prediction bears a probability.
pub(super) const SCORED: Term = Term { name: "scored", of: Addition::Count(|outcome| scored(outcome).is_some()) };

/// Squared errors.
pub(super) const SQUARED_ERROR: Term = Term {
    name: "squared_error",
    of: Addition::Real(|outcome| pair(outcome).map(|(predicted, actual)| (predicted - actual) * (predicted - actual))),
};

/// Predicted and true value of a labelled outcome, each within ±[`LARGEST`].
pub(super) fn pair(outcome: &Outcome) -> Option<(f64, f64)> {
    match outcome {
        Outcome::Labelled { answer, actual, .. } => {
            Some((answer.value.clamp(-LARGEST, LARGEST), actual.clamp(-LARGEST, LARGEST)))
        }
        Outcome::Predicted { .. } | Outcome::Unlabelled => None,
    }
}

/// Predicted and true class of a labelled outcome; `true` is the positive one.
pub(super) fn classes(outcome: &Outcome) -> Option<(bool, bool)> {
    pair(outcome).map(|(predicted, actual)| (is_positive(predicted), is_positive(actual)))
}

/// Predicted probability and true class of a labelled outcome that bears a probability.
pub(super) fn scored(outcome: &Outcome) -> Option<(f64, bool)> {
    match outcome {
        Outcome::Labelled { answer, actual, .. } => answer.score.map(|score| (score, is_positive(*actual))),
        Outcome::Predicted { .. } | Outcome::Unlabelled => None,
    }
}

/// Whether a class written as 0 or 1 is the positive one.
pub(super) fn is_positive(class: f64) -> bool {
    class > 0.5
}

/// `count`, if it still has weight.
pub(super) fn samples(count: f64) -> Result<f64, Undefined> {
    if count > FADED { Ok(count) } else { Err(Undefined::NoSamples) }
}

/// The mean of cells `[count, sum, ..]`.
pub(super) fn mean(cells: &[f64]) -> Result<Estimate, Undefined> {
    let &[count, sum, ..] = cells else { return Err(Undefined::NoSamples) };
    Ok(Estimate::from(sum / samples(count)?))
}

/// `part / whole` among `all` samples; `if_none` names the `whole` that is missing.
pub(super) fn share(part: f64, whole: f64, all: f64, if_none: &'static str) -> Result<Estimate, Undefined> {
    samples(all)?;
    let whole = samples(whole).map_err(|_| Undefined::Degenerate(if_none))?;
    // Smoothing rounds part and whole separately; a share stays a share.
    Ok(Estimate::from((part / whole).clamp(0.0, 1.0)))
}
