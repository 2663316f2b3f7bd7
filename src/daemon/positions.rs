//! How far each partition is read, whether it is at its end, and the marks from which the join can be rebuilt.

use std::time::{Duration, Instant};

use super::intake::Intake;
use crate::clock::Timestamp;
use crate::source::{Anchor, Cause, Gap, Partition, PartitionIndex, Polled, Record, Seen};
use crate::state::Mark;
use crate::watermark::Frontier;

/// Positions for rebuilding the join are noted once in so much event time.
const MARK_EVERY: Duration = Duration::from_secs(60);

/// A partition that shows nothing for so long has no leader, or no broker: nobody waits for it any longer.
const SHOWN_WITHIN: Duration = Duration::from_secs(60);

/// What is known of the partitions beside the core.
#[derive(Debug)]
pub(super) struct Positions {
    partitions: Vec<Progress>,
    begun: Instant,
    /// Marks that are not committed yet.
    pub(super) marks: Vec<Mark>,
    /// Committed marks that mean nothing any more: of these partitions, at or after these offsets.
    pub(super) forgotten: Vec<(Partition, i64)>,
}

#[derive(Clone, Debug)]
struct Progress {
    next_offset: i64,
    /// Since when it has been at its end without interruption. By the source's clock, not the engine's: an engine that
    /// was busy for long knows nothing of what came meanwhile.
    at_end_since: Option<Instant>,
    /// Event time at the last mark.
    marked_at: Timestamp,
    /// When the last record was written to the source, if the source says.
    recorded_at: Option<Timestamp>,
    /// Where it ends, and by what it is known again.
    end: Option<i64>,
    anchor: Option<Anchor>,
}

impl Progress {
    fn at(next_offset: i64) -> Progress {
        Progress {
            next_offset,
            at_end_since: None,
            marked_at: Timestamp::MIN,
            recorded_at: None,
            end: None,
            anchor: None,
        }
    }
}

impl Positions {
    /// Begins at these offsets. Marks come before anything is read: what comes ahead of the first commit must be found
    /// again, too.
    pub(super) fn new(next_offsets: &[i64], intake: &Intake) -> Positions {
        let partitions = next_offsets.iter().map(|next| Progress::at(*next)).collect();
        let begun = Instant::now();
        let mut positions = Positions { partitions, begun, marks: Vec::new(), forgotten: Vec::new() };
        positions.mark_all(intake);
        positions
    }

    /// The next offset of each partition.
    pub(super) fn next_offsets(&self) -> impl Iterator<Item = i64> {
        self.partitions.iter().map(|progress| progress.next_offset)
    }

    /// Makes room for partitions that appeared while we run: they are read from their beginning.
    pub(super) fn grow(&mut self, count: usize, intake: &Intake) {
        if self.partitions.len() < count {
            self.partitions.resize(count, Progress::at(0));
            self.mark_now_and_then(intake);
        }
    }

    /// Reading goes on elsewhere.
    pub(super) fn jump(&mut self, index: PartitionIndex, gap: &Gap, intake: &Intake) {
        if let Some(progress) = self.partitions.get_mut(index as usize) {
            let (end, anchor) = (progress.end, progress.anchor);
            *progress = Progress { end, anchor, ..Progress::at(gap.to) };
        }
        let from = match gap.cause {
            Cause::Recreated => i64::MIN,
            Cause::Truncated => gap.to,
            Cause::Deleted | Cause::Oversize | Cause::Malformed => return,
        };
        if let Some(partition) = intake.partitions().get(index as usize) {
            self.marks.retain(|mark| mark.partition != *partition || mark.next_offset < from);
            self.forgotten.push((partition.clone(), from));
        }
    }

    /// Takes note of what the source knows of a partition.
    pub(super) fn saw(&mut self, seen: &Seen) {
        if let Some(progress) = self.partitions.get_mut(seen.partition as usize) {
            progress.end = seen.end;
            progress.anchor = seen.anchor;
        }
    }

    /// What the source knows of the partitions.
    pub(super) fn seen(&self) -> Vec<Seen> {
        let seen = |(partition, progress): (PartitionIndex, &Progress)| Seen {
            partition,
            end: progress.end,
            anchor: progress.anchor,
        };
        (0..).zip(&self.partitions).map(seen).collect()
    }

