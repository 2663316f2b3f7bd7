//! ROC AUC: how well predicted probabilities order positives above negatives.

use std::sync::LazyLock;

use super::terms::{SCORED, samples, scored};
use super::{Addition, Better, Estimate, Indicator, Sums, Term, Undefined};
use crate::event::Task;
use crate::join::Outcome;

/// Chance that a positive outcome was given a higher probability than a negative one: area under the ROC curve.
///
/// Higher is better; 0.5 is chance. Does not react to calibration, nor to how frequent positives are.
///
/// # Definition
///
/// ```text
/// AUC = Σ wᵢ wⱼ ([pᵢ > pⱼ] + ½ [pᵢ = pⱼ]) / (P N)        i over positives, j over negatives
/// ```
///
/// where `pᵢ` is the predicted probability, `wᵢ` the decayed weight of the outcome, and `P`, `N` are the weights of the
/// positives and negatives. Computed from histograms of 256 bins uniform in `ln(p / (1 − p))` over `[−12, 12]` and one
/// bin at each end, so that rare events, with all probabilities near zero, are resolved too. Probabilities in one bin
/// count as equal. The bracket is what the order inside the bins could make of it, and the value is its midpoint.
///
/// # Needs
///
/// A label, and a probability in `[0, 1]`; outcomes without one do not take part.
///
/// # Range
///
/// `[0, 1]`, no unit. No value while no weight has been seen, or while only one class has (scikit-learn then says NaN).
///
/// # Cost
///
/// One count and 2 · 258 bins; a search among 257 edges per outcome.
///
/// # Reference
///
/// T. Fawcett (2006), "An introduction to ROC analysis", Pattern Recognition Letters 27(8), 861–874.
#[derive(Debug)]
pub struct RocAuc;

/// Bins between the edges; one more lies at each end.
const INNER_BINS: u32 = 256;
const BINS: usize = INNER_BINS as usize + 2;

/// The probabilities at which bins begin, of shape `(257,)`, ascending.
static EDGES: LazyLock<Vec<f64>> = LazyLock::new(|| {
    let logit = |edge: u32| -12.0 + 24.0 * f64::from(edge) / f64::from(INNER_BINS);
    (0..=INNER_BINS).map(|edge| 1.0 / (1.0 + libm::exp(-logit(edge)))).collect()
});

const POSITIVE_SCORES: Term =
    Term { name: "positive_scores", of: Addition::Bin { bins: BINS, of: |outcome| bin_of(outcome, true) } };

const NEGATIVE_SCORES: Term =
    Term { name: "negative_scores", of: Addition::Bin { bins: BINS, of: |outcome| bin_of(outcome, false) } };

/// The bin of an outcome's probability, if its true class is `class`.
fn bin_of(outcome: &Outcome, class: bool) -> Option<usize> {
    let (score, actual) = scored(outcome)?;
    (actual == class).then(|| EDGES.partition_point(|edge| *edge <= score))
}

impl Indicator for RocAuc {
    fn name(&self) -> &'static str {
        "roc_auc"
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
        &[&SCORED, &POSITIVE_SCORES, &NEGATIVE_SCORES]
    }

    fn read(&self, sums: Sums<'_>) -> Result<Estimate, Undefined> {
        let (count, bins) = sums.cells.split_first().ok_or(Undefined::NoSamples)?;
        samples(*count)?;
        let (positives, negatives) = bins.split_at_checked(BINS).ok_or(Undefined::NoSamples)?;
        area(positives, negatives)
    }
}

/// Area under the ROC curve of two histograms of shape `(BINS,)`.
fn area(positives: &[f64], negatives: &[f64]) -> Result<Estimate, Undefined> {
    let weight = |bins: &[f64], if_none| samples(bins.iter().sum()).map_err(|_| Undefined::Degenerate(if_none));
    let all_positives = weight(positives, "only one class: no positives")?;
    let all_negatives = weight(negatives, "only one class: no negatives")?;
    let (mut ordered, mut tied, mut below) = (0.0, 0.0, 0.0);
    for (positive, negative) in positives.iter().zip(negatives) {
        // Shares, because the product of two faded weights could underflow.
        let (positive, negative) = (positive / all_positives, negative / all_negatives);
        ordered += positive * below;
        tied += positive * negative;
        below += negative;
    }
    let low = f64::min(ordered, 1.0);
    let high = f64::min(ordered + tied, 1.0);
    Ok(Estimate { value: f64::midpoint(low, high), bracket: Some((low, high)) })
}
