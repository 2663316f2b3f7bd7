//! Sealed sums → smoothed sums.

use std::fmt;
use std::time::Duration;

/// How the sums of past ticks fade.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Smoothing {
    /// Evidence halves every so much event time.
    HalfLife(Duration),
    /// The classic filter `y[n] = alpha·y[n-1] + (1-alpha)·x[n]` per outcome; `alpha` is the keep factor, in (0, 1).
    Alpha {
        /// The keep factor.
        keep: f64,
        /// Start with `y[0] = x[0]` at full weight (the textbook filter) instead of the bias-free mean.
        seed_first: bool,
    },
    /// The plain sums of the last so much event time.
    Window(Duration),
}

/// As in the configuration: `half_life 30m`, `alpha 0.99`, `window 1h`.
impl fmt::Display for Smoothing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Smoothing::HalfLife(span) => write!(f, "half_life {}", humantime::format_duration(*span)),
            Smoothing::Alpha { keep, seed_first: false } => write!(f, "alpha {keep}"),
            Smoothing::Alpha { keep, seed_first: true } => write!(f, "alpha {keep} seeded"),
            Smoothing::Window(span) => write!(f, "window {}", humantime::format_duration(*span)),
        }
    }
}
