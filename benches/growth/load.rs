//! What the core is measured with: models with their rules, and a flow of predictions and labels for them.

use std::borrow::Cow;
use std::time::Duration;

use modelwatch::clock::Timestamp;
use modelwatch::event::{Events, Label, Prediction, Scalar, Task};
use modelwatch::indicator;
use modelwatch::pipeline::{Model, Options, Pipeline};
use modelwatch::rule::{Bound, Condition, Rule, Severity};
use modelwatch::smoothing::Smoothing;

/// Length of a tick in seconds.
pub(crate) const TICK: u64 = 10;
/// Predictions a second of event time.
pub(crate) const A_SECOND: i64 = 1_000;
/// Labels come so many predictions later.
const LABEL_AFTER: i64 = 20 * A_SECOND;
const SMOOTHING: Smoothing = Smoothing::HalfLife(Duration::from_secs(1800));

/// The shape of an installation.
pub(crate) struct Load {
    pub(crate) models: Vec<String>,
    /// Whether each model has a section of its own; else one pattern serves them all.
    pub(crate) sections: bool,
    pub(crate) dimensions: &'static [&'static str],
    pub(crate) values: Vec<String>,
    pub(crate) indicators: &'static [&'static str],
    pub(crate) rules: Vec<Rule>,
}

/// `model-0`, `model-1`, ...
pub(crate) fn names(kind: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{kind}-{number}")).collect()
}

pub(crate) fn rule(name: &str, model: &str, by: Option<&str>) -> Rule {
    let (bound, clear) = (Bound::Above(1e6), Bound::Above(1e5));
    Rule {
        name: name.to_owned(),
        model: model.to_owned(),
        by: by.map(str::to_owned),
        conditions: vec![Condition { indicator: "rmse", smoothing: SMOOTHING, bound, clear, min_samples: 1.0 }],
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

impl Load {
    pub(crate) fn pipeline(&self, lateness: Duration) -> Pipeline {
        let options = Options {
            tick: Duration::from_secs(TICK),
            lateness,
            max_skew: Duration::from_secs(300),
            max_pending: 10_000_000,
            max_models: 10_000,
            models: match self.sections {
                true => self.models.iter().map(|name| self.section(name)).collect(),
                false => vec![self.section("model-*")],
            },
            rules: self.rules.clone(),
            labels_name_model: true,
        };
        Pipeline::new(options, &[7; 16])
    }

    fn section(&self, pattern: &str) -> Model {
        Model {
            pattern: pattern.to_owned(),
            task: Task::Regression,
            label_timeout: Duration::from_secs(60),
            early_label_wait: Duration::from_secs(10),
            dedupe_window: Duration::from_secs(70),
            dimensions: (0..).zip(self.dimensions).map(|(index, name)| ((*name).to_owned(), index)).collect(),
            max_segment_values: 100,
            classes: None,
            threshold: 0.5,
            smoothing: SMOOTHING,
            indicators: self.indicators.iter().map(|name| indicator::by_name(name).expect("known")).collect(),
        }
    }

    /// Prediction `number` of a steady flow over all models and values, and the label of an earlier one.
    pub(crate) fn flow(&self, number: i64) -> Events<'_> {
        let time = time(number);
        let model_of = |number: i64| self.models[pick(number, 1, self.models.len())].as_str();
        let values = (2..).zip(self.dimensions).map(|(salt, _)| &*self.values[pick(number, salt, self.values.len())]);
        let prediction = prediction(number, time, model_of(number), values);
        let labelled = number - LABEL_AFTER;
        let label = (labelled >= 0).then(|| label(labelled, time, model_of(labelled)));
        Events { prediction: Some(prediction), label }
    }

    /// For every model and value of tick `tick` one prediction with its label.
    pub(crate) fn all_at_once(&self, tick: i64) -> impl Iterator<Item = Events<'_>> {
        let pairs = self.models.iter().flat_map(|model| self.values.iter().map(move |value| (model, value)));
        let count = i64::try_from(self.models.len() * self.values.len()).expect("few");
        (0..).zip(pairs).map(move |(index, (model, value))| {
            let time = Timestamp::from_micros(time(0).as_micros() + tick * TICK as i64 * 1_000_000 + 10 * index);
            let number = tick * count + index;
            let prediction = prediction(number, time, model, std::iter::once(value.as_str()));
            Events { prediction: Some(prediction), label: Some(label(number, time, model)) }
        })
    }
}

/// When prediction `number` of the flow was made; the first one at the beginning of a tick.
pub(crate) fn time(number: i64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + number * (1_000_000 / A_SECOND))
}

fn hash(number: i64, salt: u64) -> u64 {
    let mixed = (number.cast_unsigned().wrapping_mul(8) + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32
}

fn pick(number: i64, salt: u64, count: usize) -> usize {
    hash(number, salt) as usize % count
}

fn prediction<'n>(
    number: i64,
    time: Timestamp,
    model: &'n str,
    values: impl Iterator<Item = &'n str>,
) -> Prediction<'n> {
    Prediction {
        id: Cow::Owned(number.to_string()),
        model: Some(model.into()),
        time,
        recorded_at: None,
        value: Some(Scalar::Number(100.0 + hash(number, 0) as f64 / 1e9)),
        score: None,
        attributes: values.map(|value| Some(value.into())).collect(),
    }
}

fn label(number: i64, time: Timestamp, model: &str) -> Label<'_> {
    let id = Cow::Owned(number.to_string());
    Label { id, model: Some(model.into()), time, recorded_at: None, value: Scalar::Number(100.0) }
}
