//! Every exported metric: its name, kind, help and labels, in one table.

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use metrics_util::MetricKindMask;

use std::time::Duration;

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only up.
    Counter,
    /// Up and down.
    Gauge,
}

/// One exported metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What it says.
    pub help: &'static str,
    /// Its labels. Each has a bounded number of values.
    pub labels: &'static [&'static str],
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, help, labels }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, help, labels }
}

/// The running version; always 1.
pub const BUILD: Metric = gauge("modelwatch_build_info", &["version"], "The running version; always 1.");
/// Records read.
pub const RECORDS: Metric = counter("modelwatch_records_total", &["topic"], "Records read from the source.");
/// Records of neither role.
pub const IGNORED: Metric = counter(
    "modelwatch_ignored_records_total",
    &[],
    "Records that are neither predictions nor labels: other things on a shared topic, or a `when` that does not hold.",
);
/// Records and events that could not be used.
pub const REJECTED: Metric =
    counter("modelwatch_rejected_total", &["reason"], "Records and events that could not be used, by reason.");
/// Gaps.
pub const GAPS: Metric = counter(
    "modelwatch_source_gaps_total",
    &["cause"],
    "Times that the source could not deliver records, by cause (deleted before they were read, topic made anew, ...).",
);
/// Troubles.
pub const TROUBLES: Metric = counter(
    "modelwatch_troubles_total",
    &["kind"],
    "Troubles of the watching itself, by kind (records lost, topic made anew, state damaged, ...).",
);
/// Late events.
pub const LATE: Metric = counter(
    "modelwatch_late_events_total",
    &[],
    "Events behind their partition's newest by more than the lateness; they count at the frontier.",
);
/// Predictions taken in.
pub const PREDICTIONS: Metric = counter("modelwatch_predictions_total", &[], "Predictions taken in.");
/// Labels taken in.
pub const LABELS: Metric = counter("modelwatch_labels_total", &[], "Labels taken in.");
/// What became of predictions.
pub const PREDICTION_FATES: Metric = counter(
    "modelwatch_prediction_fates_total",
    &["fate"],
    "Predictions that were duplicates, expired without a label, or were evicted because the table was full.",
);
/// What became of labels.
pub const LABEL_FATES: Metric = counter(
    "modelwatch_label_fates_total",
    &["fate"],
    "Labels that were matched, duplicates, late, orphans (no prediction known) or evicted.",
);
/// Waiting in the join.
pub const PENDING: Metric =
    gauge("modelwatch_join_pending", &["kind"], "Predictions and labels that the join holds in memory.");
/// Ticks sealed.
pub const SEALED_TICKS: Metric =
    counter("modelwatch_sealed_ticks_total", &[], "Ticks of event time sealed and judged.");
/// Event time reached.
pub const SEALED_UNTIL: Metric =
    gauge("modelwatch_sealed_until_timestamp_seconds", &[], "Event time up to which everything is sealed and judged.");
/// Behind the clock.
pub const BEHIND: Metric =
    gauge("modelwatch_behind_seconds", &[], "How far the sealed event time lies behind the clock.");
/// Values.
pub const INDICATOR: Metric = gauge(
    "modelwatch_indicator_value",
    &["model", "dimension", "segment", "indicator"],
    "Value of an indicator at the last seal; NaN while it has none.",
);
/// Effective sample sizes.
pub const SAMPLES: Metric = gauge(
    "modelwatch_indicator_effective_samples",
    &["model", "dimension", "segment", "indicator"],
    "Effective sample size (Kish) of an indicator at the last seal.",
);
/// Alerts.
pub const ALERTS: Metric = gauge("modelwatch_alerts", &["rule", "severity", "state"], "Alerts of a rule, by state.");
/// Transitions.
pub const TRANSITIONS: Metric =
    counter("modelwatch_transitions_total", &["change"], "Changes of alerts' states, by change.");
/// Delivery attempts.
pub const NOTICES: Metric = counter(
    "modelwatch_notices_total",
    &["notifier", "result"],
    "Attempts to deliver a notice, by notifier and result (sent, retry, dead).",
);
/// Owed notices.
pub const OUTBOX_PENDING: Metric = gauge("modelwatch_outbox_pending", &[], "Notices that are owed.");
/// Given up.
pub const OUTBOX_DEAD: Metric = gauge("modelwatch_outbox_dead", &[], "Notices that were given up (dead letters).");
/// Commit time.
pub const COMMIT_SECONDS: Metric =
    gauge("modelwatch_last_commit_duration_seconds", &[], "Duration of the last commit.");
/// Failed commits.
pub const COMMIT_FAILURES: Metric =
    counter("modelwatch_commit_failures_total", &[], "Commits to the state file that failed; each is tried again.");
/// Reload.
pub const RELOAD_OK: Metric =
    gauge("modelwatch_config_last_reload_successful", &[], "Whether the last reload of the configuration succeeded.");

/// Every metric, in the order of the documentation.
pub const ALL: &[Metric] = &[
    BUILD,
    RECORDS,
    IGNORED,
    REJECTED,
    GAPS,
    TROUBLES,
    LATE,
    PREDICTIONS,
    LABELS,
    PREDICTION_FATES,
    LABEL_FATES,
    PENDING,
    SEALED_TICKS,
    SEALED_UNTIL,
    BEHIND,
    INDICATOR,
    SAMPLES,
    ALERTS,
    TRANSITIONS,
    NOTICES,
    OUTBOX_PENDING,
    OUTBOX_DEAD,
    COMMIT_SECONDS,
    COMMIT_FAILURES,
    RELOAD_OK,
];

/// A gauge that was not set for so long has lost its subject (a model that is gone) and is no longer exported.
const FORGET_AFTER: Duration = Duration::from_secs(120);

/// Installs the recorder of the process and describes every metric. Once a process.
///
/// # Errors
///
/// If a recorder is installed already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new().idle_timeout(MetricKindMask::GAUGE, Some(FORGET_AFTER)).install_recorder()?;
    for metric in ALL {
        match metric.kind {
            Kind::Counter => metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => metrics::describe_gauge!(metric.name, metric.help),
        }
    }
    // From the start, so that the first failure is seen as an increase.
    metrics::counter!(COMMIT_FAILURES.name).absolute(0);
    Ok(handle)
}
