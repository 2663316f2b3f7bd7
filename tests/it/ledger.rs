//! The ledger: what receivers got against what they were owed. Each at least once; more than once only where the answer
//! was lost or the process killed before it was noted, and then the same bytes; in order; the end to exactly those who
//! got the beginning; nothing else.

use std::collections::{BTreeMap, BTreeSet};

use modelwatch::notification::Message;

use crate::oracle::{Alerts, Change, Notice, TROUBLE};
use crate::world::{Answer, Attempt, Logged};

const UNDELIVERED: &str = "undelivered.";

/// What happened in the end to the attempts at one message.
#[derive(Clone, Copy)]
struct Fate<'a> {
    message: &'a Message,
    /// The place of the first attempt that was received.
    received: Option<usize>,
    refused: bool,
}

/// Checks all attempts against what was `owed` for the transitions in the log.
pub(crate) fn settle(owed: &BTreeMap<Notice, Alerts>, log: &[Logged], attempts: &[Attempt]) -> Result<(), String> {
    let fates = fates(attempts)?;
    let (failures, notices): (Vec<Fate<'_>>, Vec<Fate<'_>>) =
        fates.into_iter().partition(|fate| fate.message.id.starts_with(UNDELIVERED));
    let mut got: BTreeMap<Notice, (Alerts, Fate<'_>)> = BTreeMap::new();
    for fate in notices {
        let (notice, alerts) = meaning(fate.message, log)?;
        if let Some((_, other)) = got.insert(notice, (alerts, fate)) {
            return Err(format!("one notice under two ids: {} and {}", other.message.id, fate.message.id));
        }
    }
    if let Some((notice, _)) = got.iter().find(|(notice, _)| !owed.contains_key(*notice)) {
        return Err(format!("nobody owed {notice:?}"));
    }
    for (notice, alerts) in owed {
        check(notice, alerts, &got)?;
    }
    in_order(&got)?;
    failures_are_told(&got, &failures, owed)
}

/// The fate of each message, by its id.
fn fates(attempts: &[Attempt]) -> Result<Vec<Fate<'_>>, String> {
    let mut by_id: BTreeMap<&str, Vec<(usize, &Attempt)>> = BTreeMap::new();
    for (place, attempt) in attempts.iter().enumerate() {
        by_id.entry(&attempt.message.id).or_default().push((place, attempt));
    }
    by_id.into_iter().map(|(id, attempts)| fate(id, &attempts)).collect()
}

fn fate<'a>(id: &str, attempts: &[(usize, &'a Attempt)]) -> Result<Fate<'a>, String> {
    let ((_, last), before) = attempts.split_last().expect("an attempt");
    if let Some((_, changed)) = before.iter().find(|(_, attempt)| attempt.message != last.message) {
        return Err(format!("{id} has changed from {:#?} to {:#?}", changed.message, last.message));
    }
    let is_settled = |attempt: &Attempt| attempt.noted && [Answer::Takes, Answer::Refuses].contains(&attempt.answer);
    if before.iter().any(|(_, attempt)| is_settled(attempt)) {
        return Err(format!("{id} was sent again though its answer was known"));
    }
    if !is_settled(last) {
        return Err(format!("{id} was left at {:?}", last.answer));
    }
    let received = attempts.iter().find(|(_, attempt)| attempt.is_received()).map(|(place, _)| *place);
    Ok(Fate { message: &last.message, received, refused: last.answer == Answer::Refuses })
}

/// What a message tells, by the log.
fn meaning(message: &Message, log: &[Logged]) -> Result<(Notice, Alerts), String> {
    let unknown = || format!("no transition belongs to {} {:?}", message.id, message.incidents);
    let mut id = message.id.split('.');
    let (incident, sequence) = (id.next().unwrap_or_default(), id.next().unwrap_or_default());
    let of = |row: &&Logged| row.incident.as_deref() == Some(incident) && row.sequence.to_string() == sequence;
    let first = log.iter().find(of).ok_or_else(unknown)?;
    let mut alerts = Alerts::new();
    for incident in &message.incidents {
        let same = |row: &&Logged| {
            row.incident.as_ref() == Some(incident)
                && (&row.rule, row.at, &row.change) == (&first.rule, first.at, &first.change)
        };
        let row = change(log.iter().find(same).ok_or_else(unknown)?);
        alerts.insert((row.labels, row.since));
    }
    let row = change(first);
    Ok((((message.notifier.clone(), message.recipient.clone()), row.at, row.rule, row.change), alerts))
}

