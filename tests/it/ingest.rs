//! The Kafka source against librdkafka's mock cluster, which keeps at most 5 MiB a partition and finds no offsets by time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use modelwatch::clock::Timestamp;
use modelwatch::source::kafka::{Config, Kafka, Opening, Start};
use modelwatch::source::{Anchor, Cause, Gap, Partition, Polled, Source};
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};

type Cluster = MockCluster<'static, DefaultProducerContext>;

/// Nothing here takes as long; only a failing test does.
const PATIENCE: Duration = Duration::from_secs(40);
const WAIT: Duration = Duration::from_millis(50);

fn cluster(partitions: i32) -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("t", partitions, 1).unwrap();
    cluster
}

fn config(cluster: &Cluster, start: Start) -> Config {
    Config {
        brokers: vec![cluster.bootstrap_servers()],
        group_id: "g".to_owned(),
        start,
        password: None,
        librdkafka: Vec::new(),
    }
}

fn open(config: &Config, resume: &dyn Fn(&Partition) -> Option<i64>) -> Kafka {
    let headers = ["device".to_owned(), "none".to_owned()];
    let opening =
        Opening { topics: &["t".to_owned()], headers: &headers, resume, anchor: &|_| None, range: None, until: None };
    let begun = Instant::now();
    Kafka::open(config, &opening, &|| begun.elapsed() < PATIENCE).unwrap()
}

/// Writes records `first..last` by turns into the partitions; record `n` has the timestamp `1000 + n` seconds.
fn produce(cluster: &Cluster, codec: &str, partitions: i32, numbers: std::ops::Range<i32>) {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", cluster.bootstrap_servers()).set("compression.type", codec).set("linger.ms", "20");
    let producer: BaseProducer = client.create().unwrap();
    for number in numbers {
        let (key, value) = (format!("k{number}"), format!("v{number} {}", "x".repeat(200)));
        let headers = OwnedHeaders::new()
            .insert(Header { key: "device", value: Some("first") })
            .insert(Header { key: "device", value: Some(&format!("d{number}")) });
        let record = BaseRecord::to("t").key(&key).payload(&value).headers(headers);
        producer.send(record.partition(number % partitions).timestamp(i64::from(1_000 + number) * 1_000)).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// Polls until `enough`, noting the key of every record by its partition and offset.
#[track_caller]
fn poll_until(kafka: &mut Kafka, seen: &mut Seen, mut enough: impl FnMut(&Seen, &Polled) -> bool) {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let polled = kafka.poll(WAIT).unwrap();
        for record in polled.batch.records() {
            let key = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
            let twice = seen.records.insert((record.partition, record.offset), key);
            assert_eq!(twice, None, "{record:?} came twice");
        }
        seen.gaps.extend(polled.gaps.iter().cloned());
        if enough(seen, &polled) {
            return;
        }
    }
    panic!("only {} records after {PATIENCE:?}, {:?}", seen.records.len(), seen.gaps);
}

#[derive(Default)]
struct Seen {
    records: BTreeMap<(u32, i64), String>,
    gaps: Vec<Gap>,
}

impl Seen {
    fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.records.values().cloned().collect();
        keys.sort_by_key(|key| key[1..].parse::<u32>().unwrap());
        keys
    }
}

fn keys(numbers: std::ops::Range<i32>) -> Vec<String> {
    numbers.map(|number| format!("k{number}")).collect()
}

#[test]
fn every_record_comes_once_and_the_end_is_told() {
    let cluster = cluster(3);
    produce(&cluster, "none", 3, 0..300);
    let mut kafka = open(&config(&cluster, Start::Earliest), &|_| None);
    assert_eq!(kafka.partitions().iter().map(|partition| partition.number).collect::<Vec<_>>(), [0, 1, 2]);
    let mut seen = Seen::default();
    poll_until(&mut kafka, &mut seen, |_, polled| {
        for record in polled.batch.records() {
            let number: i64 = std::str::from_utf8(&record.key.unwrap()[1..]).unwrap().parse().unwrap();
            assert_eq!(i64::from(record.partition), number % 3);
            assert_eq!(record.timestamp, Some(Timestamp::from_secs(1_000 + number)));
            assert!(record.value.unwrap().starts_with(format!("v{number} x").as_bytes()));
            assert_eq!(record.headers.get(0), Some(format!("d{number}").as_bytes()));
            assert_eq!(record.headers.get(1), None);
        }
        polled.at_end == [0, 1, 2]
    });
    assert_eq!(seen.keys(), keys(0..300), "the end was told before all had come");
    produce(&cluster, "none", 3, 300..301);
    poll_until(&mut kafka, &mut seen, |seen, polled| {
        let came = polled.batch.len() == 1;
        assert!(!came || polled.at_end == [1, 2], "a record takes back that its partition is at its end");
        seen.records.len() == 301
    });
    poll_until(&mut kafka, &mut seen, |_, polled| polled.at_end == [0, 1, 2]);
    assert_eq!(seen.gaps, []);
}

