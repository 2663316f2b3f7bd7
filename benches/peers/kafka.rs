//! Fills Kafka with predictions and labels as they come in real life, and reads them dropping every one: the limit.
//!
//!     cargo bench --bench peers -- fill BROKERS EVENTS [SEED]     into the topics `bench-predictions` and `bench-labels`
//!     cargo bench --bench peers -- raw BROKERS                    reads both from their start to their end
//!     cargo bench --bench peers -- lines DIRECTORY EVENTS         the same events as predictions.jsonl and labels.jsonl
//!     cargo bench --bench peers -- flow BROKERS RATE SECONDS FLIP_EVERY    in real time; see flow.rs
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::expect_used,
    reason = "a measurement prints, and stops if it cannot be made"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "small numbers"
)]
#![allow(missing_docs, reason = "a program")]

mod events;
mod flow;
mod native;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use events::{Events, Topic};
use native::Native;

const TOPICS: [(Topic, &str); 2] = [(Topic::Predictions, "bench-predictions"), (Topic::Labels, "bench-labels")];
const WAIT: Duration = Duration::from_secs(60);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["fill", brokers, events] => fill(brokers, events.parse().expect("how many"), 1),
        ["fill", brokers, events, seed] => {
            fill(brokers, events.parse().expect("how many"), seed.parse().expect("a seed"))
        }
        ["raw", brokers] => raw(brokers),
        ["lines", directory, events] => lines(directory, events.parse().expect("how many")).expect("written"),
        ["flow", brokers, numbers @ ..] if numbers.len() == 3 => {
            let number = |index: usize| numbers[index].parse().expect("a number");
            flow::run(brokers, &flow::Flow { rate: number(0), seconds: number(1), flip_every: number(2) });
        }
        // `cargo bench` without a name runs every program there is.
        _ => println!("see the head of benches/peers/kafka.rs"),
    }
}

fn fill(brokers: &str, events: u64, seed: u64) {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("linger.ms", "50")
        .set("batch.size", "500000")
        .set("compression.type", "lz4")
        .set("queue.buffering.max.messages", "1000000")
        // All records of one id are in one partition, as Kafka Streams asks of a join.
        .set("partitioner", "murmur2")
        .create()
        .expect("a producer");
    let start = Instant::now();
    let mut bytes = 0;
    for event in Events::new(seed).take(usize::try_from(events).expect("few")) {
        let topic = TOPICS.iter().find(|(topic, _)| *topic == event.topic).expect("one of two").1;
        let mut record = BaseRecord::to(topic).key(&event.id).payload(&event.value).timestamp(event.millis);
        bytes += event.value.len();
        while let Err((error, again)) = producer.send(record) {
            assert_eq!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), "{error}");
            std::thread::sleep(Duration::from_millis(5));
            record = again;
        }
    }
    producer.flush(WAIT).expect("all records are acknowledged");
    let seconds = start.elapsed().as_secs_f64();
    println!("filled: {events} records, {bytes} bytes of values, {seconds:.1} s");
}

/// As files, for `modelwatch replay` without a broker.
fn lines(directory: &str, events: usize) -> std::io::Result<()> {
    let file = |name: &str| File::create(Path::new(directory).join(name)).map(BufWriter::new);
    let (mut predictions, mut labels) = (file("predictions.jsonl")?, file("labels.jsonl")?);
    for event in Events::new(1).take(events) {
        let out = if event.topic == Topic::Predictions { &mut predictions } else { &mut labels };
        writeln!(out, "{}", event.value)?;
    }
    predictions.flush()?;
    labels.flush()
}

/// With librdkafka's batch API, and nothing done to the records but a look at their length.
fn raw(brokers: &str) {
    let mut native = Native::new(brokers);
    let total = native.assign();
    let start = Instant::now();
    let (mut records, mut bytes) = (0, 0);
    while records < total {
        native.next_batch(|length| {
            records += 1;
            bytes += length;
        });
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{{\"events\": {records}, \"seconds\": {seconds:.3}, \"bytes\": {bytes}}}");
}
