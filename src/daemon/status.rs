//! What the daemon shows of itself: a snapshot that the engine publishes, for the pages and the metrics.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use metrics::{counter, gauge};

use super::intake::RejectedByReason;
use crate::clock::Timestamp;
use crate::metrics as table;
use crate::pipeline::{Counts, View};
use crate::source::{Partition, PartitionIndex};

/// Most series that are shown and exported; the status says how many were left out.
pub const MAX_SERIES: usize = 2_000;

/// A snapshot.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// When it was taken.
    pub at: Timestamp,
    /// Whether the last commit succeeded.
    pub healthy: bool,
    /// How old the news is, while a backlog is worked off.
    pub catching_up: Option<Duration>,
    /// Readings and alerts.
    pub view: View,
    /// What the core counted.
    pub counts: Counts,
    /// Predictions and labels in the join.
    pub pending: (usize, usize),
    /// Records by topic.
    pub records: BTreeMap<String, u64>,
    /// Records of neither role.
    pub ignored: u64,
    /// Rejections by reason.
    pub rejected: RejectedByReason,
    /// Gaps by cause.
    pub gaps: BTreeMap<&'static str, u64>,
    /// Next offsets.
    pub positions: Vec<(Partition, i64)>,
}

/// Next offsets by partition number.
type NextOffsets = Vec<(PartitionIndex, i64)>;

/// The latest snapshot, shared with the pages; and the engine's heartbeat.
#[derive(Clone, Debug, Default)]
pub struct Published {
    latest: Arc<Mutex<Arc<Status>>>,
    positions: Arc<Mutex<Option<NextOffsets>>>,
    beat: Arc<Mutex<Option<Instant>>>,
    reload_failed: Arc<AtomicBool>,
}

impl Published {
    /// The latest snapshot.
    pub fn latest(&self) -> Arc<Status> {
        Arc::clone(&self.latest.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// When the latest snapshot was taken.
    pub fn at(&self) -> Timestamp {
        self.latest().at
    }

    /// Since when the engine has not shown that it is alive, if it ever did. A clock that is set does not touch this.
    pub fn silent_for(&self) -> Option<Duration> {
        self.beat.lock().unwrap_or_else(PoisonError::into_inner).map(|last| last.elapsed())
    }

    /// The engine is alive.
    pub fn beat(&self) {
        *self.beat.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether the last reload of the configuration, good file or bad, succeeded.
    pub fn reloaded(&self, ok: bool) {
        self.reload_failed.store(!ok, Ordering::Relaxed);
        self.export_constants();
    }

    /// Sets the gauges that seldom change: one that is not set for a while is forgotten.
    fn export_constants(&self) {
        gauge!(table::BUILD.name, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        gauge!(table::RELOAD_OK.name).set(if self.reload_failed.load(Ordering::Relaxed) { 0.0 } else { 1.0 });
    }

    /// Next offsets that are durable.
    pub(super) fn positions(&self, positions: NextOffsets) {
        *self.positions.lock().unwrap_or_else(PoisonError::into_inner) = Some(positions);
    }

    /// Takes the next offsets that became durable since the last call.
    pub(super) fn take_positions(&self) -> Option<NextOffsets> {
        self.positions.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Shows a snapshot from now on.
    pub fn publish(&self, status: Status) {
        self.beat();
        export(&status);
        self.export_constants();
        *self.latest.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(status);
    }
}

/// Sets every metric that a snapshot tells.
#[expect(clippy::cast_precision_loss, reason = "gauges are f64; counts are far below 2^53")]
fn export(status: &Status) {
    for (topic, count) in &status.records {
        counter!(table::RECORDS.name, "topic" => topic.clone()).absolute(*count);
    }
    counter!(table::IGNORED.name).absolute(status.ignored);
    for (reason, rejected) in &status.rejected {
        counter!(table::REJECTED.name, "reason" => *reason).absolute(rejected.count);
    }
    for (cause, count) in &status.gaps {
        counter!(table::GAPS.name, "cause" => *cause).absolute(*count);
    }
    let Counts { late_events, sealed_ticks, join } = status.counts;
    counter!(table::LATE.name).absolute(late_events);
    counter!(table::SEALED_TICKS.name).absolute(sealed_ticks);
    counter!(table::PREDICTIONS.name).absolute(join.predictions);
    counter!(table::LABELS.name).absolute(join.labels);
    let fates = [
        ("duplicate", join.duplicate_predictions),
        ("expired", join.expired_predictions),
        ("evicted", join.evicted_predictions),
    ];
    for (fate, count) in fates {
        counter!(table::PREDICTION_FATES.name, "fate" => fate).absolute(count);
    }
    let fates = [
        ("matched", join.matched_labels),
        ("duplicate", join.duplicate_labels),
        ("late", join.late_labels),
        ("orphan", join.orphan_labels),
        ("evicted", join.evicted_labels),
    ];
    for (fate, count) in fates {
        counter!(table::LABEL_FATES.name, "fate" => fate).absolute(count);
    }
    gauge!(table::PENDING.name, "kind" => "prediction").set(status.pending.0 as f64);
    gauge!(table::PENDING.name, "kind" => "label").set(status.pending.1 as f64);
    if let Some(sealed) = status.view.sealed_until {
        gauge!(table::SEALED_UNTIL.name).set(sealed.as_micros() as f64 / 1e6);
        gauge!(table::BEHIND.name).set(status.at.since(sealed).as_secs_f64());
    }
    export_readings(&status.view);
}

#[expect(clippy::cast_precision_loss, reason = "gauges are f64; there are few alerts")]
fn export_readings(view: &View) {
    for model in &view.models {
        for reading in &model.readings {
            let (dimension, segment) = reading.segment.clone().unwrap_or_default();
            let labels = [
                ("model", model.name.clone()),
                ("dimension", dimension),
                ("segment", segment),
                ("indicator", reading.indicator.to_owned()),
            ];
            gauge!(table::SAMPLES.name, &labels).set(reading.n_eff);
            let value = reading.value.map_or(f64::NAN, |estimate| estimate.value);
            gauge!(table::INDICATOR.name, &labels).set(value);
        }
    }
    let mut alerts: BTreeMap<(String, &str, &str), usize> = BTreeMap::new();
    for alert in &view.alerts {
        for state in ["insufficient", "ok", "pending", "firing", "recovering", "silent"] {
            let in_it = if state == "silent" { alert.silence.is_some() } else { alert.state.name() == state };
            *alerts.entry((alert.rule.clone(), alert.severity.name(), state)).or_default() += usize::from(in_it);
        }
    }
    for ((rule, severity, state), count) in alerts {
        gauge!(table::ALERTS.name, "rule" => rule, "severity" => severity, "state" => state).set(count as f64);
    }
}
