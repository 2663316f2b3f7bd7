//! No shape of records makes it crawl: `cargo bench --bench shapes [WORD]...` takes in records of many shapes (those
//! with one of the words in their names) and holds the time for each against that of normal ones. `!` marks what takes
//! more than five times as long, both by the byte and by the record.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a measurement prints, and stops if it cannot be made")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "small numbers"
)]
#![allow(missing_docs, reason = "a program")]

mod cpu;
#[path = "shapes/list.rs"]
mod list;
#[path = "shapes/record.rs"]
mod record;

use std::time::Duration;

use modelwatch::clock::Timestamp;
use modelwatch::daemon::intake::Intake;
use modelwatch::decode::{LabelFields, Mapping, Place, PredictionFields};
use modelwatch::event::Task;
use modelwatch::indicator;
use modelwatch::pipeline::{Model, Options, Pipeline};
use modelwatch::smoothing::Smoothing;
use modelwatch::source::{Batch, Partition};

use list::{MAX_RECORD_BYTES, Role, Shape};

/// What a batch of the Kafka source holds at most.
const BATCH_RECORDS: usize = 2_000;
const BATCH_BYTES: usize = 1 << 20;
/// A shape is taken in until so many records, bytes or so much CPU time are reached.
const RECORDS: i64 = 1_000_000;
const BYTES: usize = 300_000_000;
const TIME: Duration = Duration::from_millis(1_500);
/// Predictions that wait when labels come.
const WAITING: i64 = 300_000;
const TOO_MUCH: f64 = 5.0;

fn mapping() -> Mapping {
    let value = |pointer: &str| Place::Value(pointer.to_owned());
    Mapping {
        predictions_topic: "predictions".to_owned(),
        labels_topic: "labels".to_owned(),
        prediction: PredictionFields {
            when: None,
            id: value("/id"),
            model: Some(value("/model/name")),
            time: Some(value("/ts")),
            prediction: Some(value("/prediction")),
            score: None,
            attributes: vec![value("/segment/region"), value("/segment/device")],
        },
        label: LabelFields {
            when: None,
            id: value("/id"),
            model: Some(value("/model")),
            time: Some(value("/ts")),
            label: value("/actual"),
        },
        headers: Vec::new(),
        max_text_bytes: 256,
        max_record_bytes: MAX_RECORD_BYTES,
    }
}

fn model(pattern: &str) -> Model {
    let indicators = ["bias", "mae", "rmse", "mape", "r2", "prediction_rate", "label_delay", "unlabelled_rate"];
    Model {
        pattern: pattern.to_owned(),
        task: Task::Regression,
        label_timeout: Duration::from_secs(300),
        early_label_wait: Duration::from_secs(60),
        dedupe_window: Duration::from_secs(360),
        dimensions: vec![("region".to_owned(), 0), ("device".to_owned(), 1)],
        max_segment_values: 100,
        classes: None,
        threshold: 0.5,
        smoothing: Smoothing::HalfLife(Duration::from_secs(1800)),
        indicators: indicators.iter().map(|name| indicator::by_name(name).expect("known")).collect(),
    }
}

fn intake() -> Intake {
    let options = Options {
        tick: Duration::from_secs(10),
        lateness: Duration::from_secs(10),
        max_skew: Duration::from_secs(300),
        max_pending: 20_000_000,
        max_models: 1_000,
        models: vec![model("eta"), model("price"), model("new-*")],
        rules: Vec::new(),
        labels_name_model: true,
    };
    let mut intake = Intake::new(Pipeline::new(options, &[7; 16]), mapping());
    let partition = |topic: &str| Partition { topic: topic.to_owned(), number: 0 };
    intake.expect_partitions(&[partition("predictions"), partition("labels"), partition("predictions-held")]);
    intake
}

/// What taking in a shape cost.
struct Cost {
    records: i64,
    bytes: usize,
    time: Duration,
    /// The longest of a batch.
    longest: Duration,
}

impl Cost {
    fn per_record(&self) -> f64 {
        self.time.as_secs_f64() * 1e9 / self.records as f64
    }

    fn per_byte(&self) -> f64 {
        self.time.as_secs_f64() * 1e9 / self.bytes as f64
    }
}

/// The next batch, from record `next` on.
fn batch(shape: &Shape, next: &mut i64, until: i64) -> Batch {
    let partition = u32::from(shape.role == Role::Label);
    let mut batch = Batch::default();
    while *next < until && batch.len() < BATCH_RECORDS && batch.bytes() < BATCH_BYTES {
        let (time, value) = (shape.make)(*next);
        batch.push((partition, *next), Some(time), None, value.as_deref(), []);
        *next += 1;
    }
    batch
}

fn seal(intake: &mut Intake) {
    intake.pipeline.advance(Timestamp::MAX);
    while intake.pipeline.owes_seals() {
        intake.pipeline.advance(Timestamp::MAX);
    }
}

/// With the predictions waiting that normal labels are for.
fn prepared(shape: &Shape) -> Intake {
    let mut intake = intake();
    if shape.role == Role::Label {
        let normal = list::all().into_iter().next().expect("the normal one");
        let mut next = 0;
        while next < WAITING {
            let batch = batch(&normal, &mut next, WAITING);
            intake.take(batch.records(), |intake, decoded| {
                intake.take_record(decoded, record::time(i64::MAX / 1_000));
            });
        }
        intake.pipeline.idle(0);
    } else {
        intake.pipeline.idle(1);
    }
    if !shape.held {
        intake.pipeline.idle(2);
    }
    intake
}

fn measure(shape: &Shape) -> Cost {
    let mut intake = prepared(shape);
    let now = record::time(i64::MAX / 1_000);
    let mut cost = Cost { records: 0, bytes: 0, time: Duration::ZERO, longest: Duration::ZERO };
    while cost.records < RECORDS && cost.bytes < BYTES && cost.time < TIME {
        let batch = batch(shape, &mut cost.records, RECORDS);
        let (took, ()) = cpu::of(|| {
            intake.take(batch.records(), |intake, decoded| intake.take_record(decoded, now));
            seal(&mut intake);
        });
        cost.bytes += batch.bytes();
        cost.time += took;
        cost.longest = cost.longest.max(took);
    }
    cost
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let shapes = list::all();
    let normal = [measure(&shapes[0]), measure(&shapes[1])];
    println!(
        "{:40} {:>9} {:>9} {:>10} {:>8} {:>8} {:>8} {:>9}",
        "", "records", "bytes", "events/s", "MB/s", "x record", "x byte", "longest"
    );
    let asked = |shape: &&Shape| words.is_empty() || words.iter().any(|word| shape.name.contains(word.as_str()));
    for shape in shapes.iter().filter(asked) {
        let (cost, normal) = (measure(shape), &normal[usize::from(shape.role == Role::Label)]);
        let times_record = cost.per_record() / normal.per_record();
        let times_byte = cost.per_byte() / normal.per_byte();
        let mark = if times_record > TOO_MUCH && times_byte > TOO_MUCH { "!" } else { "" };
        println!(
            "{:40} {:>9} {:>9.0} {:>10.0} {:>8.0} {times_record:>8.2} {times_byte:>8.2} {:>6.1} ms {mark}",
            shape.name,
            cost.records,
            cost.bytes as f64 / cost.records as f64,
            1e9 / cost.per_record(),
            1e3 / cost.per_byte(),
            cost.longest.as_secs_f64() * 1e3,
        );
    }
}
