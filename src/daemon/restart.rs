//! Going on after a stop: the checkpoint's state, the join table rebuilt from the source, then the source at the
//! checkpoint's positions.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tracing::{info, warn};

use super::intake::Intake;
use super::topics;
use crate::alert::Transition;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::source::kafka::{Kafka, Offsets, Opening};
use crate::source::{Anchor, Partition, PartitionIndex, Source};
use crate::state::{Mark, State};
use crate::watermark::Frontier;

const POLL_WAIT: Duration = Duration::from_millis(100);

/// What a restart works with.
pub(super) struct Restart<'r> {
    pub(super) config: &'r Config,
    /// Says whether to go on waiting; called at least every second or so.
    pub(super) keep_waiting: &'r dyn Fn() -> bool,
    /// The present instant.
    pub(super) now: &'r dyn Fn() -> Timestamp,
    /// Called while the source is waited for, with since when.
    pub(super) waits: &'r dyn Fn(Timestamp),
}

impl Restart<'_> {
    /// Restores the core and opens the source where it goes on. Without a checkpoint both begin anew.
    ///
    /// Gives the transitions of alerts that nobody watches any more.
    pub(super) fn resume(&self, state: &State, intake: &mut Intake) -> anyhow::Result<(Kafka, Vec<Transition>)> {
        let Some(checkpoint) = state.checkpoint()? else {
            let source = self.open(&|_| None, &|_| None, None)?;
            intake.expect_partitions(source.partitions());
            return Ok((source, Vec::new()));
        };
        let positions: HashMap<Partition, i64> = checkpoint.positions.iter().cloned().collect();
        let resume = |partition: &Partition| positions.get(partition).copied();
        let source = self.open(&resume, &|partition| checkpoint.anchors.get(partition).copied(), None)?;
        intake.expect_partitions(source.partitions());
        let former = |partition: &Partition| checkpoint.positions.iter().position(|(known, _)| known == partition);
        let order: Vec<Option<usize>> = source.partitions().iter().map(former).collect();
        if checkpoint.saved.tick() != intake.pipeline.tick() {
            warn!("`engine.tick` has changed: smoothed indicators begin anew, alerts and positions go on");
        }
        let ended = intake.pipeline.restore(checkpoint.saved.with_partitions(&order));
        // Offsets of a former topic mean nothing in the one that was made anew.
        let anew: HashSet<Partition> = source.made_anew().into_iter().collect();
        let resume = |partition: &Partition| resume(partition).filter(|_| !anew.contains(partition));
        self.rebuild(state, intake, source.partitions(), &resume)?;
        Ok((source, ended))
    }

    fn open(
        &self,
        resume: Offsets<'_>,
        anchor: &dyn Fn(&Partition) -> Option<Anchor>,
        until: Option<Offsets<'_>>,
    ) -> anyhow::Result<Kafka> {
        let (topics, headers) = (topics(self.config), &self.config.mapping.headers);
        let opening = Opening { topics: &topics, headers, resume, anchor, range: None, until };
        let since = (self.now)();
        let keep_waiting = || {
            (self.waits)(since);
            (self.keep_waiting)()
        };
        Ok(Kafka::open(&self.config.source, &opening, &keep_waiting)?)
    }

    /// Reads from the marks up to the checkpoint's positions, into the join table only.
    fn rebuild(
        &self,
        state: &State,
        intake: &mut Intake,
        partitions: &[Partition],
        positions: Offsets<'_>,
    ) -> anyhow::Result<()> {
        let horizon = intake.pipeline.join_horizon().unwrap_or(Timestamp::MIN);
        let mut marks: HashMap<Partition, Vec<Mark>> = HashMap::new();
        for mark in state.marks_since(horizon)? {
            marks.entry(mark.partition.clone()).or_default().push(mark);
        }
        marks.retain(|partition, _| positions(partition).is_some());
        let from = |partition: &Partition| match marks.get(partition).and_then(|marks| marks.first()) {
            Some(mark) => Some(mark.next_offset),
            None => positions(partition),
        };
        let unseen = Frontier { newest: Timestamp::MIN, floor: Timestamp::MIN, idle: false };
        let first =
            |partition: &Partition| marks.get(partition).and_then(|marks| marks.first()).map(|mark| mark.frontier);
        let mut source = self.open(&from, &|_| None, Some(positions))?;
        let listed = source.partitions().to_vec();
        // The two openings may list the partitions in another order: records are renumbered by name.
        let index = |partition: &Partition| partitions.iter().position(|known| known == partition);
        let numbers: Vec<Option<PartitionIndex>> =
            listed.iter().map(|p| index(p).and_then(|at| PartitionIndex::try_from(at).ok())).collect();
        let number = |partition: PartitionIndex| numbers.get(partition as usize).copied().flatten();
        let newest = |at: &Option<PartitionIndex>| at.and_then(|at| intake.pipeline.frontier(at)).map(|f| f.newest);
        let ends: Vec<Timestamp> = numbers.iter().map(|at| newest(at).unwrap_or(Timestamp::MAX)).collect();
        let of = |partition: &Partition| marks.get(partition).map(Vec::as_slice).unwrap_or_default();
        let mut ways: Vec<Way<'_>> =
            listed.iter().zip(ends).map(|(p, end)| Way { marks: of(p), passed: 0, end }).collect();
        let before = intake.pipeline.begin_rebuild(partitions.iter().map(|p| first(p).unwrap_or(unseen)).collect());
        let mut records = 0_u64;
        loop {
            let polled = source.poll(POLL_WAIT)?;
            for gap in &polled.gaps {
                warn!(
                    from = gap.from,
                    to = gap.to,
                    "the join cannot be rebuilt whole: records are gone from the source; their labels will be orphans"
                );
            }
            for mut record in polled.batch.records() {
                let Some(number) = number(record.partition) else { continue };
                let bound =
                    ways[record.partition as usize].pass(record.offset, |floor| intake.pipeline.raise(number, floor));
                record.partition = number;
                // What was too far in the future then is still refused, though the clock has moved on.
                intake.rebuild_record(&record, bound.minus(self.config.pipeline.max_skew));
                records += 1;
            }
            let ended: Vec<PartitionIndex> = polled.at_end.iter().filter_map(|index| number(*index)).collect();
            intake.pipeline.advance_rebuild(&ended);
            anyhow::ensure!((self.keep_waiting)(), "stopped while the join was rebuilt");
            if polled.finished {
                break;
            }
        }
        intake.pipeline.end_rebuild(before);
        let (predictions, labels) = intake.pipeline.pending();
        info!(records, predictions, labels, "the join is rebuilt");
        Ok(())
    }
}

/// The marks along one partition.
struct Way<'m> {
    marks: &'m [Mark],
    /// Marks at or before the last record.
    passed: usize,
    /// The newest event time at the checkpoint.
    end: Timestamp,
}

impl Way<'_> {
    /// Comes to a record: raises the frontier as the marks say, and gives the newest event time that was believed here.
    fn pass(&mut self, offset: i64, mut raise: impl FnMut(Timestamp)) -> Timestamp {
        while let Some(mark) = self.marks.get(self.passed).filter(|mark| mark.next_offset <= offset) {
            raise(mark.frontier.floor);
            self.passed += 1;
        }
        self.marks.get(self.passed).map_or(self.end, |mark| mark.frontier.newest)
    }
}
