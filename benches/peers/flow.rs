//! Predictions and labels in real time, with the time of now. Errors are small and large by turns, so that a rule on
//! them fires and resolves; it is printed when the first records beyond each second were acknowledged.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

use modelwatch::clock::{Clock, SystemClock};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use super::WAIT;

const TOPICS: [&str; 2] = ["flow-predictions", "flow-labels"];
const PARTITIONS: usize = 4;
/// Labels come so much later than their predictions; one in twenty never comes.
const LABEL_AFTER_SECONDS: u64 = 1;
const REGIONS: [&str; 8] = ["af-south", "ap-east", "eu-west", "us-east", "oc-north", "sa-east", "me-south", "us-west"];
const DEVICES: [&str; 3] = ["phone", "tablet", "desktop"];

/// What a flow is like.
pub(super) struct Flow {
    /// Events a second, half of them predictions.
    pub(super) rate: u64,
    pub(super) seconds: u64,
    /// Seconds after which errors change their size.
    pub(super) flip_every: u64,
}

/// Takes note of when records were acknowledged that are the first of their partition beyond a second.
#[derive(Default)]
struct Acknowledged {
    /// By second: partitions that are beyond it.
    beyond: Mutex<BTreeMap<usize, usize>>,
}

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    /// The second, for the first record beyond it; else 0.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, second: usize) {
        assert!(result.is_ok(), "{result:?}");
        if second == 0 {
            return;
        }
        let now = SystemClock.now();
        let mut beyond = self.beyond.lock().expect("no panic");
        let partitions = beyond.entry(second).or_default();
        *partitions += 1;
        if *partitions == TOPICS.len() * PARTITIONS {
            println!("{} {}", second * 1_000_000, now.as_micros());
            beyond.remove(&second);
        }
    }
}

/// Where the flow goes.
struct Out {
    producer: ThreadedProducer<Acknowledged>,
    /// The second of the last record, by topic and partition.
    last: [[usize; PARTITIONS]; 2],
    value: String,
}

impl Out {
    fn send(&mut self, topic: usize, number: u64, millis: i64) {
        let partition = number as usize % PARTITIONS;
        let second = (millis / 1_000) as usize;
        let is_first = std::mem::replace(&mut self.last[topic][partition], second) < second;
        let opaque = if is_first { second } else { 0 };
        let id = id(number);
        let record = BaseRecord::with_opaque_to(TOPICS[topic], opaque).key(&id).payload(&self.value);
        let sent = self.producer.send(record.partition(partition as i32).timestamp(millis));
        sent.map_err(|(error, _)| error).expect("room for some seconds of the flow");
    }

    fn predict(&mut self, number: u64, millis: i64) {
        let (region, device) = (REGIONS[number as usize / 4 % 8], DEVICES[number as usize / 4 % 3]);
        self.value.clear();
        let written = write!(
            self.value,
            "{{\"id\":\"{}\",\"model\":{{\"name\":\"eta\",\"version\":\"2025-05-14.3\"}},\"ts\":{millis},\
             \"segment\":{{\"region\":\"{region}\",\"device\":\"{device}\"}},\"features\":{{\"hour\":{},\
             \"load\":0.{:04},\"distance_km\":{}.125,\"rain\":false,\"basket\":[{},{},12]}},\"prediction\":50.0,\"latency_ms\":{},\
             \"host\":\"scorer-{:02}\"}}",
            id(number),
            number % 24,
            number % 9_973,
            number % 29,
            number % 97,
            number % 89,
            3 + number % 37,
            number % 61,
        );
        written.expect("text");
        self.send(0, number, millis);
    }

    fn label(&mut self, number: u64, millis: i64, error: f64) {
        self.value.clear();
        let actual = 50.0 + error;
        let written = write!(
            self.value,
            "{{\"id\":\"{}\",\"model\":\"eta\",\"ts\":{millis},\"actual\":{actual},\"by\":\"app\"}}",
            id(number)
        );
        written.expect("text");
        self.send(1, number, millis);
    }
}

fn id(number: u64) -> String {
    format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

/// Runs the flow. Prints a line for each second: the second and when all partitions were beyond it, in microseconds.
pub(super) fn run(brokers: &str, flow: &Flow) {
    let producer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("linger.ms", "5")
        .set("batch.size", "500000")
        .set("compression.type", "lz4")
        .set("queue.buffering.max.messages", "2000000")
        .create_with_context(Acknowledged::default())
        .expect("a producer");
    let mut out = Out { producer, last: Default::default(), value: String::with_capacity(400) };
    let begun = SystemClock.now();
    let (mut sent, mut longest_pause) = (0, Duration::ZERO);
    let mut last = begun;
    while last.since(begun) < Duration::from_secs(flow.seconds) {
        std::thread::sleep(Duration::from_millis(1));
        let now = SystemClock.now();
        longest_pause = longest_pause.max(now.since(last));
        last = now;
        let millis = now.as_micros() / 1_000;
        let is_large = millis.cast_unsigned() / 1_000 / flow.flip_every % 2 == 1;
        let due = now.since(begun).as_micros() as u64 * (flow.rate / 2) / 1_000_000;
        for number in sent..due {
            out.predict(number, millis);
            let labelled = number.checked_sub(flow.rate / 2 * LABEL_AFTER_SECONDS);
            if let Some(labelled) = labelled.filter(|labelled| labelled % 20 != 7) {
                out.label(labelled, millis, if is_large { 10.0 } else { 0.5 });
            }
        }
        sent = due;
    }
    out.producer.flush(WAIT).expect("all records are acknowledged");
    eprintln!("{sent} predictions sent; longest pause {longest_pause:?}");
}
