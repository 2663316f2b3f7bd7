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
//!
//! Memory: 32 bytes a prediction and 40 a label, plus 8 bytes of index at a load between 71 and 80 %. So a prediction
//! keeps no label; which one it has follows from the labels that are kept: the earliest that matches. A label is kept
//! for as long as an earlier one may come. When it goes and another one of the same id is there, the prediction is
//! marked as settled, else when the next one comes: so the usual label is forgotten without a look at its prediction.

mod entry;
mod fingerprint;
mod image;
mod index;
mod outcome;
mod row;
mod seal;
mod table;
mod window;

use std::hint::black_box;

use hashbrown::HashMap;

use smallvec::SmallVec;

use crate::clock::{TickGrid, Timestamp};
use entry::{Entry, Found, label_order, labelled, order, predicted};
pub use fingerprint::{Fingerprint, Fingerprinter};
pub use image::{Image, Renumber};
pub use outcome::{Answer, Change, Meaning, Outcome, Sample, Truth};
use row::{EXPIRED, LABELLED, LabelRow, PredictionRow, REPEATED, SETTLED};
use table::{Address, Row, Table};
pub use window::Window;
use window::later;

/// Most different labels of one id that are kept at a time, beyond which they are dropped: each is compared with all, so
/// an id that is the same in all labels by mistake would make the table crawl.
const LABELS_OF_ID_MAX: usize = 64;

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
    /// Labels dropped early because the table was full, or held too many of one id.
    pub evicted_labels: u64,
}

/// The table of predictions and labels that wait for each other.
#[derive(Debug)]
pub struct Join {
    grid: TickGrid,
    /// By model, in the order of their numbers.
    windows: Vec<Window>,
    /// For how long a label waits that does not name its model.
    unnamed_early_micros: i64,
    max_pending: usize,
    predictions: Table<PredictionRow>,
    /// The latest of each session that has more than one prediction.
    last_at: HashMap<Address, Timestamp>,
    labels: Table<LabelRow>,
    /// What has been sealed; nothing earlier can come.
    sealed: Timestamp,
    counts: Counts,
}

impl Join {
    /// An empty table that holds at most `max_pending` predictions and labels.
    pub fn new(grid: TickGrid, max_pending: usize) -> Join {
        Join {
            grid,
            windows: Vec::new(),
            unnamed_early_micros: 0,
            max_pending: max_pending.max(1),
            predictions: Table::new(grid),
            last_at: HashMap::new(),
            labels: Table::new(grid),
            sealed: Timestamp::MIN,
            counts: Counts::default(),
        }
    }

