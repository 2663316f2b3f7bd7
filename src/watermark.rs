//! How far event time has come: a frontier per partition, effective times, and the watermark that seals ticks.
//!
//! A partition's frontier is the highest event time seen in it minus `lateness`. A record's *effective time* is its
//! event time or the frontier before it, whichever is later: a pure function of the partition's content, whatever the
//! other partitions do. The watermark is the lowest frontier of all partitions, so no later record can fall before it.

use std::time::Duration;

use crate::clock::{TickGrid, Timestamp};
use crate::source::PartitionIndex;

/// The frontiers of all partitions.
#[derive(Clone, Debug)]
pub struct Watermark {
    lateness: Duration,
    partitions: Vec<Frontier>,
    /// Never goes back.
    reached: Timestamp,
}

/// What is known of one partition's event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Frontier {
    /// The highest event time seen in it.
    pub newest: Timestamp,
    /// What its frontier was raised to by a decision that its content does not show: it was idle, or joined late.
    pub floor: Timestamp,
    /// It is at its end and has been for a while, so it holds nobody back.
    pub idle: bool,
}

impl Frontier {
    const UNSEEN: Frontier = Frontier { newest: Timestamp::MIN, floor: Timestamp::MIN, idle: false };

    fn at(self, lateness: Duration) -> Timestamp {
        self.newest.minus(lateness).max(self.floor)
    }
}

/// Where a record stands in event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observed {
    /// The time it counts at.
    pub effective: Timestamp,
    /// Whether it came behind its partition's frontier and was moved up to it.
    pub late: bool,
}

impl Watermark {
    /// No partitions, at the beginning of time.
    pub fn new(lateness: Duration) -> Watermark {
        Watermark { lateness, partitions: Vec::new(), reached: Timestamp::MIN }
    }

    /// Makes the partitions up to `count` known; each holds the watermark back until it has data or is idle.
    ///
    /// A partition that joins later starts at the watermark: what it holds from before counts as late.
    pub fn expect_partitions(&mut self, count: usize) {
        let unseen = Frontier { floor: self.reached, ..Frontier::UNSEEN };
        if self.partitions.len() < count {
            self.partitions.resize(count, unseen);
        }
    }

    /// Takes note of a record's event time. An unknown partition is made known.
    pub fn observe(&mut self, partition: PartitionIndex, time: Timestamp) -> Observed {
        let index = partition as usize;
        self.expect_partitions(index + 1);
        self.wake(partition);
        let reached = self.reached;
        let frontier = &mut self.partitions[index];
        // Normally the frontier is beyond the watermark; after a reload that raises `lateness`, or the end of the
        // input, it is not.
        let before = frontier.at(self.lateness).max(reached);
        frontier.newest = frontier.newest.max(time);
        Observed { effective: time.max(before), late: time < before }
    }

    /// The partition is at its end and may be left behind.
    pub fn idle(&mut self, partition: PartitionIndex) {
        self.expect_partitions(partition as usize + 1);
        self.partitions[partition as usize].idle = true;
    }

    /// An idle partition is waited for again, from the watermark on; gives its frontier if it was idle.
    pub fn wake(&mut self, partition: PartitionIndex) -> Option<Frontier> {
        let reached = self.reached;
        let frontier = self.partitions.get_mut(partition as usize).filter(|frontier| frontier.idle)?;
        frontier.idle = false;
        frontier.floor = frontier.floor.max(reached);
        Some(*frontier)
    }

    /// Raises a partition's frontier to `floor`.
    pub fn raise(&mut self, partition: PartitionIndex, floor: Timestamp) {
        self.expect_partitions(partition as usize + 1);
        let frontier = &mut self.partitions[partition as usize];
        frontier.floor = frontier.floor.max(floor);
    }

