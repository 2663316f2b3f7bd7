//! The librdkafka client: its settings, its log, its statistics, and its end.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::statistics::Statistics;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::Config;
use super::config::PASSWORD;
use super::group::Committed;
use crate::clock::Timestamp;
use crate::source::{Error, Partition};

/// Longest wait for an answer about a topic or an offset.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Longest wait for a client to close.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// The same trouble is logged once in this time.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// What may be set differently. `fetch.queue.backoff.ms` is a full second otherwise, which starves a fast reader.
const DEFAULTS: [(&str, &str); 5] = [
    ("client.id", "modelwatch"),
    ("fetch.queue.backoff.ms", "2"),
    ("fetch.wait.max.ms", "100"),
    ("socket.keepalive.enable", "true"),
    (REFRESH, "60000"),
];
/// How often topics, partitions and the group are looked at anew.
const REFRESH: &str = "topic.metadata.refresh.interval.ms";

/// What may not: positions are ours, a lost position is an error and not a jump, and statistics tell the end.
const FIXED: [(&str, &str); 4] = [
    ("auto.offset.reset", "error"),
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("statistics.interval.ms", "1000"),
];

/// How often topics, partitions and the group are looked at anew.
pub(super) fn refresh_every(config: &Config) -> Duration {
    let millis = client_config(config).get(REFRESH).and_then(|millis| millis.parse().ok());
    Duration::from_millis(millis.unwrap_or(60_000))
}

fn client_config(config: &Config) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.extend(DEFAULTS.map(|(name, value)| (name.to_owned(), value.to_owned())));
    client.extend(config.librdkafka.iter().cloned());
    client.extend(FIXED.map(|(name, value)| (name.to_owned(), value.to_owned())));
    client.set("bootstrap.servers", config.brokers.join(","));
    client.set("group.id", &config.group_id);
    if let Some(location) = certificates(&config.librdkafka) {
        client.set("ssl.ca.location", location);
    }
    client.set_log_level(RDKafkaLogLevel::Warning);
    client
}

/// Where the system keeps the certificates of authorities, if TLS is asked for and no place is given.
///
/// The OpenSSL that is compiled in would look under a prefix that exists on no machine.
fn certificates(settings: &[(String, String)]) -> Option<String> {
    let given = settings.iter().any(|(name, _)| name.starts_with("ssl.ca."));
    let tls = settings.iter().any(|(name, value)| name == "security.protocol" && value.to_lowercase().contains("ssl"));
    if given || !tls {
        return None;
    }
    let found = openssl_probe::probe();
    let path = found.cert_file.or_else(|| found.cert_dir.into_iter().next())?;
    path.into_os_string().into_string().ok()
}

/// Why librdkafka would not make a client of these settings; without brokers, so that no network is touched.
pub(super) fn refusal(config: &Config) -> Option<String> {
    let mut client = client_config(config);
    client.remove("bootstrap.servers");
    if config.password.is_some() {
        client.set(PASSWORD, "unread");
    }
    match client.create_with_context::<Context, BaseConsumer<Context>>(Context::default()) {
        Ok(_) => None,
        Err(KafkaError::ClientCreation(reason)) => Some(reason),
        Err(error) => Some(error.to_string()),
    }
}

/// What librdkafka calls back.
#[derive(Default)]
struct Context {
    statistics: Mutex<Option<Statistics>>,
    logged: Mutex<HashMap<String, Instant>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientContext for Context {
    /// Everything that matters comes through `error` as well; this is the detail.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, "librdkafka: {message}");
            }
            _ => tracing::debug!(facility, "librdkafka: {message}"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        *lock(&self.statistics) = Some(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let kind = error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| format!("{code:?}"));
        let now = Instant::now();
        let mut logged = lock(&self.logged);
        if logged.get(&kind).is_none_or(|last| now.duration_since(*last) >= LOG_EVERY) {
            logged.insert(kind, now);
            tracing::warn!("kafka: {reason}");
        }
    }
}

impl ConsumerContext for Context {}

/// A consumer that is assigned its partitions and is of no group but in name.
pub(super) struct Client {
    /// Empty only while it is dropped.
    consumer: Option<BaseConsumer<Context>>,
}

impl Client {
    /// Makes a client; nothing is connected yet.
    pub(super) fn new(config: &Config) -> Result<Client, Error> {
        let mut client = client_config(config);
        if let Some(password) = &config.password {
            let password = password.load().map_err(|unreadable| Error(format!("`source.kafka`, {unreadable}")))?;
            client.set(PASSWORD, password);
        }
        let created = client.create_with_context(Context::default());
        let consumer = created.map_err(|error| Error(format!("librdkafka refuses its settings: {error}")))?;
        Ok(Client { consumer: Some(consumer) })
    }

    fn consumer(&self) -> KafkaResult<&BaseConsumer<Context>> {
        self.consumer.as_ref().ok_or(KafkaError::Canceled)
    }

