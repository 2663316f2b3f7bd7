//! Checkpoints of foreign bytes: refused, or the core goes on from them without a panic and without growing.

use std::borrow::Cow;
use std::time::Duration;

use modelwatch::clock::Timestamp;
use modelwatch::decode::Rejection;
use modelwatch::event::{Events, Label, Prediction, Scalar, Task};
use modelwatch::indicator;
use modelwatch::pipeline::{Model, Options, Pipeline, Saved};
use modelwatch::rule::{Bound, Condition, Rule, Severity};
use modelwatch::smoothing::Smoothing;

const START: Timestamp = Timestamp::from_secs(1_700_000_000);
const SMOOTHINGS: [Smoothing; 3] = [
    Smoothing::HalfLife(Duration::from_secs(60)),
    Smoothing::Alpha { keep: 0.9, seed_first: true },
    Smoothing::Window(Duration::from_secs(60)),
];

/// Checks one checkpoint, in a core with the same ticks and in one with others.
pub fn check(data: &[u8]) -> bool {
    let Some(saved) = Saved::decode(data) else { return false };
    for tick in [10, 60] {
        let pipeline = go_on(saved.clone(), options(tick));
        let bytes = postcard::to_stdvec(&pipeline.save()).expect("a state is plain data");
        // Some series are there from the start: twice as many as fit into a few kilobytes are too many.
        assert!(bytes.len() <= 50 * data.len() + 100_000, "{} bytes became {}", data.len(), bytes.len());
        assert!(Saved::decode(&bytes).is_some(), "what is saved can be read");
    }
    true
}

/// A checkpoint with something of everything, after so many events; a seed.
pub fn seed(events: i64) -> Vec<u8> {
    postcard::to_stdvec(&lived(events).save()).expect("a state is plain data")
}

/// A core after so many events.
pub(super) fn lived(events: i64) -> Pipeline {
    let mut pipeline = Pipeline::new(options(10), &[7; 16]);
    pipeline.expect_partitions(2);
    for n in 0..events {
        let at = START.plus(Duration::from_secs(3 * n.unsigned_abs()));
        take(&mut pipeline, n, at);
        pipeline.idle(1);
        pipeline.advance(at);
    }
    pipeline
}

fn go_on(saved: Saved, options: Options) -> Pipeline {
    let mut pipeline = Pipeline::new(options, &[7; 16]);
    pipeline.expect_partitions(2);
    pipeline.restore(saved.with_partitions(&[Some(0), None]));
    live(&mut pipeline);
    pipeline
}

/// Some events, far enough in time to seal and to expire, and what is asked of a core meanwhile.
pub(super) fn live(pipeline: &mut Pipeline) {
    let start = pipeline.watermark().max(START);
    for n in 0..20 {
        let at = start.plus(Duration::from_secs(9 * n));
        take(pipeline, n.cast_signed(), at);
        pipeline.idle(0);
        pipeline.idle(1);
        pipeline.advance(at);
    }
    let view = pipeline.view(10);
    assert!(view.models.len() <= 10);
}

fn take(pipeline: &mut Pipeline, n: i64, time: Timestamp) {
    let id = |n: i64| Cow::Owned(n.to_string());
    let model = |n: i64| Some(Cow::Borrowed(if n % 2 == 0 { "eta" } else { "risk-1" }));
    let value = |n: i64| Scalar::Number(if n % 2 == 0 { 2.5 } else { 1.0 });
    let prediction = Prediction {
        id: id(n),
        model: model(n),
        time,
        recorded_at: Some(time),
        value: Some(value(n)),
        score: Some(0.25),
        attributes: [Some("eu".into()), None].into_iter().collect(),
    };
    let label = Label { id: id(n - 2), model: model(n), time, recorded_at: None, value: value(n + 2) };
    let events = Events { prediction: Some(prediction), label: Some(label) };
    match pipeline.take(0, &events, time) {
        Ok(()) | Err(Rejection::TooManyModels) => {}
        Err(other) => panic!("they are events of these models, and of now: {other}"),
    }
}

pub(super) fn options(tick_secs: u64) -> Options {
    let rule = |name: &str, by: Option<&str>, indicator: &'static str, smoothing| Rule {
        name: name.to_owned(),
        model: "*".to_owned(),
        by: by.map(str::to_owned),
        conditions: vec![Condition {
            indicator,
            smoothing,
            bound: Bound::Below(0.5),
            clear: Bound::Below(0.6),
            min_samples: 1.0,
        }],
        hold: Duration::from_secs(20),
        recover_for: Duration::from_secs(20),
        no_data_after: Some(Duration::from_secs(60)),
        repeat_every: Some(Duration::from_secs(60)),
        severity: Severity::Warning,
        notify: vec!["oncall".to_owned()],
        runbook: None,
        summary: None,
    };
    let [half_life, alpha, window] = SMOOTHINGS;
    Options {
        tick: Duration::from_secs(tick_secs),
        lateness: Duration::from_secs(10),
        max_skew: Duration::from_secs(300),
        max_pending: 1_000,
        max_models: 20,
        models: vec![
            model("eta", Task::Regression, half_life, &["bias", "rmse", "label_delay", "prediction_rate"]),
            model("risk-*", Task::Binary, window, &["roc_auc", "f1", "log_loss", "unlabelled_rate"]),
        ],
        rules: vec![
            rule("rate", None, "prediction_rate", alpha),
            rule("matched", Some("region"), "match_rate", window),
            rule("delay", None, "label_delay", half_life),
        ],
        labels_name_model: true,
    }
}

fn model(pattern: &str, task: Task, smoothing: Smoothing, indicators: &[&str]) -> Model {
    let dimensions = vec![("region".to_owned(), 0), ("device".to_owned(), 1)];
    Model {
        pattern: pattern.to_owned(),
        task,
        label_timeout: Duration::from_secs(60),
        early_label_wait: Duration::from_secs(10),
        dedupe_window: Duration::from_secs(70),
        // The bins of `roc_auc` fill kilobytes a series, and short inputs are searched sooner.
        dimensions: if task == Task::Regression { dimensions } else { Vec::new() },
        max_segment_values: 10,
        classes: None,
        threshold: 0.5,
        smoothing,
        indicators: indicators.iter().map(|name| indicator::by_name(name).expect(name)).collect(),
    }
}
