//! The JSON of webhooks: everything a program may want to know, by names that never change within a `schema_version`.
//!
//! These are twins of the core's types: the core may be renamed, this may not.

use serde::Serialize;

use super::group::Notice;
use super::trouble::{Telling, TroubleKind};
use super::{Message, Rendering, view};
use crate::alert::{Change, Contribution, End, Evidence, Transition};
use crate::clock::Timestamp;
use crate::rule::Bound;

/// Most alerts in one payload; at about a kilobyte each this stays below what receivers commonly take.
const ALERTS_MAX: usize = 500;

#[derive(Serialize)]
struct Payload<'a, T> {
    schema_version: u32,
    /// `alert`, `undelivered`, `caught_up`, `trouble` or `test`.
    kind: &'static str,
    /// The same over retries, as in the header `Idempotency-Key`.
    id: &'a str,
    instance: &'a str,
    rendered_at: String,
    status_page: Option<&'a str>,
    #[serde(flatten)]
    content: T,
}

#[derive(Serialize)]
struct Group<'a> {
    state: &'static str,
    severity: &'static str,
    rule: &'a str,
    summary: Option<&'a str>,
    runbook: Option<&'a str>,
    at: String,
    alerts_total: usize,
    alerts: Vec<Alert<'a>>,
}

#[derive(Serialize)]
struct Alert<'a> {
    incident: Option<&'a str>,
    sequence: u32,
    model: &'a str,
    segment: Option<Segment<'a>>,
    severity: &'static str,
    state: &'static str,
    /// Why it ended, if it did so without a measured recovery.
    reason: Option<&'static str>,
    since: String,
    at: String,
    hold_seconds: f64,
    conditions: Vec<Condition<'a>>,
    worst: Vec<Worst<'a>>,
}

#[derive(Serialize)]
struct Segment<'a> {
    dimension: &'a str,
    value: &'a str,
}

#[derive(Serialize)]
struct Condition<'a> {
    indicator: &'a str,
    unit: &'a str,
    smoothing: &'a str,
    value: Option<f64>,
    why_no_value: Option<&'a str>,
    bracket: Option<[f64; 2]>,
    effective_samples: f64,
    min_samples: f64,
    breach: Limits,
    clear: Limits,
}

/// `above`: greater than this; `below`: less than this; both: outside.
#[derive(Serialize)]
struct Limits {
    below: Option<f64>,
    above: Option<f64>,
}

#[derive(Serialize)]
struct Worst<'a> {
    dimension: &'a str,
    value: &'a str,
    reading: f64,
    effective_samples: f64,
}

#[derive(Serialize)]
struct Undelivered<'a> {
    message: &'a str,
    notifier: &'a str,
    recipient: &'a str,
    subject: &'a str,
    reason: &'a str,
}

#[derive(Serialize)]
struct Held {
    notices: Vec<serde_json::Value>,
    notices_total: usize,
}

#[derive(Serialize)]
struct Troubles<'a> {
    trouble: &'static str,
    headline: &'static str,
    meaning: &'static str,
    remedy: &'static str,
    places_total: usize,
    places: Vec<Place<'a>>,
}

#[derive(Serialize)]
struct Place<'a> {
    place: &'a str,
    what: &'a str,
    since: String,
    /// The span of time of which something is missing.
    missing_from: Option<String>,
    missing_to: Option<String>,
    /// How often it came since it was last told.
    meanwhile: u64,
}

#[derive(Serialize)]
struct Nothing {}

pub(super) fn of_notice(notice: &Notice<'_>, id: &str, now: Timestamp, options: &Rendering) -> String {
    let first = notice.first;
    let group = Group {
        state: view::state(first.change).name,
        severity: notice.severity().name(),
        rule: &first.rule,
        summary: first.summary.as_deref(),
        runbook: first.runbook.as_deref(),
        at: first.at.to_string(),
        alerts_total: notice.others.len() + 1,
        alerts: notice.transitions().take(ALERTS_MAX).map(alert).collect(),
    };
    write("alert", id, now, options, group)
}

