//! From what the client brings to what we know of partitions: records, statistics.

use std::time::{Duration, Instant};

use hashbrown::HashMap;
use rdkafka::message::{BorrowedMessage, Headers as _, Message};
use rdkafka::statistics::{self, Statistics};

use super::identity;
use super::position::{Observation, Position};
use crate::clock::Timestamp;
use crate::source::{Batch, Partition, PartitionIndex};

/// A broker is alive if it sent something within this time; every fetch is answered within `fetch.wait.max.ms`.
const LIVE_WITHIN: Duration = Duration::from_secs(10);

/// Partitions by topic and number.
pub(super) type Index = HashMap<String, HashMap<i32, PartitionIndex>>;

fn index_of(index: &Index, topic: &str, number: i32) -> Option<PartitionIndex> {
    index.get(topic)?.get(&number).copied()
}

/// Takes a record into the batch; whether its partition is now known by an anchor that it was not known by.
pub(super) fn take(
    message: &BorrowedMessage<'_>,
    index: &Index,
    positions: &mut [Position],
    names: &[String],
    batch: &mut Batch,
) -> bool {
    let Some(partition) = index_of(index, message.topic(), message.partition()) else { return false };
    let Some(position) = positions.get_mut(partition as usize) else { return false };
    if !position.take(message.offset()) {
        return false;
    }
    let is_first = position.anchor.is_none();
    if position.wants_anchor() {
        position.remember(identity::anchor(message));
    }
    let headers = if names.is_empty() { None } else { message.headers() };
    // Of headers of the same name the last counts, as in Kafka's own clients.
    let header = |name: &String| headers?.iter().filter(|header| header.key == name).last()?.value;
    let timestamp = message.timestamp().to_millis().filter(|millis| *millis >= 0).map(Timestamp::from_millis);
    batch.push((partition, message.offset()), timestamp, message.key(), message.payload(), names.iter().map(header));
    is_first
}

/// Tells the positions what the statistics say of them.
pub(super) fn observe(statistics: &Statistics, index: &Index, positions: &mut [Position]) {
    let now = Instant::now();
    for (name, topic) in &statistics.topics {
        for (number, partition) in &topic.partitions {
            let found = index_of(index, name, *number).and_then(|index| positions.get_mut(index as usize));
            if let Some(position) = found {
                position.observe(observation(partition, statistics), now);
            }
        }
    }
}

/// Partitions of our topics that we do not know. The client asks for them every `topic.metadata.refresh.interval.ms`.
pub(super) fn grown(statistics: &Statistics, index: &Index) -> Vec<Partition> {
    let mut found = Vec::new();
    for (topic, known) in index {
        let Some(topic_now) = statistics.topics.get(topic) else { continue };
        let new = topic_now
            .partitions
            .iter()
            .filter(|(number, now)| **number >= 0 && !now.unknown && !known.contains_key(*number));
        found.extend(new.map(|(number, _)| Partition { topic: topic.clone(), number: *number }));
    }
    found.sort_unstable();
    found
}

fn observation(partition: &statistics::Partition, statistics: &Statistics) -> Observation {
    let broker = statistics.brokers.values().find(|broker| broker.nodeid == partition.broker);
    Observation {
        // librdkafka puts the high watermark here if uncommitted records are read.
        log_end: partition.ls_offset,
        next_fetch: partition.next_offset,
        queue_empty: partition.fetchq_cnt == 0,
        live: !partition.unknown && partition.fetch_state == "active" && broker.is_some_and(is_live),
        cluster_live: statistics.brokers.values().any(is_live),
    }
}

fn is_live(broker: &statistics::Broker) -> bool {
    broker.state == "UP" && silence(broker).is_some_and(|silence| silence < LIVE_WITHIN)
}

/// How long ago a broker sent something, if it ever did.
fn silence(broker: &statistics::Broker) -> Option<Duration> {
    u64::try_from(broker.rxidle).ok().map(Duration::from_micros)
}

/// How long ago the last of all brokers sent something.
pub(super) fn silence_of_all(statistics: &Statistics) -> Option<Duration> {
    statistics.brokers.values().filter_map(silence).min()
}

/// How old the client's knowledge of each topic is. When it gets younger, the client has asked.
pub(super) fn metadata_ages(statistics: &Statistics) -> HashMap<String, i64> {
    statistics.topics.iter().map(|(name, topic)| (name.clone(), topic.metadata_age)).collect()
}
