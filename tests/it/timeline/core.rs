//! Time lines on the core alone.

use std::collections::{BTreeMap, VecDeque};

use modelwatch::alert::Transition;
use modelwatch::clock::Timestamp;
use modelwatch::pipeline::{Options, Pipeline};

use super::grammar::{Script, seconds, shown};
use super::number;
use crate::given::{self, KEY};

/// A prediction that has no label yet: model, id and value.
type Unlabelled = (String, String, f64);

struct Line {
    pipeline: Pipeline,
    next: Option<Options>,
    unlabelled: BTreeMap<String, VecDeque<Unlabelled>>,
    got: Vec<String>,
    count: usize,
}

/// The transitions of a time line, with who is to be told.
pub(super) fn transitions(options: &Options, next: Option<Options>, script: &Script) -> Vec<String> {
    let pipeline = Pipeline::new(options.clone(), KEY);
    let mut line = Line { pipeline, next, unlabelled: BTreeMap::new(), got: Vec::new(), count: 0 };
    line.pipeline.expect_partitions(1);
    for (at, words) in &script.steps {
        line.step(*at, &words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    line.got
}

impl Line {
    fn step(&mut self, at: i64, words: &[&str]) {
        // Nothing has come since: the partition is at its end, and the clock moves event time.
        self.pipeline.idle(0);
        let mut transitions = self.pipeline.advance(Timestamp::from_secs(at));
        while self.pipeline.owes_seals() {
            transitions.extend(self.pipeline.advance(Timestamp::from_secs(at)));
        }
        self.note(transitions);
        match words {
            ["end"] => {}
            ["reload"] => {
                let options = self.next.take().expect("options to reload");
                let ended = self.pipeline.reload(options, KEY);
                self.note(ended);
            }
            ["predictions", model, count, rest @ ..] => self.predict(at, model, count.parse().expect("a count"), rest),
            ["labels", model, count, rest @ ..] => self.label(at, model, count.parse().expect("a count"), rest),
            ["both", model, count, rest @ ..] => {
                self.predict(at, model, count.parse().expect("a count"), rest);
                self.label(at, model, count.parse().expect("a count"), rest);
            }
            other => panic!("not understood: {other:?}"),
        }
    }

    fn predict(&mut self, at: i64, model: &str, count: usize, rest: &[&str]) {
        let region = rest.iter().find_map(|word| word.strip_prefix("region="));
        let time = rest.iter().find_map(|word| word.strip_prefix("time=")).map_or(at, seconds);
        for _ in 0..count {
            self.count += 1;
            let id = self.count.to_string();
            let event = given::prediction(model, &id, Timestamp::from_secs(time), 10.0, &[region]);
            self.pipeline.take(0, &event, Timestamp::MAX).expect("taken");
            self.unlabelled.entry(model.to_owned()).or_default().push_back((model.to_owned(), id.clone(), 10.0));
        }
    }

    fn label(&mut self, at: i64, model: &str, count: usize, rest: &[&str]) {
        let error = rest.iter().find_map(|word| word.strip_prefix("err=")).map_or(0.0, number);
        for _ in 0..count {
            let oldest = self.unlabelled.get_mut(model).and_then(VecDeque::pop_front);
            let (model, id, value) = oldest.expect("a prediction to label");
            let event = given::label(Some(&model), &id, Timestamp::from_secs(at), value - error);
            self.pipeline.take(0, &event, Timestamp::MAX).expect("taken");
        }
    }

    fn note(&mut self, transitions: Vec<Transition>) {
        for Transition { rule, model, segment, change, at, notify, .. } in transitions {
            let segment = segment.map_or(String::new(), |(name, value)| format!(" {name}={value}"));
            let told = if notify.is_empty() { String::new() } else { format!(" -> {}", notify.join(",")) };
            let at = shown(at.as_micros() / 1_000_000);
            self.got.push(format!("{at} {} {rule} {model}{segment}{told}", change.name()));
        }
    }
}
