//! Troubles on their way to people: gathered, counted, logged, and the same one told at most once an hour.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::{info, warn};

use crate::clock::Timestamp;
use crate::metrics::TROUBLES;
use crate::notification::{self, Message, Receiver, Rendering, Telling, Trouble, TroubleKind};
use crate::source::{Cause, Fault, Gap, Partition, PartitionIndex};
use crate::state::NotedTrouble;

/// The same trouble at the same place is told at most this often.
pub(super) const AGAIN_AFTER: Duration = Duration::from_secs(3_600);
/// Most places that are remembered; a trouble at one more is counted and logged, not told.
const PLACES_MAX: usize = 10_000;
/// Most troubles that wait for a commit to be logged; one more is counted only.
const NOTED_MAX: usize = 10_000;

/// What is wrong, and who was told of it when.
#[derive(Debug, Default)]
pub struct Troubles {
    told: BTreeMap<(TroubleKind, String), Told>,
    due: Vec<Telling>,
    noted: Vec<NotedTrouble>,
}

#[derive(Debug)]
struct Told {
    at: Timestamp,
    /// How often it came since.
    meanwhile: u64,
}

impl Troubles {
    /// Nothing is wrong. `told` is what an earlier process has told lately: kind, place and when.
    pub fn new(told: Vec<(TroubleKind, String, Timestamp)>) -> Troubles {
        // Those that watch the watcher must see a first trouble as an increase.
        TroubleKind::ALL.iter().for_each(|kind| metrics::counter!(TROUBLES.name, "kind" => kind.name()).increment(0));
        let told = told.into_iter().map(|(kind, place, at)| ((kind, place), Told { at, meanwhile: 0 }));
        Troubles { told: told.collect(), ..Troubles::default() }
    }

    /// Takes note of a trouble, to be told with the next commit unless it was told a while ago.
    pub fn note(&mut self, trouble: Trouble, now: Timestamp) {
        let telling = self.count(trouble, now);
        self.due.extend(telling);
    }

    /// Takes note of a trouble that the caller tells; `None` if it was told a while ago.
    pub(super) fn count(&mut self, trouble: Trouble, now: Timestamp) -> Option<Telling> {
        metrics::counter!(TROUBLES.name, "kind" => trouble.kind.name()).increment(1);
        let meanwhile = self.is_due(&trouble, now);
        let (headline, Trouble { place, what, since, .. }) = (trouble.kind.headline(), &trouble);
        match meanwhile {
            Some(_) => warn!(place, %since, "{headline}: {what}"),
            None => info!(place, %since, "{headline}, again: {what}"),
        }
        if self.noted.len() < NOTED_MAX {
            self.noted.push(NotedTrouble { trouble: trouble.clone(), at: now, told: meanwhile.is_some() });
        }
        meanwhile.map(|meanwhile| Telling { trouble, meanwhile })
    }

    /// How often it came since it was told; `None` if it is too early to tell it again. A clock that was put back makes
    /// nothing wait.
    fn is_due(&mut self, trouble: &Trouble, now: Timestamp) -> Option<u64> {
        let recent = |told: &Told| told.at <= now && now.since(told.at) < AGAIN_AFTER;
        let place = (trouble.kind, trouble.place.clone());
        if let Some(told) = self.told.get_mut(&place) {
            if recent(told) {
                told.meanwhile += 1;
                return None;
            }
            let meanwhile = told.meanwhile;
            *told = Told { at: now, meanwhile: 0 };
            return Some(meanwhile);
        }
        if self.told.len() >= PLACES_MAX {
            self.told.retain(|_, told| recent(told));
        }
        let has_room = self.told.len() < PLACES_MAX;
        if has_room {
            self.told.insert(place, Told { at: now, meanwhile: 0 });
        }
        has_room.then_some(0)
    }

    /// The messages for what is due, one a kind and receiver. What is due is none after that.
    pub(super) fn take_messages(&mut self, to: &[Receiver], now: Timestamp, rendering: &Rendering) -> Vec<Message> {
        messages(std::mem::take(&mut self.due), to, now, rendering)
    }

    /// What a commit has to log.
    pub fn noted(&self) -> &[NotedTrouble] {
        &self.noted
    }

    /// A commit has logged all of it.
    pub(super) fn committed(&mut self) {
        self.noted.clear();
    }
}

/// What people are told of a gap in the records of `partition`; `span` as in [`Trouble::records_lost`].
pub(super) fn of_gap(
    gap: &Gap,
    partition: &Partition,
    span: Option<(Timestamp, Timestamp)>,
    now: Timestamp,
) -> Option<Trouble> {
    let (place, offsets) = (format!("{}/{}", partition.topic, partition.number), (gap.from, gap.to));
    match gap.cause {
        Cause::Deleted => Some(Trouble::records_lost(&place, offsets, span, now)),
        Cause::Truncated => Some(Trouble::partition_cut_back(&place, offsets, now)),
        Cause::Recreated => Some(Trouble::topic_recreated(&place, offsets, now)),
        // Of files, whose reader sees it.
        Cause::Oversize | Cause::Malformed => None,
    }
}

