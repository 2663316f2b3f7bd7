//! Notices of foreign names, sentences and numbers: every message is fit to be sent, whatever is in it.

use std::sync::LazyLock;
use std::time::Duration;

use jiff::tz::TimeZone;
use modelwatch::alert::{Change, Contribution, End, Evidence, Silence, Transition};
use modelwatch::clock::Timestamp;
use modelwatch::notification::{Message, Receiver, Rendering, delivery_failure, digest, notices, render, test_notice};
use modelwatch::rule::{Bound, Severity};

use super::given::Given;

/// The templates: what they do not hold must not be a tag.
const TEMPLATE: &str = include_str!("../../src/notification/mail.html");
/// Most bytes of a mail's body: 20 alerts of 4 foreign texts of 200 characters, each escaped, is far less.
const MOST_BYTES: usize = 400_000;

/// Checks all messages of one set of transitions.
pub fn check(data: &[u8]) -> bool {
    let mut given = Given::new(data);
    let options = Rendering {
        zone: TimeZone::UTC,
        status_page: (given.byte() % 2 == 1).then(|| given.text()),
        instance: given.text(),
    };
    let receiver = Receiver { notifier: "oncall".to_owned(), recipient: "a@example.org".to_owned() };
    let now = time(&mut given);
    let reason = given.text();
    let base = transition(&mut given);
    let mut transitions = vec![base.clone()];
    while !given.is_empty() && transitions.len() < 30 {
        // Mostly of the same rule and change, so that they are grouped.
        transitions.push(if given.byte() < 8 { transition(&mut given) } else { sibling(&base, &mut given) });
    }
    let mut held = Vec::new();
    for notice in notices(&transitions) {
        let message = render(&notice, &receiver, now, &options);
        check_message(&message);
        if held.len() < 2 {
            check_message(&delivery_failure(&message, &reason, &receiver, now, &options));
        }
        held.push(message);
    }
    if let Some(digest) = digest(&held, &receiver, now, &options) {
        check_message(&digest);
    }
    check_message(&test_notice(&receiver, now, &options));
    !held.is_empty()
}

fn time(given: &mut Given<'_>) -> Timestamp {
    Timestamp::from_micros(i64::from_le_bytes(given.bytes()))
}

fn number(given: &mut Given<'_>) -> f64 {
    f64::from_le_bytes(given.bytes())
}

fn bound(given: &mut Given<'_>) -> Bound {
    match given.byte() % 3 {
        0 => Bound::Above(number(given)),
        1 => Bound::Below(number(given)),
        _ => Bound::Outside(number(given), number(given)),
    }
}

fn change(given: &mut Given<'_>) -> Change {
    [
        Change::Fired,
        Change::Repeated,
        Change::Resolved,
        Change::NoData(Silence::Predictions),
        Change::NoData(Silence::Labels),
        Change::DataBack,
        Change::Ended(End::RuleRemoved),
        Change::Pending,
    ][usize::from(given.byte() % 8)]
}

fn evidence(given: &mut Given<'_>) -> Evidence {
    let kind = given.byte();
    Evidence {
        indicator: "rmse",
        unit: if kind & 1 == 0 { "" } else { "s" },
        smoothing: "half_life 30m".to_owned(),
        value: if kind & 2 == 0 { Ok(number(given)) } else { Err(given.text()) },
        bracket: (kind & 4 != 0).then(|| (number(given), number(given))),
        n_eff: number(given),
        bound: bound(given),
        clear: bound(given),
        min_samples: number(given),
    }
}

fn optional(wanted: bool, given: &mut Given<'_>) -> Option<String> {
    wanted.then(|| given.text())
}

fn segment(wanted: bool, given: &mut Given<'_>) -> Option<(String, String)> {
    wanted.then(|| (given.text(), given.text()))
}

fn transition(given: &mut Given<'_>) -> Transition {
    let kind = given.byte();
    let [conditions, worst] = [given.byte() % 3, given.byte() % 8];
    Transition {
        rule: given.text(),
        model: given.text(),
        segment: segment(kind & 1 != 0, given),
        severity: Severity::ALL[usize::from(kind >> 6) % 3].1,
        change: change(given),
        at: time(given),
        since: time(given),
        hold: Duration::from_secs(u64::from_le_bytes(given.bytes())),
        incident: optional(kind & 2 != 0, given),
        sequence: u32::from(given.byte()),
        evidence: (0..conditions).map(|_| evidence(given)).collect(),
        worst: (0..worst).map(|_| contribution(given)).collect(),
        runbook: optional(kind & 4 != 0, given),
        summary: optional(kind & 8 != 0, given),
        notify: vec!["oncall".to_owned()],
    }
}

