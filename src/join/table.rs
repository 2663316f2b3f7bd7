//! A hash table with several entries under one fingerprint, and the schedule of when they are due.

use std::collections::BTreeMap;

use hashbrown::HashTable;

use super::Fingerprint;
use crate::clock::{Tick, TickGrid, Timestamp};

/// What has a fingerprint.
pub(super) trait Keyed {
    fn fingerprint(&self) -> Fingerprint;
}

/// Entries by fingerprint. Every entry is in the schedule; the schedule may know fingerprints that are gone.
#[derive(Debug)]
pub(super) struct Table<T> {
    grid: TickGrid,
    entries: HashTable<T>,
    due: BTreeMap<Tick, Vec<Fingerprint>>,
}

/// Fingerprints are hashes already; the table takes 64 bits of them.
#[expect(clippy::cast_possible_truncation, reason = "the low half is as good a hash as the whole")]
fn hash(fingerprint: Fingerprint) -> u64 {
    fingerprint as u64
}

impl<T: Keyed> Table<T> {
    pub(super) fn new(grid: TickGrid) -> Table<T> {
        Table { grid, entries: HashTable::new(), due: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Entries that may have the fingerprint (a hash table may show others too).
    pub(super) fn all(&self, fingerprint: Fingerprint) -> impl Iterator<Item = &T> {
        self.entries.iter_hash(hash(fingerprint)).filter(move |entry| entry.fingerprint() == fingerprint)
    }

    /// As [`Table::all`], to change them. The fingerprint must stay.
    pub(super) fn all_mut(&mut self, fingerprint: Fingerprint) -> impl Iterator<Item = &mut T> {
        self.entries.iter_hash_mut(hash(fingerprint)).filter(move |entry| entry.fingerprint() == fingerprint)
    }

    pub(super) fn find_mut(&mut self, fingerprint: Fingerprint, wanted: impl Fn(&T) -> bool) -> Option<&mut T> {
        self.entries.find_mut(hash(fingerprint), wanted)
    }

    pub(super) fn remove(&mut self, fingerprint: Fingerprint, wanted: impl Fn(&T) -> bool) -> Option<T> {
        let found = self.entries.find_entry(hash(fingerprint), wanted).ok()?;
        Some(found.remove().0)
    }

    pub(super) fn insert(&mut self, entry: T, due: Timestamp) {
        let fingerprint = entry.fingerprint();
        self.entries.insert_unique(hash(fingerprint), entry, |entry| hash(entry.fingerprint()));
        self.schedule(fingerprint, due);
    }

    pub(super) fn schedule(&mut self, fingerprint: Fingerprint, due: Timestamp) {
        self.due.entry(self.grid.tick_of(due)).or_default().push(fingerprint);
    }

    /// Takes the fingerprints that are due up to the end of `tick` out of the schedule.
    pub(super) fn due(&mut self, tick: Tick) -> Vec<Fingerprint> {
        let later = self.due.split_off(&(tick + 1));
        let due = std::mem::replace(&mut self.due, later);
        due.into_values().flatten().collect()
    }

    /// Takes the fingerprint that is due first out of the schedule.
    pub(super) fn oldest_due(&mut self) -> Option<Fingerprint> {
        loop {
            let mut first = self.due.first_entry()?;
            match first.get_mut().pop() {
                Some(fingerprint) => return Some(fingerprint),
                None => drop(first.remove()),
            }
        }
    }
}
