//! Whether a partition is still the one that was read, or its topic was deleted and made anew.
//!
//! librdkafka goes on at the old offset in a new topic without a word, if it is long enough. Topics have ids, but
//! librdkafka keeps them to itself. So a record that was read a while ago is remembered and looked up again, by a client
//! of its own, whenever metadata was fetched: which happens regularly, and at once when a topic is no longer known.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{BorrowedMessage, Message};
use siphasher::sip::SipHasher13;

use super::Config;
use super::client::Client;
use crate::source::{Anchor, Error, Partition};

/// How long records are waited for. Who finds none asks for the bounds of the partition instead.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// ... if one of the offsets is out of range, and the others may just as well be.
const PATIENCE_OUT_OF_RANGE: Duration = Duration::from_secs(1);

/// The anchor that a record makes.
pub(super) fn anchor(message: &BorrowedMessage<'_>) -> Anchor {
    let (key, value) = (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
    // The length of the key keeps `ab` + `c` from `a` + `bc`. The hash guards against accident only.
    let bytes = [&key.len().to_le_bytes(), key, value].concat();
    Anchor {
        offset: message.offset(),
        millis: message.timestamp().to_millis().unwrap_or(-1),
        hash: SipHasher13::new_with_keys(0, 0).hash(&bytes),
    }
}

/// What looking up an anchor said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The record is still there.
    Same,
    /// Another record is there, or the partition does not reach so far.
    Other,
    /// The record is gone (retention, compaction), or nothing could be found out.
    Unknown,
}

/// Compares an anchor with the record `found` at or after its offset; without one, with the end of the partition.
pub(super) fn verdict(anchor: &Anchor, found: Option<&Anchor>, end: Option<i64>) -> Verdict {
    match (found, end) {
        (Some(found), _) if found == anchor => Verdict::Same,
        (Some(found), _) if found.offset == anchor.offset => Verdict::Other,
        (None, Some(end)) if end <= anchor.offset => Verdict::Other,
        _ => Verdict::Unknown,
    }
}

/// The topics that were made anew: no partition is known again, and one is certainly another. Where some are the same,
/// the others were cut back and written anew.
pub(super) fn made_anew<'p>(verdicts: impl Iterator<Item = (&'p Partition, Verdict)> + Clone) -> BTreeSet<&'p str> {
    let with = |wanted: Verdict| {
        let found = verdicts.clone().filter(move |(_, verdict)| *verdict == wanted);
        found.map(|(partition, _)| partition.topic.as_str()).collect::<BTreeSet<&str>>()
    };
    with(Verdict::Other).difference(&with(Verdict::Same)).copied().collect()
}

/// Looks up single records, beside the client that reads on.
pub(super) struct Probe {
    client: Client,
    asked: BTreeSet<Partition>,
    found: BTreeMap<Partition, Anchor>,
    until: Instant,
}

impl Probe {
    /// A client of its own; nothing is connected yet.
    pub(super) fn new(config: &Config) -> Result<Probe, Error> {
        let client = Client::new(config)?;
        Ok(Probe { client, asked: BTreeSet::new(), found: BTreeMap::new(), until: Instant::now() })
    }

    /// Asks for the first record at or after each of these offsets; they are waited for so long.
    pub(super) fn ask(&mut self, offsets: &[(Partition, i64)], patience: Duration) -> Result<(), Error> {
        self.client.assign(offsets.iter().map(|(partition, offset)| (partition, *offset)))?;
        self.asked = offsets.iter().map(|(partition, _)| partition.clone()).collect();
        self.found.clear();
        self.until = Instant::now() + patience;
        Ok(())
    }

    /// Takes what has come, without waiting; all that was found, once no more is to be expected.
    pub(super) fn answer(&mut self) -> Result<Option<BTreeMap<Partition, Anchor>>, Error> {
        while let Some(polled) = self.client.poll(Duration::ZERO) {
            match polled {
                Ok(message) => {
                    let partition = Partition { topic: message.topic().to_owned(), number: message.partition() };
                    if self.asked.contains(&partition) && !self.found.contains_key(&partition) {
                        self.found.insert(partition.clone(), anchor(&message));
                        drop(message);
                        self.client.pause(&partition);
                    }
                }
                Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) => {
                    self.until = self.until.min(Instant::now() + PATIENCE_OUT_OF_RANGE);
                }
                Err(error) => tracing::debug!("looking up a record failed: {error}"),
            }
        }
        if self.found.len() < self.asked.len() && Instant::now() < self.until {
            return Ok(None);
        }
        self.client.assign(std::iter::empty())?;
        Ok(Some(std::mem::take(&mut self.found)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Anchor = Anchor { offset: 40, millis: 1_000, hash: 7 };

    #[test]
    fn a_record_is_known_again_by_offset_time_and_content() {
        let check = |found: Option<Anchor>, end: Option<i64>, expected: Verdict| {
            assert_eq!(verdict(&KNOWN, found.as_ref(), end), expected, "{found:?} {end:?}");
        };
        check(Some(KNOWN), None, Verdict::Same);
        check(Some(Anchor { hash: 8, ..KNOWN }), None, Verdict::Other);
        check(Some(Anchor { millis: 1_001, ..KNOWN }), None, Verdict::Other);
        check(Some(Anchor { offset: 41, ..KNOWN }), None, Verdict::Unknown);
        check(None, Some(40), Verdict::Other);
        check(None, Some(41), Verdict::Unknown);
        check(None, None, Verdict::Unknown);
    }

    /// `verdicts` as `topic/number=S`, with the first letter of the verdict.
    #[track_caller]
    fn check_topics(verdicts: &str, expected: &[&str]) {
        let parse = |one: &str| {
            let (place, verdict) = one.split_once('=').unwrap();
            let (topic, number) = place.split_once('/').unwrap();
            let verdict = match verdict {
                "S" => Verdict::Same,
                "O" => Verdict::Other,
                _ => Verdict::Unknown,
            };
            (Partition { topic: topic.to_owned(), number: number.parse().unwrap() }, verdict)
        };
        let verdicts: Vec<(Partition, Verdict)> = verdicts.split_whitespace().map(parse).collect();
        let found = made_anew(verdicts.iter().map(|(partition, verdict)| (partition, *verdict)));
        assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_topic_is_another_if_none_of_it_is_known_again() {
        check_topics("a/0=S a/1=S b/0=U", &[]);
        check_topics("a/0=O a/1=U b/0=S", &["a"]);
        check_topics("a/0=O a/1=S", &[]);
        check_topics("a/0=O b/0=O c/0=U", &["a", "b"]);
        check_topics("", &[]);
    }
}
