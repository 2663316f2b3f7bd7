//! Label delay quantiles: within which time the label of a given share of predictions comes.

use super::terms::{LABELLED, samples};
use super::{Addition, Better, Estimate, Indicator, Sums, Term, Undefined};
use crate::event::Task;
use crate::join::Outcome;

/// Time within which the label of a share of the labelled predictions came: median, 90 % and 99 %.
///
/// Lower is better.
///
/// # Definition
///
/// ```text
/// Q(q) = min { d : Σ wᵢ [dᵢ ≤ d] ≥ q Σ wᵢ }
/// ```
///
/// where `dᵢ` is the time from the prediction to its label, taken as 0 if negative and as 2²⁵ s (388 days) if longer, and
/// `wᵢ` the decayed weight of the outcome (numpy's `inverted_cdf`). Computed from a histogram of 32 equal bins in each
/// octave from 2⁻⁶ s (16 ms) on, and one bin for all that is shorter. The bracket is the bin, and the value its
/// midpoint, so that the error is at most 1.6 % (8 ms in the first bin).
///
/// # Needs
///
/// A label.
///
/// # Range
///
/// `[0, 2²⁵]`, in seconds. No value while no weight has been seen.
///
/// # Cost
///
/// One count and 994 bins, shared by the three; O(1) per outcome.
///
/// # Reference
///
/// C. Masson, J. E. Rim, H. K. Lee (2019), "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
/// guarantees", Proceedings of the VLDB Endowment 12(12), 2195–2205 (here with bins read off the IEEE 754 bits).
#[derive(Debug)]
pub struct LabelDelayQuantile {
    name: &'static str,
    share: f64,
}

/// The median.
pub const P50: LabelDelayQuantile = LabelDelayQuantile { name: "label_delay_p50", share: 0.5 };
/// The 90 % quantile.
pub const P90: LabelDelayQuantile = LabelDelayQuantile { name: "label_delay_p90", share: 0.9 };
/// The 99 % quantile.
pub const P99: LabelDelayQuantile = LabelDelayQuantile { name: "label_delay_p99", share: 0.99 };

/// Delays below this, 2⁻⁶ s, share the first bin.
const SHORTEST: f64 = 0.015_625;
/// Delays from this on, 2²⁵ s, share the last bin.
const LONGEST: f64 = 33_554_432.0;
/// Bits of an `f64` below those that name the bin: its exponent and the first five bits of its fraction.
const DROPPED_BITS: u32 = 52 - 5;
/// One short bin, 31 octaves of 32 bins, one long bin.
const BINS: usize = 1 + 31 * 32 + 1;

const DELAYS: Term = Term {
    name: "delays",
    of: Addition::Bin {
        bins: BINS,
        of: |outcome| match outcome {
            Outcome::Labelled { delay_seconds, .. } => Some(bin_of(*delay_seconds)),
            Outcome::Predicted { .. } | Outcome::Unlabelled => None,
        },
    },
};

/// The bin of a delay. The bits of positive numbers are ordered as the numbers are.
fn bin_of(seconds: f64) -> usize {
    let key = seconds.clamp(0.0, LONGEST).to_bits() >> DROPPED_BITS;
    let bin = (key + 1).saturating_sub(SHORTEST.to_bits() >> DROPPED_BITS);
    usize::try_from(bin).map_or(BINS - 1, |bin| bin.min(BINS - 1))
}

/// Where a bin begins, in seconds; the first begins at zero.
fn edge(bin: usize) -> f64 {
    match bin {
        0 => 0.0,
        _ => f64::from_bits(((SHORTEST.to_bits() >> DROPPED_BITS) + bin as u64 - 1) << DROPPED_BITS),
    }
}

impl Indicator for LabelDelayQuantile {
    fn name(&self) -> &'static str {
        self.name
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
        &[&LABELLED, &DELAYS]
    }

    fn read(&self, sums: Sums<'_>) -> Result<Estimate, Undefined> {
        let (count, bins) = sums.cells.split_first().ok_or(Undefined::NoSamples)?;
        samples(*count)?;
        let bin = bin_at(bins, self.share);
        let (low, high) = (edge(bin), edge(bin + 1).min(LONGEST));
        Ok(Estimate { value: f64::midpoint(low, high), bracket: Some((low, high)) })
    }
}

/// The first bin at which the accumulated weight reaches `share` of the whole.
fn bin_at(bins: &[f64], share: f64) -> usize {
    // Decayed weights carry rounding; without the slack a share that is met exactly would be missed at random.
    let wanted = share * bins.iter().sum::<f64>() * (1.0 - 1e-12);
    let mut below = 0.0;
    let reached = bins.iter().position(|weight| {
        below += weight;
        below >= wanted
    });
    reached.unwrap_or(BINS - 1)
}
