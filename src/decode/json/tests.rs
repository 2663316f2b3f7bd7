//! Records as text, events as text.

use proptest::prelude::*;

use super::*;
use crate::event::Scalar;
use crate::source::Batch;

fn value(pointer: &str) -> Place {
    Place::Value(pointer.to_owned())
}

fn mapping() -> Mapping {
    Mapping {
        predictions_topic: "p".to_owned(),
        labels_topic: "l".to_owned(),
        prediction: PredictionFields {
            when: None,
            id: value("/id"),
            model: None,
            time: Some(value("/ts")),
            prediction: Some(value("/y_hat")),
            score: Some(value("/score")),
            attributes: vec![value("/segment/region"), Place::Header(0)],
        },
        label: LabelFields { when: None, id: value("/id"), model: None, time: None, label: value("/y") },
        headers: vec!["device".to_owned()],
        max_text_bytes: 8,
        max_record_bytes: 200,
    }
}

const BOTH: Roles = Roles { prediction: true, label: true };
const PREDICTION: Roles = Roles { prediction: true, label: false };
const LABEL: Roles = Roles { prediction: false, label: true };

struct Given<'v> {
    key: Option<&'v [u8]>,
    value: Option<&'v [u8]>,
    header: Option<&'v [u8]>,
    timestamp: Option<Timestamp>,
}

fn given(value: &str) -> Given<'_> {
    Given { key: None, value: Some(value.as_bytes()), header: None, timestamp: Some(Timestamp::from_secs(5)) }
}

/// The events in a short form: `p:id@seconds=value~score[attributes]` and `l:id@seconds=value`, or the reason.
fn decode(mapping: &Mapping, roles: Roles, given: &Given<'_>) -> String {
    let mut batch = Batch::default();
    batch.push((0, 1), given.timestamp, given.key, given.value, [given.header]);
    let record = batch.records().next().unwrap();
    let decoder = Json::new(mapping, roles);
    match decoder.decode(&record) {
        Ok(events) => {
            [events.prediction.map(prediction), events.label.map(label)].map(Option::unwrap_or_default).join("")
        }
        Err(Rejection::Missing(field)) => format!("missing {field}"),
        Err(Rejection::Invalid { field, .. }) => format!("invalid {field}"),
        Err(other) => other.reason().to_owned(),
    }
}

fn prediction(event: Prediction<'_>) -> String {
    let attributes: Vec<&str> = event.attributes.iter().map(|text| text.as_deref().unwrap_or("-")).collect();
    let model = event.model.map(|model| format!("{model}/")).unwrap_or_default();
    let seconds = event.time.as_micros() as f64 / 1e6;
    let score = event.score.map(|score| format!("~{score}")).unwrap_or_default();
    format!(
        "p:{model}{}@{seconds}={}{score}[{}]",
        event.id,
        event.value.map(scalar).unwrap_or_default(),
        attributes.join(",")
    )
}

fn label(event: Label<'_>) -> String {
    format!("l:{}@{}={}", event.id, event.time.as_micros() as f64 / 1e6, scalar(event.value))
}

fn scalar(scalar: Scalar<'_>) -> String {
    match scalar {
        Scalar::Number(number) => number.to_string(),
        Scalar::Text(text) => format!("'{text}'"),
        Scalar::Boolean(value) => value.to_string(),
    }
}

#[track_caller]
fn check(roles: Roles, text: &str, expected: &str) {
    assert_eq!(decode(&mapping(), roles, &given(text)), expected, "{text}");
}

