//! The traffic: what two models answer, and what turns out to be true some time later.
//!
//! `eta` tells how many minutes a delivery will take, `fraud` whether a payment is one. Labels come late, with a heavy
//! tail, and some never; some records come twice, and a few are broken, as in life.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use serde_json::{Value, json};

use super::chance::Chance;
use super::script::Script;
use crate::clock::Timestamp;

/// Predictions a second, of each model.
const RATE: f64 = 90.0;
/// Predictions whose label never comes.
const UNLABELLED: f64 = 0.03;
/// Predictions that are sent twice, and labels.
const REPEATED: f64 = 0.002;
/// Every so many predictions one cannot be read.
const BROKEN_EVERY: u64 = 4_000;
/// Median and spread of the seconds until a label is known.
const LABEL_DELAY: (f64, f64) = (2.0, 0.9);

/// One record to send.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Outgoing {
    pub(super) topic: &'static str,
    pub(super) key: String,
    pub(super) value: String,
}

/// What happens next, as time goes on.
#[derive(Debug)]
pub(super) struct Traffic {
    script: Script,
    began: Timestamp,
    chance: Chance,
    made: u64,
    /// Seconds since the beginning until the next prediction.
    next: f64,
    /// Labels that are not yet known, the soonest first; the number keeps those of one instant in order.
    owed: BinaryHeap<Reverse<(Duration, u64, Label)>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Label {
    model: &'static str,
    id: String,
    truth: String,
}

impl Traffic {
    pub(super) fn new(script: Script, began: Timestamp) -> Traffic {
        Traffic { script, began, chance: Chance::new(7), made: 0, next: 0.0, owed: BinaryHeap::new() }
    }

    /// Everything that happened until `since` the beginning and was not told before, in order of time.
    pub(super) fn until(&mut self, since: Duration) -> Vec<Outgoing> {
        let mut out = Vec::new();
        while self.next <= since.as_secs_f64() {
            let at = Duration::from_secs_f64(self.next);
            self.labels_until(at, &mut out);
            self.predict(at, &mut out);
            // Poisson arrivals of both models together.
            self.next += -self.chance.uniform().ln() / (2.0 * RATE * self.script.pace);
        }
        self.labels_until(since, &mut out);
        out
    }

    fn labels_until(&mut self, since: Duration, out: &mut Vec<Outgoing>) {
        while let Some(Reverse((due, _, _))) = self.owed.peek()
            && *due <= since
            && let Some(Reverse((due, _, Label { model, id, truth }))) = self.owed.pop()
        {
            let truth: Value = serde_json::from_str(&truth).unwrap_or_default();
            let time = self.began.plus(due).to_string();
            let value = json!({ "id": id, "model": model, "time": time, "truth": truth });
            self.send("labels", id, value.to_string(), out);
        }
    }

    fn predict(&mut self, since: Duration, out: &mut Vec<Outgoing>) {
        self.made += 1;
        let (model, mut record, truth) = if self.made.is_multiple_of(2) { self.eta(since) } else { self.fraud(since) };
        let id = format!("{model}-{:012x}", self.chance.bits() >> 16);
        record["id"] = json!(id);
        record["model"] = json!(model);
        record["time"] = json!(self.began.plus(since).to_string());
        let mut value = record.to_string();
        if self.made % BROKEN_EVERY == BROKEN_EVERY / 2 {
            value.truncate(value.len() / 2);
        } else if self.made.is_multiple_of(BROKEN_EVERY) {
            value = value.replace("\"answer\"", "\"anwser\"").replace("\"score\"", "\"scroe\"");
        }
        self.send("predictions", id.clone(), value, out);
        if !self.chance.happens(UNLABELLED) {
            let (median, spread) = LABEL_DELAY;
            let delay = self.chance.lognormal(median, spread) / self.script.pace;
            let due = since + Duration::from_secs_f64(delay);
            self.owed.push(Reverse((due, self.made, Label { model, id, truth: truth.to_string() })));
        }
    }

    fn send(&mut self, topic: &'static str, key: String, value: String, out: &mut Vec<Outgoing>) {
        let outgoing = Outgoing { topic, key, value };
        if self.chance.happens(REPEATED) {
            out.push(outgoing.clone());
        }
        out.push(outgoing);
    }

    /// Cooking and the way. In the incident, the way takes far longer than the model knows.
    fn eta(&mut self, since: Duration) -> (&'static str, Value, Value) {
        let chance = &mut self.chance;
        let region = chance.one_of(&[("eu", 0.5), ("us", 0.3), ("asia", 0.2)]);
        let vehicle = chance.one_of(&[("bike", 0.6), ("car", 0.4)]);
        let kilometres = chance.lognormal(2.5, 0.5);
        let answer = 12.0 + kilometres * if vehicle == "bike" { 4.5 } else { 3.0 };
        let detour = if region == "eu" && self.script.eta_is_broken(since) { chance.normal(8.0, 3.0) } else { 0.0 };
        let truth = (answer + chance.normal(0.0, 3.0) + detour).max(1.0);
        let record = json!({ "answer": rounded(answer), "segment": { "region": region, "vehicle": vehicle } });
        ("eta", record, json!(rounded(truth)))
    }

    /// Seven payments in a hundred are fraud. In the incident, the app sends no device data, and the model sees nothing.
    fn fraud(&mut self, since: Duration) -> (&'static str, Value, Value) {
        let chance = &mut self.chance;
        let channel = chance.one_of(&[("app", 0.6), ("web", 0.3), ("pos", 0.1)]);
        let is_fraud = chance.happens(0.07);
        let blind = channel == "app" && self.script.fraud_is_broken(since);
        let evidence = if is_fraud && !blind { chance.normal(0.4, 1.3) } else { chance.normal(-2.8, 1.2) };
        let score = 1.0 / (1.0 + (-evidence).exp());
        let name = |fraud: bool| if fraud { "fraud" } else { "legit" };
        let record = json!({
            "answer": name(score >= 0.5),
            "score": (score * 1e6).round() / 1e6,
            "segment": { "channel": channel },
        });
        ("fraud", record, json!(name(is_fraud)))
    }
}

fn rounded(minutes: f64) -> f64 {
    (minutes * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_follow_their_predictions_and_some_never_come() {
        let mut traffic = Traffic::new(Script { pace: 1.0 }, Timestamp::from_secs(1_800_000_000));
        let out = traffic.until(Duration::from_secs(60));
        let count = |topic: &str| out.iter().filter(|record| record.topic == topic).count();
        let (predictions, labels) = (count("predictions"), count("labels"));
        assert!((10_000..11_600).contains(&predictions), "{predictions}");
        assert!((90 * predictions / 100..97 * predictions / 100).contains(&labels), "{labels} of {predictions}");
        let broken = out.iter().filter(|record| serde_json::from_str::<Value>(&record.value).is_err()).count();
        assert_eq!(broken, 3);
    }

    #[test]
    fn steps_change_nothing() {
        let began = Timestamp::from_secs(1_800_000_000);
        let all = Traffic::new(Script { pace: 1.0 }, began).until(Duration::from_secs(5));
        let mut stepwise = Traffic::new(Script { pace: 1.0 }, began);
        let steps: Vec<Outgoing> =
            (1..=500).flat_map(|step| stepwise.until(Duration::from_millis(10 * step))).collect();
        assert_eq!(steps, all);
    }
}
