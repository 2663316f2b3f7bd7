//! The shapes.

use std::time::Duration;

use modelwatch::clock::Timestamp;

use super::record::{Record, time};

/// Of which role the records of a shape are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Prediction,
    Label,
}

/// When a record comes, and its value.
pub(crate) type Made = (Timestamp, Option<Vec<u8>>);

/// One shape of records.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    /// Record of this number.
    pub(crate) make: Box<dyn Fn(i64) -> Made>,
    /// Whether another partition holds back all sealing.
    pub(crate) held: bool,
}

/// The largest record that is looked into.
pub(crate) const MAX_RECORD_BYTES: usize = 1_048_576;
/// Predictions of one id that lie so far apart are no repetitions.
const APART_MICROS: i64 = 361_000_000;

fn shape(name: &'static str, role: Role, make: impl Fn(i64) -> Record + 'static) -> Shape {
    let value = move |number: i64| {
        let record = make(number);
        let text = if role == Role::Prediction { record.prediction() } else { record.label() };
        (record.time, Some(text.into_bytes()))
    };
    Shape { name, role, make: Box::new(value), held: false }
}

fn prediction(name: &'static str, make: impl Fn(i64) -> Record + 'static) -> Shape {
    shape(name, Role::Prediction, make)
}

fn label(name: &'static str, make: impl Fn(i64) -> Record + 'static) -> Shape {
    shape(name, Role::Label, make)
}

/// Normal records with one member set to what `set` does.
fn with(name: &'static str, set: impl Fn(&mut Record, i64) + 'static) -> Shape {
    prediction(name, move |number| {
        let mut record = Record::new(number);
        set(&mut record, number);
        record
    })
}

/// Whatever bytes; what is cut off or damaged is a normal prediction.
fn raw(name: &'static str, damage: impl Fn(Vec<u8>) -> Option<Vec<u8>> + 'static) -> Shape {
    let make = move |number| (time(number), damage(Record::new(number).prediction().into_bytes()));
    Shape { name, role: Role::Prediction, make: Box::new(make), held: false }
}

fn text(content: &str, times: usize) -> String {
    format!("\"{}\"", content.repeat(times))
}

fn nested(open: &str, close: &str, times: usize) -> String {
    format!("{}1{}", open.repeat(times), close.repeat(times))
}

/// A number that lies between two floating-point numbers, but for its last digit.
fn hard_number(digits: usize) -> String {
    format!("9007199254740993.{}1", "0".repeat(digits))
}

/// The normal ones first.
pub(crate) fn all() -> Vec<Shape> {
    let mut all = vec![prediction("normal prediction", Record::new), label("normal label", Record::new)];
    all.extend(unread());
    all.extend(read());
    all.extend(bad());
    all.extend(repeated());
    all.extend(labels());
    all
}

/// What nobody reads is odd.
fn unread() -> Vec<Shape> {
    let room = MAX_RECORD_BYTES - Record::new(0).prediction().len() - 100;
    let keys: String = (0..10_000).map(|key| format!(",\"key-{key}\":{key}")).collect();
    let escaped_keys: String = (0..1_000).map(|key| format!(",\"\\u006b\\u0065{key}\":{key}")).collect();
    vec![
        with("unread: arrays, 2,000 deep", |record, _| record.features = nested("[", "]", 2_000)),
        with("unread: objects, 1,000 deep", |record, _| record.features = nested("{\"a\":", "}", 1_000)),
        with("unread: 1 MiB of numbers", move |record, _| {
            record.features = format!("[{}1]", "1,".repeat(room / 2 - 2))
        }),
        with("unread: 1 MiB of text", move |record, _| record.features = text("a", room)),
        with("unread: 10,000 keys", move |record, _| record.more.clone_from(&keys)),
        with("unread: 1,000 keys of escapes", move |record, _| record.more.clone_from(&escaped_keys)),
        with("unread: text of 10 kB", |record, _| record.features = text("a", 10_000)),
        with("unread: 10 kB of escapes", |record, _| record.features = text("\\u00e9\\n", 1_250)),
        with("unread: a number of 5,000 digits", |record, _| record.features = "7".repeat(5_000)),
        with("more than max_record_bytes", |record, _| record.features = text("a", MAX_RECORD_BYTES)),
    ]
}

