//! Smoothed sums → reading: a value and how much stands behind it.

use crate::clock::{Tick, TickGrid};
use crate::indicator::{Estimate, Indicator, Sums, Undefined};
use crate::smoothing::{Smoothed, Smoothing};

/// An indicator of one series at the end of one tick.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// The value, or why there is none.
    pub value: Result<Estimate, Undefined>,
    /// Effective sample size (Kish): how many equally weighted samples would be as certain.
    pub n_eff: f64,
    /// The last tick with a sample.
    pub last_sample: Option<Tick>,
    /// Whether it is evidence too that no sample comes, as it is for a rate: `min_samples` then does not apply.
    pub silence_counts: bool,
}

/// Reads an indicator as of the end of `tick`.
pub fn read(
    indicator: &dyn Indicator,
    smoothed: &Smoothed,
    smoothing: Smoothing,
    grid: TickGrid,
    tick: Tick,
) -> Reading {
    let last_sample = smoothed.span.map(|(_, last)| last);
    let silence_counts = indicator.moves_without_samples();
    let (value, n_eff) = match smoothed.sums(smoothing, grid, tick) {
        Some(sums) => (indicator.read(sums), smoothed.n_eff()),
        // All samples have faded: a rate has come down to zero, anything else is not known any more.
        None if silence_counts && last_sample.is_some() => {
            (indicator.read(Sums { cells: &vec![0.0; smoothed.cells.len()], seconds: grid.seconds() }), 0.0)
        }
        None => (Err(Undefined::NoSamples), 0.0),
    };
    Reading { value, n_eff, last_sample, silence_counts }
}