    /// A commit has taken the marks.
    pub(super) fn committed(&mut self) {
        self.marks.clear();
        self.forgotten.clear();
    }

    /// When the last record of a partition was written, or what it says itself of its time.
    pub(super) fn last_time(&self, index: PartitionIndex, intake: &Intake) -> Option<Timestamp> {
        let recorded_at = self.partitions.get(index as usize).and_then(|progress| progress.recorded_at);
        let newest = || intake.pipeline.frontier(index).map(|frontier| frontier.newest);
        recorded_at.or_else(newest).filter(|at| *at > Timestamp::MIN)
    }

    /// A record is about to be taken in; gives what [`Positions::took`] needs.
    pub(super) fn before(&self, record: &Record<'_>, intake: &Intake) -> Option<Frontier> {
        intake.pipeline.frontier(record.partition).filter(|frontier| frontier.idle)
    }

    /// A record was taken in. If that woke an idle partition, this is noted: its content does not show it.
    pub(super) fn took(&mut self, record: &Record<'_>, before: Option<Frontier>, reached: Timestamp, intake: &Intake) {
        if let Some(frontier) = before
            && intake.pipeline.frontier(record.partition).is_some_and(|after| !after.idle)
        {
            let floor = frontier.floor.max(reached);
            self.mark(record.partition, record.offset, Frontier { floor, ..frontier }, intake);
        }
        if let Some(progress) = self.partitions.get_mut(record.partition as usize) {
            progress.next_offset = record.offset + 1;
            progress.at_end_since = None;
            progress.recorded_at = record.timestamp;
        }
    }

    /// How old the oldest news is: the age of the last record of the partition that is furthest behind. Zero if all are
    /// at their end.
    pub(super) fn behind(&self, now: Timestamp) -> Duration {
        let unfinished = self.partitions.iter().filter(|progress| progress.at_end_since.is_none());
        unfinished.filter_map(|progress| progress.recorded_at).map(|at| now.since(at)).max().unwrap_or_default()
    }

    /// Whether it can be said how old the news is: each partition has shown a record or its end. Right after a start it
    /// cannot, and a backlog may lie ahead.
    pub(super) fn are_known(&self) -> bool {
        let is_known = |progress: &Progress| progress.at_end_since.is_some() || progress.recorded_at.is_some();
        self.partitions.iter().all(is_known) || self.begun.elapsed() >= SHOWN_WITHIN
    }

    /// Takes note of which partitions were at their end when the source was polled.
    pub(super) fn note_ends(&mut self, polled: &Polled, polled_at: Instant) {
        for (index, progress) in (0..).zip(&mut self.partitions) {
            if polled.at_end.contains(&index) {
                progress.at_end_since.get_or_insert(polled_at);
            } else {
                progress.at_end_since = None;
            }
        }
    }

    /// Leaves partitions behind that had been at their end for `idle_after` when the source was polled, and waits again
    /// for those that no longer are known to be (the broker is gone, or we were).
    pub(super) fn watch_ends(&mut self, polled_at: Instant, idle_after: Duration, intake: &mut Intake) {
        for at in 0..self.partitions.len() {
            let index = PartitionIndex::try_from(at).unwrap_or(PartitionIndex::MAX);
            let Progress { next_offset, at_end_since, .. } = self.partitions[at];
            match at_end_since {
                Some(since) if polled_at.saturating_duration_since(since) >= idle_after => intake.pipeline.idle(index),
                None => {
                    if let Some(frontier) = intake.pipeline.wake(index) {
                        self.mark(index, next_offset, frontier, intake);
                    }
                }
                Some(_) => {}
            }
        }
    }

    /// The positions of all partitions as of now.
    pub(super) fn now(&self, intake: &Intake) -> Vec<Mark> {
        let indices = (0..).zip(&self.partitions);
        let marks = indices.filter_map(|(index, progress)| {
            let partition = intake.partitions().get(index as usize)?.clone();
            let frontier = Frontier { idle: false, ..intake.pipeline.frontier(index)? };
            Some(Mark { partition, next_offset: progress.next_offset, frontier })
        });
        marks.collect()
    }

