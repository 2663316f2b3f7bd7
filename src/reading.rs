//! Smoothed sums → reading: a value and how much stands behind it.

use crate::clock::{Tick, TickGrid};
use crate::indicator::{Estimate, Indicator, Undefined};
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
    match smoothed.sums(smoothing, grid, tick) {
        Some(sums) => Reading { value: indicator.read(sums), n_eff: smoothed.n_eff(), last_sample },
        None => Reading { value: Err(Undefined::NoSamples), n_eff: 0.0, last_sample },
    }
}
