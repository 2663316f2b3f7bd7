//! Reading → verdict.

use std::fmt;
use std::time::Duration;

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
    /// Least effective sample size to judge at all.
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
