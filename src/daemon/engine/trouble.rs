//! What the engine does about trouble: it goes the way of notices, in the same commit as what caused it.

use std::sync::PoisonError;
use std::time::Duration;

use super::{Engine, Parts};
use crate::clock::Timestamp;
use crate::daemon::trouble;
use crate::notification::Trouble;
use crate::source::{Cause, Fault, Gap, PartitionIndex, Polled};

/// Commits that fail for so long are told without the outbox, which cannot take it.
const TELL_DIRECTLY_AFTER: Duration = Duration::from_secs(60);

impl Engine {
    /// Takes note of a trouble: counted, logged, and told with the next commit, also while catching up.
    pub fn trouble(&mut self, trouble: Trouble) {
        let now = self.parts.clock.now();
        self.parts.troubles.note(trouble, now);
    }

    /// Takes note of records that are missing; in `polled` are the first ones after them.
    pub(super) fn note_gap(&mut self, gap: &Gap, polled: &Polled) {
        *self.gaps.entry(gap.cause.name()).or_default() += 1;
        let Some(index) = gap.partition else { return };
        let Parts { intake, clock, .. } = &self.parts;
        let first = polled.batch.records().find(|record| record.partition == index).and_then(|record| record.timestamp);
        let span = self.positions.last_time(index, intake).zip(first).filter(|(last, first)| first > last);
        let place = intake.partitions().get(index as usize);
        let trouble = place.and_then(|partition| trouble::of_gap(gap, partition, span, clock.now()));
        self.positions.jump(index, gap, intake);
        if matches!(gap.cause, Cause::Recreated | Cause::Truncated) {
            self.renew_snapshot();
        }
        trouble.into_iter().for_each(|trouble| self.trouble(trouble));
    }

    /// Takes note of what else is wrong with the source.
    pub(super) fn note_fault(&mut self, fault: &Fault) {
        let place = |index: PartitionIndex| self.next_offsets().into_iter().nth(index as usize);
        let trouble = trouble::of_fault(fault, place, self.parts.clock.now());
        trouble.into_iter().for_each(|trouble| self.trouble(trouble));
    }

