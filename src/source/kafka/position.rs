//! How far one partition is read, and whether that is its end.

use std::time::{Duration, Instant};

use crate::source::Anchor;

/// A partition that has records, none of them queued, and brings none for so long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// A partition of which living brokers say nothing for so long may no longer be there.
pub(super) const SILENT_AFTER: Duration = Duration::from_secs(15);

/// What the client's statistics say of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Observation {
    /// The offset after the last record that readers may see.
    pub(super) log_end: i64,
    /// The offset that the client fetches next.
    pub(super) next_fetch: i64,
    /// Whether the client holds no record that we have not seen.
    pub(super) queue_empty: bool,
    /// Whether its broker has answered a moment ago.
    pub(super) live: bool,
    /// Whether any broker has, which might know that the partition is gone.
    pub(super) cluster_live: bool,
}

/// How far one partition is read.
#[derive(Clone, Debug)]
pub(super) struct Position {
    /// The first offset.
    pub(super) start: i64,
    /// The next offset.
    pub(super) next: i64,
    /// Where a range ends.
    pub(super) end: Option<i64>,
    at_end: bool,
    lagging_since: Option<Instant>,
    /// Where the partition ended when that was last known.
    pub(super) log_end: Option<i64>,
    /// By which the partition is known again.
    pub(super) anchor: Option<Anchor>,
    /// Takes the place of the anchor when that is known again: a younger one proves nothing, it may be of a new topic.
    candidate: Option<Anchor>,
    /// Since when brokers that live say nothing of it.
    silent_since: Option<Instant>,
    /// Metadata says that it is no longer there.
    pub(super) vanished: bool,
}

impl Position {
    pub(super) fn new(start: i64, end: Option<i64>) -> Position {
        Position {
            start,
            next: start,
            end,
            at_end: false,
            lagging_since: None,
            log_end: None,
            anchor: None,
            candidate: None,
            silent_since: None,
            vanished: false,
        }
    }

    /// Takes a record; whether it is to be delivered. It is not if it came before, or lies behind the range.
    pub(super) fn take(&mut self, offset: i64) -> bool {
        self.lagging_since = None;
        if let Some(end) = self.end.filter(|end| offset >= *end) {
            self.next = self.next.max(end);
            return false;
        }
        if offset < self.next {
            return false;
        }
        self.next = offset + 1;
        self.at_end = false;
        true
    }

    /// Goes on elsewhere.
    pub(super) fn jump(&mut self, next: i64) {
        let (start, anchor, candidate) = (self.start.min(next), self.anchor, self.candidate);
        let kept = |anchor: &Anchor| anchor.offset < next;
        *self = Position {
            next,
            log_end: self.log_end,
            anchor: anchor.filter(kept),
            candidate: candidate.filter(kept),
            vanished: self.vanished,
            ..Position::new(start, self.end)
        };
    }

    /// Begins anew in another topic of the same name.
    pub(super) fn begin_anew(&mut self, next: i64) {
        *self = Position { start: self.start.min(next), next, ..Position::new(next, self.end) };
    }

    /// Whether a record shall be remembered that comes now.
    pub(super) fn wants_anchor(&self) -> bool {
        self.anchor.is_none() || self.candidate.is_none()
    }

    /// Remembers a record.
    pub(super) fn remember(&mut self, anchor: Anchor) {
        let place = if self.anchor.is_none() { &mut self.anchor } else { &mut self.candidate };
        *place = Some(anchor);
    }

    /// The anchor was looked up, and the partition is the one that was read; `found` if the anchor was.
    pub(super) fn known_again(&mut self, found: bool) {
        match (self.candidate.take(), found) {
            (Some(younger), _) => self.anchor = Some(younger),
            (None, true) => {}
            (None, false) => self.anchor = None,
        }
    }

    /// Learns from statistics that were made after the last record was taken.
    pub(super) fn observe(&mut self, seen: Observation, now: Instant) {
        let silent = seen.cluster_live && (!seen.live || seen.log_end < 0);
        self.silent_since = silent.then(|| self.silent_since.unwrap_or(now));
        if !seen.live || seen.log_end < 0 {
            self.at_end = false;
            self.lagging_since = None;
            return;
        }
        self.vanished = false;
        self.log_end = Some(seen.log_end);
        // The last offsets of a partition may be no records, but the marks of transactions.
        if seen.queue_empty && seen.next_fetch == seen.log_end {
            self.next = self.next.max(seen.next_fetch);
        }
        self.at_end = self.next >= seen.log_end;
        let lagging = seen.queue_empty && !self.at_end && !self.is_finished();
        self.lagging_since = lagging.then(|| self.lagging_since.unwrap_or(now));
    }

    /// Whether all of the range is read.
    pub(super) fn is_finished(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }

    /// Whether there is nothing more, for now or for good.
    pub(super) fn is_at_end(&self) -> bool {
        self.at_end || self.vanished || self.is_finished()
    }

