//! Filling the join table after a restart, from records that were counted before the checkpoint.
//!
//! The join is a function of the set of events and their effective times, and effective times are a function of a
//! partition's content and its frontier at the start. So reading on from an earlier mark, with the frontiers that were
//! noted there, gives the table of the checkpoint, whatever the order.

use super::{Counts, Pipeline};
use crate::clock::{Tick, Timestamp};
use crate::event::Events;
use crate::source::PartitionIndex;
use crate::watermark::{Frontier, Watermark};

/// What is put aside while the table is filled.
#[derive(Debug)]
pub struct Rebuilding {
    watermark: Watermark,
    counts: Counts,
}

impl Pipeline {
    /// Begins to fill the table: partitions start with these frontiers.
    pub fn begin_rebuild(&mut self, frontiers: Vec<Frontier>) -> Rebuilding {
        let mut watermark = Watermark::new(self.options.lateness);
        watermark.restore(Timestamp::MIN, frontiers);
        Rebuilding { watermark: std::mem::replace(&mut self.watermark, watermark), counts: self.counts() }
    }

    /// Raises a partition's frontier, as was noted at this place.
    pub fn raise(&mut self, partition: PartitionIndex, floor: Timestamp) {
        self.watermark.raise(partition, floor);
    }

    /// Puts the events of a record into the table alone. What could not be used then cannot be used now.
    pub fn rebuild(&mut self, partition: PartitionIndex, events: &Events<'_>, now: Timestamp) {
        // The verdict was counted the first time.
        let _counted = self.join_events(partition, events, now);
        self.changes.clear();
    }

    /// Lets go of what the table had let go of by the checkpoint, as far as all partitions are read again; `ended` are
    /// those that are read up to the checkpoint. Without this the table would outgrow its limit.
    pub fn advance_rebuild(&mut self, ended: &[PartitionIndex]) {
        for partition in ended {
            self.watermark.idle(*partition);
        }
        let reached = self.watermark.advance(Timestamp::MIN);
        if let Some(next) = self.next.filter(|_| reached > Timestamp::MIN) {
            self.forget_until(next.min(self.grid.tick_of(reached)));
        }
    }

    fn forget_until(&mut self, next: Tick) {
        self.seal_join(next - 1);
        self.changes.clear();
    }

    /// Ends the filling: the core is as it was at the checkpoint.
    pub fn end_rebuild(&mut self, before: Rebuilding) {
        self.watermark = before.watermark;
        if let Some(next) = self.next {
            self.forget_until(next);
        }
        self.join.restore_counts(before.counts.join);
        self.counts = before.counts;
    }

    /// Records of before this instant cannot matter to the join any more; `None` before the first seal.
    pub fn join_horizon(&self) -> Option<Timestamp> {
        let longest = self.specs.iter().map(|spec| spec.window.reread_micros()).max()?;
        let sealed = self.sealed_until()?;
        Some(Timestamp::from_micros(sealed.as_micros().saturating_sub(longest)))
    }

    /// A partition's frontier.
    pub fn frontier(&self, partition: PartitionIndex) -> Option<Frontier> {
        self.watermark.frontiers().get(partition as usize).copied()
    }
}
