//! Letting go: predictions expire and are forgotten, labels are judged and forgotten, and at the limit the oldest go first.

use super::entry::unlabelled;
use super::row::{EXPIRED, LABELLED, LabelRow, SETTLED};
use super::table::{Address, ChunkId, Row};
use super::window::later;
use super::{Change, Fingerprint, Join, Meaning};
use crate::clock::{Tick, Timestamp};

impl Join {
    /// Lets go of what the end of `tick` puts out of reach; predictions without a label expire.
    pub fn seal(&mut self, tick: Tick, end: Timestamp, meaning: &impl Meaning, out: &mut Vec<Change>) {
        // Labels first: what became of them is told by the predictions that are still there.
        for chunk in self.labels.due(tick) {
            self.retire_labels(chunk, end, meaning);
        }
        for chunk in self.predictions.due(tick) {
            self.expire_predictions(chunk, end, meaning, out);
        }
        self.predictions.close(tick);
        self.labels.close(tick);
        self.sealed = end;
    }

    fn retire_labels(&mut self, chunk: ChunkId, end: Timestamp, meaning: &impl Meaning) {
        let (mut gone, mut again): (Vec<Address>, Option<Timestamp>) = (Vec::new(), None);
        for address in self.labels.live(chunk) {
            let label = self.labels.row(address);
            let due = later(self.labels.at(address), self.early_micros(label.model()));
            if due < end {
                self.retire(address, label, end, meaning);
                gone.push(address);
            } else {
                again = Some(again.map_or(due, |other| other.min(due)));
            }
        }
        self.labels.remove_all(chunk, &gone);
        if !self.labels.free_if_empty(chunk) {
            self.labels.look_at(chunk, again.unwrap_or(end));
        }
    }

    /// Counts what became of a label. One that was used needs no look at the prediction that has it, which may lie
    /// anywhere in memory, unless that could take another label for its own.
    fn retire(&mut self, address: Address, label: LabelRow, end: Timestamp, meaning: &impl Meaning) {
        self.counts.duplicate_labels += u64::from(label.copies.saturating_sub(1));
        if label.uses() == 0 {
            *self.fate_of_unused(label, self.labels.at(address), end, meaning) += 1;
            return;
        }
        self.counts.matched_labels += 1;
        if self.labels.find(label.fingerprint()).len() > 1 {
            self.settle(address, label.fingerprint(), meaning);
        }
    }

    /// The counter of a label that no prediction has.
    fn fate_of_unused(&mut self, label: LabelRow, at: Timestamp, end: Timestamp, meaning: &impl Meaning) -> &mut u64 {
        let [mut in_time, mut known] = [false; 2];
        for prediction in self.predictions.find(label.fingerprint()) {
            let entry = self.entry(prediction);
            let model = meaning.model_of(entry.sample.slice);
            // What lies beyond the end may have been read already or not: it must not count.
            if entry.at < end && label.model().is_none_or(|own| own == model) {
                known = true;
                in_time |= self.windows[model as usize].holds(entry.at, at);
            }
        }
        match () {
            () if in_time => &mut self.counts.duplicate_labels,
            () if known => &mut self.counts.late_labels,
            () => &mut self.counts.orphan_labels,
        }
    }

    /// Notes at the predictions that have a label that it is not kept any more.
    fn settle(&mut self, label: Address, fingerprint: Fingerprint, meaning: &impl Meaning) {
        for prediction in self.predictions.find(fingerprint) {
            let entry = self.entry(prediction);
            if self.own_label(&entry, meaning).is_some_and(|(own, _)| own == label) {
                self.mark(prediction, SETTLED);
            }
        }
    }

    fn expire_predictions(&mut self, chunk: ChunkId, end: Timestamp, meaning: &impl Meaning, out: &mut Vec<Change>) {
        let (mut gone, mut again): (Vec<Address>, Option<Timestamp>) = (Vec::new(), None);
        for address in self.predictions.live(chunk) {
            let entry = self.entry(address);
            let window = self.windows[meaning.model_of(entry.sample.slice) as usize];
            let deadline = window.deadline(entry.at);
            let waits = !entry.has(LABELLED | EXPIRED);
            if waits && deadline < end {
                self.counts.expired_predictions += 1;
                // A reload that shortens `label_timeout` puts deadlines into the past.
                out.push(unlabelled(&entry, deadline.max(self.sealed)));
                self.mark(address, EXPIRED);
            }
            let kept_until = later(entry.last_at, window.kept_micros());
            if kept_until < end {
                gone.push(address);
                if entry.last_at > entry.at {
                    self.last_at.remove(&address);
                }
            } else {
                let next = if waits && deadline >= end { deadline } else { kept_until };
                again = Some(again.map_or(next, |other| other.min(next)));
            }
        }
        self.predictions.remove_all(chunk, &gone);
        if self.predictions.is_sparse(chunk) {
            // A few that were repeated must not keep the memory of all.
            for address in self.predictions.live(chunk) {
                let entry = self.take(address);
                self.put(entry, meaning);
            }
        }
        if !self.predictions.free_if_empty(chunk) {
            self.predictions.look_at(chunk, again.unwrap_or(end));
        }
    }

    /// At the limit the oldest make room: predictions expire early, labels are dropped, both are counted.
    pub(super) fn evict(&mut self, out: &mut Vec<Change>) {
        loop {
            let full = self.predictions.len() + self.labels.len() > self.max_pending;
            if !full && self.predictions.has_room() && self.labels.has_room() {
                return;
            }
            let prediction = self.predictions.oldest().filter(|_| full || !self.predictions.has_room());
            let label = self.labels.oldest().filter(|_| full || !self.labels.has_room());
            let label_is_older = |label| prediction.is_none_or(|p| self.labels.at(label) < self.predictions.at(p));
            if let Some(label) = label.filter(|label| label_is_older(*label)) {
                self.labels.remove(label);
                self.counts.evicted_labels += 1;
            } else if let Some(prediction) = prediction {
                let entry = self.take(prediction);
                if !entry.has(LABELLED | EXPIRED) {
                    self.counts.evicted_predictions += 1;
                    out.push(unlabelled(&entry, entry.at.max(self.sealed)));
                }
            } else {
                return;
            }
        }
    }
}
