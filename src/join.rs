//! Prediction + Label → Outcome, by id, whatever order and partition they arrive in.
//!
//! The join is a pure function of the *set* of events and their effective times:
//!
//! - A label matches iff its time lies in `[prediction - early_label_wait, prediction + label_timeout]`; never
//!   "whatever was still in the table".
//! - Repeated ids form a session: predictions of one id that follow each other within `dedupe_window` are one, and
//!   the earliest stands for all. (A plain "first seen wins" would depend on how partitions interleave.) The window is
//!   at least `label_timeout + early_label_wait`, so one label never matches two predictions of one model.
//! - Of several labels the earliest wins. Ties in time are broken by content, so no position has to be kept.
//!
//! What arrives late by interleaving can therefore change what was joined before. Such a correction is a subtraction:
//! every [`Change`] has a sign, and it always falls into a tick that is still open, because the newcomer's time is at
//! or after the watermark and whatever it replaces is later than the newcomer.

mod entry;
mod fingerprint;
mod outcome;
mod table;
mod window;

use smallvec::SmallVec;

use crate::clock::{Tick, TickGrid, Timestamp};
use entry::{Entry, Known, label_order, labelled, order, predicted, retract, unlabelled};
pub use fingerprint::{Fingerprint, Fingerprinter};
pub use outcome::{Answer, Change, Outcome, Sample, Truth};
use table::Table;
pub use window::Window;
use window::later;

/// What the join did with the events so far. Predictions are conserved: `predictions` = sessions + `duplicate_predictions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Predictions taken in.
    pub predictions: u64,
    /// Of these, repetitions of an id.
    pub duplicate_predictions: u64,
    /// Predictions whose `label_timeout` passed without a label.
    pub expired_predictions: u64,
    /// Predictions that expired early because the table was full.
    pub evicted_predictions: u64,
    /// Labels taken in.
    pub labels: u64,
    /// Labels that were used, counted when nothing can match them any more (as are the following).
    pub matched_labels: u64,
    /// Labels of a prediction that already had one.
    pub duplicate_labels: u64,
    /// Labels whose prediction was known, outside of the time allowed.
    pub late_labels: u64,
    /// Labels whose prediction was never seen.
    pub orphan_labels: u64,
    /// Labels dropped early because the table was full.
    pub evicted_labels: u64,
}

/// Turns a truth into a model's number; `None` if the model knows no such class.
pub type ReadTruth<'f> = &'f dyn Fn(u32, &Truth) -> Option<f64>;

/// The table of predictions and labels that wait for each other.
#[derive(Debug)]
pub struct Join {
    /// By model, in the order of their numbers.
    windows: Vec<Window>,
    /// For how long a label waits that does not name its model.
    unnamed_early_micros: i64,
    max_pending: usize,
    predictions: Table<Entry>,
    labels: Table<Known>,
    /// What has been sealed; nothing earlier can come.
    sealed: Timestamp,
    counts: Counts,
}

impl Join {
    /// An empty table that holds at most `max_pending` predictions and labels.
    pub fn new(grid: TickGrid, max_pending: usize) -> Join {
        Join {
            windows: Vec::new(),
            unnamed_early_micros: 0,
            max_pending: max_pending.max(1),
            predictions: Table::new(grid),
            labels: Table::new(grid),
            sealed: Timestamp::MIN,
            counts: Counts::default(),
        }
    }

    /// Sets the windows of all models, for how long a label waits that does not name its model (as long as any model
    /// allows, whether it is known yet or not), and the limit. What is in the table stays.
    pub fn configure(&mut self, windows: Vec<Window>, unnamed_early_micros: i64, max_pending: usize) {
        self.windows = windows;
        self.unnamed_early_micros = unnamed_early_micros;
        self.max_pending = max_pending.max(1);
    }

    /// How many predictions and labels the table holds.
    pub fn len(&self) -> (usize, usize) {
        (self.predictions.len(), self.labels.len())
    }

