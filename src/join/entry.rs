//! What the table holds, how entries of one id are ordered, and what they mean to the sums.

use super::table::Keyed;
use super::{Change, Fingerprint, Outcome, Sample, Truth};
use crate::clock::Timestamp;

/// A prediction in the table, from its time until no repetition of it can come any more.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) fingerprint: Fingerprint,
    pub(super) model: u32,
    /// The earliest of the session.
    pub(super) at: Timestamp,
    /// The latest of the session.
    pub(super) last_at: Timestamp,
    pub(super) sample: Sample,
    pub(super) label: Option<(Timestamp, f64)>,
    pub(super) expired: bool,
}

/// A label in the table, from its time until no prediction of it can come any more.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) fingerprint: Fingerprint,
    /// `None` if labels do not name their model.
    pub(super) model: Option<u32>,
    pub(super) at: Timestamp,
    pub(super) truth: Truth,
    pub(super) copies: u32,
}

impl Known {
    pub(super) fn is_for(&self, fingerprint: Fingerprint, model: u32) -> bool {
        self.fingerprint == fingerprint && self.model.is_none_or(|own| own == model)
    }
}

impl Keyed for Entry {
    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

impl Keyed for Known {
    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }
}

/// Total order of predictions of one id: time, then content.
pub(super) fn order(at: Timestamp, sample: &Sample) -> (Timestamp, u64, u64, u64, u64) {
    let bits = |number: Option<f64>| number.map_or(u64::MAX, f64::to_bits);
    (at, sample.answer.value.to_bits(), bits(sample.answer.score), bits(sample.age_seconds), sample.slice_rank)
}

pub(super) fn label_order((at, actual): (Timestamp, f64)) -> (Timestamp, u64) {
    (at, actual.to_bits())
}

pub(super) fn retract(entry: &Entry, out: &mut Vec<Change>) {
    out.push(predicted(entry, false));
    out.extend(labelled(entry, false));
}

pub(super) fn predicted(entry: &Entry, added: bool) -> Change {
    let Sample { answer, age_seconds, slice, .. } = entry.sample;
    Change { added, at: entry.at, slice, outcome: Outcome::Predicted { answer, age_seconds } }
}

#[expect(clippy::cast_precision_loss, reason = "delays are far below 2^53 microseconds")]
pub(super) fn labelled(entry: &Entry, added: bool) -> Option<Change> {
    let (at, actual) = entry.label?;
    let delay_seconds = at.micros_since(entry.at) as f64 / 1e6;
    let outcome = Outcome::Labelled { answer: entry.sample.answer, actual, delay_seconds };
    Some(Change { added, at: at.max(entry.at), slice: entry.sample.slice, outcome })
}

pub(super) fn unlabelled(entry: &Entry, at: Timestamp) -> Change {
    Change { added: true, at, slice: entry.sample.slice, outcome: Outcome::Unlabelled }
}
