//! Kafka topics: a consumer with partitions and positions of our own choice, kept alive through every trouble.

mod client;
mod config;
mod position;

use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers as _, Message};
use rdkafka::statistics::{self, Statistics};

use self::client::Client;
use self::position::{Observation, Position};
use super::{Batch, Cause, Error, Gap, Partition, PartitionIndex, Polled, Source};
use crate::clock::{Clock, SystemClock, Timestamp};

pub use self::config::{Config, Start};

/// Most records of one batch.
const BATCH_RECORDS: usize = 2_000;
/// Most bytes of one batch, unless a single record is longer.
const BATCH_BYTES: usize = 1 << 20;
/// A broker is alive if it sent something within this time; every fetch is answered within `fetch.wait.max.ms`.
const LIVE_WITHIN: Duration = Duration::from_secs(10);
/// How often waiting for brokers and topics is logged.
const LOG_EVERY: Duration = Duration::from_secs(30);

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
    /// Only records from the first time up to the second (by their timestamps), then the source is finished.
    pub range: Option<(Timestamp, Timestamp)>,
    /// Only records before this offset of each partition, then the source is finished.
    pub until: Option<Offsets<'o>>,
}

/// Topics of a Kafka cluster.
pub struct Kafka {
    config: Config,
    client: Client,
    headers: Vec<String>,
    partitions: Vec<Partition>,
    positions: Vec<Position>,
    index: HashMap<String, HashMap<i32, PartitionIndex>>,
    gaps: Vec<Gap>,
    /// Partitions that a topic has got since, not yet read.
    grown: Vec<Partition>,
    /// A position was out of range and is not yet mended.
    lost: bool,
    ranged: bool,
}

impl Kafka {
    /// Finds the partitions and begins to read. Waits for brokers that do not answer and topics that are not there.
    ///
    /// # Errors
    ///
    /// If librdkafka refuses the settings, or if `keep_waiting` says so while there is something to wait for.
    pub fn open(config: &Config, opening: &Opening<'_>, keep_waiting: &dyn Fn() -> bool) -> Result<Kafka, Error> {
        let mut kafka = Kafka {
            config: config.clone(),
            client: Client::new(config)?,
            headers: opening.headers.to_vec(),
            partitions: Vec::new(),
            positions: Vec::new(),
            index: HashMap::new(),
            gaps: Vec::new(),
            grown: Vec::new(),
            lost: false,
            ranged: opening.range.is_some() || opening.until.is_some(),
        };
        let mut logged: Option<Instant> = None;
        while let Err(reason) = kafka.locate(opening) {
            if logged.is_none_or(|last| last.elapsed() >= LOG_EVERY) {
                tracing::warn!(brokers = config.brokers.join(","), "waiting for kafka: {reason}");
                logged = Some(Instant::now());
            }
            for _ in 0..10 {
                if !keep_waiting() {
                    return Err(Error(format!("stopped while waiting for kafka: {reason}")));
                }
                thread::sleep(Duration::from_millis(100));
            }
        }
        kafka.assign()?;
        Ok(kafka)
    }

    /// The next offset of each partition, in the order of their indices.
    pub fn positions(&self) -> Vec<i64> {
        self.positions.iter().map(|position| position.next).collect()
    }

    /// Finds all partitions and where to begin in them; all or nothing.
    fn locate(&mut self, opening: &Opening<'_>) -> Result<(), String> {
        // Tokens of OAuth are fetched while polling, and metadata needs them.
        self.client.poll(Duration::ZERO);
        let mut partitions = Vec::new();
        for topic in opening.topics {
            let numbers = self.client.partition_numbers(topic)?;
            partitions.extend(numbers.into_iter().map(|number| Partition { topic: topic.clone(), number }));
        }
        let watermarks = partitions.iter().map(|partition| self.client.watermarks(partition));
        let watermarks = watermarks.collect::<Result<Vec<(i64, i64)>, String>>()?;
        let since = opening.range.map(|(from, _)| from).or(match self.config.start {
            Start::Ago(ago) => Some(SystemClock.now().minus(ago)),
            Start::Latest | Start::Earliest => None,
        });
        let offsets_at = |at: Option<Timestamp>| at.map(|at| self.client.offsets_at(&partitions, at)).transpose();
        let since = offsets_at(since)?;
        let until = offsets_at(opening.range.map(|(_, to)| to))?;
        let offset =
            |offsets: &Option<Vec<Option<i64>>>, at: usize| offsets.as_ref().and_then(|offsets| *offsets.get(at)?);
        for (at, (partition, (low, high))) in partitions.iter().zip(watermarks).enumerate() {
            let by_start = match self.config.start {
                Start::Earliest if since.is_none() => low,
                _ => offset(&since, at).unwrap_or(high),
            };
            let end = match opening.until {
                Some(until) => Some(until(partition).unwrap_or(low).min(high)),
                None => self.ranged.then(|| offset(&until, at).unwrap_or(high).min(high)),
            };
            let next = match (opening.resume)(partition) {
                Some(next) => next,
                // A partition that its topic did not have when we last looked is read whole.
                None if partitions
                    .iter()
                    .any(|other| other.topic == partition.topic && (opening.resume)(other).is_some()) =>
                {
                    low
                }
                None => by_start,
            };
            self.add(partition.clone(), Position::new(next, end));
            self.mend(at, low, high);
        }
        Ok(())
    }

