//! Records → events → the core, with what could not be used counted by reason.

use std::collections::BTreeMap;

use crate::alert::Transition;
use crate::clock::Timestamp;
use crate::decode::json::Json;
use crate::decode::{Decode, Mapping, Rejection};
use crate::event::Events;
use crate::pipeline::{Options, Pipeline};
use crate::source::{Partition, PartitionIndex, Record};

/// What was rejected for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// How often.
    pub count: u64,
    /// Where it happened last: `topic/partition@offset`.
    pub sample: String,
    /// What was wrong there.
    pub problem: String,
}

/// Rejections by reason.
pub type RejectedByReason = BTreeMap<&'static str, Rejected>;

/// How many records are decoded before the first of them is taken in.
const DECODED_AT_ONCE: usize = 64;

/// A record with what it says.
#[derive(Debug)]
pub struct Decoded<'a> {
    /// The record.
    pub record: Record<'a>,
    events: Result<Events<'a>, Rejection>,
}

/// Decodes records and feeds the core.
#[derive(Debug)]
pub struct Intake {
    /// The core.
    pub pipeline: Pipeline,
    mapping: Mapping,
    /// By partition number.
    partitions: Vec<Partition>,
    decoders: Vec<Json>,
    /// How many so far, by partition number.
    records: Vec<u64>,
    /// Records of neither role.
    ignored: u64,
    rejected: RejectedByReason,
}

impl Intake {
    /// With an empty or restored core.
    pub fn new(pipeline: Pipeline, mapping: Mapping) -> Intake {
        Intake {
            pipeline,
            mapping,
            partitions: Vec::new(),
            decoders: Vec::new(),
            records: Vec::new(),
            ignored: 0,
            rejected: BTreeMap::new(),
        }
    }

    /// Makes the source's partitions known; their order is that of their numbers.
    pub fn expect_partitions(&mut self, partitions: &[Partition]) {
        for partition in &partitions[self.partitions.len().min(partitions.len())..] {
            self.partitions.push(partition.clone());
            self.decoders.push(Json::new(&self.mapping, self.mapping.roles(&partition.topic)));
            self.records.push(0);
        }
        self.pipeline.expect_partitions(self.partitions.len());
    }

    /// Other options and mapping from now on; what was counted stays. Gives the alerts that ended by it.
    pub fn reload(&mut self, mapping: Mapping, options: Options, key: &[u8; 16]) -> Vec<Transition> {
        self.decoders = self.partitions.iter().map(|p| Json::new(&mapping, mapping.roles(&p.topic))).collect();
        self.mapping = mapping;
        self.pipeline.reload(options, key)
    }

    /// The partitions, by number.
    pub fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// Records so far, by topic.
    pub fn records(&self) -> BTreeMap<String, u64> {
        let mut records = BTreeMap::new();
        for (partition, count) in self.partitions.iter().zip(&self.records) {
            *records.entry(partition.topic.clone()).or_default() += count;
        }
        records
    }

    /// Records so far that are neither predictions nor labels: other things on a shared topic, or a `when` that does not
    /// hold.
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Rejections so far.
    pub fn rejected(&self) -> &RejectedByReason {
        &self.rejected
    }

    /// Decodes records; `each` takes them in, one by one.
    pub fn take<'a>(
        &mut self,
        records: impl Iterator<Item = Record<'a>>,
        mut each: impl FnMut(&mut Intake, &Decoded<'a>),
    ) {
        let mut records = records.peekable();
        while records.peek().is_some() {
            for decoded in &self.decode(records.by_ref().take(DECODED_AT_ONCE)) {
                each(self, decoded);
            }
        }
    }

    /// Decodes records, and lets the core look ahead: the places in memory that they need are fetched together.
    fn decode<'a>(&self, records: impl Iterator<Item = Record<'a>>) -> Vec<Decoded<'a>> {
        let mut decoded = Vec::with_capacity(DECODED_AT_ONCE);
        for record in records {
            if let Some(decoder) = self.decoders.get(record.partition as usize) {
                decoded.push(Decoded { record, events: decoder.decode(&record) });
            }
        }
        self.pipeline.look_ahead(decoded.iter().filter_map(|decoded: &Decoded<'_>| decoded.events.as_ref().ok()));
        decoded
    }

    /// Takes in one record.
    pub fn take_record(&mut self, Decoded { record, events }: &Decoded<'_>, now: Timestamp) {
        if let Some(count) = self.records.get_mut(record.partition as usize) {
            *count += 1;
        }
        match events {
            Ok(events) => {
                self.ignored += u64::from(events.prediction.is_none() && events.label.is_none());
                if let Err(rejection) = self.pipeline.take(record.partition, events, now) {
                    self.reject(record.partition, record.offset, &rejection);
                }
            }
            Err(rejection) => self.reject(record.partition, record.offset, rejection),
        }
    }

    /// Puts one record into the join alone: it was counted before the checkpoint. Trouble was counted then, too.
    pub fn rebuild_record(&mut self, Decoded { record, events }: &Decoded<'_>, now: Timestamp) {
        if let Ok(events) = events {
            self.pipeline.rebuild(record.partition, events, now);
        }
    }

    fn reject(&mut self, partition: PartitionIndex, offset: i64, rejection: &Rejection) {
        let known = self.rejected.get(rejection.reason()).map_or(0, |rejected| rejected.count);
        // The words are made anew only now and then: all-bad input must not cost more than good input.
        if known >= 1_000 && !known.is_multiple_of(1_000) {
            if let Some(rejected) = self.rejected.get_mut(rejection.reason()) {
                rejected.count += 1;
            }
            return;
        }
        let Partition { topic, number } = &self.partitions[partition as usize];
        let problem: String = rejection.to_string().chars().take(200).collect();
        let rejected = Rejected { count: known + 1, sample: format!("{topic}/{number}@{offset}"), problem };
        self.rejected.insert(rejection.reason(), rejected);
    }
}
