//! Where records come from: the trait of a source, batches of records with their positions, the list of kinds.

// The kinds of sources; each has its `Config` and its `Source` in its own file.
pub mod file;
pub mod kafka;

use std::ops::Range;
use std::time::Duration;

use crate::clock::Timestamp;

/// Index into the source's list of partitions.
pub type PartitionIndex = u32;

/// One partition of a topic (for a file: its name, and 0 or the partition its lines name).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
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
    pub headers: Headers<'a>,
}

/// The mapped headers of a record.
#[derive(Clone, Copy, Debug, Default)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    ranges: &'a [Option<Range<usize>>],
}

impl<'a> Headers<'a> {
    /// The value of the header at `index` of the mapping; `None` if the record lacks it.
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        self.bytes.get(self.ranges.get(index)?.clone()?)
    }
}

/// Records copied out of the client into one arena, so that a batch costs two allocations, not two a record.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    headers: Vec<Option<Range<usize>>>,
}

impl Batch {
    /// Appends a copy of a record; `headers` in the order of the mapping.
    pub fn push<'h>(
        &mut self,
        (partition, offset): (PartitionIndex, i64),
        timestamp: Option<Timestamp>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl IntoIterator<Item = Option<&'h [u8]>>,
    ) {
        let first_header = self.headers.len();
        let key = self.keep(key);
        let value = self.keep(value);
        for header in headers {
            let header = self.keep(header);
            self.headers.push(header);
        }
        let headers = first_header..self.headers.len();
        self.entries.push(Entry { partition, offset, timestamp, key, value, headers });
    }

    fn keep(&mut self, bytes: Option<&[u8]>) -> Option<Range<usize>> {
        let bytes = bytes?;
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Some(start..self.bytes.len())
    }

    /// The records, in the order in which they were pushed.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let slice = |range: &Option<Range<usize>>| self.bytes.get(range.clone()?);
        self.entries.iter().map(move |entry| Record {
            partition: entry.partition,
            offset: entry.offset,
            timestamp: entry.timestamp,
            key: slice(&entry.key),
            value: slice(&entry.value),
            headers: Headers {
                bytes: &self.bytes,
                ranges: self.headers.get(entry.headers.clone()).unwrap_or_default(),
            },
        })
    }

    /// How many records.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of keys, values and headers together.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }
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
    /// What the source could not deliver, so that it can be counted and told. A gap comes before the records behind it.
    pub gaps: Vec<Gap>,
    /// The latest word on where partitions end and which they are.
    pub seen: Vec<Seen>,
    /// What else is wrong, so that it can be counted and told.
    pub faults: Vec<Fault>,
    /// The source will never bring more (end of the file, end of the range).
    pub finished: bool,
}

/// What is known of a partition beside its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The partition.
    pub partition: PartitionIndex,
    /// The offset after its last record, as far as is known.
    pub end: Option<i64>,
    /// By which it is known again.
    pub anchor: Option<Anchor>,
}

/// A record that was read a while ago. If another one is at its offset, the topic was made anew: offsets alone cannot
/// tell, once the new topic has grown beyond them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Its offset.
    pub offset: i64,
    /// Its timestamp in milliseconds; -1 if it has none.
    pub millis: i64,
    /// A hash of its key and value.
    pub hash: u64,
}

/// Something that is wrong with the source, beside missing records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The brokers no longer know a partition.
    Vanished {
        /// The partition.
        partition: PartitionIndex,
        /// For how long.
        lasted: Duration,
    },
    /// Somebody else uses the consumer group.
    ForeignConsumer {
        /// The group.
        group: String,
        /// What shows it.
        evidence: String,
    },
    /// The client stood still or failed, and was made anew.
    Renewed {
        /// Why.
        reason: String,
    },
    /// No broker answers.
    Unreachable {
        /// Which were asked.
        brokers: String,
        /// For how long.
        lasted: Duration,
    },
}

/// Records that will never be delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The partition; `None` if the broken line of a file does not tell.
    pub partition: Option<PartitionIndex>,
    /// The first offset that is missing; the number of the line where the partition is unknown.
    pub from: i64,
    /// The offset at which reading goes on. Less than `from` if the partition was cut back.
    pub to: i64,
    /// Why.
    pub cause: Cause,
}

/// Why records are not delivered. The variant is the `cause` label of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// They were deleted before we read them (retention).
    Deleted,
    /// The partition ends before our position: it was cut back.
    Truncated,
    /// The topic was deleted and made anew: what was not read of the former one is lost, the new one is read whole.
    Recreated,
    /// A line of a file is too long.
    Oversize,
    /// A line of a file is not what the file should hold.
    Malformed,
}

impl Cause {
    /// The `cause` label of the metric; one of a fixed set.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Deleted => "deleted",
            Cause::Truncated => "truncated",
            Cause::Recreated => "recreated",
            Cause::Oversize => "oversize",
            Cause::Malformed => "malformed",
        }
    }
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
    /// How much of a source that ends is done: (done, total), in bytes or records; `None` if it has no end.
    fn progress(&self) -> Option<(u64, u64)> {
        None
    }
}

/// A source that cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);