    /// Whether living brokers say nothing of it.
    pub(super) fn is_silent(&self) -> bool {
        self.silent_since.is_some()
    }

    /// For how long living brokers say nothing of it, if that is long enough to ask whether it is still there.
    pub(super) fn silence(&self, now: Instant) -> Option<Duration> {
        let lasted = now.saturating_duration_since(self.silent_since?);
        (lasted >= SILENT_AFTER).then_some(lasted)
    }

    /// Whether records that are there do not come.
    pub(super) fn is_stuck(&self, now: Instant) -> bool {
        self.lagging_since.is_some_and(|since| now.saturating_duration_since(since) >= STUCK_AFTER)
    }

    /// Records read and to be read, if there is an end.
    pub(super) fn progress(&self) -> (u64, u64) {
        let end = self.end.unwrap_or(self.next);
        let length = |to: i64| u64::try_from(to - self.start).unwrap_or(0);
        (length(self.next.min(end)), length(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(log_end: i64, next_fetch: i64, queue_empty: bool) -> Observation {
        Observation { log_end, next_fetch, queue_empty, live: true, cluster_live: true }
    }

    #[test]
    fn the_end_is_known_until_the_next_record() {
        let now = Instant::now();
        let mut position = Position::new(5, None);
        position.observe(seen(7, 7, false), now);
        assert!(!position.is_at_end());
        assert!(position.take(5) && position.take(6) && !position.take(6));
        assert!(!position.is_at_end(), "only a later statistic can tell");
        position.observe(seen(7, 7, false), now);
        assert!(position.is_at_end());
        position.observe(Observation { live: false, ..seen(7, 7, true) }, now);
        assert!(!position.is_at_end(), "a broker that is gone says nothing");
        position.observe(seen(7, 7, true), now);
        position.take(7);
        assert!(!position.is_at_end());
    }

    #[test]
    fn marks_of_transactions_are_stepped_over() {
        let mut position = Position::new(5, Some(7));
        position.take(5);
        position.observe(seen(7, 7, false), Instant::now());
        assert!(!position.is_at_end(), "6 may still be queued");
        position.observe(seen(7, 7, true), Instant::now());
        assert!(position.is_at_end() && position.is_finished());
        assert_eq!(position.next, 7);
    }

    #[test]
    fn a_range_ends_before_its_end() {
        let mut position = Position::new(5, Some(7));
        assert!(position.take(5) && !position.is_finished() && !position.take(9));
        assert!(position.is_finished());
        assert_eq!(position.progress(), (2, 2));
        assert!(Position::new(7, Some(7)).is_finished());
    }

    #[test]
    fn stuck_is_lag_with_nothing_queued_for_a_minute() {
        let now = Instant::now();
        let mut position = Position::new(5, None);
        position.observe(seen(7, 5, true), now);
        assert!(!position.is_stuck(now + STUCK_AFTER / 2));
        position.observe(seen(8, 5, true), now + STUCK_AFTER / 2);
        assert!(position.is_stuck(now + STUCK_AFTER));
        position.observe(seen(8, 5, false), now);
        assert!(!position.is_stuck(now + STUCK_AFTER));
    }

    #[test]
    fn a_partition_of_which_living_brokers_say_nothing_may_be_gone() {
        let now = Instant::now();
        let after = |seconds: u64| now + Duration::from_secs(seconds);
        let nothing = |cluster_live: bool| Observation { live: false, cluster_live, ..seen(-1, 5, true) };
        let mut position = Position::new(5, None);
        position.observe(nothing(false), now);
        assert_eq!(position.silence(after(3_600)), None, "dead brokers say nothing of anything");
        position.observe(nothing(true), now);
        assert_eq!(position.silence(after(14)), None);
        position.observe(nothing(true), after(14));
        assert_eq!(position.silence(after(15)), Some(Duration::from_secs(15)));
        position.vanished = true;
        assert!(position.is_at_end(), "nobody waits for it");
        position.observe(seen(8, 5, false), after(20));
        assert!(!position.vanished && !position.is_at_end() && position.silence(after(99)).is_none(), "it is back");
    }

    #[test]
    fn a_younger_anchor_waits_until_the_older_one_is_known_again() {
        let anchor = |offset: i64| Anchor { offset, millis: 0, hash: 0 };
        let mut position = Position::new(5, None);
        position.remember(anchor(5));
        position.remember(anchor(6));
        assert!(!position.wants_anchor() && position.anchor == Some(anchor(5)));
        position.known_again(true);
        assert!(position.wants_anchor() && position.anchor == Some(anchor(6)));
        position.known_again(true);
        assert_eq!(position.anchor, Some(anchor(6)), "there is no younger one");
        position.known_again(false);
        assert_eq!(position.anchor, None, "it is gone from the partition");
        position.remember(anchor(9));
        position.jump(9);
        assert_eq!(position.anchor, None, "it was cut off");
        position.remember(anchor(9));
        position.begin_anew(0);
        assert!(position.anchor.is_none() && position.next == 0 && position.start == 0);
    }
}
