//! The beginning: which partitions there are, where to go on in them, and whether they are still those that were read.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::client::{self, Client};
use super::config::{Config, Start};
use super::group::Group;
use super::identity::{self, Probe};
use super::position::{Position, SILENT_AFTER};
use super::{Kafka, Watch};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::source::{Anchor, Cause, Error, Gap, Partition, PartitionIndex};

/// How often waiting for brokers and topics is logged.
const LOG_EVERY: Duration = Duration::from_secs(30);
/// The last records before our positions are waited for no longer: they may be marks of transactions, which never come.
const NEW_ANCHORS_WITHIN: Duration = Duration::from_secs(1);
/// Most partitions of a topic that is gone.
const PARTITIONS_MAX: i32 = 10_000;

/// Offsets of partitions; `None` where nothing is known.
pub type Offsets<'o> = &'o dyn Fn(&Partition) -> Option<i64>;

/// What to read of a cluster.
pub struct Opening<'o> {
    /// The topics.
    pub topics: &'o [String],
    /// The headers that the mapping reads, in its order.
    pub headers: &'o [String],
    /// The next offset of a partition, if it was read before.
    pub resume: Offsets<'o>,
    /// By what a partition that was read before is known again.
    pub anchor: &'o dyn Fn(&Partition) -> Option<Anchor>,
    /// Only records from the first time up to the second (by their timestamps), then the source is finished.
    pub range: Option<(Timestamp, Timestamp)>,
    /// Only records before this offset of each partition, then the source is finished.
    pub until: Option<Offsets<'o>>,
}

/// First offset of a partition and the one after its last; `None` if it is not there.
type Bounds = Option<(i64, i64)>;

impl Kafka {
    /// Finds the partitions and begins to read. Waits for brokers that do not answer and topics that are not there; not
    /// for topics that were read before and are gone.
    ///
    /// # Errors
    ///
    /// If librdkafka refuses the settings, or if `keep_waiting` says so while there is something to wait for.
    pub fn open(config: &Config, opening: &Opening<'_>, keep_waiting: &dyn Fn() -> bool) -> Result<Kafka, Error> {
        let ranged = opening.range.is_some() || opening.until.is_some();
        let mut kafka = Kafka {
            client: Client::new(config)?,
            probe: Probe::new(config)?,
            group: Group::new(),
            watch: Watch::new(client::refresh_every(config)),
            config: config.clone(),
            headers: opening.headers.to_vec(),
            partitions: Vec::new(),
            positions: Vec::new(),
            index: super::Index::new(),
            gaps: Vec::new(),
            faults: Vec::new(),
            grown: Vec::new(),
            lost: false,
            ranged,
        };
        let bounds = kafka.wait_for(opening, keep_waiting)?;
        if !ranged {
            kafka.know_again(opening, &bounds, keep_waiting)?;
        }
        for (at, bounds) in bounds.iter().enumerate() {
            if let Some((low, high)) = bounds {
                kafka.mend(at, *low, *high);
            }
        }
        kafka.assign()?;
        Ok(kafka)
    }

    /// Partitions that are not those that were read before: their topics were made anew.
    pub fn made_anew(&self) -> Vec<Partition> {
        let gaps = self.gaps.iter().filter(|(gap, _)| gap.cause == Cause::Recreated);
        gaps.filter_map(|(gap, _)| self.partitions.get(gap.partition? as usize).cloned()).collect()
    }

    /// Partitions that are about to be read from where older records were deleted, each with the time of its oldest record.
    ///
    /// # Errors
    ///
    /// If librdkafka refuses, or if `keep_waiting` says so while the records are looked up.
    pub fn begin_late(&mut self, keep_waiting: &dyn Fn() -> bool) -> Result<Vec<(Partition, Timestamp)>, Error> {
        let at_low = |(partition, position): &(&Partition, &Position)| {
            position.next > 0 && self.client.watermarks(partition).is_ok_and(|(low, _)| low == position.next)
        };
        let late = self.partitions.iter().zip(&self.positions).filter(at_low);
        let late: Vec<(Partition, i64)> =
            late.map(|(partition, position)| (partition.clone(), position.next)).collect();
        self.probe.ask(&late, identity::PATIENCE)?;
        let found = self.await_answer(keep_waiting)?.into_iter();
        let known = found.filter(|(_, oldest)| oldest.millis >= 0);
        Ok(known.map(|(partition, oldest)| (partition, Timestamp::from_micros(oldest.millis * 1_000))).collect())
    }

    fn wait_for(&mut self, opening: &Opening<'_>, keep_waiting: &dyn Fn() -> bool) -> Result<Vec<Bounds>, Error> {
        let (mut logged, mut missing): (Option<Instant>, Option<Instant>) = (None, None);
        loop {
            let reason = match self.locate(opening, &mut missing) {
                Ok(bounds) => return Ok(bounds),
                Err(reason) => reason,
            };
            if logged.is_none_or(|last| last.elapsed() >= LOG_EVERY) {
                tracing::warn!(brokers = self.config.brokers.join(","), "waiting for kafka: {reason}");
                logged = Some(Instant::now());
            }
            for _ in 0..10 {
                if !keep_waiting() {
                    return Err(Error(format!("stopped while waiting for kafka: {reason}")));
                }
                thread::sleep(Duration::from_millis(100));
            }
        }
    }

