//! Where records come from: the trait of a source, batches of records with their positions, the list of kinds.

use std::ops::Range;
use std::time::Duration;

use crate::clock::Timestamp;

/// Index into the source's list of partitions.
pub type PartitionIndex = u32;

/// One partition of a topic (for a file: its name, and 0 or the partition its lines name).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The topic.
    pub topic: String,
    /// Its number.
    pub number: i32,
}

/// Bytes from a source with their position.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Which partition.
    pub partition: PartitionIndex,
    /// Its offset there (for a plain file: the line number).
    pub offset: i64,
    /// The record's own time, if the source has one.
    pub timestamp: Option<Timestamp>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers that the mapping asked for, in its order; `None` where the record lacks one.
    pub headers: &'a [Option<&'a [u8]>],
}

/// Records copied out of the client into one arena, so that a batch costs two allocations, not two a record.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    headers: Vec<Option<Range<usize>>>,
}

#[derive(Clone, Debug)]
struct Entry {
    partition: PartitionIndex,
    offset: i64,
    timestamp: Option<Timestamp>,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Range<usize>,
}

/// What one poll brought.
#[derive(Debug, Default)]
pub struct Polled {
    /// Records, in the order of each partition. May be empty.
    pub batch: Batch,
    /// Partitions that are known to be at their end as of this poll.
    pub at_end: Vec<PartitionIndex>,
    /// The source will never bring more (end of the file, end of the range).
    pub finished: bool,
}

/// Where records come from. Lives on a thread of its own; may block up to `wait`.
pub trait Source: Send {
    /// The partitions, in the order of their indices. Grows only.
    fn partitions(&self) -> &[Partition];
    /// The next records.
    ///
    /// # Errors
    ///
    /// If the source is broken for good; passing trouble is logged and waited out.
    fn poll(&mut self, wait: Duration) -> Result<Polled, Error>;
    /// Tells others how far the checkpoint has come (next offsets); of no meaning to ourselves.
    fn publish_positions(&mut self, _positions: &[(PartitionIndex, i64)]) {}
}

/// A source that cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);
