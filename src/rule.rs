//! Reading → verdict.
//!
//! A rule is one or several conditions that must hold at once. Missing evidence is a verdict of its own: it neither
//! starts an alert nor ends one.

use std::fmt;
use std::time::Duration;

use crate::reading::Reading;
use crate::smoothing::Smoothing;

/// How bad it is when a rule fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Info,
    /// To be looked at in working hours.
    Warning,
    /// Wakes somebody.
    Critical,
}

impl Severity {
    /// Every severity, by the name used in the configuration.
    pub const ALL: [(&'static str, Severity); 3] =
        [("info", Severity::Info), ("warning", Severity::Warning), ("critical", Severity::Critical)];

    /// Its name in the configuration, headers and payloads.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        }
    }
}

/// The values that are a breach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// Greater than this.
    Above(f64),
    /// Less than this.
    Below(f64),
    /// Less than the first or greater than the second.
    Outside(f64, f64),
}

/// `above 4`, `below 0.8`, `outside [-1, 1]`.
impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bound::Above(limit) => write!(f, "above {limit}"),
            Bound::Below(limit) => write!(f, "below {limit}"),
            Bound::Outside(low, high) => write!(f, "outside [{low}, {high}]"),
        }
    }
}

impl Bound {
    /// Whether a value is beyond the bound.
    pub fn is_beyond(self, value: f64) -> bool {
        match self {
            Bound::Above(limit) => value > limit,
            Bound::Below(limit) => value < limit,
            Bound::Outside(low, high) => value < low || value > high,
        }
    }

    /// How bad a value is on the bound's own side; orders segments from worst to best.
    pub fn badness(self, value: f64) -> f64 {
        match self {
            Bound::Above(_) => value,
            Bound::Below(_) => -value,
            Bound::Outside(low, high) => (value - (low + high) / 2.0).abs(),
        }
    }
}

/// What the conditions of a rule say at one tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Beyond the threshold, in every condition.
    Breach,
    /// Neither beyond the threshold nor back behind the `clear` threshold.
    Between,
    /// Behind the `clear` threshold in at least one condition, with evidence enough.
    Clear,
    /// Too few samples, or no value: it cannot be told.
    Unknown,
}

impl Condition {
    /// Judges one reading.
    pub fn judge(&self, reading: &Reading) -> Verdict {
        match reading.value {
            Ok(_) if reading.n_eff < self.min_samples && !reading.silence_counts => Verdict::Unknown,
            Ok(estimate) if self.bound.is_beyond(estimate.value) => Verdict::Breach,
            Ok(estimate) if self.clear.is_beyond(estimate.value) => Verdict::Between,
            Ok(_) => Verdict::Clear,
            Err(_) => Verdict::Unknown,
        }
    }
}

impl Rule {
    /// Judges the readings of all conditions, in their order.
    ///
    /// One condition that is measured to be clear is a recovery, since a breach needs them all; one that cannot be
    /// told makes a breach impossible to tell.
    pub fn judge(&self, readings: &[Reading]) -> Verdict {
        let mut worst = Verdict::Breach;
        for (condition, reading) in self.conditions.iter().zip(readings) {
            match (condition.judge(reading), worst) {
                (Verdict::Clear, _) => return Verdict::Clear,
                (Verdict::Unknown, _) => worst = Verdict::Unknown,
                (Verdict::Between, Verdict::Breach) => worst = Verdict::Between,
                _ => {}
            }
        }
        worst
    }
}

/// One comparison of a rule. All of a rule's conditions must hold at once.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// Name of the indicator, one of [`crate::indicator::ALL`].
    pub indicator: &'static str,
    /// The smoothing it is read with.
    pub smoothing: Smoothing,
    /// What is a breach.
    pub bound: Bound,
    /// What still counts against a recovery once fired: the bound with its `clear` threshold. Equal to `bound` if none is set.
    pub clear: Bound,
    /// Least effective sample size to judge at all; of no effect for rates, for which silence is evidence too.
    pub min_samples: f64,
}

/// One rule of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// Its name; with the labels of a series it identifies an alert.
    pub name: String,
    /// Name or pattern of the models it watches.
    pub model: String,
    /// The dimension whose every value is watched by itself; `None` watches the whole of the model.
    pub by: Option<String>,
    /// At least one; the first is the headline.
    pub conditions: Vec<Condition>,
    /// How long a breach must last before it fires.
    pub hold: Duration,
    /// How long a recovery must last before it is resolved.
    pub recover_for: Duration,
    /// How long the headline indicator may go without a sample; `None` if that is nobody's business.
    pub no_data_after: Option<Duration>,
    /// Repeat the notice while it fires; `None` for never.
    pub repeat_every: Option<Duration>,
    /// How bad it is.
    pub severity: Severity,
    /// Names of the notifiers that are told.
    pub notify: Vec<String>,
    /// Where it is written what to do.
    pub runbook: Option<String>,
    /// A sentence for the reader of the mail.
    pub summary: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::indicator::{Estimate, Undefined};

    fn reading(value: Option<f64>, n_eff: f64) -> Reading {
        let value = value.map(Estimate::from).ok_or(Undefined::NoSamples);
        Reading { value, n_eff, last_sample: Some(0), silence_counts: false }
    }

    fn condition(bound: Bound, clear: Bound) -> Condition {
        let smoothing = Smoothing::HalfLife(Duration::from_secs(60));
        Condition { indicator: "rmse", smoothing, bound, clear, min_samples: 10.0 }
    }

    #[test]
    fn one_condition() {
        let above = condition(Bound::Above(4.0), Bound::Above(3.5));
        let check =
            |value, n_eff, expected| assert_eq!(above.judge(&reading(value, n_eff)), expected, "{value:?} {n_eff}");
        check(Some(4.1), 10.0, Verdict::Breach);
        check(Some(4.0), 10.0, Verdict::Between);
        check(Some(3.6), 10.0, Verdict::Between);
        check(Some(3.5), 10.0, Verdict::Clear);
        check(Some(9.0), 9.9, Verdict::Unknown);
        check(None, 100.0, Verdict::Unknown);
        let outside = condition(Bound::Outside(-1.0, 1.0), Bound::Outside(-0.5, 0.5));
        assert_eq!(outside.judge(&reading(Some(-1.1), 10.0)), Verdict::Breach);
        assert_eq!(outside.judge(&reading(Some(-0.7), 10.0)), Verdict::Between);
        assert_eq!(outside.judge(&reading(Some(0.2), 10.0)), Verdict::Clear);
    }
}