    /// Whether the table holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
    }

    /// What became of the events so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Puts back the counts of a checkpoint.
    pub fn restore_counts(&mut self, counts: Counts) {
        self.counts = counts;
    }

    /// Takes in a prediction of `model` at its effective time.
    pub fn predict(
        &mut self,
        fingerprint: Fingerprint,
        model: u32,
        at: Timestamp,
        sample: Sample,
        read: ReadTruth<'_>,
        out: &mut Vec<Change>,
    ) {
        self.counts.predictions += 1;
        let reach = self.windows[model as usize].dedupe_micros;
        let repeats = |entry: &Entry| {
            entry.fingerprint == fingerprint
                && entry.model == model
                && at >= later(entry.at, -reach)
                && at <= later(entry.last_at, reach)
        };
        let mut session: SmallVec<[Entry; 2]> = SmallVec::new();
        let repeated = self.predictions.all(fingerprint).filter(|entry| repeats(entry)).count();
        if repeated == 1
            && let Some(first) = self.predictions.find_mut(fingerprint, repeats)
            && order(first.at, &first.sample) <= order(at, &sample)
        {
            // The usual redelivery: nothing changes but how long the session lasts.
            self.counts.duplicate_predictions += 1;
            first.last_at = first.last_at.max(at);
            return;
        }
        while let Some(entry) = self.predictions.remove(fingerprint, repeats) {
            session.push(entry);
        }
        self.counts.duplicate_predictions += session.len() as u64;
        let newcomer = Entry { fingerprint, model, at, last_at: at, sample, label: None, expired: false };
        let merged = self.merge(newcomer, session, read, out);
        let due = self.windows[model as usize].deadline(merged.at);
        self.predictions.insert(merged, due);
        self.evict(out);
    }

    /// The earliest of a session stands for all; what the others had brought about is taken back.
    fn merge(
        &self,
        newcomer: Entry,
        session: SmallVec<[Entry; 2]>,
        read: ReadTruth<'_>,
        out: &mut Vec<Change>,
    ) -> Entry {
        let last_at = session.iter().map(|entry| entry.last_at).fold(newcomer.at, Timestamp::max);
        let mut first: Option<Entry> = None;
        for entry in session {
            let known = first.replace(entry);
            let (Some(known), Some(entry)) = (known, first.as_mut()) else { continue };
            let stands = order(known.at, &known.sample) <= order(entry.at, &entry.sample);
            let other = if stands { std::mem::replace(entry, known) } else { known };
            retract(&other, out);
        }
        match first {
            Some(first) if order(first.at, &first.sample) <= order(newcomer.at, &newcomer.sample) => {
                Entry { last_at, ..first }
            }
            first => {
                if let Some(other) = first {
                    retract(&other, out);
                }
                let label = self.label_of(&newcomer, read);
                let entry = Entry { last_at, label, ..newcomer };
                out.push(predicted(&entry, true));
                out.extend(labelled(&entry, true));
                entry
            }
        }
    }

    /// The earliest label that matches a prediction, among those that are still kept.
    fn label_of(&self, entry: &Entry, read: ReadTruth<'_>) -> Option<(Timestamp, f64)> {
        let window = self.windows[entry.model as usize];
        self.labels
            .all(entry.fingerprint)
            .filter(|known| known.is_for(entry.fingerprint, entry.model) && window.holds(entry.at, known.at))
            .filter_map(|known| Some((known.at, read(entry.model, &known.truth)?)))
            .min_by(|a, b| label_order(*a).cmp(&label_order(*b)))
    }

    /// Takes in a label at its effective time; `model` is `None` if labels do not name theirs.
    pub fn label(
        &mut self,
        fingerprint: Fingerprint,
        model: Option<u32>,
        at: Timestamp,
        truth: Truth,
        read: ReadTruth<'_>,
        out: &mut Vec<Change>,
    ) {
        self.counts.labels += 1;
        let label = Known { fingerprint, model, at, truth, copies: 1 };
        let same = |known: &Known| {
            known.fingerprint == fingerprint && known.model == model && known.at == at && known.truth == label.truth
        };
        if let Some(known) = self.labels.find_mut(fingerprint, same) {
            known.copies = known.copies.saturating_add(1);
            return;
        }
        for entry in self.predictions.all_mut(fingerprint).filter(|entry| label.is_for(entry.fingerprint, entry.model))
        {
            let window = self.windows[entry.model as usize];
            let Some(actual) = read(entry.model, &label.truth).filter(|_| window.holds(entry.at, at)) else { continue };
            // Only a reload that lengthens `label_timeout` brings labels to expired predictions.
            if entry.expired || entry.label.is_some_and(|known| label_order(known) <= label_order((at, actual))) {
                continue;
            }
            out.extend(labelled(entry, false));
            entry.label = Some((at, actual));
            out.extend(labelled(entry, true));
        }
        let due = later(at, self.early_micros(model));
        self.labels.insert(label, due);
        self.evict(out);
    }

    /// Lets go of what the end of `tick` puts out of reach; predictions without a label expire.
    pub fn seal(&mut self, tick: Tick, end: Timestamp, read: ReadTruth<'_>, out: &mut Vec<Change>) {
        // Labels first: what became of them is told by the predictions that are still there.
        for fingerprint in self.labels.due(tick) {
            let mut again = None;
            let labels: SmallVec<[(Timestamp, Option<u32>); 2]> =
                self.labels.all(fingerprint).map(|label| (label.at, label.model)).collect();
            for (at, model) in labels {
                let due = later(at, self.early_micros(model));
                let same = |known: &Known| (known.fingerprint, known.at, known.model) == (fingerprint, at, model);
                if due >= end {
                    // Due earlier than it is gone: a reload has lengthened `early_label_wait`.
                    again = Some(again.map_or(due, |other: Timestamp| other.min(due)));
                } else if let Some(label) = self.labels.remove(fingerprint, same) {
                    self.retire(&label, end, read);
                }
            }
            if let Some(due) = again {
                self.labels.schedule(fingerprint, due);
            }
        }
        for fingerprint in self.predictions.due(tick) {
            self.expire(fingerprint, end, out);
        }
        self.sealed = end;
    }

    /// For how long a label waits for its prediction.
    fn early_micros(&self, model: Option<u32>) -> i64 {
        model.map_or(self.unnamed_early_micros, |model| self.windows[model as usize].early_micros)
    }

    fn retire(&mut self, label: &Known, end: Timestamp, read: ReadTruth<'_>) {
        // What lies beyond the end may have been read already or not: it must not count.
        let known = |entry: &&Entry| entry.at < end && label.is_for(entry.fingerprint, entry.model);
        let entries = || self.predictions.all(label.fingerprint).filter(known);
        let used = entries().any(|entry| {
            let own = read(entry.model, &label.truth).map(|actual| label_order((label.at, actual)));
            own.is_some() && own == entry.label.map(label_order)
        });
        let counter = if used {
            &mut self.counts.matched_labels
        } else if entries().any(|entry| self.windows[entry.model as usize].holds(entry.at, label.at)) {
            &mut self.counts.duplicate_labels
        } else if entries().next().is_some() {
            &mut self.counts.late_labels
        } else {
            &mut self.counts.orphan_labels
        };
        *counter += 1;
        self.counts.duplicate_labels += u64::from(label.copies - 1);
    }

    fn expire(&mut self, fingerprint: Fingerprint, end: Timestamp, out: &mut Vec<Change>) {
        let mut again = None;
        let opened = self.sealed;
        for entry in self.predictions.all_mut(fingerprint).filter(|entry| entry.fingerprint == fingerprint) {
            let window = self.windows[entry.model as usize];
            let deadline = window.deadline(entry.at);
            if entry.label.is_none() && !entry.expired && deadline < end {
                entry.expired = true;
                self.counts.expired_predictions += 1;
                // A reload that shortens `label_timeout` puts deadlines into the past.
                out.push(unlabelled(entry, deadline.max(opened)));
            }
            let gone = later(entry.last_at, window.kept_micros());
            if gone >= end {
                // A prediction that still waits is due at its deadline, which is in the schedule already.
                let next = if deadline >= end { deadline } else { gone };
                again = Some(again.map_or(next, |other: Timestamp| other.min(next)));
            }
        }
        let windows = &self.windows;
        let gone = |entry: &Entry| {
            let kept = windows[entry.model as usize].kept_micros();
            entry.fingerprint == fingerprint && later(entry.last_at, kept) < end
        };
        while self.predictions.remove(fingerprint, gone).is_some() {}
        if let Some(due) = again {
            self.predictions.schedule(fingerprint, due);
        }
    }

    /// At the limit the oldest make room: predictions expire early, labels are dropped, both are counted.
    fn evict(&mut self, out: &mut Vec<Change>) {
        while self.predictions.len() + self.labels.len() > self.max_pending {
            let sealed = self.sealed;
            if let Some(fingerprint) = self.predictions.oldest_due() {
                while let Some(entry) = self.predictions.remove(fingerprint, |entry| entry.fingerprint == fingerprint) {
                    if entry.label.is_none() && !entry.expired {
                        self.counts.evicted_predictions += 1;
                        out.push(unlabelled(&entry, entry.at.max(sealed)));
                    }
                }
            } else if let Some(fingerprint) = self.labels.oldest_due() {
                while self.labels.remove(fingerprint, |label| label.fingerprint == fingerprint).is_some() {
                    self.counts.evicted_labels += 1;
                }
            } else {
                return;
            }
        }
    }
}
