//! Where the time goes, stage by stage: `cargo bench --bench stages` prints nanoseconds a record for copying, decoding,
//! joining and summing, sealing, and what a checkpoint takes. The records are those of benches/compare.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a measurement prints, and stops if it cannot be made")]
#![allow(clippy::cast_precision_loss, reason = "small numbers")]
#![allow(missing_docs, reason = "a program")]

#[path = "peers/events.rs"]
mod events;

use std::hint::black_box;
use std::time::{Duration, Instant};

use events::{Event, Events, Topic};
use modelwatch::clock::Timestamp;
use modelwatch::config::{self, Config, Defaults};
use modelwatch::daemon::intake::Intake;
use modelwatch::decode::Decode;
use modelwatch::decode::json::Json;
use modelwatch::pipeline::Pipeline;
use modelwatch::source::{Batch, Partition};
use modelwatch::state::{Commit, State};

const EVENTS: usize = 1_000_000;
const BATCH: usize = 1_000;
const ROUNDS: usize = 5;

/// What one round took, in all.
struct Round {
    copy: Duration,
    decode: Duration,
    take: Duration,
    seal: Duration,
    checkpoint: Duration,
}

fn configuration() -> Config {
    let text = include_str!("peers/bench.toml").replace("@ADDRESS@", "127.0.0.1:1");
    config::parse("bench.toml", &text, &Defaults::default()).expect("valid").0
}

fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    *total += begun.elapsed();
    done
}

fn batch(events: &[Event], first: usize) -> Batch {
    let mut batch = Batch::default();
    for (event, offset) in events.iter().zip(first..) {
        let place = (u32::from(event.topic == Topic::Labels), i64::try_from(offset).expect("few"));
        let time = Some(Timestamp::from_millis(event.millis));
        let none = std::iter::empty::<Option<&[u8]>>();
        batch.push(place, time, Some(event.id.as_bytes()), Some(event.value.as_bytes()), none);
    }
    batch
}

fn round(config: &Config, events: &[Event]) -> Round {
    let mapping = &config.mapping;
    let topics = [&mapping.predictions_topic, &mapping.labels_topic];
    let partitions = topics.map(|topic| Partition { topic: topic.clone(), number: 0 });
    let decoders = topics.map(|topic| Json::new(mapping, mapping.roles(topic)));
    let mut intake = Intake::new(Pipeline::new(config.pipeline.clone(), &[7; 16]), mapping.clone());
    intake.expect_partitions(&partitions);
    let [mut copy, mut decode, mut take, mut seal, mut checkpoint] = [Duration::ZERO; 5];
    for (number, events) in events.chunks(BATCH).enumerate() {
        let batch = timed(&mut copy, || batch(events, number * BATCH));
        timed(&mut decode, || {
            for record in batch.records() {
                black_box(decoders[record.partition as usize].decode(&record).is_ok());
            }
        });
        timed(&mut take, || {
            intake.take(batch.records(), |intake, decoded| intake.take_record(decoded, Timestamp::MAX));
        });
        timed(&mut seal, || black_box(intake.pipeline.advance(Timestamp::MIN)));
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mut state = State::open(directory.path(), Timestamp::from_secs(0)).expect("a state");
    timed(&mut checkpoint, || {
        let saved = intake.pipeline.save();
        state.commit(&Commit::of(&saved, Timestamp::from_secs(0))).expect("committed");
    });
    Round { copy, decode, take: take.saturating_sub(decode), seal, checkpoint }
}

fn main() {
    let (config, events) = (configuration(), Events::new(1).take(EVENTS).collect::<Vec<Event>>());
    let rounds: Vec<Round> = (0..ROUNDS).map(|_| round(&config, &events)).collect();
    let median = |of: fn(&Round) -> Duration| {
        let mut all: Vec<Duration> = rounds.iter().map(of).collect();
        all.sort_unstable();
        all[ROUNDS / 2]
    };
    let each = |of| median(of).as_secs_f64() * 1e9 / EVENTS as f64;
    println!("nanoseconds a record, medians of {ROUNDS} rounds of {EVENTS} records:");
    println!("copy {:7.0}", each(|round| round.copy));
    println!("decode {:5.0}", each(|round| round.decode));
    println!("join and sums {:.0} (what taking in costs beyond decoding)", each(|round| round.take));
    println!("seal {:7.0}", each(|round| round.seal));
    println!("checkpoint: {:?} (state and commit, {} series)", median(|round| round.checkpoint), 2 * (1 + 8 + 3));
}
