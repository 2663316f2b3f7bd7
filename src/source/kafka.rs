//! Kafka topics: a consumer with partitions and positions of our own choice, kept alive through every trouble.

mod client;
mod config;
mod group;
mod identity;
mod observe;
mod opening;
mod position;
mod watch;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use self::client::Client;
use self::group::Group;
use self::identity::{Probe, Verdict};
use self::observe::Index;
use self::position::Position;
use self::watch::Watch;
use super::{Anchor, Batch, Cause, Error, Fault, Gap, Partition, PartitionIndex, Polled, Seen, Source};

pub use self::config::{Config, Start};
pub use self::opening::{Offsets, Opening};

/// Most records of one batch.
const BATCH_RECORDS: usize = 2_000;
/// Most bytes of one batch, unless a single record is longer.
const BATCH_BYTES: usize = 1 << 20;
/// A gap is held so long for the record behind it, which tells how much time is missing.
const GAP_HELD: Duration = Duration::from_secs(3);

/// Topics of a Kafka cluster.
pub struct Kafka {
    config: Config,
    client: Client,
    headers: Vec<String>,
    partitions: Vec<Partition>,
    positions: Vec<Position>,
    index: Index,
    /// Not told yet, and since when.
    gaps: Vec<(Gap, Instant)>,
    faults: Vec<Fault>,
    /// Looks up the records by which partitions are known again.
    probe: Probe,
    group: Group,
    watch: Watch,
    /// Partitions that a topic has got since, not yet read.
    grown: Vec<Partition>,
    /// A position was out of range and is not yet mended.
    lost: bool,
    ranged: bool,
}

impl Kafka {
    /// The next offset of each partition, in the order of their indices; before a gap that is not told yet.
    pub fn positions(&self) -> Vec<i64> {
        let gap = |at: usize| self.gaps.iter().find(|(gap, _)| gap.partition.is_some_and(|index| index as usize == at));
        let next = |(at, position): (usize, &Position)| gap(at).map_or(position.next, |(gap, _)| gap.from);
        self.positions.iter().enumerate().map(next).collect()
    }

    fn add(&mut self, partition: Partition, position: Position) {
        let index = PartitionIndex::try_from(self.partitions.len()).unwrap_or(PartitionIndex::MAX);
        self.index.entry(partition.topic.clone()).or_default().insert(partition.number, index);
        self.partitions.push(partition);
        self.positions.push(position);
    }

    /// Moves a position into the partition if it lies outside, and notes what is missed.
    fn mend(&mut self, at: usize, low: i64, high: i64) {
        let Some(position) = self.positions.get_mut(at).filter(|position| !position.is_finished()) else { return };
        let (to, cause) = match position.next {
            // What lies behind a range is not missed.
            next if next < low => (position.end.map_or(low, |end| low.min(end)), Cause::Deleted),
            // It lost its tail: what lies before `high` may have been counted already.
            next if next > high => (high, Cause::Truncated),
            _ => return,
        };
        let partition = PartitionIndex::try_from(at).ok();
        let gap = Gap { partition, from: position.next, to, cause };
        position.jump(to);
        self.note_gap(gap);
    }

    fn note_gap(&mut self, gap: Gap) {
        let place = gap.partition.and_then(|index| self.partitions.get(index as usize));
        tracing::debug!(?place, from = gap.from, to = gap.to, cause = gap.cause.name(), "records are missed");
        self.gaps.push((gap, Instant::now()));
    }

