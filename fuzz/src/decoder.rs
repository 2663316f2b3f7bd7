//! Records of foreign bytes: never a panic, and what is read is what a document tree has at the same place.
//!
//! Input: value, then key and header, each after a zero byte. Nothing at all is a record without a value.

use std::sync::LazyLock;

use modelwatch::clock::Timestamp;
use modelwatch::decode::json::Json;
use modelwatch::decode::{Decode, LabelFields, Mapping, Place, PredictionFields, Rejection, Roles, When};
use modelwatch::event::{Label, Prediction, Scalar};
use modelwatch::source::{Batch, Record};
use serde_json::Value;

use super::given::Given;

const LONGEST_TEXT: usize = 64;

struct Decoder {
    mapping: Mapping,
    json: Json,
}

static DECODERS: LazyLock<Vec<Decoder>> = LazyLock::new(|| {
    let both = Roles { prediction: true, label: true };
    let decoder = |mapping: Mapping| Decoder { json: Json::new(&mapping, both), mapping };
    [plain(), filtered(), nested()].map(decoder).into()
});

fn value(pointer: &str) -> Place {
    Place::Value(pointer.to_owned())
}

fn mapping(prediction: PredictionFields, label: LabelFields) -> Mapping {
    Mapping {
        predictions_topic: "t".to_owned(),
        labels_topic: "t".to_owned(),
        prediction,
        label,
        headers: vec!["h".to_owned()],
        max_text_bytes: LONGEST_TEXT,
        max_record_bytes: 1 << 16,
    }
}

fn plain() -> Mapping {
    let prediction = PredictionFields {
        when: None,
        id: value("/id"),
        model: Some(value("/model")),
        time: Some(value("/ts")),
        prediction: Some(value("/y_hat")),
        score: Some(value("/score")),
        attributes: vec![value("/segment/region"), value("/segment"), Place::Header(0), Place::Key],
    };
    let label = LabelFields { when: None, id: value("/id"), model: None, time: Some(value("/ts")), label: value("/y") };
    mapping(prediction, label)
}

fn filtered() -> Mapping {
    let when = |place, equals: &str| Some(When { place, equals: equals.to_owned() });
    let prediction = PredictionFields {
        when: when(value("/kind"), "1"),
        id: Place::Key,
        model: None,
        time: None,
        prediction: Some(value("/y")),
        score: None,
        attributes: vec![value(""), value("/kind")],
    };
    let label = LabelFields {
        when: when(Place::Header(0), "truth"),
        id: Place::Key,
        model: None,
        time: None,
        label: value("/y"),
    };
    mapping(prediction, label)
}

/// Pointers into each other, through arrays, with escapes.
fn nested() -> Mapping {
    let prediction = PredictionFields {
        when: None,
        id: value("/a/0/id"),
        model: Some(value("/m~1x/~0")),
        time: None,
        prediction: Some(value("/a/1")),
        score: Some(value("/a/1/b")),
        attributes: vec![value("/a"), value("/a/0"), value("/"), value("/a/01"), value("/a/1/b/2/0/c")],
    };
    let label = LabelFields {
        when: None,
        id: value("/a/0/id"),
        model: Some(value("/m~1x/~0")),
        time: None,
        label: value("/0"),
    };
    mapping(prediction, label)
}

/// Checks one record.
pub fn check(data: &[u8]) -> bool {
    let mut given = Given::new(data);
    let tombstone = given.is_empty();
    let value = given.part();
    let key = (!given.is_empty()).then(|| given.part());
    let header = (!given.is_empty()).then(|| given.part());
    let mut batch = Batch::default();
    batch.push((0, 1), Some(Timestamp::from_secs(5)), key, (!tombstone).then_some(value), [header]);
    let tree = serde_json::from_slice::<Value>(value).ok();
    for record in batch.records() {
        DECODERS.iter().for_each(|decoder| compare(decoder, &record, tree.as_ref()));
    }
    tree.is_some()
}

