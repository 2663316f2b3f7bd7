//! Predictions and labels as they come: nested segments, features that nobody reads, labels late by a heavy-tailed
//! delay, some duplicates and some records that are none. The same seed gives the same bytes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write;

/// Predictions a second of event time.
const A_SECOND: i64 = 1_000;
/// 2025-06-01 00:00 UTC.
const START_MILLIS: i64 = 1_748_736_000_000;
const MODELS: [&str; 2] = ["eta", "price"];
const REGIONS: [&str; 8] = ["af-south", "ap-east", "eu-west", "us-east", "oc-north", "sa-east", "me-south", "us-west"];
const DEVICES: [&str; 3] = ["phone", "tablet", "desktop"];

/// Which topic an event goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Predictions.
    Predictions,
    /// Labels.
    Labels,
}

/// One record.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) topic: Topic,
    pub(crate) millis: i64,
    pub(crate) id: String,
    pub(crate) value: String,
}

/// All records, in the order in which they are written.
pub(crate) struct Events {
    random: Random,
    predictions: i64,
    /// Labels on their way: when they come, and number of the prediction.
    labels: BinaryHeap<Reverse<(i64, i64)>>,
    again: Option<Event>,
    seed: u64,
}

impl Events {
    /// From the first one on, without end.
    pub(crate) fn new(seed: u64) -> Events {
        Events { random: Random(seed), predictions: 0, labels: BinaryHeap::new(), again: None, seed }
    }

    fn prediction(&mut self) -> Event {
        let number = self.predictions;
        self.predictions += 1;
        let millis = START_MILLIS + number * 1_000 / A_SECOND;
        // One prediction in twenty never gets its label.
        if !self.random.one_in(20) {
            let at = millis + self.delay_millis();
            self.labels.push(Reverse((at, number)));
        }
        let Subject { id, model, region, device, estimate, .. } = self.subject(number);
        let random = &mut self.random;
        let (hour, load, km) = (random.below(24), random.unit(), random.unit() * 30.0);
        let mut value = String::with_capacity(340);
        write!(
            value,
            "{{\"id\":\"{id}\",\"model\":{{\"name\":\"{model}\",\"version\":\"2025-05-{:02}.{}\"}},\"ts\":{millis},\
             \"segment\":{{\"region\":\"{region}\",\"device\":\"{device}\"}},\"features\":{{\"hour\":{hour},\
             \"load\":{load:.4},\"distance_km\":{km:.3},\"rain\":{},\"basket\":[{},{},{}]}},\"prediction\":{estimate:.3},\
             \"latency_ms\":{},\"host\":\"scorer-{:02}\"}}",
            1 + random.below(30),
            random.below(9),
            random.one_in(4),
            random.below(100),
            random.below(100),
            random.below(100),
            3 + random.below(40),
            random.below(64),
        )
        .unwrap_or_default();
        Event { topic: Topic::Predictions, millis, id, value }
    }

    fn label(&mut self, millis: i64, number: i64) -> Event {
        let Subject { id, model, truth, .. } = self.subject(number);
        let value =
            format!("{{\"id\":\"{id}\",\"model\":\"{model}\",\"ts\":{millis},\"actual\":{truth:.3},\"by\":\"app\"}}");
        Event { topic: Topic::Labels, millis, id, value }
    }

    /// Pareto, at least two seconds: half come within 4 s, one in a hundred after a minute, and none after 290 s.
    fn delay_millis(&mut self) -> i64 {
        let seconds = 2.0 * self.random.unit().max(1e-9).powf(-1.0 / 1.2);
        #[expect(clippy::cast_possible_truncation, reason = "at most 290 s")]
        let millis = (seconds.min(290.0) * 1_000.0) as i64;
        millis
    }

    /// What is known of a prediction by its number alone, so that nothing need be kept until its label comes.
    fn subject(&self, number: i64) -> Subject {
        let mut random = Random(self.seed ^ number.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let id = format!("{:016x}", random.next());
        let [model, region, device] = [
            MODELS[random.below(2)],
            // Few regions have most of the traffic.
            REGIONS[random.below(8).min(random.below(8))],
            DEVICES[random.below(3)],
        ];
        let truth = 5.0 + random.unit() * 50.0;
        let estimate = truth + (random.unit() + random.unit() + random.unit() - 1.5) * 8.0;
        Subject { id, model, region, device, truth, estimate }
    }
}

struct Subject {
    id: String,
    model: &'static str,
    region: &'static str,
    device: &'static str,
    truth: f64,
    estimate: f64,
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if let Some(again) = self.again.take() {
            return Some(again);
        }
        let now = START_MILLIS + self.predictions * 1_000 / A_SECOND;
        let mut event = match self.labels.peek() {
            Some(Reverse((millis, number))) if *millis <= now => {
                let (millis, number) = (*millis, *number);
                self.labels.pop();
                self.label(millis, number)
            }
            _ => self.prediction(),
        };
        if self.random.one_in(200) {
            self.again = Some(Event {
                topic: event.topic,
                millis: event.millis,
                id: event.id.clone(),
                value: event.value.clone(),
            });
        }
        if self.random.one_in(1_000) {
            event.value.truncate(40);
        }
        Some(event)
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    #[expect(clippy::cast_precision_loss, reason = "53 bits")]
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    #[expect(clippy::cast_possible_truncation, reason = "less than `end`")]
    fn below(&mut self, end: u64) -> usize {
        (self.next() % end) as usize
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }
}