/// What is read is odd.
fn read() -> Vec<Shape> {
    vec![
        with("prediction: arrays, 2,000 deep", |record, _| record.answer = nested("[", "]", 2_000)),
        with("segment value: objects, 1,000 deep", |record, _| record.region = nested("{\"a\":", "}", 1_000)),
        with("prediction 10,000 times", |record, _| record.more = ",\"prediction\":1.5".repeat(10_000)),
        with("segments 1,000 times", |record, _| {
            record.more = ",\"segment\":{\"region\":\"x\",\"device\":\"y\"}".repeat(1_000);
        }),
        with("id of 10 kB", |record, _| record.id = text("a", 10_000)),
        with("id of 10 kB of escapes", |record, _| record.id = text("\\u00e9\\n", 1_250)),
        with("id of 200 escapes", |record, number| {
            record.id = text("\\u0061", 200).replace("61\"", &format!("61{number}\""))
        }),
        with("segment value of 10 kB", |record, _| record.region = text("a", 10_000)),
        with("segment value of escapes, 10 kB", |record, _| record.region = text("\\u00e9\\n", 1_250)),
        with("segment values all different", |record, number| {
            (record.region, record.device) = (format!("\"{number}\""), format!("\"{}\"", number / 7));
        }),
        with("prediction: text of 10 kB", |record, _| record.answer = text("a", 10_000)),
        with("prediction: text of 10 kB, none ASCII", |record, _| record.answer = text("\u{301}", 5_000)),
        with("prediction: 5,000 digits", |record, _| record.answer = format!("1.{}", "7".repeat(5_000))),
        with("prediction: 5,000 digits, hard", |record, _| record.answer = hard_number(5_000)),
        with("prediction: 700 digits, hard", |record, _| record.answer = hard_number(700)),
        with("prediction: 5,000 digits as text", |record, _| record.answer = format!("\"{}\"", hard_number(5_000))),
        with("prediction: exponent of 5,000 digits", |record, _| record.answer = format!("1e-{}", "7".repeat(5_000))),
        with("time: 5,000 digits as text", |record, _| record.ts = format!("\"{}\"", hard_number(5_000))),
        with("time: text of 10 kB", |record, _| record.ts = text("2025-06-01T00:00:00Z ", 500)),
    ]
}

/// What cannot be used.
fn bad() -> Vec<Shape> {
    vec![
        raw("JSON that is cut off", |value| Some(value[..value.len() * 2 / 3].to_vec())),
        raw("no JSON", |value| Some(vec![b'x'; value.len()])),
        raw("no UTF-8", |mut value| {
            value.fill(0xff);
            Some(value)
        }),
        raw("tombstones", |_| None),
        raw("empty objects", |_| Some(b"{}".to_vec())),
        with("no id", |record, _| record.id = "null".to_owned()),
        with("id: an object", |record, _| record.id = "{\"a\":1}".to_owned()),
        with("prediction: an array", |record, _| record.answer = "[1]".to_owned()),
        with("time: true", |record, _| record.ts = "true".to_owned()),
        with("unknown models", |record, number| record.model = format!("\"unknown-{number}\"")),
        with("a new model each", |record, number| record.model = format!("\"new-{number}\"")),
        with("times in the future", |record, _| record.ts = "4102444800000".to_owned()),
    ]
}

/// Ids come again.
fn repeated() -> Vec<Shape> {
    let same = |record: Record| Record { id: "\"same\"".to_owned(), model: "\"eta\"".to_owned(), ..record };
    let earlier = |number: i64| {
        // All within the lateness, so that none of them is moved up.
        let micros = time(0).as_micros() - number * 5;
        Record { ts: micros.to_string(), ..Record::at(number, Timestamp::from_micros(micros)) }
    };
    let apart = |number: i64| Record::at(number, Timestamp::from_micros(time(0).as_micros() + number * APART_MICROS));
    vec![
        prediction("one id", move |number| same(Record::new(number))),
        prediction("one id, each earlier than the last", move |number| same(earlier(number))),
        prediction("ids of their own, 36 ticks apart", apart),
        prediction("one id, 36 ticks apart", move |number| same(apart(number))),
        Shape { held: true, ..prediction("ids of their own, 36 ticks apart, no seals", apart) },
        Shape { held: true, ..prediction("one id, 36 ticks apart, no seals", move |number| same(apart(number))) },
    ]
}

fn labels() -> Vec<Shape> {
    let of = |number: i64, id: i64| Record {
        id: format!("\"{id:016x}\""),
        model: "\"eta\"".to_owned(),
        ..Record::new(number)
    };
    let orphan = i64::MAX;
    let first = time(0).plus(Duration::from_secs(1));
    vec![
        label("labels without prediction", move |number| of(number, orphan - number)),
        label("one label again and again", move |_| Record::at(0, first)),
        label("labels of one id, all different", move |number| of(number, 0)),
        label("labels of one id without prediction", move |number| of(number, orphan)),
        label("label: text of 10 kB", |number| Record { answer: text("a", 10_000), ..Record::new(number) }),
        label("label: an object", |number| Record { answer: "{}".to_owned(), ..Record::new(number) }),
    ]
}
