//! Transitions as the core would give them.

use std::time::Duration;

use jiff::tz::{Offset, TimeZone};
use modelwatch::alert::{Change, Contribution, Evidence, Transition};
use modelwatch::clock::Timestamp;
use modelwatch::notification::{Message, Receiver, Rendering, notices, render};
use modelwatch::rule::{Bound, Severity};

/// 2026-01-31 08:00:00 in the zone of [`rendering`].
pub(super) const EIGHT: Timestamp = Timestamp::from_secs(1_769_842_800);

pub(super) fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}

pub(super) fn rendering() -> Rendering {
    // A fixed zone: the test must not depend on the machine's zone database.
    let zone = TimeZone::fixed(Offset::constant(1));
    Rendering { zone, status_page: Some("https://watch.example.org/".to_owned()), instance: "watch-1".to_owned() }
}

pub(super) fn receiver(recipient: &str) -> Receiver {
    Receiver { notifier: "oncall".to_owned(), recipient: recipient.to_owned() }
}

pub(super) fn evidence(value: f64) -> Evidence {
    Evidence {
        indicator: "rmse",
        unit: "",
        smoothing: "half_life 30m".to_owned(),
        value: Ok(value),
        bracket: None,
        n_eff: 812.4,
        bound: Bound::Above(4.0),
        clear: Bound::Above(3.6),
        min_samples: 200.0,
    }
}

pub(super) fn transition(change: Change) -> Transition {
    let segment = |value: &str, reading: f64, n_eff: f64| Contribution {
        dimension: "region".to_owned(),
        value: value.to_owned(),
        reading,
        n_eff,
    };
    Transition {
        rule: "eta-rmse".to_owned(),
        model: "eta".to_owned(),
        segment: None,
        severity: Severity::Critical,
        change,
        at: EIGHT.plus(minutes(10)),
        since: EIGHT,
        hold: minutes(10),
        incident: Some("eta-rmse-20260131t0710-7f3a".to_owned()),
        sequence: 1,
        evidence: vec![evidence(5.3123)],
        worst: vec![segment("eu", 6.912, 301.0), segment("us-west", 4.2, 88.6), segment("apac", 3.01, 422.0)],
        runbook: Some("https://wiki.example.org/runbooks/eta?from=mail&lang=en".to_owned()),
        summary: Some("Arrival times shown to riders are off; dispatch falls back to distance.".to_owned()),
        notify: vec!["oncall".to_owned()],
    }
}

/// The same rule in another region.
pub(super) fn in_region(number: usize) -> Transition {
    let region = format!("r{number:02}");
    Transition {
        segment: Some(("region".to_owned(), region.clone())),
        incident: Some(format!("eta-rmse-20260131t0710-{region}")),
        evidence: vec![evidence(4.0 + number as f64 / 8.0)],
        worst: Vec::new(),
        ..transition(Change::Fired)
    }
}

/// The one message that `transitions` give, as of two minutes after they happened.
#[track_caller]
pub(super) fn message(transitions: &[Transition], recipient: &str) -> Message {
    let notices = notices(transitions);
    let [notice] = notices.as_slice() else { panic!("{} notices", notices.len()) };
    render(notice, &receiver(recipient), EIGHT.plus(minutes(12)), &rendering())
}
