//! Records as JSON text, of which each shape changes what it is about.

use modelwatch::clock::Timestamp;

/// Records a second of event time.
const A_SECOND: i64 = 10_000;

/// When record `number` was made.
pub(crate) fn time(number: i64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + number * (1_000_000 / A_SECOND))
}

/// A prediction, or a label: what its members are, as JSON.
pub(crate) struct Record {
    /// As the source and the record itself give it.
    pub(crate) time: Timestamp,
    pub(crate) ts: String,
    pub(crate) id: String,
    pub(crate) model: String,
    pub(crate) region: String,
    pub(crate) device: String,
    /// Nothing that anybody reads.
    pub(crate) features: String,
    /// What was predicted, or turned out to be true.
    pub(crate) answer: String,
    /// Further members of the record, each with a comma before it.
    pub(crate) more: String,
}

impl Record {
    pub(crate) fn new(number: i64) -> Record {
        let pick = |names: &[&str], number: i64| format!("\"{}\"", names[number.unsigned_abs() as usize % names.len()]);
        Record {
            time: time(number),
            ts: (time(number).as_micros() / 1_000).to_string(),
            id: format!("\"{number:016x}\""),
            model: pick(&["eta", "price"], number),
            region: pick(&["af-south", "ap-east", "eu-west", "us-east", "oc-north", "sa-east"], number / 2),
            device: pick(&["phone", "tablet", "desktop"], number / 5),
            features: format!("{{\"hour\":{},\"load\":0.1234,\"distance_km\":12.345,\"rain\":true}}", number % 24),
            answer: format!("{}.25", number % 1_000),
            more: String::new(),
        }
    }

    /// At this time, and a number of its own.
    pub(crate) fn at(number: i64, time: Timestamp) -> Record {
        Record { time, ts: (time.as_micros() / 1_000).to_string(), ..Record::new(number) }
    }

    pub(crate) fn prediction(&self) -> String {
        let Record { ts, id, model, region, device, features, answer, more, .. } = self;
        format!(
            "{{\"id\":{id},\"model\":{{\"name\":{model},\"version\":\"2025-05-14.3\"}},\"ts\":{ts},\
             \"segment\":{{\"region\":{region},\"device\":{device}}},\"features\":{features},\"prediction\":{answer},\
             \"latency_ms\":14,\"host\":\"scorer-07\"{more}}}"
        )
    }

    pub(crate) fn label(&self) -> String {
        let Record { ts, id, model, answer, more, .. } = self;
        format!("{{\"id\":{id},\"model\":{model},\"ts\":{ts},\"actual\":{answer},\"by\":\"app\"{more}}}")
    }
}
