//! `/api/v1/status`: the snapshot's serialised twin. Fields are added, never renamed.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::daemon::status::Status;
use crate::pipeline::{AlertView, Counts, ReadingView};
use crate::state::OutboxCounts;

#[derive(Serialize)]
pub(super) struct Body {
    version: &'static str,
    at: String,
    sealed_until: Option<String>,
    state_is_saved: bool,
    records: BTreeMap<String, u64>,
    ignored_records: u64,
    rejected: BTreeMap<&'static str, Rejected>,
    gaps: BTreeMap<&'static str, u64>,
    counts: Counts,
    pending_predictions: usize,
    pending_labels: usize,
    positions: Vec<Position>,
    models: Vec<Model>,
    series_left_out: usize,
    alerts: Vec<Alert>,
    outbox: Outbox,
}

#[derive(Serialize)]
struct Rejected {
    count: u64,
    last_at: String,
    problem: String,
}

#[derive(Serialize)]
struct Position {
    topic: String,
    partition: i32,
    next_offset: i64,
}

#[derive(Serialize)]
struct Model {
    name: String,
    readings: Vec<Reading>,
}

#[derive(Serialize)]
struct Segment {
    dimension: String,
    value: String,
}

#[derive(Serialize)]
struct Reading {
    segment: Option<Segment>,
    indicator: &'static str,
    value: Option<f64>,
    no_value_because: Option<String>,
    bracket: Option<(f64, f64)>,
    effective_samples: f64,
}

#[derive(Serialize)]
struct Alert {
    rule: String,
    severity: &'static str,
    model: String,
    segment: Option<Segment>,
    state: &'static str,
    silent_since: Option<String>,
    incident: Option<String>,
    since: Option<String>,
}

#[derive(Serialize)]
struct Outbox {
    pending: i64,
    dead: i64,
}

pub(super) fn of(status: &Status, outbox: OutboxCounts) -> Body {
    let rejected = status.rejected.iter().map(|(reason, rejected)| {
        let (last_at, problem) = (rejected.sample.clone(), rejected.problem.clone());
        (*reason, Rejected { count: rejected.count, last_at, problem })
    });
    let positions = status.positions.iter().map(|(partition, next_offset)| Position {
        topic: partition.topic.clone(),
        partition: partition.number,
        next_offset: *next_offset,
    });
    let models = status
        .view
        .models
        .iter()
        .map(|model| Model { name: model.name.clone(), readings: model.readings.iter().map(reading).collect() });
    Body {
        version: env!("CARGO_PKG_VERSION"),
        at: status.at.to_string(),
        sealed_until: status.view.sealed_until.map(|at| at.to_string()),
        state_is_saved: status.healthy,
        records: status.records.clone(),
        ignored_records: status.ignored,
        rejected: rejected.collect(),
        gaps: status.gaps.clone(),
        counts: status.counts,
        pending_predictions: status.pending.0,
        pending_labels: status.pending.1,
        positions: positions.collect(),
        models: models.collect(),
        series_left_out: status.view.left_out,
        alerts: status.view.alerts.iter().map(alert).collect(),
        outbox: Outbox { pending: outbox.pending, dead: outbox.dead },
    }
}

fn segment(segment: Option<&(String, String)>) -> Option<Segment> {
    segment.map(|(dimension, value)| Segment { dimension: dimension.clone(), value: value.clone() })
}

fn reading(reading: &ReadingView) -> Reading {
    Reading {
        segment: segment(reading.segment.as_ref()),
        indicator: reading.indicator,
        value: reading.value.ok().map(|estimate| estimate.value),
        no_value_because: reading.value.err().map(|undefined| undefined.to_string()),
        bracket: reading.value.ok().and_then(|estimate| estimate.bracket),
        effective_samples: reading.n_eff,
    }
}

fn alert(alert: &AlertView) -> Alert {
    Alert {
        rule: alert.rule.clone(),
        severity: alert.severity.name(),
        model: alert.model.clone(),
        segment: segment(alert.segment.as_ref()),
        state: alert.state.name(),
        silent_since: alert.silence.as_ref().map(|(_, since)| since.to_string()),
        incident: alert.incident.as_ref().map(|(id, _)| id.clone()),
        since: alert.incident.as_ref().map(|(_, since)| since.to_string()),
    }
}
