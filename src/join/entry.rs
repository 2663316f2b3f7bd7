//! A prediction taken out of its row, how predictions and labels of one id are ordered, and what they mean to the sums.

use super::{Change, Fingerprint, Meaning, Outcome, Sample};
use crate::clock::Timestamp;

/// A prediction in the table, from its time until no repetition of it can come any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) fingerprint: Fingerprint,
    /// The earliest of the session.
    pub(super) at: Timestamp,
    /// The latest of the session.
    pub(super) last_at: Timestamp,
    pub(super) sample: Sample,
    /// Flags of its row.
    pub(super) state: u32,
}

impl Entry {
    pub(super) fn has(&self, flag: u32) -> bool {
        self.state & flag != 0
    }
}

/// A label's time and what it says to a model.
pub(super) type Found = (Timestamp, f64);

/// Total order of predictions of one id: time, then content.
pub(super) fn order(at: Timestamp, sample: &Sample, meaning: &impl Meaning) -> (Timestamp, u64, u64, u64, u64) {
    let bits = |number: Option<f64>| number.map_or(u64::MAX, f64::to_bits);
    let rank = meaning.rank_of(sample.slice);
    (at, sample.answer.value.to_bits(), bits(sample.answer.score), bits(sample.age_seconds), rank)
}

pub(super) fn label_order((at, actual): Found) -> (Timestamp, u64) {
    (at, actual.to_bits())
}

pub(super) fn predicted(entry: &Entry, added: bool) -> Change {
    let Sample { answer, age_seconds, slice } = entry.sample;
    Change { added, at: entry.at, slice, outcome: Outcome::Predicted { answer, age_seconds } }
}

#[expect(clippy::cast_precision_loss, reason = "delays are far below 2^53 microseconds")]
pub(super) fn labelled(entry: &Entry, (at, actual): Found, added: bool) -> Change {
    let delay_seconds = at.micros_since(entry.at) as f64 / 1e6;
    let outcome = Outcome::Labelled { answer: entry.sample.answer, actual, delay_seconds };
    Change { added, at: at.max(entry.at), slice: entry.sample.slice, outcome }
}

pub(super) fn unlabelled(entry: &Entry, at: Timestamp) -> Change {
    Change { added: true, at, slice: entry.sample.slice, outcome: Outcome::Unlabelled }
}
