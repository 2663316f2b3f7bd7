//! Exact counts by bin.

/// Exact counts by bin, of which most are empty: the same algebra as [`ExactSum`](super::ExactSum).
///
/// # Cost
///
/// Twelve bytes or so per occupied bin; O(log occupied) to find a bin, O(occupied) to open one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Bins whose count is not zero, ascending.
    counts: Vec<(u32, i64)>,
}

impl Histogram {
    /// Adds one to `bin`.
    pub fn add(&mut self, bin: u32) {
        self.add_count(bin, 1);
    }

    /// Takes one from `bin` again.
    pub fn subtract(&mut self, bin: u32) {
        self.add_count(bin, -1);
    }

    /// Adds `count`, which may be negative, to `bin`.
    pub fn add_count(&mut self, bin: u32, count: i64) {
        match self.counts.binary_search_by_key(&bin, |(bin, _)| *bin) {
            Ok(at) => {
                let total = self.counts[at].1.saturating_add(count);
                self.counts[at].1 = total;
                if total == 0 {
                    self.counts.remove(at);
                }
            }
            Err(_) if count == 0 => {}
            Err(at) => self.counts.insert(at, (bin, count)),
        }
    }

    /// Adds another histogram.
    pub fn add_sum(&mut self, other: &Histogram) {
        other.iter().for_each(|(bin, count)| self.add_count(bin, count));
    }

    /// Takes another histogram away again.
    pub fn subtract_sum(&mut self, other: &Histogram) {
        other.iter().for_each(|(bin, count)| self.add_count(bin, count.saturating_neg()));
    }

    /// Whether all bins are empty.
    pub fn is_zero(&self) -> bool {
        self.counts.is_empty()
    }

    /// The occupied bins and their counts, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, i64)> {
        self.counts.iter().copied()
    }

    /// The histogram as bytes; equal histograms give equal bytes.
    ///
    /// For each occupied bin, ascending: four bytes of its number and eight of its count, in little-endian order.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.iter().flat_map(|(bin, count)| bin.to_le_bytes().into_iter().chain(count.to_le_bytes())).collect()
    }

    /// The histogram that [`Histogram::to_bytes`] wrote; `None` for other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Histogram> {
        let (entries, []) = bytes.as_chunks::<12>() else { return None };
        let counts: Vec<(u32, i64)> = entries.iter().map(|entry| entry_of(*entry)).collect();
        let is_ascending = counts.is_sorted_by(|a, b| a.0 < b.0);
        let is_occupied = counts.iter().all(|(_, count)| *count != 0);
        (is_ascending && is_occupied).then_some(Histogram { counts })
    }
}

fn entry_of([a, b, c, d, count @ ..]: [u8; 12]) -> (u32, i64) {
    (u32::from_le_bytes([a, b, c, d]), i64::from_le_bytes(count))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn foreign_bytes_are_refused() {
        let count_of = |bin: u8, count: u8| [bin, 0, 0, 0, count, 0, 0, 0, 0, 0, 0, 0];
        assert!(Histogram::from_bytes(&[count_of(1, 1), count_of(2, 1)].concat()).is_some());
        assert_eq!(Histogram::from_bytes(&[count_of(2, 1), count_of(1, 1)].concat()), None);
        assert_eq!(Histogram::from_bytes(&count_of(1, 0)), None);
        assert_eq!(Histogram::from_bytes(&[0; 11]), None);
    }

    proptest! {
        #[test]
        fn histograms_are_order_free_and_retract(bins in prop::collection::vec((0..20_u32, -3..4_i64), 0..30)) {
            let (mut forward, mut backward) = (Histogram::default(), Histogram::default());
            bins.iter().for_each(|(bin, count)| forward.add_count(*bin, *count));
            bins.iter().rev().for_each(|(bin, count)| backward.add_count(*bin, *count));
            prop_assert_eq!(forward.to_bytes(), backward.to_bytes());
            prop_assert_eq!(Histogram::from_bytes(&forward.to_bytes()), Some(forward.clone()));
            for bin in 0..20 {
                let expected: i64 = bins.iter().filter(|(b, _)| *b == bin).map(|(_, count)| count).sum();
                prop_assert_eq!(forward.iter().find(|(b, _)| *b == bin).map_or(0, |(_, count)| count), expected);
            }
            forward.subtract_sum(&backward);
            prop_assert!(forward.is_zero());
        }
    }
}
