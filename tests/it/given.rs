//! Small builders for tests of the core: options, rules and events.

use std::borrow::Cow;
use std::time::Duration;

use modelwatch::clock::Timestamp;
use modelwatch::event::{Events, Label, Prediction, Scalar, Task};
use modelwatch::indicator;
use modelwatch::pipeline::{Model, Options};
use modelwatch::rule::{Bound, Condition, Rule, Severity};
use modelwatch::smoothing::Smoothing;

/// The deployment key of all tests.
pub(crate) const KEY: &[u8; 16] = b"0123456789abcdef";

/// Whole seconds.
pub(crate) fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Ticks of ten seconds, and nothing else in the way.
pub(crate) fn options(models: Vec<Model>, rules: Vec<Rule>) -> Options {
    Options {
        tick: secs(10),
        lateness: secs(0),
        max_skew: secs(1_000_000),
        max_pending: 1_000_000,
        max_models: 100,
        models,
        rules,
        labels_name_model: true,
    }
}

/// A model without segments.
pub(crate) fn model(pattern: &str, task: Task, smoothing: Smoothing, indicators: &[&str]) -> Model {
    Model {
        pattern: pattern.to_owned(),
        task,
        label_timeout: secs(600),
        early_label_wait: secs(0),
        dedupe_window: secs(0),
        dimensions: Vec::new(),
        max_segment_values: 10,
        classes: None,
        threshold: 0.5,
        smoothing,
        indicators: indicators.iter().map(|name| indicator::by_name(name).expect("a known indicator")).collect(),
    }
}

/// A condition that recovers at its own bound.
pub(crate) fn condition(indicator: &str, smoothing: Smoothing, bound: Bound, min_samples: f64) -> Condition {
    let indicator = indicator::by_name(indicator).expect("a known indicator").name();
    Condition { indicator, smoothing, bound, clear: bound, min_samples }
}

/// A rule that fires and recovers at once.
pub(crate) fn rule(name: &str, model: &str, conditions: Vec<Condition>) -> Rule {
    Rule {
        name: name.to_owned(),
        model: model.to_owned(),
        by: None,
        conditions,
        hold: Duration::ZERO,
        recover_for: Duration::ZERO,
        no_data_after: None,
        repeat_every: None,
        severity: Severity::Warning,
        notify: vec!["oncall".to_owned()],
        runbook: None,
        summary: None,
    }
}

/// A record with a prediction.
pub(crate) fn prediction<'a>(
    model: &'a str,
    id: &'a str,
    time: Timestamp,
    value: f64,
    attributes: &[Option<&'a str>],
) -> Events<'a> {
    let prediction = Prediction {
        id: Cow::Borrowed(id),
        model: Some(Cow::Borrowed(model)),
        time,
        recorded_at: None,
        value: Some(Scalar::Number(value)),
        score: None,
        attributes: attributes.iter().map(|value| value.map(Cow::Borrowed)).collect(),
    };
    Events { prediction: Some(prediction), label: None }
}

/// A record with a label.
pub(crate) fn label<'a>(model: Option<&'a str>, id: &'a str, time: Timestamp, value: f64) -> Events<'a> {
    let label = Label {
        id: Cow::Borrowed(id),
        model: model.map(Cow::Borrowed),
        time,
        recorded_at: None,
        value: Scalar::Number(value),
    };
    Events { prediction: None, label: Some(label) }
}