#[test]
fn predictions() {
    check(PREDICTION, r#"{"id":"a","ts":7,"y_hat":1,"score":0.5,"segment":{"region":"eu"}}"#, "p:a@7=1~0.5[eu,-]");
    check(PREDICTION, r#"{"id":12,"ts":"7.5","y_hat":"yes"}"#, "p:12@7.5='yes'[-,-]");
    check(PREDICTION, r#"{"id":"\u0061\n","ts":7,"score":"0.25"}"#, "p:a\n@7=~0.25[-,-]");
    check(PREDICTION, r#"{"id":true,"ts":7,"y_hat":false,"segment":{"region":3}}"#, "p:true@7=false[3,-]");
    check(PREDICTION, r#"{"id":"a","ts":7,"y_hat":"NaN"}"#, "p:a@7='NaN'[-,-]");
    check(PREDICTION, r#"{"id":"x","id":"a","ts":7,"y_hat":1}"#, "p:a@7=1[-,-]");
}

#[test]
fn a_strange_attribute_only_goes_missing() {
    check(PREDICTION, r#"{"id":"a","ts":7,"y_hat":1,"segment":{"region":"123456789"}}"#, "p:a@7=1[-,-]");
    check(PREDICTION, r#"{"id":"a","ts":7,"y_hat":1,"segment":{"region":[1]}}"#, "p:a@7=1[-,-]");
    check(PREDICTION, r#"{"id":"a","ts":7,"y_hat":1,"segment":5}"#, "p:a@7=1[-,-]");
}

#[test]
fn rejections() {
    check(PREDICTION, r#"{"ts":7,"y_hat":1}"#, "missing id");
    check(PREDICTION, r#"{"id":null,"ts":7,"y_hat":1}"#, "missing id");
    check(PREDICTION, r#"{"id":"","ts":7,"y_hat":1}"#, "invalid id");
    check(PREDICTION, r#"{"id":"123456789","ts":7,"y_hat":1}"#, "invalid id");
    check(PREDICTION, r#"{"id":{},"ts":7,"y_hat":1}"#, "invalid id");
    check(PREDICTION, r#"{"id":123456789012345678901234567890,"ts":7,"y_hat":1}"#, "invalid id");
    check(PREDICTION, r#"{"id":"a","y_hat":1}"#, "missing time");
    check(PREDICTION, r#"{"id":"a","ts":"soon","y_hat":1}"#, "invalid time");
    check(PREDICTION, r#"{"id":"a","ts":7}"#, "missing prediction");
    check(PREDICTION, r#"{"id":"a","ts":7,"y_hat":[1]}"#, "invalid prediction");
    check(PREDICTION, r#"{"id":"a","ts":7,"score":"NaN"}"#, "non_finite");
    check(PREDICTION, r#"{"id":"a","ts":7,"score":"-inf"}"#, "non_finite");
    check(PREDICTION, r#"{"id":"a","ts":7,"score":true}"#, "invalid score");
    check(PREDICTION, r#"{"id":"a","ts":7,"score":NaN}"#, "malformed");
    check(PREDICTION, r#"{"id":"a","ts":7,"y_hat":1} {}"#, "malformed");
    check(PREDICTION, r#"{"id":"a","ts":7,"y_hat":1"#, "malformed");
    check(PREDICTION, "", "malformed");
    check(PREDICTION, "[]", "missing prediction");
    check(PREDICTION, &" ".repeat(201), "oversize");
    check(LABEL, r#"{"id":"a","y":null}"#, "missing label");
}

#[test]
fn a_shared_topic_tells_roles_by_what_is_there() {
    check(BOTH, r#"{"id":"a","ts":7,"score":0.5}"#, "p:a@7=~0.5[-,-]");
    check(BOTH, r#"{"id":"a","y":1}"#, "l:a@5=1");
    check(BOTH, r#"{"id":"a","ts":7,"y_hat":1,"y":0}"#, "p:a@7=1[-,-]l:a@5=0");
    check(BOTH, r#"{"id":"a","y":null}"#, "");
    check(BOTH, r#"{"ts":7,"y":1}"#, "missing id");
}

#[test]
fn filters_decide_the_role() {
    let mut mapping = mapping();
    mapping.prediction.when = Some(When { place: value("/kind"), equals: "1".to_owned() });
    mapping.label.when = Some(When { place: Place::Header(0), equals: "truth".to_owned() });
    let check = |roles, header: Option<&'static str>, text, expected: &str| {
        let given = Given { header: header.map(str::as_bytes), ..given(text) };
        assert_eq!(decode(&mapping, roles, &given), expected, "{text}");
    };
    check(BOTH, None, r#"{"kind":1,"id":"a","ts":7,"y_hat":1,"y":0}"#, "p:a@7=1[-,-]");
    check(BOTH, None, r#"{"kind":"1","id":"a","ts":7}"#, "missing prediction");
    check(BOTH, None, r#"{"kind":2,"id":"a","y_hat":1,"y":0}"#, "");
    check(BOTH, Some("truth"), r#"{"id":"a","y":0}"#, "l:a@5=0");
    check(PREDICTION, None, r#"{"id":"a","ts":7,"y_hat":1}"#, "");
    check(LABEL, Some("click"), "this is no JSON and none of ours", "");
}

#[test]
fn keys_headers_and_timestamps_are_places_too() {
    let mut mapping = mapping();
    mapping.label.id = Place::Key;
    mapping.label.label = Place::Header(0);
    let tombstone = Given { key: Some(b"k"), header: Some(b"1"), ..given("") };
    assert_eq!(decode(&mapping, LABEL, &Given { value: None, ..tombstone }), "l:k@5='1'");
    assert_eq!(decode(&mapping, PREDICTION, &Given { value: None, ..given("") }), "empty");
    assert_eq!(decode(&mapping, LABEL, &Given { key: Some(b"\xff"), header: Some(b"1"), ..given("") }), "invalid id");
    assert_eq!(decode(&mapping, LABEL, &Given { key: Some(b"k"), ..given("") }), "missing label");
    let timeless = Given { key: Some(b"k"), header: Some(b"1"), timestamp: None, ..given("") };
    assert_eq!(decode(&mapping, LABEL, &timeless), "missing time");
}

#[test]
fn the_model_is_a_text() {
    let mut mapping = mapping();
    mapping.prediction.model = Some(value("/models/0"));
    let check = |text, expected: &str| assert_eq!(decode(&mapping, PREDICTION, &given(text)), expected, "{text}");
    check(r#"{"id":"a","ts":7,"y_hat":1,"models":["m",{}]}"#, "p:m/a@7=1[-,-]");
    check(r#"{"id":"a","ts":7,"y_hat":1,"models":[""]}"#, "invalid model");
    check(r#"{"id":"a","ts":7,"y_hat":1}"#, "missing model");
}

proptest! {
    #[test]
    fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..60), key in prop::collection::vec(any::<u8>(), 0..4)) {
        let given = Given { key: Some(&key), value: Some(&bytes), header: Some(&key), timestamp: None };
        decode(&mapping(), BOTH, &given);
    }

    #[test]
    fn json_like_garbage_never_panics(text in r#"(\{|\}|\[|\]|"id"|"ts"|"y"|:|,|1e9|-|\\u00|"|null){0,30}"#) {
        decode(&mapping(), BOTH, &given(&text));
    }
}
