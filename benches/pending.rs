//! What ten million pending predictions cost: `cargo bench --bench pending [PREDICTIONS]` prints bytes a prediction, the
//! longest stall of the flow while the table is saved, time and size of the snapshot, and how long a restart takes.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a measurement prints, and stops if it cannot be made")]
#![allow(clippy::cast_precision_loss, reason = "small numbers")]
#![allow(missing_docs, reason = "a program")]

use std::borrow::Cow;
use std::path::Path;
use std::time::{Duration, Instant};

use modelwatch::clock::Timestamp;
use modelwatch::event::{Events, Label, Prediction, Scalar, Task};
use modelwatch::indicator;
use modelwatch::pipeline::{Model, Options, Pipeline};
use modelwatch::smoothing::Smoothing;
use modelwatch::state::snapshot::{self, Reader};
use modelwatch::state::{Commit, State};

const A_SECOND: u64 = 10_000;
const BATCH: u64 = 1_000;

fn options() -> Options {
    let eta = Model {
        pattern: "eta".to_owned(),
        task: Task::Regression,
        label_timeout: Duration::from_secs(7 * 86_400),
        early_label_wait: Duration::from_secs(60),
        dedupe_window: Duration::ZERO,
        dimensions: vec![("region".to_owned(), 0)],
        max_segment_values: 20,
        classes: None,
        threshold: 0.5,
        smoothing: Smoothing::HalfLife(Duration::from_secs(1800)),
        indicators: ["rmse", "mae", "label_delay", "unlabelled_rate"]
            .map(|n| indicator::by_name(n).expect("known"))
            .to_vec(),
    };
    Options {
        tick: Duration::from_secs(10),
        lateness: Duration::from_secs(10),
        max_skew: Duration::from_secs(300),
        max_pending: 1_000_000_000,
        max_models: 100,
        models: vec![eta],
        rules: Vec::new(),
        labels_name_model: true,
    }
}

fn time(number: u64) -> Timestamp {
    let micros = 1_700_000_000_000_000 + number * (1_000_000 / A_SECOND);
    Timestamp::from_micros(i64::try_from(micros).expect("a time"))
}

/// Prediction `number`; from `labelled` on also the label of an earlier one.
fn take(pipeline: &mut Pipeline, number: u64, labelled: Option<u64>) {
    const REGIONS: [&str; 8] = ["af", "as", "eu", "na", "oc", "sa", "me", "an"];
    let at = time(number);
    let region = REGIONS[usize::try_from(number % 8).expect("small")];
    let prediction = Prediction {
        id: Cow::Owned(number.to_string()),
        model: Some("eta".into()),
        time: at,
        recorded_at: Some(at),
        value: Some(Scalar::Number(number as f64)),
        score: None,
        attributes: [Some(region.into())].into_iter().collect(),
    };
    let label = labelled.map(|number| Label {
        id: Cow::Owned(number.to_string()),
        model: Some("eta".into()),
        time: at,
        recorded_at: Some(at),
        value: Scalar::Number(number as f64 + 1.0),
    });
    pipeline.take(0, &Events { prediction: Some(prediction), label }, at).expect("taken");
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").trim().parse::<usize>().expect("a number") * 1024
}

/// The slowest batch of `count`, with labels all over the table, sealing as it goes.
fn slowest(pipeline: &mut Pipeline, from: u64, count: u64) -> (Duration, Duration) {
    let (mut slowest, begun) = (Duration::ZERO, Instant::now());
    for batch in 0..count / BATCH {
        let start = Instant::now();
        for number in from + batch * BATCH..from + (batch + 1) * BATCH {
            take(pipeline, number, Some(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % from));
        }
        pipeline.advance(Timestamp::MAX);
        slowest = slowest.max(start.elapsed());
    }
    (slowest, begun.elapsed())
}

fn commit(state: &mut State, pipeline: &Pipeline) -> Duration {
    let begun = Instant::now();
    let saved = pipeline.save();
    state.commit(&Commit::of(&saved, time(0))).expect("committed");
    begun.elapsed()
}

fn restart(directory: &Path, file: &str, before: &Pipeline) -> (Duration, (usize, usize)) {
    let begun = Instant::now();
    let mut pipeline = Pipeline::new(options(), &[7; 16]);
    pipeline.restore(before.save());
    let mut reader = Reader::open(directory, file).expect("a snapshot");
    let names = reader.next_part().expect("whole").expect("names");
    let reading = pipeline.read_image(&names).expect("an image");
    while let Some(part) = reader.next_part().expect("whole") {
        pipeline.read_part(&reading, &part).expect("a part");
    }
    (begun.elapsed(), pipeline.pending())
}

fn main() {
    let count = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(10_000_000_u64);
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let mut state = State::open(directory.path(), time(0)).expect("a state");
    let mut pipeline = Pipeline::new(options(), &[7; 16]);
    let (empty, begun) = (resident(), Instant::now());
    let mut slowest_filling = Duration::ZERO;
    for batch in 0..count / BATCH {
        let start = Instant::now();
        (batch * BATCH..(batch + 1) * BATCH).for_each(|number| take(&mut pipeline, number, None));
        pipeline.advance(Timestamp::MAX);
        slowest_filling = slowest_filling.max(start.elapsed());
    }
    let (filled, pending) = (resident() - empty, pipeline.pending().0);
    println!("{pending} pending predictions: {:.1} bytes each (resident)", filled as f64 / pending as f64);
    println!(
        "filling: {:.0} ns a prediction; slowest batch of {BATCH} {slowest_filling:?}",
        begun.elapsed().as_secs_f64() * 1e9 / count as f64
    );
    println!(
        "checkpoint: {:?} (state and commit, {:?} again)",
        commit(&mut state, &pipeline),
        commit(&mut state, &pipeline)
    );

    let labels = (count / 20).next_multiple_of(BATCH);
    // Labels wait a minute before they are judged: from the second time on, sealing costs what it always does.
    slowest(&mut pipeline, count, labels);
    let count = count + labels;
    let (calm, calm_took) = slowest(&mut pipeline, count, labels);
    println!("flow with labels all over, nothing being saved: slowest batch {calm:?}, {labels} pairs in {calm_took:?}");
    let begun = Instant::now();
    let (image, pending) = (pipeline.image(), pipeline.pending());
    println!("image: {:?}", begun.elapsed());
    let path = directory.path().to_owned();
    let begun = Instant::now();
    let writer = std::thread::spawn(move || {
        snapshot::write(&path, time(0), Vec::new(), pending, &image, || true).expect("written")
    });
    let (stalled, took) = slowest(&mut pipeline, count + labels, labels);
    let grown = resident() - empty;
    let written = writer.join().expect("the writer");
    println!(
        "while it is saved: slowest batch {stalled:?}, {labels} pairs in {took:?}, {:.1} bytes a prediction at most",
        grown as f64 / pending.0 as f64
    );
    println!("snapshot: {} MB, done after {:?}", written.bytes / 1_000_000, begun.elapsed());
    state.name_snapshot(&written).expect("named");
    let (took, found) = restart(directory.path(), &written.file, &pipeline);
    println!("restart: {found:?} read in {took:?}");
}
