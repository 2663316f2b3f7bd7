//! Two models' predictions and late labels, with scikit-learn's word on them; `reference/end_to_end.py` made both.

use std::fs;
use std::path::Path;

use modelwatch::clock::{Clock, SystemClock};
use serde_json::{Value, json};

/// Events and what is known of them.
pub(crate) struct Dataset {
    /// What scikit-learn says.
    pub(crate) expected: Value,
    /// In the order of their times.
    pub(crate) events: Vec<Event>,
    /// When it begins, in seconds.
    pub(crate) begin: i64,
}

/// One record.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) is_label: bool,
    pub(crate) partition: i32,
    pub(crate) at_millis: i64,
    pub(crate) id: String,
    pub(crate) value: String,
}

impl Dataset {
    /// Ends a few minutes ago.
    pub(crate) fn recent() -> Dataset {
        let now = SystemClock.now().as_micros() / 1_000_000;
        Dataset::beginning((now - 7_200) / 10 * 10)
    }

    /// Begins at a fixed time.
    pub(crate) fn fixed() -> Dataset {
        Dataset::beginning(1_769_846_400)
    }

    fn beginning(begin: i64) -> Dataset {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/reference/end_to_end.json");
        let expected: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let mut events = Vec::new();
        for model in ["eta", "fraud"] {
            for (number, row) in (0..).zip(expected[model].as_array().unwrap()) {
                events.extend(of_row(model, number, row.as_array().unwrap(), begin));
            }
        }
        events.sort_by_key(|event| event.at_millis);
        Dataset { expected, events, begin }
    }

    /// The events from one time to another, in seconds since the beginning.
    pub(crate) fn between(&self, from: i64, to: i64) -> impl Iterator<Item = &Event> {
        let span = (self.begin + from) * 1_000..(self.begin + to) * 1_000;
        self.events.iter().filter(move |event| span.contains(&event.at_millis))
    }

    /// How many labels there are.
    pub(crate) fn labels(&self) -> u64 {
        self.events.iter().filter(|event| event.is_label).count() as u64
    }
}

/// The prediction and, if it comes, its label.
#[expect(clippy::cast_possible_truncation, reason = "delays are minutes")]
fn of_row(model: &str, number: i32, row: &[Value], begin: i64) -> Vec<Event> {
    let [time, what @ .., delay, label] = row else { panic!("{row:?}") };
    let id = format!("{model}-{number}");
    let at_millis = (begin + time.as_i64().unwrap()) * 1_000;
    let mut value = json!({ "id": id, "model": model, "time": at_millis });
    match what {
        [region, prediction] => {
            value["region"] = region.clone();
            value["prediction"] = prediction.clone();
        }
        [score] => value["score"] = score.clone(),
        other => panic!("{other:?}"),
    }
    let prediction =
        Event { is_label: false, partition: number % 4, at_millis, id: id.clone(), value: value.to_string() };
    let label = delay.as_f64().map(|delay| {
        let at_millis = at_millis + (delay * 1_000.0).round() as i64;
        let value = json!({ "id": id, "time": at_millis, "label": label }).to_string();
        Event { is_label: true, partition: number % 2, at_millis, id, value }
    });
    [Some(prediction), label].into_iter().flatten().collect()
}
