//! Verdict → state machine → transition.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::rule::{Bound, Severity};

/// What happened to an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The breach began; it fires if it lasts for the rule's `for`.
    Pending,
    /// The breach ended before it fired.
    Calmed,
    /// It fired.
    Fired,
    /// It still fires, and its `repeat_every` has passed.
    Repeated,
    /// It is beyond its `clear` threshold; it is resolved if that lasts for `recover_for`.
    Recovering,
    /// The breach came back while recovering.
    Relapsed,
    /// Measured recovery.
    Resolved,
    /// The headline indicator had no sample for `no_data_after`.
    NoData(Silence),
    /// Samples are back.
    DataBack,
    /// It ended without a measured recovery.
    Ended(End),
}

/// What fell silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// No predictions.
    Predictions,
    /// Predictions, but no labels.
    Labels,
}

/// Why an alert ended without a measured recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The rule left the configuration, or no longer watches this series.
    RuleRemoved,
}

/// One condition with the reading that it was judged by.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// Name of the indicator.
    pub indicator: &'static str,
    /// Unit for people; may be empty.
    pub unit: &'static str,
    /// The smoothing, for people: `half_life 30m`.
    pub smoothing: String,
    /// The value; `Err` says in words why there is none.
    pub value: Result<f64, String>,
    /// `[low, high]` that holds the exact value, for indicators computed from bins.
    pub bracket: Option<(f64, f64)>,
    /// Effective sample size (Kish).
    pub n_eff: f64,
    /// What is a breach.
    pub bound: Bound,
    /// What must be left behind to recover.
    pub clear: Bound,
    /// Least effective sample size to judge.
    pub min_samples: f64,
}

/// A segment beside the whole, for "where is it worst".
#[derive(Clone, Debug, PartialEq)]
pub struct Contribution {
    /// Dimension, such as `region`.
    pub dimension: String,
    /// Value, such as `eu`.
    pub value: String,
    /// The headline indicator there.
    pub reading: f64,
    /// Effective sample size there.
    pub n_eff: f64,
}

/// One change of an alert's state, with the inputs that caused it.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// Name of the rule.
    pub rule: String,
    /// Name of the model. Comes from foreign data: untrusted.
    pub model: String,
    /// Dimension and value of the segment, `None` for the whole. The value is untrusted.
    pub segment: Option<(String, String)>,
    /// How bad the rule says it is.
    pub severity: Severity,
    /// What happened.
    pub change: Change,
    /// End of the tick at which it happened, in event time.
    pub at: Timestamp,
    /// When the breach (or the silence) began.
    pub since: Timestamp,
    /// The rule's `for`.
    pub hold: Duration,
    /// Id of the incident, for everything from firing on; never changes.
    pub incident: Option<String>,
    /// The incident's transitions, counted from 1.
    pub sequence: u32,
    /// What was judged, condition by condition; the first is the headline.
    pub evidence: Vec<Evidence>,
    /// Worst segments by the headline indicator, worst first.
    pub worst: Vec<Contribution>,
    /// Where it is written what to do.
    pub runbook: Option<String>,
    /// The rule's sentence for the reader.
    pub summary: Option<String>,
    /// Names of the notifiers that are to be told.
    pub notify: Vec<String>,
}