    /// Sets the windows of all models, for how long a label waits that does not name its model (as long as any model
    /// allows, whether it is known yet or not), and the limit. What is in the table stays.
    pub fn configure(&mut self, windows: Vec<Window>, unnamed_early_micros: i64, max_pending: usize) {
        if !windows.starts_with(&self.windows) || unnamed_early_micros != self.unnamed_early_micros {
            self.predictions.look_at_all();
            self.labels.look_at_all();
        }
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

    /// Reads where these predictions and labels will be looked for, and the predictions that the labels will find.
    pub fn look_ahead(&self, predictions: &[Fingerprint], labels: &[Fingerprint]) {
        for all in [predictions, labels] {
            all.iter().for_each(|fingerprint| self.predictions.touch(*fingerprint));
            all.iter().for_each(|fingerprint| self.labels.touch(*fingerprint));
        }
        for fingerprint in labels {
            black_box(self.predictions.find(*fingerprint).len());
        }
    }

    /// Takes in a prediction at its effective time.
    pub fn predict(
        &mut self,
        fingerprint: Fingerprint,
        at: Timestamp,
        sample: Sample,
        meaning: &impl Meaning,
        out: &mut Vec<Change>,
    ) {
        self.counts.predictions += 1;
        let newcomer = Entry { fingerprint, at, last_at: at, sample, state: 0 };
        let session = self.session(&newcomer, meaning);
        if let [only] = session.as_slice() {
            let first = self.entry(*only);
            if order(first.at, &first.sample, meaning) <= order(at, &sample, meaning) {
                // The usual redelivery: nothing changes but how long the session lasts.
                self.counts.duplicate_predictions += 1;
                self.repeat(*only, first.last_at.max(at));
                return;
            }
        }
        self.counts.duplicate_predictions += session.len() as u64;
        let others: SmallVec<[Entry; 2]> = session.iter().map(|address| self.take(*address)).collect();
        let merged = self.merge(newcomer, others, meaning, out);
        self.put(merged, meaning);
        self.evict(out);
    }

    /// The predictions that a newcomer repeats.
    fn session(&self, newcomer: &Entry, meaning: &impl Meaning) -> table::Found {
        let model = meaning.model_of(newcomer.sample.slice);
        let reach = self.windows[model as usize].dedupe_micros;
        let mut found = self.predictions.find(newcomer.fingerprint);
        found.retain(|address| {
            let row = self.predictions.row(*address);
            let first = self.predictions.at(*address);
            meaning.model_of(row.slice()) == model
                && newcomer.at >= later(first, -reach)
                && newcomer.at <= later(self.last_at(*address, row, first), reach)
        });
        found
    }

    fn last_at(&self, address: Address, row: PredictionRow, at: Timestamp) -> Timestamp {
        let repeated = row.has(REPEATED).then(|| self.last_at.get(&address).copied()).flatten();
        repeated.unwrap_or(at)
    }

    /// The prediction in a row.
    fn entry(&self, address: Address) -> Entry {
        let row = self.predictions.row(address);
        let at = self.predictions.at(address);
        let age_seconds = self.predictions.age_seconds(address);
        Entry {
            fingerprint: row.fingerprint(),
            at,
            last_at: self.last_at(address, row, at),
            sample: Sample { answer: row.answer(), age_seconds, slice: row.slice() },
            state: row.state(),
        }
    }

    /// Takes the prediction out of the table.
    fn take(&mut self, address: Address) -> Entry {
        let entry = self.entry(address);
        self.predictions.remove(address);
        if entry.last_at > entry.at {
            self.last_at.remove(&address);
        }
        entry
    }

    fn put(&mut self, entry: Entry, meaning: &impl Meaning) {
        let wait = self.windows[meaning.model_of(entry.sample.slice) as usize].timeout_micros;
        let (tick, offset) = self.grid.split(entry.at);
        let Sample { answer, age_seconds, slice } = entry.sample;
        let row = PredictionRow::new(entry.fingerprint, answer, slice, offset).with(entry.state);
        let age_seconds = age_seconds.filter(|_| entry.at >= self.sealed);
        let address = self.predictions.insert((wait, tick), row, age_seconds);
        self.repeat(address, entry.last_at);
    }

    /// Sets a flag of a prediction's row.
    fn mark(&mut self, address: Address, flag: u32) {
        let row = self.predictions.row_mut(address);
        *row = row.with(flag);
    }

    /// Notes how long a session lasts.
    fn repeat(&mut self, address: Address, last_at: Timestamp) {
        if last_at > self.predictions.at(address) {
            self.mark(address, REPEATED);
            self.last_at.insert(address, last_at);
        }
    }

    /// The earliest of a session stands for all; what the others had brought about is taken back.
    fn merge(
        &mut self,
        newcomer: Entry,
        others: SmallVec<[Entry; 2]>,
        meaning: &impl Meaning,
        out: &mut Vec<Change>,
    ) -> Entry {
        let last_at = others.iter().map(|entry| entry.last_at).fold(newcomer.at, Timestamp::max);
        let rank = |entry: &Entry| order(entry.at, &entry.sample, meaning);
        let first = others.iter().copied().min_by_key(rank);
        let stands = first.filter(|first| rank(first) <= rank(&newcomer));
        for other in &others {
            if stands.is_none_or(|stands| rank(&stands) != rank(other)) {
                self.retract(other, meaning, out);
            }
        }
        if let Some(first) = stands {
            return Entry { last_at, ..first };
        }
        let label = self.label_of(&newcomer, meaning);
        out.push(predicted(&newcomer, true));
        let Some((address, found)) = label else { return Entry { last_at, ..newcomer } };
        self.use_label(address, 1);
        out.push(labelled(&newcomer, found, true));
        Entry { last_at, state: LABELLED, ..newcomer }
    }

    fn retract(&mut self, entry: &Entry, meaning: &impl Meaning, out: &mut Vec<Change>) {
        out.push(predicted(entry, false));
        if let Some((address, found)) = self.own_label(entry, meaning) {
            self.use_label(address, -1);
            out.push(labelled(entry, found, false));
        }
    }

    /// Notes that one prediction more or less has a label.
    fn use_label(&mut self, address: Address, more: i32) {
        let label = self.labels.row_mut(address);
        label.set_uses(label.uses().saturating_add_signed(more));
    }

    /// The label that a prediction has, if it is still kept.
    fn own_label(&self, entry: &Entry, meaning: &impl Meaning) -> Option<(Address, Found)> {
        let may_be_kept = entry.has(LABELLED) && !entry.has(SETTLED);
        may_be_kept.then(|| self.label_of(entry, meaning)).flatten()
    }

    /// The earliest label that matches a prediction, among those that are still kept.
    fn label_of(&self, entry: &Entry, meaning: &impl Meaning) -> Option<(Address, Found)> {
        let model = meaning.model_of(entry.sample.slice);
        let window = self.windows[model as usize];
        let labels = self.labels.find(entry.fingerprint).into_iter().filter_map(|address| {
            let (label, at) = (self.labels.row(address), self.labels.at(address));
            let matches = label.model().is_none_or(|own| own == model) && window.holds(entry.at, at);
            Some((address, (at, meaning.actual(model, label.truth()).filter(|_| matches)?)))
        });
        labels.min_by_key(|(_, found)| label_order(*found))
    }

    /// Takes in a label at its effective time; `model` is `None` if labels do not name theirs.
    pub fn label(
        &mut self,
        fingerprint: Fingerprint,
        model: Option<u32>,
        at: Timestamp,
        truth: Truth,
        meaning: &impl Meaning,
        out: &mut Vec<Change>,
    ) {
        self.counts.labels += 1;
        let (tick, offset) = self.grid.split(at);
        let mut label = LabelRow::new(fingerprint, model, truth, offset);
        let same = |address: &Address| self.labels.at(*address) == at && self.labels.row(*address).says_what(&label);
        let others = self.labels.find(fingerprint);
        if let Some(known) = others.iter().copied().find(same) {
            let row = self.labels.row_mut(known);
            row.copies = row.copies.saturating_add(1);
            return;
        }
        if others.len() >= LABELS_OF_ID_MAX {
            self.counts.evicted_labels += 1;
            return;
        }
        for address in self.predictions.find(fingerprint) {
            let entry = self.entry(address);
            let own = meaning.model_of(entry.sample.slice);
            let meant = model.is_none_or(|model| model == own) && self.windows[own as usize].holds(entry.at, at);
            let actual = meaning.actual(own, truth).filter(|_| meant);
            if actual.is_some_and(|actual| self.give_label(address, &entry, (at, actual), meaning, out)) {
                label.set_uses(label.uses() + 1);
            }
        }
        self.labels.insert((self.early_micros(model), tick), label, None);
        self.evict(out);
    }

    /// Gives a prediction its label, unless it has an earlier one; whether it did.
    fn give_label(
        &mut self,
        address: Address,
        entry: &Entry,
        found: Found,
        meaning: &impl Meaning,
        out: &mut Vec<Change>,
    ) -> bool {
        // Only a reload that lengthens `label_timeout` brings labels to expired predictions.
        if entry.has(EXPIRED) || entry.has(SETTLED) {
            return false;
        }
        if entry.has(LABELLED) {
            let Some((other, known)) = self.own_label(entry, meaning) else {
                self.mark(address, SETTLED);
                return false;
            };
            if label_order(known) <= label_order(found) {
                return false;
            }
            self.use_label(other, -1);
            out.push(labelled(entry, known, false));
        } else {
            self.mark(address, LABELLED);
        }
        out.push(labelled(entry, found, true));
        true
    }

    /// For how long a label waits for its prediction.
    fn early_micros(&self, model: Option<u32>) -> i64 {
        model.map_or(self.unnamed_early_micros, |model| self.windows[model as usize].early_micros)
    }
}