    /// Notes the positions of all partitions, whatever was noted before.
    pub(super) fn mark_all(&mut self, intake: &Intake) {
        self.partitions.iter_mut().for_each(|progress| progress.marked_at = Timestamp::MIN);
        self.mark_now_and_then(intake);
    }

    /// Notes positions from which the join can be rebuilt, once in a while; the first ones at once.
    pub(super) fn mark_now_and_then(&mut self, intake: &Intake) {
        for at in 0..self.partitions.len() {
            let index = PartitionIndex::try_from(at).unwrap_or(PartitionIndex::MAX);
            let Some(frontier) = intake.pipeline.frontier(index) else { continue };
            let Progress { next_offset, marked_at, .. } = self.partitions[at];
            let reached = frontier.newest.max(frontier.floor);
            if marked_at == Timestamp::MIN || reached.since(marked_at) >= MARK_EVERY {
                self.mark(index, next_offset, frontier, intake);
                self.partitions[at].marked_at = reached;
            }
        }
    }

    fn mark(&mut self, index: PartitionIndex, next_offset: i64, frontier: Frontier, intake: &Intake) {
        if let Some(partition) = intake.partitions().get(index as usize) {
            let frontier = Frontier { idle: false, ..frontier };
            self.marks.push(Mark { partition: partition.clone(), next_offset, frontier });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Defaults, parse};
    use crate::pipeline::Pipeline;
    use crate::source::Headers;

    fn intake() -> Intake {
        let text = include_str!("../../config/examples/eta-regression.toml");
        let (config, _) = parse("eta", text, &Defaults::default()).unwrap();
        let mut intake = Intake::new(Pipeline::new(config.pipeline, &[0; 16]), config.mapping);
        intake.expect_partitions(&[Partition { topic: "eta-predictions".to_owned(), number: 0 }]);
        intake
    }

    fn is_idle(intake: &Intake) -> bool {
        intake.pipeline.frontier(0).unwrap().idle
    }

    #[test]
    fn how_old_the_news_is_is_known_once_each_partition_has_shown_its_end_or_a_record() {
        let intake = intake();
        let mut positions = Positions::new(&[5, 5], &intake);
        assert!(!positions.are_known());
        positions.note_ends(&Polled { at_end: vec![1], ..Polled::default() }, Instant::now());
        assert!(!positions.are_known(), "a backlog may wait in the other");
        let at = Some(Timestamp::from_secs(1));
        let record =
            Record { partition: 0, offset: 5, timestamp: at, key: None, value: None, headers: Headers::default() };
        positions.took(&record, None, Timestamp::MIN, &intake);
        assert!(positions.are_known());
    }

    #[test]
    fn a_partition_is_left_behind_after_a_while_at_its_end_and_waited_for_when_that_is_no_longer_known() {
        let mut intake = intake();
        let mut positions = Positions::new(&[5], &intake);
        assert_eq!(positions.marks.len(), 1, "before anything is read");
        let (begun, while_at_end) = (Instant::now(), Duration::from_secs(30));
        let at_end = Polled { at_end: vec![0], ..Polled::default() };
        let mut poll = |polled: &Polled, second: u64, intake: &mut Intake| {
            let polled_at = begun + Duration::from_secs(second);
            positions.note_ends(polled, polled_at);
            positions.watch_ends(polled_at, while_at_end, intake);
            (is_idle(intake), positions.marks.len())
        };
        assert_eq!(poll(&at_end, 0, &mut intake), (false, 1));
        assert_eq!(poll(&at_end, 29, &mut intake), (false, 1));
        assert_eq!(poll(&at_end, 30, &mut intake), (true, 1));
        assert_eq!(poll(&Polled::default(), 31, &mut intake), (false, 2), "the broker is gone: waited for, and noted");
        assert_eq!(poll(&at_end, 40, &mut intake), (false, 2), "the time at the end begins anew");
        assert_eq!(poll(&at_end, 70, &mut intake), (true, 2));
    }
}
