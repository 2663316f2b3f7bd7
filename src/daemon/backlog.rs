//! Whether the daemon is catching up: what it reads is old, and it gets newer faster than time passes.

use std::time::{Duration, Instant};

/// While the news is older than this, notices may be held back: what they say may be over.
const HELD_BEYOND: Duration = Duration::from_secs(300);
/// How long it may take until it shows that the news gets newer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The backlog, as seen so far.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    /// Since when the news is old, and how old it was then.
    since: Option<(Instant, Duration)>,
}

impl Backlog {
    /// Whether a backlog is being worked off, the news being `behind` the clock at `now`.
    ///
    /// Records that are always old when they come (their producer keeps the times of an upstream) are no backlog: nothing
    /// would ever be told. Whoever works off a backlog gains at least half a second a second.
    pub(super) fn is_worked_off(&mut self, behind: Duration, now: Instant) -> bool {
        if behind <= HELD_BEYOND {
            self.since = None;
            return false;
        }
        let (begun, at_first) = *self.since.get_or_insert((now, behind));
        let elapsed = now.saturating_duration_since(begun);
        elapsed < PATIENCE || behind + elapsed / 2 < at_first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each step: seconds since the start, seconds behind, whether notices are held back.
    #[track_caller]
    fn check(steps: &[(u64, u64, bool)]) {
        let (mut backlog, begin) = (Backlog::default(), Instant::now());
        for (at, behind, expected) in steps {
            let worked_off = backlog.is_worked_off(Duration::from_secs(*behind), begin + Duration::from_secs(*at));
            assert_eq!(worked_off, *expected, "at {at} s, {behind} s behind");
        }
    }

    #[test]
    fn a_backlog_is_worked_off_until_the_news_is_fresh() {
        check(&[
            (0, 3_600, true),
            (30, 3_300, true),
            (90, 2_000, true),
            (150, 301, true),
            (160, 300, false),
            (170, 2, false),
        ]);
    }

    #[test]
    fn records_that_are_always_old_hold_nothing_back_for_long() {
        check(&[(0, 600, true), (59, 600, true), (60, 600, false), (3_600, 590, false), (3_700, 0, false)]);
    }

    #[test]
    fn a_backlog_after_a_fresh_time_is_a_new_one() {
        check(&[(0, 600, true), (60, 600, false), (100, 10, false), (200, 7_200, true), (300, 6_000, true)]);
    }
}
