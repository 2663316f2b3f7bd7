//! Speed of the core: `cargo bench --bench core` prints events a second, and what a seal costs.
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a measurement prints, and stops if it cannot be made")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "small numbers"
)]
#![allow(missing_docs, reason = "a program")]

use std::borrow::Cow;
use std::time::{Duration, Instant};

use modelwatch::clock::Timestamp;
use modelwatch::event::{Events, Label, Prediction, Scalar, Task};
use modelwatch::indicator;
use modelwatch::pipeline::{Model, Options, Pipeline};
use modelwatch::rule::{Bound, Condition, Rule, Severity};
use modelwatch::smoothing::Smoothing;

const INDICATORS: [&str; 8] =
    ["bias", "mae", "rmse", "mape", "r2", "prediction_rate", "label_delay", "unlabelled_rate"];
const PREDICTIONS: i64 = 1_000_000;
const A_SECOND: i64 = 1_000;

fn model(pattern: &str) -> Model {
    Model {
        pattern: pattern.to_owned(),
        task: Task::Regression,
        label_timeout: Duration::from_secs(300),
        early_label_wait: Duration::from_secs(60),
        dedupe_window: Duration::from_secs(360),
        dimensions: vec![("region".to_owned(), 0), ("device".to_owned(), 1)],
        max_segment_values: 20,
        classes: None,
        threshold: 0.5,
        smoothing: Smoothing::HalfLife(Duration::from_secs(1800)),
        indicators: INDICATORS.iter().map(|name| indicator::by_name(name).expect("known")).collect(),
    }
}

fn rule(name: &str, by: Option<&str>) -> Rule {
    let smoothing = Smoothing::HalfLife(Duration::from_secs(1800));
    let (bound, clear) = (Bound::Above(40.0), Bound::Above(35.0));
    Rule {
        name: name.to_owned(),
        model: "*".to_owned(),
        by: by.map(str::to_owned),
        conditions: vec![Condition { indicator: "rmse", smoothing, bound, clear, min_samples: 100.0 }],
        hold: Duration::from_secs(60),
        recover_for: Duration::from_secs(60),
        no_data_after: Some(Duration::from_secs(600)),
        repeat_every: None,
        severity: Severity::Warning,
        notify: Vec::new(),
        runbook: None,
        summary: None,
    }
}

fn pipeline() -> Pipeline {
    let options = Options {
        tick: Duration::from_secs(10),
        lateness: Duration::from_secs(10),
        max_skew: Duration::from_secs(300),
        max_pending: 10_000_000,
        max_models: 100,
        models: vec![model("eta"), model("price")],
        rules: vec![rule("whole", None), rule("region", Some("region"))],
        labels_name_model: true,
    };
    Pipeline::new(options, &[7; 16])
}

/// Prediction `n`, and the label of the prediction a minute before.
fn take(pipeline: &mut Pipeline, n: i64, bare: bool) {
    const REGIONS: [&str; 8] = ["af", "as", "eu", "na", "oc", "sa", "me", "an"];
    const DEVICES: [&str; 3] = ["phone", "tablet", "desktop"];
    let pick = |names: &[&'static str], n: i64| names[n as usize % names.len()];
    let noise = |n: i64| (n.wrapping_mul(0x5851_f42d_4c95_7f2d) >> 40) as f64 / 1e5;
    let time = Timestamp::from_micros(1_700_000_000_000_000 + n * (1_000_000 / A_SECOND));
    let name = |n: i64| Some(Cow::Borrowed(if n % 2 == 0 { "eta" } else { "price" }));
    let prediction = Prediction {
        id: Cow::Owned(n.to_string()),
        model: name(n),
        time,
        recorded_at: None,
        value: Some(Scalar::Number(100.0 + noise(n))),
        score: None,
        attributes: [Some(pick(&REGIONS, n / 3).into()), Some(pick(&DEVICES, n / 5).into())].into_iter().collect(),
    };
    let labelled = n - 60 * A_SECOND;
    let value = Scalar::Number(100.0);
    let label = Label { id: Cow::Owned(labelled.to_string()), model: name(labelled), time, recorded_at: None, value };
    let events = Events { prediction: Some(prediction), label: (labelled >= 0).then_some(label) };
    if !bare {
        pipeline.take(0, &events, time).expect("taken");
    }
    std::hint::black_box(&events);
}

fn main() {
    for round in 1..=3 {
        let mut pipeline = pipeline();
        let [mut taking, mut sealing, mut making] = [Duration::ZERO; 3];
        for batch in 0..PREDICTIONS / A_SECOND {
            let numbers = batch * A_SECOND..(batch + 1) * A_SECOND;
            let start = Instant::now();
            numbers.clone().for_each(|n| take(&mut pipeline, n, true));
            making += start.elapsed();
            let start = Instant::now();
            numbers.for_each(|n| take(&mut pipeline, n, false));
            taking += start.elapsed();
            let start = Instant::now();
            pipeline.advance(Timestamp::MAX);
            sealing += start.elapsed();
        }
        let events = (2 * PREDICTIONS - 60 * A_SECOND) as f64;
        let sealed = pipeline.counts().sealed_ticks;
        println!(
            "round {round}: take {:.0} ns an event ({:.2} million a second), seal {:.0} us a tick of {} predictions",
            (taking.saturating_sub(making)).as_secs_f64() * 1e9 / events,
            events / (taking.saturating_sub(making) + sealing).as_secs_f64() / 1e6,
            sealing.as_secs_f64() * 1e6 / sealed as f64,
            10 * A_SECOND,
        );
        pipeline.idle(0);
        let start = Instant::now();
        let end = pipeline.watermark().plus(Duration::from_secs(10 * 100_000));
        pipeline.advance(end);
        while pipeline.owes_seals() {
            pipeline.advance(end);
        }
        println!("         idle: {:.2} us a tick", start.elapsed().as_secs_f64() * 1e6 / 100_000.0);
        let start = Instant::now();
        let saved = pipeline.save();
        println!("         save: {:.2} ms", start.elapsed().as_secs_f64() * 1e3);
        std::hint::black_box(saved);
    }
}