    /// The next record; also serves what librdkafka calls back.
    pub(super) fn poll(&self, wait: Duration) -> Option<KafkaResult<BorrowedMessage<'_>>> {
        self.consumer.as_ref()?.poll(wait)
    }

    /// The newest statistics, once.
    pub(super) fn statistics(&self) -> Option<Statistics> {
        lock(&self.consumer.as_ref()?.context().statistics).take()
    }

    /// The numbers of a topic's partitions, in order; none if the brokers say that there is no such topic.
    pub(super) fn partition_numbers(&self, topic: &str) -> Result<Vec<i32>, String> {
        let metadata = self.consumer().and_then(|consumer| consumer.fetch_metadata(Some(topic), ANSWER_WITHIN));
        let metadata = metadata.map_err(|error| format!("no broker answers: {error}"))?;
        let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(Vec::new()) };
        match found.error().map(RDKafkaErrorCode::from) {
            None | Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {}
            Some(code) => return Err(format!("topic {topic}: {}", KafkaError::MetadataFetch(code))),
        }
        let mut numbers: Vec<i32> = found.partitions().iter().map(rdkafka::metadata::MetadataPartition::id).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The first offset of a partition, and the one after its last.
    pub(super) fn watermarks(&self, partition: &Partition) -> Result<(i64, i64), String> {
        let Partition { topic, number } = partition;
        let watermarks = self.consumer().and_then(|consumer| consumer.fetch_watermarks(topic, *number, ANSWER_WITHIN));
        watermarks.map_err(|error| format!("no offsets of {topic}/{number}: {error}"))
    }

    /// The offset of the first record that is not older than `at`, per partition; `None` if there is none.
    pub(super) fn offsets_at(&self, partitions: &[Partition], at: Timestamp) -> Result<Vec<Option<i64>>, String> {
        let millis = at.as_micros().div_euclid(1_000).max(0);
        let list = offset_list(partitions.iter().map(|partition| (partition, millis)));
        let answer = list.and_then(|list| self.consumer()?.offsets_for_times(list, ANSWER_WITHIN));
        let answer = answer.map_err(|error| format!("no offsets by time: {error}"))?;
        let offset = |partition: &Partition| {
            let found =
                answer.find_partition(&partition.topic, partition.number).ok_or("the broker left it out".to_owned())?;
            found.error().map_err(|error| error.to_string())?;
            Ok(match found.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            })
        };
        let offsets: Result<Vec<Option<i64>>, String> = partitions.iter().map(offset).collect();
        offsets.map_err(|error| format!("no offsets by time: {error}"))
    }

    /// Reads these partitions from these offsets and no others. What was fetched before is thrown away.
    pub(super) fn assign<'p>(&self, positions: impl Iterator<Item = (&'p Partition, i64)>) -> Result<(), Error> {
        let assigned = offset_list(positions).and_then(|list| self.consumer()?.assign(&list));
        assigned.map_err(|error| Error(format!("kafka: cannot assign partitions: {error}")))
    }

    /// Fetches no more of a partition.
    pub(super) fn pause(&self, partition: &Partition) {
        let list = offset_list(std::iter::once((partition, 0)));
        if let Err(error) = list.and_then(|list| self.consumer()?.pause(&list)) {
            tracing::debug!("pausing a partition failed: {error}");
        }
    }

    /// Publishes next offsets in the group, each with this mark. What comes of it is told by nobody: librdkafka's answer
    /// ends in a log line.
    pub(super) fn commit<'p>(&self, positions: impl Iterator<Item = (&'p Partition, i64)>, mark: &str) {
        let list = offset_list(positions).map(|list| with_mark(list, mark));
        let committed = list.and_then(|list| self.consumer()?.commit(&list, CommitMode::Async));
        if let Err(error) = committed {
            tracing::debug!("publishing positions failed: {error}");
        }
    }

    /// What is published in the group for these partitions, where there is something.
    pub(super) fn committed<'p>(
        &self,
        partitions: impl Iterator<Item = &'p Partition>,
    ) -> Result<HashMap<Partition, Committed>, String> {
        let list = offset_list(partitions.map(|partition| (partition, 0)));
        let answer = list.and_then(|list| self.consumer()?.committed_offsets(list, ANSWER_WITHIN));
        let answer = answer.map_err(|error| format!("no offsets of the group: {error}"))?;
        let committed = answer.elements().into_iter().filter_map(|element| {
            let Offset::Offset(next) = element.offset() else { return None };
            let partition = Partition { topic: element.topic().to_owned(), number: element.partition() };
            Some((partition, Committed { next, mark: element.metadata().to_owned() }))
        });
        Ok(committed.collect())
    }
}

fn offset_list<'p>(positions: impl Iterator<Item = (&'p Partition, i64)>) -> KafkaResult<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in positions {
        list.add_partition_offset(&partition.topic, partition.number, Offset::Offset(offset))?;
    }
    Ok(list)
}

/// The same list with `mark` beside every offset.
fn with_mark(list: TopicPartitionList, mark: &str) -> TopicPartitionList {
    for mut element in list.elements() {
        element.set_metadata(mark);
    }
    list
}

/// Closing waits for brokers, in old versions for ever: it is done elsewhere and waited for only so long.
impl Drop for Client {
    fn drop(&mut self) {
        let Some(consumer) = self.consumer.take() else { return };
        let (closed, is_closed) = mpsc::channel();
        thread::spawn(move || {
            drop(consumer);
            closed.send(()).ok();
        });
        if is_closed.recv_timeout(CLOSE_WITHIN).is_err() {
            tracing::warn!("kafka: the client does not close and is left behind");
        }
    }
}