fn contribution(given: &mut Given<'_>) -> Contribution {
    Contribution { dimension: given.text(), value: given.text(), reading: number(given), n_eff: number(given) }
}

/// Another series of the same rule, in the same notice.
fn sibling(base: &Transition, given: &mut Given<'_>) -> Transition {
    Transition {
        model: given.text(),
        segment: segment(true, given),
        incident: Some(given.text()),
        evidence: vec![evidence(given)],
        ..base.clone()
    }
}

/// What every message is, whatever it tells of.
pub fn check_message(message: &Message) {
    check_id(&message.id);
    message.thread.iter().flat_map(|thread| thread.split(' ')).for_each(check_id);
    let subject = message.subject.chars().count();
    assert!((1..=70).contains(&subject) && is_line(&message.subject), "{subject}: {:?}", message.subject);
    for (name, value) in &message.headers {
        assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-'), "{name:?}");
        assert!(value.chars().count() <= 200 && is_line(value), "{name}: {value:?}");
    }
    assert!(message.text.lines().all(is_line), "{:?}", message.text);
    assert!(message.html.starts_with("<!doctype html>"), "the template failed: {}", message.html);
    assert!(message.text.len() <= MOST_BYTES && message.html.len() <= MOST_BYTES);
    check_html(&message.html);
    let json: serde_json::Value = serde_json::from_str(&message.json).expect("JSON");
    assert_eq!(json["id"], message.id);
}

/// The left part of a Message-ID (RFC 5322, dot-atom), short enough for one line of a header.
fn check_id(id: &str) {
    assert!(id.split('.').all(|part| !part.is_empty()), "{id:?}");
    assert!(id.chars().all(|c| matches!(c, '0'..='9' | 'a'..='z' | '.' | '-')), "{id:?}");
    assert!(id.len() <= 200, "{id:?}");
}

/// No control character, none that breaks a line, none that reorders or hides text.
fn is_line(text: &str) -> bool {
    !text.chars().any(|c| {
        c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    })
}

/// Every tag is one of the template's, closed in the right order; every `&` begins an entity that the template engine writes.
fn check_html(html: &str) {
    let (_, body) = html.split_once("</style>").expect("the template's head");
    let mut open = Vec::new();
    for after in body.split('<').skip(1) {
        let (tag, text) = after.split_once('>').unwrap_or_else(|| panic!("a tag without end: {after:?}"));
        assert!(is_of_template(tag), "not of the template: <{tag}>");
        assert!(!text.contains('>'), "a `>` in {text:?}");
        let name = tag.split(' ').next().unwrap_or_default();
        match name.strip_prefix('/') {
            Some(name) if ["head", "html"].contains(&name) && open.is_empty() => {}
            Some(name) => assert_eq!(open.pop(), Some(name), "closed in the wrong order"),
            None if name == "br" => {}
            None => open.push(name),
        }
    }
    assert_eq!(open, Vec::<&str>::new(), "not closed");
    for after in body.split('&').skip(1) {
        let known = ["lt;", "gt;", "amp;", "quot;", "#x27;", "#x2f;"];
        assert!(known.iter().any(|entity| after.starts_with(entity)), "no entity: &{:.20}", after);
    }
}

/// What stands before and behind `{{ }}` in each tag of the template that has one; the others whole, with nothing behind.
static TAGS: LazyLock<Vec<(&str, Option<&str>)>> = LazyLock::new(|| {
    let tags = TEMPLATE.split('<').skip(1).filter_map(|after| after.split_once('>')).map(|(tag, _)| tag);
    let cut = |tag: &'static str| match tag.split_once("{{") {
        Some((before, after)) => (before, after.split_once("}}").map(|(_, after)| after)),
        None => (tag, None),
    };
    let mut tags: Vec<_> = tags.map(cut).collect();
    tags.sort_unstable();
    tags.dedup();
    tags
});

/// Whether the template has this tag, `{{ }}` standing for anything that ends no attribute.
fn is_of_template(tag: &str) -> bool {
    TAGS.iter().any(|(before, after)| match after {
        None => tag == *before,
        Some(after) => {
            let inside = tag.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            inside.is_some_and(|inside| !inside.contains(['"', '<', '>']))
        }
    })
}