    fn add(&mut self, partition: Partition, position: Position) {
        let index = PartitionIndex::try_from(self.partitions.len()).unwrap_or(PartitionIndex::MAX);
        self.index.entry(partition.topic.clone()).or_default().insert(partition.number, index);
        self.partitions.push(partition);
        self.positions.push(position);
    }

    /// Moves a position into the partition if it lies outside, and notes what is missed.
    fn mend(&mut self, at: usize, low: i64, high: i64) {
        let Some(position) = self.positions.get_mut(at) else { return };
        let (to, cause) = match position.next {
            next if next < low => (low, Cause::Deleted),
            // Whether the topic was made anew or lost its tail: what lies before `high` may have been counted already.
            next if next > high => (high, Cause::Truncated),
            _ => return,
        };
        let partition = PartitionIndex::try_from(at).ok();
        let gap = Gap { partition, from: position.next, to, cause };
        tracing::warn!(partition = ?self.partitions.get(at), from = gap.from, to, cause = cause.name(), "records are missed");
        position.jump(to);
        self.gaps.push(gap);
    }

    fn assign(&self) -> Result<(), Error> {
        let positions = self.partitions.iter().zip(&self.positions);
        self.client.assign(
            positions
                .filter(|(_, position)| !position.is_finished())
                .map(|(partition, position)| (partition, position.next)),
        )
    }

    /// Takes records until the batch is full, the queue is empty, or nothing came until `deadline`.
    fn fill(&mut self, batch: &mut Batch, deadline: Instant) -> Result<(), KafkaError> {
        while batch.len() < BATCH_RECORDS && batch.bytes() < BATCH_BYTES {
            let left = deadline.saturating_duration_since(Instant::now());
            let wait = if batch.is_empty() { left } else { Duration::ZERO };
            let polled = self.client.poll(wait);
            // Statistics overtake records in the queue, so they are older than the record that came with them.
            if let Some(statistics) = self.client.statistics() {
                observe(&statistics, &self.index, &mut self.positions);
                self.grown = grown(&statistics, &self.index);
            }
            match polled.transpose()? {
                Some(message) => take(&message, &self.index, &mut self.positions, &self.headers, batch),
                None => break,
            }
        }
        Ok(())
    }

    /// Finds out which positions are out of range, and goes on where records are.
    fn recover(&mut self) -> Result<(), Error> {
        for at in 0..self.partitions.len() {
            match self.partitions.get(at).map(|partition| self.client.watermarks(partition)) {
                Some(Ok((low, high))) => self.mend(at, low, high),
                Some(Err(reason)) => {
                    tracing::debug!("positions are not mended yet: {reason}");
                    return Ok(());
                }
                None => {}
            }
        }
        self.lost = false;
        self.assign()
    }

    /// Reads the partitions that are new from their first record.
    fn extend(&mut self) -> Result<(), Error> {
        for partition in std::mem::take(&mut self.grown) {
            match self.client.watermarks(&partition) {
                Ok((low, _)) => {
                    tracing::info!(topic = partition.topic, number = partition.number, "a new partition is read");
                    self.add(partition, Position::new(low, None));
                }
                // The next statistics name it again.
                Err(reason) => tracing::debug!("a new partition is not read yet: {reason}"),
            }
        }
        self.assign()
    }

    /// Begins anew with a fresh client at our own positions.
    fn reconnect(&mut self, reason: &str) -> Result<(), Error> {
        tracing::warn!("kafka: the client is made anew: {reason}");
        self.client = Client::new(&self.config)?;
        for position in &mut self.positions {
            position.jump(position.next);
        }
        self.assign()
    }
}

