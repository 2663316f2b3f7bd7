//! What is due: looking up partitions, searching those that are silent, looking into the group, crying for a broker.

use std::time::{Duration, Instant};

use hashbrown::HashMap;
use rdkafka::statistics::Statistics;

use super::observe::{self, Index};
use super::position::Position;
use crate::source::{Anchor, Fault};

/// Partitions are looked up at most this often.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Partitions that are silent are searched at most this often.
const SEARCH_EVERY: Duration = Duration::from_secs(5);
/// Brokers of which nothing is heard for so long are told as unreachable ...
const UNREACHABLE_AFTER: Duration = Duration::from_secs(300);
/// ... and again after so long.
const CRY_EVERY: Duration = Duration::from_secs(3_600);
/// The client's clocks for the age of metadata and for statistics differ by less than this.
const AGE_SLACK_MILLIS: i64 = 50;

/// What was done when, and what asks for it to be done again.
#[derive(Debug)]
pub(super) struct Watch {
    refresh_every: Duration,
    /// The anchors that are being looked up, by number of the partition.
    pub(super) checking: Option<Vec<(usize, Anchor)>>,
    /// Metadata was fetched, or a partition spoke again: it may be another one.
    check_due: bool,
    checked_at: Instant,
    searched_at: Instant,
    group_at: Instant,
    /// When a broker last sent something.
    heard_at: Instant,
    cried_at: Option<Instant>,
    /// When statistics were made, in their own microseconds, and how old metadata was then in milliseconds, by topic.
    metadata: (i64, HashMap<String, i64>),
    /// More is known of partitions than we have told.
    pub(super) news: bool,
}

impl Watch {
    pub(super) fn new(refresh_every: Duration) -> Watch {
        let now = Instant::now();
        Watch {
            refresh_every,
            checking: None,
            check_due: false,
            checked_at: now,
            searched_at: now,
            group_at: now,
            heard_at: now,
            cried_at: None,
            metadata: (0, HashMap::new()),
            news: false,
        }
    }

    /// Takes note of what the statistics say, also of the positions.
    pub(super) fn observe(&mut self, statistics: &Statistics, index: &Index, positions: &mut [Position]) {
        let silent: Vec<bool> = positions.iter().map(Position::is_silent).collect();
        observe::observe(statistics, index, positions);
        let spoke = silent.iter().zip(positions.iter()).any(|(was_silent, now)| *was_silent && !now.is_silent());
        self.check_due |= spoke || self.is_refreshed(statistics);
        self.metadata = (statistics.ts, observe::metadata_ages(statistics));
        if let Some(heard) = observe::silence_of_all(statistics).and_then(|silence| Instant::now().checked_sub(silence))
        {
            self.heard_at = self.heard_at.max(heard);
        }
        self.news = true;
    }

    /// Whether metadata of a topic is younger than it would be by itself.
    fn is_refreshed(&self, statistics: &Statistics) -> bool {
        let (at, ages) = &self.metadata;
        let passed = (statistics.ts - at) / 1_000;
        let younger =
            |(name, age): (&String, i64)| ages.get(name).is_some_and(|then| age + AGE_SLACK_MILLIS < then + passed);
        statistics.topics.iter().map(|(name, topic)| (name, topic.metadata_age)).any(younger)
    }

    /// Whether partitions are to be looked up now; they are at once `if_lost`.
    pub(super) fn is_check_due(&mut self, if_lost: bool) -> bool {
        let is_due = (self.check_due || if_lost) && self.checked_at.elapsed() >= CHECK_EVERY;
        if is_due {
            (self.check_due, self.checked_at) = (false, Instant::now());
        }
        is_due
    }

    /// Partitions could not be looked up as they should.
    pub(super) fn check_again(&mut self) {
        self.check_due = true;
    }

    /// Whether silent partitions are to be searched now.
    pub(super) fn is_search_due(&mut self, now: Instant) -> bool {
        is_due(&mut self.searched_at, now, SEARCH_EVERY)
    }

    /// Whether the group is to be looked into now.
    pub(super) fn is_group_due(&mut self) -> bool {
        is_due(&mut self.group_at, Instant::now(), self.refresh_every)
    }

    /// Says that no broker is heard of, if that lasts.
    pub(super) fn unreachable(&mut self, now: Instant, brokers: &[String]) -> Option<Fault> {
        let lasted = now.saturating_duration_since(self.heard_at);
        if lasted < UNREACHABLE_AFTER {
            self.cried_at = None;
            return None;
        }
        if self.cried_at.is_some_and(|cried| now.saturating_duration_since(cried) < CRY_EVERY) {
            return None;
        }
        self.cried_at = Some(now);
        Some(Fault::Unreachable { brokers: brokers.join(", "), lasted })
    }

    /// Whether more is known of partitions than we have told.
    pub(super) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }
}

fn is_due(last: &mut Instant, now: Instant, every: Duration) -> bool {
    let is_due = now.saturating_duration_since(*last) >= every;
    if is_due {
        *last = now;
    }
    is_due
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics(seconds: i64, age_millis: i64) -> Statistics {
        let mut statistics = Statistics { ts: seconds * 1_000_000, ..Statistics::default() };
        let topic = rdkafka::statistics::Topic { metadata_age: age_millis, ..Default::default() };
        statistics.topics.insert("t".to_owned(), topic);
        statistics
    }

    #[test]
    fn metadata_that_is_younger_than_by_itself_was_fetched() {
        let mut watch = Watch::new(Duration::from_secs(60));
        let mut seen = |seconds: i64, age: i64| {
            watch.observe(&statistics(seconds, age), &Index::new(), &mut []);
            std::mem::take(&mut watch.check_due)
        };
        assert!(!seen(1, 300), "the first time tells nothing");
        assert!(!seen(2, 1_300));
        assert!(!seen(3, 2_290));
        assert!(seen(4, 600));
        assert!(seen(5, 700), "fetched again, though it is older than it was");
        assert!(!seen(6, 1_700));
    }

    #[test]
    fn brokers_that_are_silent_for_long_are_told_now_and_then() {
        let mut watch = Watch::new(Duration::from_secs(60));
        let begun = watch.heard_at;
        let mut told =
            |second: u64| watch.unreachable(begun + Duration::from_secs(second), &["a:1".to_owned(), "b:1".to_owned()]);
        assert_eq!(told(299), None);
        let lasted = Duration::from_secs(300);
        assert_eq!(told(300), Some(Fault::Unreachable { brokers: "a:1, b:1".to_owned(), lasted }));
        assert_eq!(told(301), None);
        assert!(told(3_900).is_some());
        watch.heard_at = begun + Duration::from_secs(4_000);
        assert_eq!(watch.unreachable(begun + Duration::from_secs(4_001), &[]), None);
        assert!(watch.unreachable(begun + Duration::from_secs(4_300), &[]).is_some(), "a new outage");
    }
}