    /// What fails for long is told past the outbox, which is in the same file.
    pub(super) fn not_saved(&mut self, problem: &str, now: Timestamp) {
        let since = *self.failing_since.get_or_insert(now);
        if now.since(since) < TELL_DIRECTLY_AFTER {
            return;
        }
        let telling = self.parts.troubles.count(Trouble::state_not_saved(problem, since), now);
        let Parts { trouble_receivers, rendering, bell, .. } = &self.parts;
        let messages = trouble::messages(telling.into_iter().collect(), trouble_receivers, now, rendering);
        if !messages.is_empty() {
            bell.lock().unwrap_or_else(PoisonError::into_inner).tell_directly(messages);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;
    use crate::clock::Clock;
    use crate::config::{Defaults, parse};
    use crate::daemon::intake::Intake;
    use crate::daemon::snapshots::Snapshots;
    use crate::daemon::status::Published;
    use crate::daemon::trouble::Troubles;
    use crate::notification::{Receiver, Rendering};
    use crate::pipeline::Pipeline;
    use crate::source::Partition;
    use crate::state::State;

    /// Stands still at so many seconds.
    #[derive(Debug)]
    struct Stopped(AtomicI64);

    impl Stopped {
        fn at(second: i64) -> Arc<Stopped> {
            Arc::new(Stopped(AtomicI64::new(second)))
        }
    }

    impl Clock for Stopped {
        fn now(&self) -> Timestamp {
            Timestamp::from_secs(self.0.load(Ordering::SeqCst))
        }
    }

    fn engine(clock: Arc<Stopped>, directory: &std::path::Path) -> Engine {
        let text = include_str!("../../../config/examples/eta-regression.toml");
        let (config, _) = parse("eta", text, &Defaults::default()).unwrap();
        let state = State::open(directory, clock.now()).unwrap();
        let mut intake = Intake::new(Pipeline::new(config.pipeline, state.key()), config.mapping);
        intake.expect_partitions(&[Partition { topic: "eta-predictions".to_owned(), number: 3 }]);
        let to = ["oncall", "ops"].map(|name| Receiver { notifier: name.to_owned(), recipient: name.to_owned() });
        let parts = Parts {
            intake,
            state,
            snapshots: Snapshots::new(directory, config.snapshot_every),
            idle_after: config.idle_after,
            receivers: to.to_vec(),
            trouble_receivers: vec![to[1].clone()],
            troubles: Troubles::default(),
            rendering: Rendering { zone: jiff::tz::TimeZone::UTC, status_page: None, instance: "here".to_owned() },
            clock,
            bell: Arc::default(),
            published: Published::default(),
            next_reload: Arc::default(),
        };
        Engine::new(parts, &[5], Vec::new())
    }

    /// What waits in the outbox, by subject.
    fn owed(engine: &Engine, now: Timestamp) -> Vec<String> {
        let mut outbox = engine.parts.state.outbox().unwrap();
        let mut subjects = Vec::new();
        while let Some(owed) = outbox.next_due("ops", now).unwrap() {
            subjects.push(owed.message.subject.clone());
            outbox.sent(&owed.message.id, "", now).unwrap();
        }
        assert!(outbox.next_due("oncall", now).unwrap().is_none(), "it is not told of trouble");
        subjects
    }

    #[test]
    fn a_gap_is_told_in_the_commit_that_steps_over_it_also_while_catching_up() {
        let (directory, clock) = (tempfile::tempdir().unwrap(), Stopped::at(1_000));
        let mut engine = engine(Arc::clone(&clock), directory.path());
        engine.catching_up = true;
        engine.note_gap(&Gap { partition: Some(0), from: 5, to: 9, cause: Cause::Deleted }, &Polled::default());
        assert_eq!(owed(&engine, clock.now()), [""; 0], "not before the commit");
        engine.commit(clock.now());
        assert_eq!(owed(&engine, clock.now()), ["[TROUBLE] records lost: eta-predictions/3"]);
        assert_eq!(engine.parts.state.troubles_told(Timestamp::MIN).unwrap().len(), 1);
        engine.note_gap(&Gap { partition: Some(0), from: 9, to: 12, cause: Cause::Deleted }, &Polled::default());
        engine.commit(clock.now());
        assert_eq!(owed(&engine, clock.now()), [""; 0], "once an hour");
    }

    #[test]
    fn a_state_that_cannot_be_saved_for_a_minute_is_told_past_the_outbox() {
        let (directory, clock) = (tempfile::tempdir().unwrap(), Stopped::at(1_000));
        let mut engine = engine(Arc::clone(&clock), directory.path());
        let file = rusqlite::Connection::open(directory.path().join("modelwatch.db")).unwrap();
        file.execute_batch("ALTER TABLE position RENAME TO elsewhere").unwrap();
        let told = |engine: &Engine| engine.parts.bell.lock().unwrap().take_direct("ops").len();
        let at = |engine: &mut Engine, second: i64| {
            clock.0.store(1_000 + second, Ordering::SeqCst);
            engine.commit(clock.now());
            told(engine)
        };
        assert_eq!([0, 59, 60, 70, 3_659, 3_660].map(|second| at(&mut engine, second)), [0, 0, 1, 0, 0, 1]);
        assert_eq!(engine.parts.bell.lock().unwrap().take_direct("oncall"), []);
        file.execute_batch("ALTER TABLE elsewhere RENAME TO position").unwrap();
        assert_eq!(at(&mut engine, 4_000), 0);
        assert_eq!(engine.parts.state.troubles_told(Timestamp::MIN).unwrap().len(), 1, "the log has it in the end");
    }
}