fn index_of(index: &HashMap<String, HashMap<i32, PartitionIndex>>, topic: &str, number: i32) -> Option<PartitionIndex> {
    index.get(topic)?.get(&number).copied()
}

fn take(
    message: &BorrowedMessage<'_>,
    index: &HashMap<String, HashMap<i32, PartitionIndex>>,
    positions: &mut [Position],
    names: &[String],
    batch: &mut Batch,
) {
    let Some(partition) = index_of(index, message.topic(), message.partition()) else { return };
    let Some(position) = positions.get_mut(partition as usize) else { return };
    if !position.take(message.offset()) {
        return;
    }
    let headers = if names.is_empty() { None } else { message.headers() };
    // Of headers of the same name the last counts, as in Kafka's own clients.
    let header = |name: &String| headers?.iter().filter(|header| header.key == name).last()?.value;
    let timestamp = message.timestamp().to_millis().filter(|millis| *millis >= 0).map(Timestamp::from_millis);
    batch.push((partition, message.offset()), timestamp, message.key(), message.payload(), names.iter().map(header));
}

fn observe(statistics: &Statistics, index: &HashMap<String, HashMap<i32, PartitionIndex>>, positions: &mut [Position]) {
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
fn grown(statistics: &Statistics, index: &HashMap<String, HashMap<i32, PartitionIndex>>) -> Vec<Partition> {
    let mut found = Vec::new();
    for (topic, known) in index {
        let Some(topic_now) = statistics.topics.get(topic) else { continue };
        let new = topic_now
            .partitions
            .iter()
            .filter(|(number, now)| **number >= 0 && !now.unknown && !known.contains_key(number));
        found.extend(new.map(|(number, _)| Partition { topic: topic.clone(), number: *number }));
    }
    found.sort_unstable();
    found
}

fn observation(partition: &statistics::Partition, statistics: &Statistics) -> Observation {
    let broker = statistics.brokers.values().find(|broker| broker.nodeid == partition.broker);
    let heard = |broker: &statistics::Broker| {
        u64::try_from(broker.rxidle).is_ok_and(|micros| Duration::from_micros(micros) < LIVE_WITHIN)
    };
    Observation {
        // librdkafka puts the high watermark here if uncommitted records are read.
        log_end: partition.ls_offset,
        next_fetch: partition.next_offset,
        queue_empty: partition.fetchq_cnt == 0,
        live: partition.fetch_state == "active" && broker.is_some_and(|broker| broker.state == "UP" && heard(broker)),
    }
}

impl Source for Kafka {
    fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    fn poll(&mut self, wait: Duration) -> Result<Polled, Error> {
        let deadline = Instant::now() + wait;
        let mut polled = Polled::default();
        let finished: Vec<bool> = self.positions.iter().map(Position::is_finished).collect();
        if !(self.ranged && finished.iter().all(|finished| *finished)) {
            match self.fill(&mut polled.batch, deadline) {
                Ok(()) => {}
                Err(KafkaError::MessageConsumptionFatal(code)) => self.reconnect(&code.to_string())?,
                // Other trouble has been logged and passes by itself.
                Err(error) => self.lost |= error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset),
            }
        }
        if self.lost {
            self.recover()?;
        }
        if !self.ranged && !self.grown.is_empty() {
            self.extend()?;
        }
        let now = Instant::now();
        if self.positions.iter().any(|position| position.is_stuck(now)) {
            self.reconnect("records that are there do not come")?;
        }
        for ((partition, position), was_finished) in self.partitions.iter().zip(&self.positions).zip(finished) {
            if position.is_finished() && !was_finished {
                self.client.pause(partition);
            }
        }
        let ended = self.positions.iter().enumerate().filter(|(_, position)| position.is_at_end());
        polled.at_end = ended.filter_map(|(at, _)| PartitionIndex::try_from(at).ok()).collect();
        polled.gaps = std::mem::take(&mut self.gaps);
        polled.finished = self.ranged && self.positions.iter().all(Position::is_finished);
        Ok(polled)
    }

    fn publish_positions(&mut self, positions: &[(PartitionIndex, i64)]) {
        let found = positions.iter().filter_map(|(index, next)| Some((self.partitions.get(*index as usize)?, *next)));
        self.client.commit(found);
    }

    fn progress(&self) -> Option<(u64, u64)> {
        let sum = |(done, total): (u64, u64), position: &Position| {
            let (read, length) = position.progress();
            (done + read, total + length)
        };
        self.ranged.then(|| self.positions.iter().fold((0, 0), sum))
    }
}