    fn note_vanished(&mut self, partition: PartitionIndex, lasted: Duration) {
        self.faults.push(Fault::Vanished { partition, lasted });
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
            let wait =
                if batch.is_empty() { deadline.saturating_duration_since(Instant::now()) } else { Duration::ZERO };
            let polled = self.client.poll(wait);
            // Statistics overtake records in the queue, so they are older than the record that came with them.
            if let Some(statistics) = self.client.statistics() {
                self.watch.observe(&statistics, &self.index, &mut self.positions);
                self.grown = observe::grown(&statistics, &self.index);
            }
            match polled.transpose()? {
                Some(message) => {
                    let headers = &self.headers;
                    // An anchor is committed with the first record, or a crash would leave nothing to know it by.
                    self.watch.news |= observe::take(&message, &self.index, &mut self.positions, headers, batch);
                }
                None => break,
            }
        }
        Ok(())
    }

    /// Asks for the records by which the partitions are known again; gives the anchors.
    fn ask(&mut self) -> Result<Vec<(usize, Anchor)>, Error> {
        let anchor = |(at, position): (usize, &Position)| {
            position.anchor.filter(|_| !position.vanished && !position.is_silent()).map(|anchor| (at, anchor))
        };
        let asked: Vec<(usize, Anchor)> = self.positions.iter().enumerate().filter_map(anchor).collect();
        let offsets: Vec<(Partition, i64)> =
            asked.iter().map(|(at, anchor)| (self.partitions[*at].clone(), anchor.offset)).collect();
        self.probe.ask(&offsets, identity::PATIENCE)?;
        Ok(asked)
    }

    /// Draws the conclusions from what was found at the anchors; `bounds` gives the first offset of a partition and the
    /// one after its last. Whether any position has changed.
    fn conclude(
        &mut self,
        asked: &[(usize, Anchor)],
        found: &BTreeMap<Partition, Anchor>,
        bounds: impl Fn(usize) -> Option<(i64, i64)>,
    ) -> bool {
        let verdict = |(at, anchor): &(usize, Anchor)| {
            let there = found.get(&self.partitions[*at]);
            let end = if there.is_none() { bounds(*at).map(|(_, high)| high) } else { None };
            (*at, identity::verdict(anchor, there, end))
        };
        let verdicts: Vec<(usize, Verdict)> = asked.iter().map(verdict).collect();
        let named = verdicts.iter().map(|(at, verdict)| (&self.partitions[*at], *verdict));
        let topics: Vec<String> = identity::made_anew(named).into_iter().map(str::to_owned).collect();
        for (at, verdict) in verdicts {
            if !topics.contains(&self.partitions[at].topic) {
                self.positions[at].known_again(verdict == Verdict::Same);
            }
        }
        let mut changed = false;
        for topic in topics {
            let of_topic = |(_, partition): &(usize, &Partition)| partition.topic == topic;
            // A partition that the new topic does not have will begin at zero, if ever.
            let low = |at: usize| bounds(at).map(|(low, _)| low).or(self.positions[at].vanished.then_some(0));
            let of_topic = self.partitions.iter().enumerate().filter(of_topic);
            match of_topic.map(|(at, _)| Some((at, low(at)?))).collect::<Option<Vec<(usize, i64)>>>() {
                Some(lows) => lows.into_iter().for_each(|(at, low)| self.begin_anew(at, low)),
                None => self.watch.check_again(),
            }
            changed = true;
        }
        changed
    }

    fn begin_anew(&mut self, at: usize, low: i64) {
        let from = self.positions[at].next;
        self.positions[at].begin_anew(low);
        if from != low {
            let partition = PartitionIndex::try_from(at).ok();
            self.note_gap(Gap { partition, from, to: low, cause: Cause::Recreated });
        }
    }

    /// Looks whether partitions are those that were read, and mends positions that are out of range; bit by bit, without
    /// waiting.
    fn check(&mut self) -> Result<(), Error> {
        let Some(asked) = self.watch.checking.take() else {
            if self.watch.is_check_due(self.lost) {
                self.watch.checking = Some(self.ask()?);
            }
            return Ok(());
        };
        let Some(found) = self.probe.answer()? else {
            self.watch.checking = Some(asked);
            return Ok(());
        };
        let all_same = asked.iter().all(|(at, anchor)| found.get(&self.partitions[*at]) == Some(anchor));
        let bounds: Vec<Option<(i64, i64)>> = match all_same && !self.lost {
            true => Vec::new(),
            false => self.partitions.iter().map(|partition| self.client.watermarks(partition).ok()).collect(),
        };
        let mut moved = self.conclude(&asked, &found, |at| bounds.get(at).copied().flatten());
        if self.lost && bounds.iter().any(Option::is_some) {
            bounds
                .iter()
                .enumerate()
                .filter_map(|(at, bounds)| Some((at, (*bounds)?)))
                .for_each(|(at, (low, high))| self.mend(at, low, high));
            self.lost = bounds.iter().zip(&self.positions).any(|(known, at)| known.is_none() && !at.vanished);
            moved = true;
        }
        if moved { self.assign() } else { Ok(()) }
    }

    /// Asks whether partitions are still there of which nothing is said.
    fn look_for_silent(&mut self, now: Instant) {
        if !self.watch.is_search_due(now) {
            return;
        }
        for at in 0..self.positions.len() {
            let Some(lasted) = self.positions[at].silence(now).filter(|_| !self.positions[at].vanished) else {
                continue;
            };
            let Partition { topic, number } = &self.partitions[at];
            if self.client.partition_numbers(topic).is_ok_and(|numbers| !numbers.contains(number)) {
                self.positions[at].vanished = true;
                self.note_vanished(PartitionIndex::try_from(at).unwrap_or(PartitionIndex::MAX), lasted);
            }
        }
    }

    /// The gaps among the first `count` whose next record has come, or will not come soon.
    fn take_gaps(&mut self, count: usize, polled: &Polled) -> Vec<Gap> {
        let has_come = |gap: &Gap| {
            polled.batch.records().any(|record| Some(record.partition) == gap.partition)
                || gap.partition.is_some_and(|partition| polled.at_end.contains(&partition))
        };
        let (mut told, mut held) = (Vec::new(), Vec::new());
        for (at, (gap, noted)) in std::mem::take(&mut self.gaps).into_iter().enumerate() {
            // Records that came in the same poll as a later gap lie before it.
            let is_due = at < count && (has_come(&gap) || noted.elapsed() >= GAP_HELD);
            if is_due || polled.finished { told.push(gap) } else { held.push((gap, noted)) }
        }
        self.gaps = held;
        told
    }

    /// What is known of the partitions, but for those that a gap is held of: they are still where they were.
    fn seen(&self) -> Vec<Seen> {
        let held = |at: PartitionIndex| self.gaps.iter().any(|(gap, _)| gap.partition == Some(at));
        let seen = (0..).zip(&self.positions).filter(|(at, _)| !held(*at));
        seen.map(|(at, position)| Seen { partition: at, end: position.log_end, anchor: position.anchor }).collect()
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

    /// What is fatal to a client is not to us; other trouble has been logged and passes by itself.
    fn cope_with(&mut self, error: &KafkaError) -> Result<(), Error> {
        match error {
            KafkaError::MessageConsumptionFatal(code) => self.reconnect(&code.to_string())?,
            error => self.lost |= error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset),
        }
        Ok(())
    }

    /// A client that stands still is made anew.
    fn revive(&mut self, now: Instant) -> Result<(), Error> {
        let Some(at) = self.positions.iter().position(|position| position.is_stuck(now)) else { return Ok(()) };
        let Partition { topic, number } = &self.partitions[at];
        self.reconnect(&format!("records that are in {topic}/{number} do not come"))
    }

    /// Begins anew with a fresh client at our own positions.
    fn reconnect(&mut self, reason: &str) -> Result<(), Error> {
        self.faults.push(Fault::Renewed { reason: reason.to_owned() });
        self.client = Client::new(&self.config)?;
        for position in &mut self.positions {
            position.jump(position.next);
        }
        self.assign()
    }
}