#[test]
fn every_codec_is_read() {
    for codec in ["gzip", "snappy", "lz4", "zstd"] {
        let cluster = cluster(1);
        produce(&cluster, codec, 1, 0..50);
        let mut seen = Seen::default();
        poll_until(&mut open(&config(&cluster, Start::Earliest), &|_| None), &mut seen, |seen, _| {
            seen.records.len() == 50
        });
        assert_eq!(seen.keys(), keys(0..50), "{codec}");
    }
}

#[test]
fn reading_goes_on_where_it_stopped() {
    let cluster = cluster(2);
    produce(&cluster, "none", 2, 0..100);
    let mut seen = Seen::default();
    // Partition 1 has no position though its topic has: it is new to us and read whole.
    let mut kafka = open(&config(&cluster, Start::Latest), &|partition| (partition.number == 0).then_some(40));
    kafka.publish_positions(&[(0, 40), (1, 0)]);
    poll_until(&mut kafka, &mut seen, |_, polled| polled.at_end.len() == 2);
    let expected: Vec<String> =
        (0..100).filter(|number| number % 2 == 1 || *number >= 80).map(|number| format!("k{number}")).collect();
    assert_eq!(seen.keys(), expected);
}

#[test]
fn a_first_start_begins_at_the_end() {
    // The mock finds no offset by time, which reads as "no record is that young": the end, too.
    for start in [Start::Latest, Start::Ago(Duration::from_secs(60))] {
        let cluster = cluster(1);
        produce(&cluster, "none", 1, 0..10);
        let mut kafka = open(&config(&cluster, start), &|_| None);
        let mut seen = Seen::default();
        poll_until(&mut kafka, &mut seen, |_, polled| polled.at_end == [0]);
        produce(&cluster, "none", 1, 10..20);
        poll_until(&mut kafka, &mut seen, |seen, _| seen.records.len() >= 10);
        assert_eq!(seen.keys(), keys(10..20));
    }
}

#[test]
fn deleted_records_are_a_gap() {
    let cluster = cluster(1);
    produce(&cluster, "none", 1, 0..60_000);
    let mut seen = Seen::default();
    let mut kafka = open(&config(&cluster, Start::Latest), &|_| Some(5));
    poll_until(&mut kafka, &mut seen, |_, polled| polled.at_end == [0]);
    let first = seen.records.keys().next().unwrap().1;
    assert!(first > 5);
    assert_eq!(seen.gaps, [Gap { partition: Some(0), from: 5, to: first, cause: Cause::Deleted }]);
    assert_eq!(seen.records.keys().last().unwrap().1, 59_999);
}

#[test]
fn a_partition_that_was_cut_back_is_a_gap() {
    let cluster = cluster(1);
    produce(&cluster, "none", 1, 0..10);
    let mut seen = Seen::default();
    poll_until(&mut open(&config(&cluster, Start::Latest), &|_| Some(50)), &mut seen, |_, polled| polled.at_end == [0]);
    assert_eq!(seen.gaps, [Gap { partition: Some(0), from: 50, to: 10, cause: Cause::Truncated }]);
}

/// Reads a topic of ten records of which five were read, as it is known by `anchor`; gives the first offset and the gaps.
fn resume_by(cluster: &Cluster, anchor: Anchor) -> (i64, Vec<Gap>) {
    let opening = Opening {
        topics: &["t".to_owned()],
        headers: &[],
        resume: &|_| Some(5),
        anchor: &|_| Some(anchor),
        range: None,
        until: None,
    };
    let mut kafka = Kafka::open(&config(cluster, Start::Latest), &opening, &|| true).unwrap();
    assert_eq!(kafka.positions(), [5], "before a gap that is not told yet");
    let mut seen = Seen::default();
    poll_until(&mut kafka, &mut seen, |_, polled| polled.at_end == [0]);
    (seen.records.keys().next().unwrap().1, seen.gaps)
}

#[test]
fn a_topic_is_known_again_by_a_record_that_was_read() {
    let cluster = cluster(1);
    produce(&cluster, "none", 1, 0..10);
    let mut kafka = open(&config(&cluster, Start::Earliest), &|_| None);
    let mut anchor = None;
    poll_until(&mut kafka, &mut Seen::default(), |_, polled| {
        anchor = polled.seen.first().and_then(|seen| seen.anchor).or(anchor);
        polled.at_end == [0]
    });
    let anchor = anchor.expect("it comes with the first record");
    assert_eq!(anchor.offset, 0);
    assert_eq!(resume_by(&cluster, anchor), (5, Vec::new()));
    let anew = Gap { partition: Some(0), from: 5, to: 0, cause: Cause::Recreated };
    assert_eq!(resume_by(&cluster, Anchor { hash: anchor.hash + 1, ..anchor }), (0, vec![anew]));
}

