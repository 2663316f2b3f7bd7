//! How far the clock is believed. Clocks are put right, and sometimes wrong, by an hour at once.

use std::time::{Duration, Instant};

use crate::clock::Timestamp;

/// A clock that gains more than this at once has jumped.
const JUMP: Duration = Duration::from_secs(60);
/// A jump that lasts for so long is how late it is. A machine that slept has jumped, too.
const BELIEVED_AFTER: Duration = Duration::from_secs(60);

/// The clock beside the time that passes.
#[derive(Debug)]
pub(super) struct Pace {
    /// The clock at its furthest, and when that was.
    furthest: (Timestamp, Instant),
    /// What was last believed, and when.
    anchor: (Timestamp, Instant),
    /// Since when the clock is ahead of what has passed.
    jumped: Option<Instant>,
}

impl Pace {
    pub(super) fn new(now: Timestamp, instant: Instant) -> Pace {
        Pace { furthest: (now, instant), anchor: (now, instant), jumped: None }
    }

    /// The clock as if it had never been put back: that must not make live events look like ones of the future, which are
    /// rejected, for good.
    pub(super) fn furthest(&mut self, now: Timestamp, instant: Instant) -> Timestamp {
        let (at, since) = self.furthest;
        let run_on = at.plus(instant.saturating_duration_since(since));
        if now >= run_on {
            self.furthest = (now, instant);
        }
        run_on.max(now)
    }

    /// What time it is, for what the clock alone decides. A jump ahead would seal ticks for which there still are events,
    /// and nothing more until event time has come to where the clock was: it counts once it has lasted.
    pub(super) fn believed(&mut self, now: Timestamp, instant: Instant) -> Timestamp {
        let (at, since) = self.anchor;
        let expected = at.plus(instant.saturating_duration_since(since));
        if now.since(expected) > JUMP {
            let jumped = *self.jumped.get_or_insert(instant);
            if instant.saturating_duration_since(jumped) < BELIEVED_AFTER {
                return expected;
            }
        }
        self.anchor = (now, instant);
        self.jumped = None;
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each step: seconds that have passed, what the clock says, what is believed.
    #[track_caller]
    fn check(steps: &[(u64, i64, i64)]) {
        let begin = Instant::now();
        let mut pace = Pace::new(Timestamp::from_secs(0), begin);
        for (passed, clock, expected) in steps {
            let believed = pace.believed(Timestamp::from_secs(*clock), begin + Duration::from_secs(*passed));
            assert_eq!(believed, Timestamp::from_secs(*expected), "{passed} s have passed, the clock says {clock}");
        }
    }

    #[test]
    fn a_clock_that_is_put_back_runs_on_for_those_who_may_not_go_back() {
        let begin = Instant::now();
        let mut pace = Pace::new(Timestamp::from_secs(0), begin);
        for (passed, clock, expected) in [(10, 10, 10), (20, -3_580, 20), (30, -3_570, 30), (40, 50, 50), (50, 60, 60)]
        {
            let furthest = pace.furthest(Timestamp::from_secs(clock), begin + Duration::from_secs(passed));
            assert_eq!(furthest, Timestamp::from_secs(expected), "{passed} s have passed, the clock says {clock}");
        }
    }

    #[test]
    fn a_clock_that_runs_is_believed_also_a_little_too_fast_and_after_a_long_silence() {
        check(&[(1, 1, 1), (2, 2, 2), (10, 70, 70), (20, 130, 130), (620, 730, 730)]);
    }

    #[test]
    fn a_jump_ahead_that_is_taken_back_never_was() {
        check(&[(10, 10, 10), (11, 3_611, 11), (40, 3_640, 40), (41, 41, 41), (42, 3_642, 42), (100, 3_700, 100)]);
    }

    #[test]
    fn a_jump_ahead_that_lasts_is_believed_and_so_is_a_clock_that_is_put_back() {
        check(&[(10, 3_610, 10), (69, 3_669, 69), (70, 3_670, 3_670), (71, 3_671, 3_671), (72, 72, 72)]);
    }
}