/// A row of the log in the words of the oracle.
pub(crate) fn change(row: &Logged) -> Change {
    Change {
        at: row.at.as_micros() / 1_000_000,
        since: row.since.as_micros() / 1_000_000,
        rule: row.rule.clone(),
        labels: row.labels.clone(),
        change: row.change.clone(),
    }
}

/// Whether the notice was received or refused as it was owed.
fn check(notice: &Notice, owed: &Alerts, got: &BTreeMap<Notice, (Alerts, Fate<'_>)>) -> Result<(), String> {
    let (to, _, rule, change) = notice;
    if TROUBLE.contains(&change.as_str()) {
        return match got.get(notice) {
            Some((alerts, _)) if alerts == owed => Ok(()),
            Some((alerts, _)) => Err(format!("{notice:?} told of {alerts:?} instead of {owed:?}")),
            None => Err(format!("{notice:?} was owed and never tried")),
        };
    }
    let was_told = |alert: &&_| {
        got.iter().any(|((other, _, other_rule, begun), (alerts, fate))| {
            let trouble = TROUBLE.contains(&begun.as_str()) && is_silence(begun) == is_silence(change);
            (other, other_rule) == (to, rule) && trouble && alerts.contains(alert) && fate.received.is_some()
        })
    };
    let told: Alerts = owed.iter().filter(was_told).cloned().collect();
    match got.get(notice) {
        None if told.is_empty() => Ok(()),
        None => Err(format!("{notice:?}: the end was owed of {told:?}")),
        Some((alerts, _)) if told.is_empty() => Err(format!("{notice:?}: the end of {alerts:?} without its beginning")),
        Some((alerts, _)) if alerts.is_superset(&told) && alerts.is_subset(owed) => Ok(()),
        Some((alerts, _)) => Err(format!("{notice:?} told of {alerts:?} instead of {told:?}, at most {owed:?}")),
    }
}

/// Whether a change is one of an alert's silences, which are incidents of their own.
fn is_silence(change: &str) -> bool {
    ["no data", "labels late", "data back"].contains(&change)
}

/// To each receiver, what there is to say of one incident comes in the order in which it happened.
fn in_order(got: &BTreeMap<Notice, (Alerts, Fate<'_>)>) -> Result<(), String> {
    let mut last: BTreeMap<_, (usize, &str)> = BTreeMap::new();
    // By receiver, then by time.
    for ((to, _, rule, change), (alerts, fate)) in got {
        let Some(place) = fate.received else { continue };
        for alert in alerts {
            let before = last.insert((to, rule, is_silence(change), alert.clone()), (place, &fate.message.id));
            if let Some((_, id)) = before.filter(|(before, _)| *before > place) {
                return Err(format!("{} has overtaken {id}", fate.message.id));
            }
        }
    }
    Ok(())
}

/// Everybody else is told of what was refused, and of nothing else.
fn failures_are_told(
    got: &BTreeMap<Notice, (Alerts, Fate<'_>)>,
    failures: &[Fate<'_>],
    owed: &BTreeMap<Notice, Alerts>,
) -> Result<(), String> {
    let receivers: BTreeSet<&(String, String)> = owed.keys().map(|(to, ..)| to).collect();
    let mut expected = BTreeSet::new();
    for ((to, ..), (_, fate)) in got.iter().filter(|(_, (_, fate))| fate.refused) {
        let others = receivers.iter().filter(|other| **other != to);
        expected.extend(others.map(|other| ((*other).clone(), fate.message.id.clone())));
    }
    let told = failures.iter().map(|fate| {
        let Message { notifier, recipient, id, .. } = fate.message;
        let about = id.trim_start_matches(UNDELIVERED).rsplit_once('.').map_or("", |(about, _)| about);
        ((notifier.clone(), recipient.clone()), about.to_owned())
    });
    let told: BTreeSet<_> = told.filter(|(to, _)| receivers.contains(to)).collect();
    if expected == told { Ok(()) } else { Err(format!("failures: expected {expected:?}, got {told:?}")) }
}
