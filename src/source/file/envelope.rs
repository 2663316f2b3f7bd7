//! The envelopes that `kcat -C -J` prints, one a line.

use std::borrow::Cow;

use serde::Deserialize;

use crate::clock::Timestamp;
use crate::source::Partition;

/// One envelope. Keys and payloads are texts: kcat cannot print bytes that are no UTF-8 in this form.
#[derive(Debug, Deserialize)]
pub(super) struct Envelope<'e> {
    #[serde(borrow)]
    topic: Cow<'e, str>,
    partition: i32,
    pub(super) offset: i64,
    /// Milliseconds since the epoch; -1 if the record has none.
    ts: Option<i64>,
    /// Names and values by turns.
    #[serde(borrow, default)]
    headers: Vec<Option<Cow<'e, str>>>,
    #[serde(borrow)]
    key: Option<Cow<'e, str>>,
    #[serde(borrow)]
    payload: Option<Cow<'e, str>>,
}

impl<'e> Envelope<'e> {
    /// `None` if the line is no envelope.
    pub(super) fn parse(line: &'e [u8]) -> Option<Envelope<'e>> {
        serde_json::from_slice(line).ok()
    }

    pub(super) fn partition(&self) -> Partition {
        Partition { topic: self.topic.clone().into_owned(), number: self.partition }
    }

    pub(super) fn timestamp(&self) -> Option<Timestamp> {
        self.ts.filter(|millis| *millis >= 0).map(Timestamp::from_millis)
    }

    pub(super) fn key(&self) -> Option<&[u8]> {
        self.key.as_deref().map(str::as_bytes)
    }

    pub(super) fn payload(&self) -> Option<&[u8]> {
        self.payload.as_deref().map(str::as_bytes)
    }

    /// The last header of that name, as Kafka's own clients take it.
    pub(super) fn header(&self, name: &str) -> Option<&[u8]> {
        let pairs = self.headers.as_chunks::<2>().0;
        let [_, value] = pairs.iter().rev().find(|[key, _]| key.as_deref() == Some(name))?;
        value.as_deref().map(str::as_bytes)
    }
}