impl Source for Kafka {
    fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    fn poll(&mut self, wait: Duration) -> Result<Polled, Error> {
        let (deadline, gaps) = (Instant::now() + wait, self.gaps.len());
        let mut polled = Polled::default();
        let finished: Vec<bool> = self.positions.iter().map(Position::is_finished).collect();
        let is_over = self.ranged && finished.iter().all(|finished| *finished);
        if !is_over && let Err(error) = self.fill(&mut polled.batch, deadline) {
            self.cope_with(&error)?;
        }
        self.check()?;
        if !self.ranged && !self.grown.is_empty() {
            self.extend()?;
        }
        let now = Instant::now();
        self.look_for_silent(now);
        self.faults.extend(self.watch.unreachable(now, &self.config.brokers));
        self.revive(now)?;
        for ((partition, position), was_finished) in self.partitions.iter().zip(&self.positions).zip(finished) {
            if position.is_finished() && !was_finished {
                self.client.pause(partition);
            }
        }
        let ended = self.positions.iter().enumerate().filter(|(_, position)| position.is_at_end());
        polled.at_end = ended.filter_map(|(at, _)| PartitionIndex::try_from(at).ok()).collect();
        polled.finished = self.ranged && self.positions.iter().all(Position::is_finished);
        polled.gaps = self.take_gaps(gaps, &polled);
        let news = self.watch.take_news() || !polled.gaps.is_empty();
        polled.seen = if news { self.seen() } else { Vec::new() };
        polled.faults = std::mem::take(&mut self.faults);
        Ok(polled)
    }