/// What people are told of a fault of the source. `place` names a partition, and gives the next offset to read there.
pub(super) fn of_fault(
    fault: &Fault,
    place: impl FnOnce(PartitionIndex) -> Option<(Partition, i64)>,
    now: Timestamp,
) -> Option<Trouble> {
    Some(match fault {
        Fault::Vanished { partition, lasted } => {
            let (Partition { topic, number }, next) = place(*partition)?;
            Trouble::vanished(&format!("{topic}/{number}"), next, now.minus(*lasted))
        }
        Fault::ForeignConsumer { group, evidence } => Trouble::foreign_consumer(group, evidence, now),
        Fault::Renewed { reason } => Trouble::client_renewed(reason, now),
        Fault::Unreachable { brokers, lasted } => Trouble::broker_unreachable(brokers, now.minus(*lasted)),
    })
}

/// Those of `receivers` that are told of trouble; all if nothing is configured.
pub(super) fn receivers(receivers: &[Receiver], configured: Option<&[String]>) -> Vec<Receiver> {
    let is_told = |receiver: &&Receiver| configured.is_none_or(|names| names.contains(&receiver.notifier));
    receivers.iter().filter(is_told).cloned().collect()
}

/// The messages that tell everybody in `to`, one a kind and receiver.
pub(super) fn messages(tellings: Vec<Telling>, to: &[Receiver], now: Timestamp, rendering: &Rendering) -> Vec<Message> {
    let mut by_kind: BTreeMap<TroubleKind, Vec<Telling>> = BTreeMap::new();
    for telling in tellings {
        by_kind.entry(telling.trouble.kind).or_default().push(telling);
    }
    let of = |tellings: &Vec<Telling>| {
        to.iter()
            .filter_map(|receiver| notification::trouble_notice(tellings, receiver, now, rendering))
            .collect::<Vec<_>>()
    };
    by_kind.values().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_secs(1_000_000 + 60 * minute)
    }

    fn trouble(place: &str) -> Trouble {
        Trouble::client_renewed(place, at(0))
    }

    fn receivers(names: &[&str]) -> Vec<Receiver> {
        names.iter().map(|name| Receiver { notifier: (*name).to_owned(), recipient: (*name).to_owned() }).collect()
    }

    fn rendering() -> Rendering {
        Rendering { zone: jiff::tz::TimeZone::UTC, status_page: None, instance: "here".to_owned() }
    }

    /// Each step: the minute, and what is told of it: how often it came meanwhile.
    #[track_caller]
    fn check(mut troubles: Troubles, steps: &[(i64, Option<u64>)]) {
        for (minute, expected) in steps {
            let told = troubles.count(trouble("stuck"), at(*minute));
            assert_eq!(told.map(|telling| telling.meanwhile), *expected, "at minute {minute}");
        }
        assert_eq!(troubles.noted().len(), steps.len(), "all are logged");
    }

    #[test]
    fn the_same_trouble_is_told_once_an_hour() {
        check(Troubles::default(), &[(0, Some(0)), (1, None), (59, None), (60, Some(2)), (61, None), (200, Some(1))]);
    }

    #[test]
    fn an_hour_does_not_begin_anew_at_a_restart() {
        let told = vec![(TroubleKind::ClientRenewed, trouble("stuck").place, at(0))];
        check(Troubles::new(told), &[(30, None), (60, Some(1))]);
    }

    #[test]
    fn a_clock_that_is_put_back_hides_nothing() {
        check(Troubles::default(), &[(600, Some(0)), (0, Some(0)), (1, None)]);
    }

    #[test]
    fn another_place_is_another_trouble_and_one_kind_is_one_message() {
        let mut troubles = Troubles::default();
        for partition in ["t/0", "t/1", "t/0"] {
            troubles.note(Trouble::vanished(partition, 5, at(0)), at(0));
        }
        troubles.note(Trouble::topic_recreated("t/0", (5, 0), at(0)), at(0));
        let messages = troubles.take_messages(&receivers(&["a", "b"]), at(0), &rendering());
        let told: Vec<String> = messages.iter().map(|m| format!("{} {}", m.notifier, m.subject)).collect();
        assert_eq!(
            told,
            [
                "a [TROUBLE] topic recreated: t/0",
                "b [TROUBLE] topic recreated: t/0",
                "a [TROUBLE] topic vanished: t/0 +1 more",
                "b [TROUBLE] topic vanished: t/0 +1 more",
            ]
        );
        assert!(troubles.take_messages(&receivers(&["a"]), at(0), &rendering()).is_empty());
        assert_eq!(troubles.noted().iter().map(|noted| noted.told).collect::<Vec<_>>(), [true, true, false, true]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut troubles = Troubles::default();
        let mut tell = |number: usize, minute: i64| {
            let place = Trouble { place: number.to_string(), ..trouble("stuck") };
            troubles.count(place, at(minute)).is_some()
        };
        assert!((0..PLACES_MAX).all(|number| tell(number, 0)));
        assert!(!tell(PLACES_MAX, 1), "no room");
        assert!(tell(PLACES_MAX, 61), "those of an hour ago make room");
    }
}
