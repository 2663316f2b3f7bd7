//! How far one partition is read, and whether that is its end.

use std::time::{Duration, Instant};

/// A partition that has records, none of them queued, and brings none for so long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(60);

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
}

impl Position {
    pub(super) fn new(start: i64, end: Option<i64>) -> Position {
        Position { start, next: start, end, at_end: false, lagging_since: None }
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
        *self = Position { start: self.start.min(next), next, end: self.end, at_end: false, lagging_since: None };
    }

    /// Learns from statistics that were made after the last record was taken.
    pub(super) fn observe(&mut self, seen: Observation, now: Instant) {
        if !seen.live || seen.log_end < 0 {
            self.at_end = false;
            self.lagging_since = None;
            return;
        }
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
        self.at_end || self.is_finished()
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
        Observation { log_end, next_fetch, queue_empty, live: true }
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
}