    /// Moves the watermark to what the frontiers allow; when all partitions are idle, `now` moves it.
    ///
    /// Cost: the number of partitions, so call it once a batch.
    pub fn advance(&mut self, now: Timestamp) -> Timestamp {
        let active = self.partitions.iter().filter(|frontier| !frontier.idle);
        let allowed = match active.map(|frontier| frontier.at(self.lateness)).min() {
            Some(lowest) => lowest,
            None if self.partitions.is_empty() => Timestamp::MIN,
            None => now.minus(self.lateness),
        };
        self.reached = self.reached.max(allowed);
        self.reached
    }

    /// The end of the input: nothing is held back any longer, up to the end of the last tick with an event.
    pub fn finish(&mut self, grid: TickGrid) -> Timestamp {
        let newest = self.partitions.iter().map(|frontier| frontier.newest).max().unwrap_or(Timestamp::MIN);
        if newest > Timestamp::MIN {
            self.reached = self.reached.max(grid.end_of(grid.tick_of(newest)));
        }
        self.reached
    }

    /// How far event time has come.
    pub fn reached(&self) -> Timestamp {
        self.reached
    }

    /// The frontiers, by partition; what a checkpoint keeps.
    pub fn frontiers(&self) -> &[Frontier] {
        &self.partitions
    }

    /// Puts back what a checkpoint kept.
    pub fn restore(&mut self, reached: Timestamp, frontiers: impl IntoIterator<Item = Frontier>) {
        self.reached = reached;
        self.partitions = frontiers.into_iter().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn the_slowest_partition_holds_the_watermark() {
        let mut watermark = Watermark::new(Duration::from_secs(10));
        watermark.expect_partitions(2);
        watermark.observe(0, at(100));
        assert_eq!(watermark.advance(at(1000)), Timestamp::MIN.minus(Duration::from_secs(10)));
        watermark.observe(1, at(50));
        assert_eq!(watermark.advance(at(1000)), at(40));
    }

    #[test]
    fn an_idle_partition_holds_nobody_back_and_comes_back_at_the_watermark() {
        let mut watermark = Watermark::new(Duration::from_secs(10));
        watermark.expect_partitions(2);
        watermark.observe(0, at(100));
        watermark.idle(1);
        assert_eq!(watermark.advance(at(1000)), at(90));
        assert_eq!(watermark.observe(1, at(20)), Observed { effective: at(90), late: true });
        assert_eq!(watermark.observe(0, at(300)).effective, at(300));
        assert_eq!(watermark.advance(at(1000)), at(90), "partition 1 is active again");
    }

    #[test]
    fn when_all_are_idle_the_clock_moves_the_watermark() {
        let mut watermark = Watermark::new(Duration::from_secs(10));
        watermark.observe(0, at(100));
        watermark.idle(0);
        assert_eq!(watermark.advance(at(1000)), at(990));
        assert_eq!(watermark.advance(at(900)), at(990), "never back");
    }

    #[test]
    fn late_records_land_at_the_frontier() {
        let mut watermark = Watermark::new(Duration::from_secs(10));
        watermark.observe(0, at(100));
        assert_eq!(watermark.observe(0, at(95)), Observed { effective: at(95), late: false });
        assert_eq!(watermark.observe(0, at(80)), Observed { effective: at(90), late: true });
    }

    #[test]
    fn no_record_falls_behind_the_watermark_after_a_reload_with_more_lateness() {
        let mut before = Watermark::new(Duration::from_secs(10));
        before.observe(0, at(100));
        let reached = before.advance(at(1000));
        let mut after = Watermark::new(Duration::from_secs(60));
        after.restore(reached, before.frontiers().to_vec());
        assert_eq!(after.observe(0, at(50)), Observed { effective: at(90), late: true });
        assert_eq!(after.advance(at(1000)), at(90), "never back");
    }

    #[test]
    fn after_the_end_of_the_input_records_land_behind_it() {
        let grid = TickGrid::new(Duration::from_secs(10));
        let mut watermark = Watermark::new(Duration::from_secs(10));
        assert_eq!(watermark.finish(grid), Timestamp::MIN);
        watermark.observe(0, at(101));
        assert_eq!(watermark.finish(grid), at(110));
        assert_eq!(watermark.observe(0, at(105)).effective, at(110));
    }
}