#[test]
fn records_deleted_while_reading_are_a_gap() {
    let cluster = cluster(1);
    produce(&cluster, "none", 1, 0..20);
    let librdkafka = vec![("queued.min.messages".to_owned(), "1".to_owned())];
    let mut kafka = open(&Config { librdkafka, ..config(&cluster, Start::Earliest) }, &|_| None);
    let mut seen = Seen::default();
    poll_until(&mut kafka, &mut seen, |_, polled| polled.at_end == [0]);
    produce(&cluster, "none", 1, 20..60_000);
    let missing = |seen: &Seen| seen.gaps.iter().map(|gap| gap.to - gap.from).sum::<i64>();
    poll_until(&mut kafka, &mut seen, |seen, _| seen.records.len() as i64 + missing(seen) == 60_000);
    assert!(missing(&seen) > 0 && seen.gaps.iter().all(|gap| gap.cause == Cause::Deleted), "{:?}", seen.gaps);
}

#[test]
fn a_broker_that_is_gone_takes_back_the_end() {
    let cluster = cluster(1);
    produce(&cluster, "none", 1, 0..10);
    let mut kafka = open(&config(&cluster, Start::Earliest), &|_| None);
    let mut seen = Seen::default();
    poll_until(&mut kafka, &mut seen, |_, polled| polled.at_end == [0]);
    cluster.broker_down(1).unwrap();
    poll_until(&mut kafka, &mut seen, |_, polled| polled.at_end.is_empty());
    cluster.broker_up(1).unwrap();
    produce(&cluster, "none", 1, 10..20);
    poll_until(&mut kafka, &mut seen, |seen, polled| seen.records.len() == 20 && polled.at_end == [0]);
    assert_eq!(seen.keys(), keys(0..20));
}

#[test]
fn a_range_without_records_is_finished() {
    let cluster = cluster(1);
    produce(&cluster, "none", 1, 0..10);
    let range = Some((Timestamp::from_secs(2_000), Timestamp::from_secs(3_000)));
    let opening =
        Opening { topics: &["t".to_owned()], headers: &[], resume: &|_| None, anchor: &|_| None, range, until: None };
    let mut kafka = Kafka::open(&config(&cluster, Start::Latest), &opening, &|| true).unwrap();
    let polled = kafka.poll(WAIT).unwrap();
    assert!(polled.finished && polled.batch.is_empty());
    assert_eq!(kafka.progress(), Some((0, 0)));
}

#[test]
fn waiting_for_brokers_can_be_stopped() {
    let config = Config {
        brokers: vec!["127.0.0.1:1".to_owned()],
        group_id: "g".to_owned(),
        start: Start::Latest,
        password: None,
        librdkafka: Vec::new(),
    };
    let opening = Opening {
        topics: &["t".to_owned()],
        headers: &[],
        resume: &|_| None,
        anchor: &|_| None,
        range: None,
        until: None,
    };
    let begun = Instant::now();
    let error = Kafka::open(&config, &opening, &|| false).err().unwrap().to_string();
    assert!(error.starts_with("stopped while waiting for kafka: no broker answers"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn settings_that_do_not_fit_together_are_refused() {
    let config = Config {
        librdkafka: vec![
            ("security.protocol".to_owned(), "ssl".to_owned()),
            ("ssl.ca.location".to_owned(), "/none".to_owned()),
        ],
        ..config(&cluster(1), Start::Latest)
    };
    let opening = Opening {
        topics: &["t".to_owned()],
        headers: &[],
        resume: &|_| None,
        anchor: &|_| None,
        range: None,
        until: None,
    };
    let error = Kafka::open(&config, &opening, &|| false).err().unwrap().to_string();
    assert!(error.starts_with("librdkafka refuses its settings") && error.contains("ssl.ca.location"), "{error}");
}

#[test]
fn what_was_deleted_behind_a_range_is_no_gap() {
    let cluster = cluster(1);
    produce(&cluster, "none", 1, 0..60_000);
    let read = |from: i64, until: i64| {
        let (resume, until) = (move |_: &Partition| Some(from), move |_: &Partition| Some(until));
        let opening = Opening {
            topics: &["t".to_owned()],
            headers: &[],
            resume: &resume,
            anchor: &|_| None,
            range: None,
            until: Some(&until),
        };
        let mut seen = Seen::default();
        let mut kafka = Kafka::open(&config(&cluster, Start::Latest), &opening, &|| true).unwrap();
        poll_until(&mut kafka, &mut seen, |_, polled| polled.finished);
        (seen.records.len(), seen.gaps)
    };
    assert_eq!(read(5, 5), (0, Vec::new()));
    let missed = Gap { partition: Some(0), from: 5, to: 9, cause: Cause::Deleted };
    assert_eq!(read(5, 9), (0, vec![missed]), "not up to the first that is there");
}