fn compare(decoder: &Decoder, record: &Record<'_>, tree: Option<&Value>) {
    let Mapping { prediction, label, max_record_bytes, .. } = &decoder.mapping;
    let events = decoder.json.decode(record);
    let Some(tree) = tree else { return };
    let oracle = Oracle { tree, record };
    match events {
        Ok(events) => {
            events.prediction.inspect(|event| oracle.compare_prediction(event, prediction));
            events.label.inspect(|event| oracle.compare_label(event, label));
        }
        Err(Rejection::Missing(field)) => {
            let places = match field {
                "id" => [Some(&prediction.id), Some(&label.id)],
                "model" => [prediction.model.as_ref(), label.model.as_ref()],
                "time" => [prediction.time.as_ref(), label.time.as_ref()],
                "prediction" => [prediction.prediction.as_ref(), None],
                "score" => [prediction.score.as_ref(), None],
                "label" => [Some(&label.label), None],
                other => panic!("nobody maps {other}"),
            };
            assert!(places.into_iter().flatten().any(|place| oracle.find(place).is_none()), "{field} is there: {tree}");
        }
        Err(Rejection::Malformed(why)) => panic!("a document tree takes what we call malformed ({why}): {tree}"),
        Err(Rejection::Oversize(bytes)) => assert!(bytes > *max_record_bytes),
        Err(Rejection::Empty) => assert!(record.value.is_none()),
        Err(Rejection::Invalid { problem, .. }) => assert!(!problem.is_empty() && problem.len() < 200, "{problem}"),
        Err(Rejection::NonFinite(_)) => {}
        Err(other) => panic!("no reason of a decoder: {other}"),
    }
}

/// The same by a document tree.
struct Oracle<'o> {
    tree: &'o Value,
    record: &'o Record<'o>,
}

impl Oracle<'_> {
    /// `None` for nothing and for null; what is no UTF-8 is an object, because neither has a text.
    fn find(&self, place: &Place) -> Option<Value> {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).map_or(Value::Object(Default::default()), Value::from);
        match place {
            Place::Value(pointer) => self.tree.pointer(pointer).filter(|found| !found.is_null()).cloned(),
            Place::Key => self.record.key.map(text),
            Place::Header(index) => self.record.headers.get(*index).map(text),
            Place::Timestamp => panic!("no target maps it"),
        }
    }

    fn text(&self, place: &Place) -> Option<String> {
        match self.find(place)? {
            Value::String(text) => Some(text),
            Value::Bool(value) => Some(value.to_string()),
            Value::Number(number) if number.is_f64() => {
                number.as_f64().filter(|number| number.abs() < 9_007_199_254_740_992.0).map(|number| number.to_string())
            }
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    fn compare_prediction(&self, event: &Prediction<'_>, fields: &PredictionFields) {
        let text = |place: &Place| self.text(place);
        assert_eq!(Some(event.id.as_ref()), text(&fields.id).as_deref());
        assert_eq!(event.model.as_deref(), fields.model.as_ref().and_then(text).as_deref());
        assert!(is_sane(event.time), "{}", event.time);
        self.compare_scalar(event.value.as_ref(), fields.prediction.as_ref());
        let score = fields.score.as_ref().and_then(|place| self.find(place)).and_then(|found| match found {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_f64(),
        });
        assert_eq!(event.score.map(f64::to_bits), score.map(f64::to_bits));
        let attributes: Vec<Option<String>> =
            fields.attributes.iter().map(|place| text(place).filter(|text| text.len() <= LONGEST_TEXT)).collect();
        let found: Vec<Option<String>> =
            event.attributes.iter().map(|found| found.as_deref().map(str::to_owned)).collect();
        assert_eq!(found, attributes);
    }

    fn compare_label(&self, event: &Label<'_>, fields: &LabelFields) {
        assert_eq!(Some(event.id.as_ref()), self.text(&fields.id).as_deref());
        assert_eq!(event.model.as_deref(), fields.model.as_ref().and_then(|place| self.text(place)).as_deref());
        assert!(is_sane(event.time), "{}", event.time);
        self.compare_scalar(Some(&event.value), Some(&fields.label));
    }

    fn compare_scalar(&self, scalar: Option<&Scalar<'_>>, place: Option<&Place>) {
        match (scalar, place.and_then(|place| self.find(place))) {
            (Some(Scalar::Number(number)), Some(found)) => {
                assert_eq!(found.as_f64().map(f64::to_bits), Some(number.to_bits()));
            }
            (Some(Scalar::Text(text)), Some(found)) => assert_eq!(found.as_str(), Some(text.as_ref())),
            (Some(Scalar::Boolean(value)), Some(found)) => assert_eq!(found.as_bool(), Some(*value)),
            (None, None) => {}
            (scalar, found) => panic!("{scalar:?} is not {found:?}"),
        }
    }
}

fn is_sane(at: Timestamp) -> bool {
    at >= Timestamp::from_secs(0) && at <= Timestamp::from_secs(253_402_300_800)
}