pub(super) fn of_failure(lost: &Message, reason: &str, id: &str, now: Timestamp, options: &Rendering) -> String {
    let content = Undelivered {
        message: &lost.id,
        notifier: &lost.notifier,
        recipient: &lost.recipient,
        subject: &lost.subject,
        reason,
    };
    write("undelivered", id, now, options, content)
}

/// The held notices themselves, as they would have been posted.
pub(super) fn of_digest(held: &[Message], id: &str, now: Timestamp, options: &Rendering) -> String {
    let parsed = held.iter().take(ALERTS_MAX).filter_map(|message| serde_json::from_str(&message.json).ok());
    write("caught_up", id, now, options, Held { notices: parsed.collect(), notices_total: held.len() })
}

pub(super) fn of_trouble(
    kind: TroubleKind,
    tellings: &[Telling],
    id: &str,
    now: Timestamp,
    options: &Rendering,
) -> String {
    let content = Troubles {
        trouble: kind.name(),
        headline: kind.headline(),
        meaning: kind.meaning(),
        remedy: kind.remedy(),
        places_total: tellings.len(),
        places: tellings.iter().take(ALERTS_MAX).map(place).collect(),
    };
    write("trouble", id, now, options, content)
}

pub(super) fn of_test(id: &str, now: Timestamp, options: &Rendering) -> String {
    write("test", id, now, options, Nothing {})
}

fn write<T: Serialize>(kind: &'static str, id: &str, now: Timestamp, options: &Rendering, content: T) -> String {
    let status_page = options.status_page.as_deref();
    let rendered_at = now.to_string();
    let payload =
        Payload { schema_version: 1, kind, id, instance: &options.instance, rendered_at, status_page, content };
    // Texts and numbers always have a JSON form; should that ever change, the receiver still learns of the message.
    serde_json::to_string_pretty(&payload).unwrap_or_else(|error| {
        serde_json::json!({ "schema_version": 1, "kind": kind, "id": id, "error": error.to_string() }).to_string()
    })
}

fn place(telling: &Telling) -> Place<'_> {
    let Telling { trouble, meanwhile } = telling;
    Place {
        place: &trouble.place,
        what: &trouble.what,
        since: trouble.since.to_string(),
        missing_from: trouble.span.map(|(from, _)| from.to_string()),
        missing_to: trouble.span.map(|(_, to)| to.to_string()),
        meanwhile: *meanwhile,
    }
}

fn alert(transition: &Transition) -> Alert<'_> {
    Alert {
        incident: transition.incident.as_deref(),
        sequence: transition.sequence,
        model: &transition.model,
        segment: transition.segment.as_ref().map(|(dimension, value)| Segment { dimension, value }),
        severity: transition.severity.name(),
        state: view::state(transition.change).name,
        reason: match transition.change {
            Change::Ended(End::RuleRemoved) => Some("rule_removed"),
            _ => None,
        },
        since: transition.since.to_string(),
        at: transition.at.to_string(),
        hold_seconds: transition.hold.as_secs_f64(),
        conditions: transition.evidence.iter().map(condition).collect(),
        worst: transition.worst.iter().map(worst).collect(),
    }
}

fn condition(evidence: &Evidence) -> Condition<'_> {
    Condition {
        indicator: evidence.indicator,
        unit: evidence.unit,
        smoothing: &evidence.smoothing,
        value: evidence.value.as_ref().ok().copied(),
        why_no_value: evidence.value.as_ref().err().map(String::as_str),
        bracket: evidence.bracket.map(|(low, high)| [low, high]),
        effective_samples: evidence.n_eff,
        min_samples: evidence.min_samples,
        breach: limits(evidence.bound),
        clear: limits(evidence.clear),
    }
}

fn limits(bound: Bound) -> Limits {
    let (below, above) = match bound {
        Bound::Above(limit) => (None, Some(limit)),
        Bound::Below(limit) => (Some(limit), None),
        Bound::Outside(low, high) => (Some(low), Some(high)),
    };
    Limits { below, above }
}

fn worst(segment: &Contribution) -> Worst<'_> {
    Worst {
        dimension: &segment.dimension,
        value: &segment.value,
        reading: segment.reading,
        effective_samples: segment.n_eff,
    }
}