    fn publish_positions(&mut self, positions: &[(PartitionIndex, i64)]) {
        if self.watch.is_group_due() {
            match self.client.committed(self.partitions.iter()) {
                Ok(committed) => {
                    let group = self.config.group_id.clone();
                    let stranger = self.group.compare(&committed);
                    self.faults.extend(stranger.map(|evidence| Fault::ForeignConsumer { group, evidence }));
                }
                Err(reason) => tracing::debug!("{reason}"),
            }
        }
        let found = |(index, next): &(PartitionIndex, i64)| {
            let at = *index as usize;
            let is_there = |position: &&Position| !position.vanished && !position.is_silent();
            self.positions.get(at).filter(is_there).and_then(|_| Some((self.partitions.get(at)?, *next)))
        };
        self.client.commit(positions.iter().filter_map(found), &self.group.mark);
        self.group.publish(positions.iter().filter_map(found).map(|(partition, next)| (partition.clone(), next)));
    }

    fn progress(&self) -> Option<(u64, u64)> {
        let sum = |(done, total): (u64, u64), position: &Position| {
            let (read, length) = position.progress();
            (done + read, total + length)
        };
        self.ranged.then(|| self.positions.iter().fold((0, 0), sum))
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};

    use super::position::Observation;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(40);

    fn produce(cluster: &MockCluster<'static, DefaultProducerContext>, numbers: std::ops::Range<i64>) {
        let mut client = ClientConfig::new();
        let producer: BaseProducer = client.set("bootstrap.servers", cluster.bootstrap_servers()).create().unwrap();
        for number in numbers {
            producer.send(BaseRecord::<str, str>::to("t").payload(&format!("v{number}"))).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
    }

    /// Polls until `last` has come; gives the offsets in their order, and the faults.
    fn poll_until(kafka: &mut Kafka, last: i64) -> (Vec<i64>, Vec<Fault>) {
        let (mut offsets, mut faults, begun) = (Vec::new(), Vec::new(), Instant::now());
        while offsets.last() != Some(&last) {
            assert!(begun.elapsed() < PATIENCE, "only {offsets:?}");
            let polled = kafka.poll(Duration::from_millis(50)).unwrap();
            offsets.extend(polled.batch.records().map(|record| record.offset));
            faults.extend(polled.faults);
        }
        (offsets, faults)
    }

    #[test]
    fn a_client_that_fails_or_stands_still_is_made_anew_and_told_and_nothing_comes_twice() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("t", 1, 1).unwrap();
        let config = Config {
            brokers: vec![cluster.bootstrap_servers()],
            group_id: "g".to_owned(),
            start: Start::Earliest,
            password: None,
            librdkafka: Vec::new(),
        };
        let topics = ["t".to_owned()];
        let opening =
            Opening { topics: &topics, headers: &[], resume: &|_| None, anchor: &|_| None, range: None, until: None };
        let mut kafka = Kafka::open(&config, &opening, &|| true).unwrap();
        produce(&cluster, 0..10);
        assert_eq!(poll_until(&mut kafka, 9), ((0..10).collect(), Vec::new()));

        kafka.cope_with(&KafkaError::MessageConsumptionFatal(RDKafkaErrorCode::UnknownMemberId)).unwrap();
        produce(&cluster, 10..20);
        let (offsets, faults) = poll_until(&mut kafka, 19);
        assert_eq!(offsets, (10..20).collect::<Vec<i64>>());
        assert!(
            matches!(faults.as_slice(), [Fault::Renewed { reason }] if reason.contains("UnknownMember")),
            "{faults:?}"
        );

        let lag = Observation { log_end: 30, next_fetch: 20, queue_empty: true, live: true, cluster_live: true };
        let now = Instant::now();
        kafka.positions[0].observe(lag, now);
        kafka.revive(now + Duration::from_secs(59)).unwrap();
        assert_eq!(kafka.faults, []);
        kafka.revive(now + Duration::from_secs(60)).unwrap();
        produce(&cluster, 20..30);
        let (offsets, faults) = poll_until(&mut kafka, 29);
        assert_eq!(offsets, (20..30).collect::<Vec<i64>>());
        assert_eq!(faults, [Fault::Renewed { reason: "records that are in t/0 do not come".to_owned() }]);
    }
}