    /// Finds all partitions and where to begin in them; all or nothing. `missing` is since when a topic is not there.
    fn locate(&mut self, opening: &Opening<'_>, missing: &mut Option<Instant>) -> Result<Vec<Bounds>, String> {
        // Tokens of OAuth are fetched while polling, and metadata needs them.
        self.client.poll(Duration::ZERO);
        let mut partitions = Vec::new();
        let mut gone = Vec::new();
        for topic in opening.topics {
            let place = |number: i32| Partition { topic: topic.clone(), number };
            match self.client.partition_numbers(topic)?.as_slice() {
                [] => gone.extend(former(opening, topic, missing)?),
                numbers => partitions.extend(numbers.iter().copied().map(place)),
            }
        }
        let bounds = partitions.iter().map(|partition| self.client.watermarks(partition));
        let bounds = bounds.collect::<Result<Vec<(i64, i64)>, String>>()?;
        let since = opening.range.map(|(from, _)| from).or(match self.config.start {
            Start::Ago(ago) => Some(SystemClock.now().minus(ago)),
            Start::Latest | Start::Earliest => None,
        });
        let offsets_at = |at: Option<Timestamp>| at.map(|at| self.client.offsets_at(&partitions, at)).transpose();
        let since = offsets_at(since)?;
        let until = offsets_at(opening.range.map(|(_, to)| to))?;
        let offset =
            |offsets: &Option<Vec<Option<i64>>>, at: usize| offsets.as_ref().and_then(|offsets| *offsets.get(at)?);
        for (at, (partition, (low, high))) in partitions.iter().zip(&bounds).enumerate() {
            let by_start = match self.config.start {
                Start::Earliest if since.is_none() => *low,
                _ => offset(&since, at).unwrap_or(*high),
            };
            let end = match opening.until {
                Some(until) => Some(until(partition).unwrap_or(*low).min(*high)),
                None => self.ranged.then(|| offset(&until, at).unwrap_or(*high).min(*high)),
            };
            let was_read = |other: &Partition| other.topic == partition.topic && (opening.resume)(other).is_some();
            let next = match (opening.resume)(partition) {
                Some(next) => next,
                // A partition that its topic did not have when we last looked is read whole.
                None if partitions.iter().any(was_read) => *low,
                None => by_start,
            };
            self.add(partition.clone(), Position::new(next, end));
        }
        self.add_gone(gone, opening);
        let bounds = bounds.into_iter().map(Some);
        Ok(bounds.chain(std::iter::repeat(None)).take(self.partitions.len()).collect())
    }

    /// Goes on without partitions that were read before and are no longer there.
    fn add_gone(&mut self, gone: Vec<Partition>, opening: &Opening<'_>) {
        for partition in gone {
            let next = (opening.resume)(&partition).unwrap_or(0);
            let until = opening.until.and_then(|until| until(&partition));
            let mut position = Position::new(next, self.ranged.then_some(next));
            position.vanished = true;
            let index = PartitionIndex::try_from(self.partitions.len()).unwrap_or(PartitionIndex::MAX);
            if let Some(to) = until.filter(|until| *until > next) {
                self.note_gap(Gap { partition: Some(index), from: next, to, cause: Cause::Deleted });
            }
            self.note_vanished(index, SILENT_AFTER);
            self.add(partition, position);
        }
    }

    /// Looks up the records by which the partitions are known again. Those of a topic that was made anew are read whole.
    fn know_again(
        &mut self,
        opening: &Opening<'_>,
        bounds: &[Bounds],
        keep_waiting: &dyn Fn() -> bool,
    ) -> Result<(), Error> {
        for ((partition, position), bounds) in self.partitions.iter().zip(&mut self.positions).zip(bounds) {
            let low = bounds.map_or(0, |(low, _)| low);
            // What retention has deleted proves nothing.
            position.anchor =
                (opening.anchor)(partition).filter(|anchor| (low..position.next).contains(&anchor.offset));
        }
        let asked = self.ask()?;
        let found = self.await_answer(keep_waiting)?;
        self.conclude(&asked, &found, |at| bounds.get(at).copied().flatten());
        self.find_anchors(bounds, keep_waiting)
    }

    /// Makes anchors of the last records before our positions where there are none.
    fn find_anchors(&mut self, bounds: &[Bounds], keep_waiting: &dyn Fn() -> bool) -> Result<(), Error> {
        let lacks = |(at, position): (usize, &Position)| {
            let (low, high) = (*bounds.get(at)?)?;
            let last = position.next - 1;
            (position.anchor.is_none() && (low..high).contains(&last)).then(|| (self.partitions[at].clone(), last))
        };
        let offsets: Vec<(Partition, i64)> = self.positions.iter().enumerate().filter_map(lacks).collect();
        self.probe.ask(&offsets, NEW_ANCHORS_WITHIN)?;
        let found = self.await_answer(keep_waiting)?;
        for (partition, position) in self.partitions.iter().zip(&mut self.positions) {
            let last = found.get(partition).filter(|last| position.anchor.is_none() && last.offset < position.next);
            position.anchor = position.anchor.or(last.copied());
        }
        Ok(())
    }

    fn await_answer(&mut self, keep_waiting: &dyn Fn() -> bool) -> Result<BTreeMap<Partition, Anchor>, Error> {
        loop {
            if let Some(found) = self.probe.answer()? {
                return Ok(found);
            }
            if !keep_waiting() {
                return Err(Error("stopped while looking up where to go on".to_owned()));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// The partitions of a topic that is not there, if it was read before and has been missing for a while.
fn former(opening: &Opening<'_>, topic: &str, missing: &mut Option<Instant>) -> Result<Vec<Partition>, String> {
    let since = *missing.get_or_insert_with(Instant::now);
    let numbers = (0..PARTITIONS_MAX).map(|number| Partition { topic: topic.to_owned(), number });
    let known: Vec<Partition> = numbers.filter(|partition| (opening.resume)(partition).is_some()).collect();
    match known.is_empty() || since.elapsed() < SILENT_AFTER {
        true => Err(format!("topic {topic} is not there")),
        false => Ok(known),
    }
}
