//! Going on after a stop: the checkpoint's state, the join table rebuilt from the source, then the source at the
//! checkpoint's positions.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tracing::{info, warn};

use super::intake::Intake;
use super::topics;
use super::trouble::Troubles;
use crate::alert::Transition;
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::notification::Trouble;
use crate::pipeline::{Model, Pipeline};
use crate::smoothing::Smoothing;
use crate::source::kafka::{self, Kafka, Offsets, Opening, Start};
use crate::source::{Anchor, Partition, PartitionIndex, Polled, Record, Source};
use crate::state::snapshot::{Reader, Unusable};
use crate::state::{Mark, State};
use crate::watermark::Frontier;

const POLL_WAIT: Duration = Duration::from_millis(100);

/// What a restart works with.
pub(super) struct Restart<'r> {
    pub(super) config: &'r Config,
    /// Says whether to go on waiting; called at least every second or so.
    pub(super) keep_waiting: &'r dyn Fn() -> bool,
    /// Where the time comes from.
    pub(super) clock: &'r dyn Clock,
    /// What is wrong.
    pub(super) troubles: &'r RefCell<Troubles>,
    /// Called while the source is waited for, with since when.
    pub(super) waits: &'r dyn Fn(Timestamp),
}

impl Restart<'_> {
    /// Restores the core and opens the source where it goes on. Without a checkpoint both begin anew: where the
    /// configuration says, or, if a damaged one was set aside, so far back that everything can be computed again.
    ///
    /// Gives the transitions of alerts that nobody watches any more.
    pub(super) fn resume(&self, state: &State, intake: &mut Intake) -> anyhow::Result<(Kafka, Vec<Transition>)> {
        let Some(checkpoint) = state.checkpoint()? else {
            let source = match state.set_aside {
                Some(_) => self.begin_anew()?,
                None => self.open(&self.config.source, &|_| None, &|_| None, None)?,
            };
            intake.expect_partitions(source.partitions());
            return Ok((source, Vec::new()));
        };
        let positions: HashMap<Partition, i64> = checkpoint.positions.iter().cloned().collect();
        let resume = |partition: &Partition| positions.get(partition).copied();
        let source =
            self.open(&self.config.source, &resume, &|partition| checkpoint.anchors.get(partition).copied(), None)?;
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

    /// Opens the source so far back that everything can be computed again, and notes what it does not have any more.
    fn begin_anew(&self) -> anyhow::Result<Kafka> {
        let ago = self.memory();
        info!(?ago, "everything is computed anew from the source, as far as it reaches back");
        let config = kafka::Config { start: Start::Ago(ago), ..self.config.source.clone() };
        let wanted = self.clock.now().minus(ago);
        let mut source = self.open(&config, &|_| None, &|_| None, None)?;
        for (partition, oldest) in source.begin_late(self.keep_waiting)?.iter().filter(|(_, oldest)| *oldest > wanted) {
            self.note(self.incomplete(partition, Some((wanted, *oldest))));
        }
        Ok(source)
    }

    /// How long events can matter: until their label comes or is given up, and their evidence has faded.
    fn memory(&self) -> Duration {
        let models = self.config.pipeline.models.iter();
        let span = |model: &Model| {
            let fades = match model.smoothing {
                // Five half-lives leave three hundredths.
                Smoothing::HalfLife(half_life) => half_life.saturating_mul(5),
                Smoothing::Window(window) => window,
                Smoothing::Alpha { .. } => Duration::ZERO,
            };
            model.label_timeout.saturating_add(model.early_label_wait).saturating_add(fades)
        };
        models.map(span).max().unwrap_or_default()
    }

    fn open(
        &self,
        config: &kafka::Config,
        resume: Offsets<'_>,
        anchor: &dyn Fn(&Partition) -> Option<Anchor>,
        until: Option<Offsets<'_>>,
    ) -> anyhow::Result<Kafka> {
        let (topics, headers) = (topics(self.config), &self.config.mapping.headers);
        let opening = Opening { topics: &topics, headers, resume, anchor, range: None, until };
        let since = self.clock.now();
        let keep_waiting = || {
            (self.waits)(since);
            (self.keep_waiting)()
        };
        Ok(Kafka::open(config, &opening, &keep_waiting)?)
    }

    /// Reads from the snapshot, or else from the marks, up to the checkpoint's positions, into the join table only.
    fn rebuild(
        &self,
        state: &State,
        intake: &mut Intake,
        partitions: &[Partition],
        positions: Offsets<'_>,
    ) -> anyhow::Result<()> {
        let mut marks = self.marks(state, intake)?;
        if let Some(snapshot) = self.read_snapshot(state, intake)? {
            // Beyond its position a partition was another one.
            for mark in snapshot.into_iter().filter(|mark| positions(&mark.partition) >= Some(mark.next_offset)) {
                let known = marks.entry(mark.partition.clone()).or_default();
                known.retain(|later| later.next_offset > mark.next_offset);
                known.insert(0, mark);
            }
        }
        marks.retain(|partition, _| positions(partition).is_some());
        let from = |partition: &Partition| match marks.get(partition).and_then(|marks| marks.first()) {
            Some(mark) => Some(mark.next_offset),
            None => positions(partition),
        };
        let unseen = Frontier { newest: Timestamp::MIN, floor: Timestamp::MIN, idle: false };
        let first =
            |partition: &Partition| marks.get(partition).and_then(|marks| marks.first()).map(|mark| mark.frontier);
        let mut source = self.open(&self.config.source, &from, &|_| None, Some(positions))?;
        let listed = source.partitions().to_vec();
        let index = |partition: &Partition| partitions.iter().position(|known| known == partition);
        let numbers: Vec<Option<PartitionIndex>> =
            listed.iter().map(|p| index(p).and_then(|at| PartitionIndex::try_from(at).ok())).collect();
        let number = |partition: PartitionIndex| numbers.get(partition as usize).copied().flatten();
        let newest = |at: &Option<PartitionIndex>| at.and_then(|at| intake.pipeline.frontier(at)).map(|f| f.newest);
        let ends: Vec<Timestamp> = numbers.iter().map(|at| newest(at).unwrap_or(Timestamp::MAX)).collect();
        let of = |partition: &Partition| marks.get(partition).map(Vec::as_slice).unwrap_or_default();
        let ways = listed.iter().zip(ends).map(|(p, end)| Way { marks: of(p), passed: 0, end });
        let mut ways: HashMap<PartitionIndex, Way<'_>> =
            numbers.iter().zip(ways).filter_map(|(at, way)| Some(((*at)?, way))).collect();
        let before = intake.pipeline.begin_rebuild(partitions.iter().map(|p| first(p).unwrap_or(unseen)).collect());
        let mut records = 0_u64;
        loop {
            let polled = source.poll(POLL_WAIT)?;
            for gap in &polled.gaps {
                let missing = gap.partition.and_then(|at| listed.get(at as usize)).map(|partition| {
                    let known = first(partition).map(|frontier| frontier.newest);
                    self.incomplete(partition, known.zip(first_time(&polled, gap.partition)))
                });
                missing.into_iter().for_each(|trouble| self.note(trouble));
            }
            // The two openings may list the partitions in another order: records are renumbered by name.
            let read = polled.batch.records();
            let ours = read.filter_map(|record| Some(Record { partition: number(record.partition)?, ..record }));
            intake.take(ours, |intake, decoded| {
                let Record { partition, offset, .. } = decoded.record;
                let raise = |floor| intake.pipeline.raise(partition, floor);
                let Some(bound) = ways.get_mut(&partition).map(|way| way.pass(offset, raise)) else { return };
                // What was too far in the future then is still refused, though the clock has moved on.
                intake.rebuild_record(decoded, bound.minus(self.config.pipeline.max_skew));
                records += 1;
            });
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

    fn note(&self, trouble: Trouble) {
        self.troubles.borrow_mut().note(trouble, self.clock.now());
    }

    /// What people are told of records that are gone; `span` is when they were written, as far as that is known.
    fn incomplete(&self, partition: &Partition, span: Option<(Timestamp, Timestamp)>) -> Trouble {
        let models: Vec<&str> = self.config.pipeline.models.iter().map(|model| model.pattern.as_str()).collect();
        let place = format!("{}/{}", partition.topic, partition.number);
        Trouble::join_incomplete(&place, &models, span.filter(|(from, to)| from < to), self.clock.now())
    }

    /// The marks from which the whole join can be rebuilt, by partition.
    fn marks(&self, state: &State, intake: &Intake) -> anyhow::Result<HashMap<Partition, Vec<Mark>>> {
        let horizon = intake.pipeline.join_horizon().unwrap_or(Timestamp::MIN);
        let mut marks: HashMap<Partition, Vec<Mark>> = HashMap::new();
        for mark in state.marks_since(horizon)? {
            marks.entry(mark.partition.clone()).or_default().push(mark);
        }
        Ok(marks)
    }

    /// Fills the join table from the snapshot; gives the positions that it goes on from. A snapshot that cannot be used is
    /// set aside: the source has it all, as far as its retention goes.
    fn read_snapshot(&self, state: &State, intake: &mut Intake) -> anyhow::Result<Option<Vec<Mark>>> {
        let Some(named) = state.snapshot()? else { return Ok(None) };
        match self.fill(&named.file, &mut intake.pipeline) {
            Ok(marks) => {
                let (predictions, labels) = intake.pipeline.pending();
                info!(predictions, labels, of = %named.at, "the join is read from its snapshot");
                Ok(Some(marks))
            }
            Err(problem) => {
                intake.pipeline.forget_join();
                let aside =
                    state.forget_snapshot(true)?.map_or_else(String::new, |aside| format!("; it is kept as {aside}"));
                let reason = format!("{problem}{aside}");
                self.note(Trouble::snapshot_damaged(&named.file, &reason, self.clock.now()));
                Ok(None)
            }
        }
    }

    fn fill(&self, file: &str, pipeline: &mut Pipeline) -> Result<Vec<Mark>, Unusable> {
        let mut reader = Reader::open(&self.config.state_directory, file)?;
        let names = reader.next_part()?.ok_or(Unusable::Damaged)?;
        let reading = pipeline.read_image(&names)?;
        while let Some(part) = reader.next_part()? {
            pipeline.read_part(&reading, &part)?;
            // Said once per part, which is less than a second; a stop is noticed when the source is opened.
            (self.keep_waiting)();
        }
        Ok(reader.marks)
    }
}

/// The time of the first record of a partition.
fn first_time(polled: &Polled, partition: Option<PartitionIndex>) -> Option<Timestamp> {
    polled.batch.records().find(|record| Some(record.partition) == partition)?.timestamp
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
