//! Where the rows of a fingerprint are: 256 sorted arrays with gaps.
//!
//! An entry is 32 bits of the fingerprint, its tag, and an address. The tag says where in its array the entry belongs
//! (`tag · length / 2³²`), so entries in the order of their tags lie near their places: linear probing that keeps its
//! order. A look-up reads one cache line as a rule, where a hash table with control bytes reads two, and at 10 million
//! rows that is what it costs. Removing closes the gap, so nothing degrades with time; growing is one pass in order, of
//! one of 256 arrays. 8 bytes an entry at a load between 71 and 80 %.

use std::hint::black_box;

use super::Fingerprint;
use super::table::Address;

const PARTS: usize = 256;
/// No address is all ones.
const EMPTY: u64 = u64::MAX;
/// Places of an array that has just begun.
const PLACES_MIN: usize = 16;

/// Addresses by fingerprint. Says where rows may be: other fingerprints may have the same tag.
#[derive(Debug)]
pub(super) struct Index {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    places: usize,
    /// One a place, and more behind the last if need be. Entries are in order, none stands left of its place, and there is
    /// no gap between.
    slots: Vec<u64>,
    len: usize,
}

fn tag(fingerprint: Fingerprint) -> u64 {
    (fingerprint & 0xffff_ffff) as u64
}

fn part_of(fingerprint: Fingerprint) -> usize {
    usize::from((fingerprint >> 120) as u8)
}

fn entry(fingerprint: Fingerprint, address: Address) -> u64 {
    tag(fingerprint) << 32 | u64::from(address)
}

impl Index {
    pub(super) fn new() -> Index {
        Index { parts: (0..PARTS).map(|_| Part::new(PLACES_MIN)).collect() }
    }

    /// The addresses that bear the fingerprint's tag.
    pub(super) fn find(&self, fingerprint: Fingerprint) -> impl Iterator<Item = Address> {
        let (part, tag) = (&self.parts[part_of(fingerprint)], tag(fingerprint));
        let from_place = part.slots[part.place(tag)..].iter();
        let from_tag = from_place.skip_while(move |entry| **entry >> 32 < tag);
        // `EMPTY` ends it, too, unless the tag is all ones.
        let same = from_tag.take_while(move |entry| **entry >> 32 == tag && **entry != EMPTY);
        same.map(|entry| address_of(*entry))
    }

    /// Reads where an entry would be, so that it is at hand when it is looked for in earnest: many such reads wait for
    /// memory together, while look-ups wait one after the other.
    pub(super) fn touch(&self, fingerprint: Fingerprint) {
        let part = &self.parts[part_of(fingerprint)];
        black_box(part.slots[part.place(tag(fingerprint))]);
    }

    pub(super) fn insert(&mut self, fingerprint: Fingerprint, address: Address) {
        let part = &mut self.parts[part_of(fingerprint)];
        if (part.len + 1) * 5 > part.places * 4 {
            part.grow();
        }
        part.insert(entry(fingerprint, address));
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, fingerprint: Fingerprint, address: Address) -> bool {
        self.parts[part_of(fingerprint)].remove(entry(fingerprint, address))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "an entry's low half is its address")]
fn address_of(entry: u64) -> Address {
    entry as Address
}

impl Part {
    fn new(places: usize) -> Part {
        Part { places, slots: vec![EMPTY; places], len: 0 }
    }

    fn place(&self, tag: u64) -> usize {
        ((tag * self.places as u64) >> 32) as usize
    }

    /// Where an entry is, or would have to stand.
    fn position(&self, entry: u64) -> usize {
        let place = self.place(entry >> 32);
        place + self.slots[place..].iter().take_while(|other| **other < entry).count()
    }

    fn insert(&mut self, entry: u64) {
        let at = self.position(entry);
        let to_gap = self.slots[at..].iter().take_while(|slot| **slot != EMPTY).count();
        if at + to_gap == self.slots.len() {
            self.slots.push(EMPTY);
        }
        self.slots.copy_within(at..at + to_gap, at + 1);
        self.slots[at] = entry;
        self.len += 1;
    }

    fn remove(&mut self, entry: u64) -> bool {
        let at = self.position(entry);
        if self.slots.get(at) != Some(&entry) {
            return false;
        }
        // What stands right of its place moves up.
        let moves = |(slot, entry): &(usize, &u64)| **entry != EMPTY && self.place(**entry >> 32) < *slot;
        let moved = (at + 1..).zip(&self.slots[at + 1..]).take_while(moves).count();
        self.slots.copy_within(at + 1..=at + moved, at);
        self.slots[at + moved] = EMPTY;
        self.len -= 1;
        true
    }

    /// An eighth more places.
    fn grow(&mut self) {
        let mut grown = Part::new(self.places + self.places.div_ceil(8));
        let mut next = 0;
        for entry in self.slots.iter().filter(|slot| **slot != EMPTY) {
            let at = grown.place(entry >> 32).max(next);
            if at == grown.slots.len() {
                grown.slots.push(EMPTY);
            }
            grown.slots[at] = *entry;
            next = at + 1;
        }
        *self = Part { len: self.len, ..grown };
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Few tags, many of them at the very end, so that clusters meet.
    fn fingerprint(number: u8) -> Fingerprint {
        let tag = u128::from(u32::MAX) - u128::from(number % 16) * if number < 128 { 1 } else { 1 << 28 };
        u128::from(number % 2) << 120 | tag
    }

    proptest! {
        #[test]
        fn it_finds_what_a_set_of_pairs_has(steps in prop::collection::vec((any::<u8>(), 0..40_u32, 0..3), 0..600)) {
            let (mut index, mut pairs) = (Index::new(), BTreeSet::new());
            for (number, address, kind) in steps {
                let fingerprint = fingerprint(number);
                let pair = (part_of(fingerprint), tag(fingerprint), address);
                if kind == 0 {
                    prop_assert_eq!(index.remove(fingerprint, address), pairs.remove(&pair));
                } else if pairs.insert(pair) {
                    index.insert(fingerprint, address);
                }
                index.touch(fingerprint);
                let found: Vec<Address> = index.find(fingerprint).collect();
                let known = pairs.iter().filter(|known| (known.0, known.1) == (pair.0, pair.1));
                prop_assert_eq!(found, known.map(|known| known.2).collect::<Vec<Address>>());
            }
            let len: usize = index.parts.iter().map(|part| part.len).sum();
            prop_assert_eq!(len, pairs.len());
        }
    }
}
