//! Exact sums: the same bits whatever the order, the split or the detour of the additions.
//!
//! Sums of `f64` depend on their order, because every addition rounds. Those here do not round: they form an abelian
//! group, so that partitions, threads and instances can each add their share, and a correction is a subtraction.

use smallvec::SmallVec;

/// Bits of a limb.
const LIMB_BITS: usize = 32;
/// Limbs that a finite `f64` touches: 53 bits at any place within the first one.
const LIMBS_OF_NUMBER: usize = 3;
/// Additions after which carries are propagated. A lane then holds less than 2^(29 + 32) and two of them can be added.
const LATEST_CARRY: u32 = 1 << 29;
/// More limbs than any sum has: 66 span the finite numbers, the rest holds 2^192 of the largest one.
const MOST_LIMBS: usize = 72;

/// An exact sum of finite numbers.
///
/// ```text
/// sum = Σ lanesᵢ · 2^(32 (low + i) − 1074)
/// ```
///
/// A superaccumulator: a fixed-point number that is wide enough for every finite `f64`, in limbs of 32 bits. Limbs are
/// kept in lanes of 64 bits, so that carries are rarely propagated, and only the window of limbs that was ever touched is
/// stored: numbers of like magnitude take 3 to 5 of at most 72.
///
/// # Cost
///
/// A few nanoseconds per addition, without allocation while the window covers the number and is at most 5 limbs wide.
///
/// # Reference
///
/// R. M. Neal (2015), "Fast exact summation using small and large superaccumulators", arXiv 1505.05571.
#[derive(Clone, Debug, Default)]
pub struct ExactSum {
    /// Place of the first lane, in limbs above 2^−1074.
    low: usize,
    lanes: SmallVec<[i64; 5]>,
    /// Additions since carries were propagated.
    uncarried: u32,
}

impl ExactSum {
    /// Adds `x`, which must be finite; anything else is ignored.
    pub fn add(&mut self, x: f64) {
        self.accumulate(x, 1);
    }

    /// Takes `x` away again.
    pub fn subtract(&mut self, x: f64) {
        self.accumulate(x, -1);
    }

    /// Adds another sum.
    pub fn add_sum(&mut self, other: &ExactSum) {
        self.accumulate_sum(other, 1);
    }

    /// Takes another sum away again.
    pub fn subtract_sum(&mut self, other: &ExactSum) {
        self.accumulate_sum(other, -1);
    }

    /// Whether the sum is zero.
    pub fn is_zero(&self) -> bool {
        self.canonical().lanes.is_empty()
    }

    /// The sum, rounded once: to the nearest `f64`, ties to even. Beyond the finite numbers it is ±`f64::MAX`.
    pub fn value(&self) -> f64 {
        let sum = self.canonical();
        let magnitude = magnitude(sum.low, &sum.lanes);
        if sum.is_negative() { -magnitude } else { magnitude }
    }

    /// The sum as bytes; equal sums give equal bytes.
    ///
    /// Empty if zero. Else one byte with the place of the lowest limb, its top bit set if the sum is negative, and the
    /// limbs of the magnitude from low to high, each of four bytes in little-endian order.
    pub fn to_bytes(&self) -> Vec<u8> {
        let sum = self.canonical();
        if sum.lanes.is_empty() {
            return Vec::new();
        }
        let sign = if sum.is_negative() { 0x80 } else { 0 };
        let head = [u8::try_from(sum.low).unwrap_or(u8::MAX) | sign];
        head.into_iter()
            .chain(sum.lanes.iter().flat_map(|lane| low_limb(lane.unsigned_abs().into()).to_le_bytes()))
            .collect()
    }

    /// The sum that [`ExactSum::to_bytes`] wrote; `None` for other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<ExactSum> {
        let Some((head, limbs)) = bytes.split_first() else { return Some(ExactSum::default()) };
        let (limbs, []) = limbs.as_chunks::<4>() else { return None };
        let low = usize::from(head & 0x7f);
        let sign = if head & 0x80 == 0 { 1 } else { -1 };
        let lanes: SmallVec<[i64; 5]> = limbs.iter().map(|limb| sign * i64::from(u32::from_le_bytes(*limb))).collect();
        let is_trimmed = lanes.first().is_some_and(|lane| *lane != 0) && lanes.last().is_some_and(|lane| *lane != 0);
        (is_trimmed && low + lanes.len() <= MOST_LIMBS).then_some(ExactSum { low, lanes, uncarried: 0 })
    }

    fn accumulate(&mut self, x: f64, sign: i64) {
        debug_assert!(x.is_finite(), "only finite numbers can be summed, not {x}");
        let Some(number) = Number::of(x) else { return };
        let sign = if x.is_sign_negative() { -sign } else { sign };
        let start = self.cover(number.limb, LIMBS_OF_NUMBER);
        for (lane, limb) in self.lanes[start..start + LIMBS_OF_NUMBER].iter_mut().zip(number.limbs) {
            *lane += sign * i64::from(limb);
        }
        self.note_additions(1);
    }

    fn accumulate_sum(&mut self, other: &ExactSum, sign: i64) {
        if other.lanes.is_empty() {
            return;
        }
        let start = self.cover(other.low, other.lanes.len());
        for (lane, addend) in self.lanes[start..].iter_mut().zip(&other.lanes) {
            *lane += sign * addend;
        }
        self.note_additions(other.uncarried + 1);
    }

    fn note_additions(&mut self, count: u32) {
        self.uncarried += count;
        if self.uncarried >= LATEST_CARRY {
            *self = self.canonical();
        }
    }

    /// Makes the window hold `count` limbs from `limb` on, and says at which lane they begin.
    fn cover(&mut self, limb: usize, count: usize) -> usize {
        if limb < self.low || limb + count > self.low + self.lanes.len() {
            self.widen(limb, count);
        }
        limb - self.low
    }

    #[cold]
    fn widen(&mut self, limb: usize, count: usize) {
        if self.lanes.is_empty() {
            self.low = limb;
        }
        let missing_below = self.low.saturating_sub(limb);
        self.lanes.insert_many(0, std::iter::repeat_n(0, missing_below));
        self.low -= missing_below;
        let wanted = self.lanes.len().max(limb + count - self.low);
        self.lanes.resize(wanted, 0);
    }

    fn is_negative(&self) -> bool {
        self.lanes.last().is_some_and(|lane| *lane < 0)
    }

    /// The one form of this sum: all lanes have its sign and one limb, the first and the last are not zero.
    fn canonical(&self) -> ExactSum {
        let mut lanes = self.lanes.clone();
        carry(&mut lanes);
        if lanes.last().is_some_and(|lane| *lane < 0) {
            negate(&mut lanes);
            carry(&mut lanes);
            negate(&mut lanes);
        }
        let zeros = lanes.iter().take_while(|lane| **lane == 0).count();
        lanes.drain(..zeros);
        let low = if lanes.is_empty() { 0 } else { self.low + zeros };
        ExactSum { low, lanes, uncarried: 0 }
    }
}

/// Equal if the sums are, whichever way they came about.
impl PartialEq for ExactSum {
    fn eq(&self, other: &ExactSum) -> bool {
        let (a, b) = (self.canonical(), other.canonical());
        (a.low, a.lanes) == (b.low, b.lanes)
    }
}

impl Eq for ExactSum {}

/// A finite number other than zero, without its sign: `Σ limbsᵢ · 2^(32 (limb + i) − 1074)`.
struct Number {
    limb: usize,
    limbs: [u32; LIMBS_OF_NUMBER],
}

impl Number {
    /// `None` for zero and for what is not finite.
    #[inline]
    fn of(x: f64) -> Option<Number> {
        let exponent = x.to_bits() >> 52 & 0x7ff;
        let fraction = x.to_bits() & ((1 << 52) - 1);
        let mantissa = if exponent == 0 { fraction } else { fraction | 1 << 52 };
        if mantissa == 0 || exponent == 0x7ff {
            return None;
        }
        // Subnormals stand where the least normal numbers do.
        let place = usize::try_from(exponent.saturating_sub(1)).ok()?;
        let wide = u128::from(mantissa) << (place % LIMB_BITS);
        let limbs = [low_limb(wide), low_limb(wide >> LIMB_BITS), low_limb(wide >> (2 * LIMB_BITS))];
        Some(Number { limb: place / LIMB_BITS, limbs })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest 32 bits are wanted")]
fn low_limb(bits: u128) -> u32 {
    bits as u32
}

/// Propagates carries: every lane but the last becomes one limb, not negative; the last is not zero.
fn carry(lanes: &mut SmallVec<[i64; 5]>) {
    let mut carried = 0;
    for lane in lanes.iter_mut() {
        let total = *lane + carried;
        *lane = total & i64::from(u32::MAX);
        carried = total >> LIMB_BITS;
    }
    // A carry is less than one limb, because a lane is less than two.
    lanes.push(carried);
    while lanes.last() == Some(&0) {
        lanes.pop();
    }
}

fn negate(lanes: &mut [i64]) {
    for lane in lanes {
        *lane = -*lane;
    }
}

/// The `f64` nearest to the magnitude of canonical lanes.
fn magnitude(low: usize, lanes: &[i64]) -> f64 {
    let limb_from_top = |n: usize| lanes.iter().rev().nth(n).map_or(0, |lane| u128::from(lane.unsigned_abs()));
    let top = limb_from_top(0) << (2 * LIMB_BITS) | limb_from_top(1) << LIMB_BITS | limb_from_top(2);
    if top == 0 {
        return 0.0;
    }
    // Places of bits count from 2^−1074, the unit of the subnormals, below which no sum has any.
    let top_end = LIMB_BITS * (low + lanes.len());
    let width = 128 - top.leading_zeros() as usize;
    let dropped = (width - 53).max((3 * LIMB_BITS).saturating_sub(top_end));
    let place = (top_end + dropped - 3 * LIMB_BITS) as u64;
    let (kept, rest, half) = (top >> dropped, top & ((1 << dropped) - 1), 1 << (dropped - 1));
    let is_more_below = lanes.iter().rev().skip(3).any(|lane| *lane != 0);
    let is_rounded_up = rest > half || (rest == half && (is_more_below || kept & 1 == 1));
    // The leading one of `kept` steps the exponent from `place` to `place + 1`; of a subnormal it is missing. A mantissa
    // that rounding makes 2^53 steps it once more.
    let bits = (place.min(0x7fe) << 52).saturating_add(low_word(kept) + u64::from(is_rounded_up));
    f64::from_bits(bits).min(f64::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest 64 bits are wanted")]
fn low_word(bits: u128) -> u64 {
    bits as u64
}

/// Exact counts by bin, of which most are empty: the same algebra as [`ExactSum`].
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

    fn sum_of(numbers: &[f64]) -> ExactSum {
        let mut sum = ExactSum::default();
        numbers.iter().for_each(|x| sum.add(*x));
        sum
    }

    #[track_caller]
    fn check(numbers: &[f64], expected: f64) {
        let value = sum_of(numbers).value();
        assert_eq!(value.to_bits(), expected.to_bits(), "{value:e} is not {expected:e}");
    }

    /// Any finite number, of any exponent.
    fn finite() -> impl Strategy<Value = f64> {
        any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |x| x.is_finite())
    }

    #[test]
    fn nothing_is_zero() {
        check(&[], 0.0);
        check(&[-0.0, 0.0], 0.0);
        check(&[1e300, -1e300], 0.0);
        assert!(sum_of(&[3.5, -3.5]).is_zero());
        assert_eq!(sum_of(&[3.5, -3.5]).to_bytes(), Vec::<u8>::new());
    }

    #[test]
    fn what_plain_addition_loses_is_kept() {
        check(&[1e16, 1.0, -1e16], 1.0);
        check(&[f64::MAX, 5e-324, -f64::MAX], 5e-324);
        check(&[f64::MAX, f64::MAX, -f64::MAX], f64::MAX);
    }

    #[test]
    fn halves_are_rounded_to_even_and_more_than_a_half_up() {
        let unit = f64::EPSILON;
        check(&[1.0, unit / 2.0], 1.0);
        check(&[1.0 + unit, unit / 2.0], 1.0 + 2.0 * unit);
        check(&[1.0, unit / 2.0, 5e-324], 1.0 + unit);
        check(&[-1.0, -unit / 2.0, -5e-324], -1.0 - unit);
        // The mantissa becomes 2^53.
        check(&[2.0 - unit, unit / 2.0], 2.0);
    }

    #[test]
    fn subnormals_meet_the_normal_numbers() {
        check(&[f64::MIN_POSITIVE, -5e-324], f64::MIN_POSITIVE.next_down());
        check(&[f64::MIN_POSITIVE.next_down(), 5e-324], f64::MIN_POSITIVE);
        check(&[5e-324, 5e-324], 1e-323);
    }

    #[test]
    fn beyond_the_finite_numbers_it_saturates() {
        check(&[f64::MAX, f64::MAX], f64::MAX);
        check(&[f64::MAX; 100], f64::MAX);
        check(&[-f64::MAX, -f64::MAX, 1.0], -f64::MAX);
        // Half a unit in the last place above the largest number would round to infinity.
        check(&[f64::MAX, 2f64.powi(970)], f64::MAX);
    }

    /// Doubling gives lanes their greatest content faster than additions could.
    #[test]
    fn lanes_do_not_overflow() {
        let mut sum = sum_of(&[1.5, -0.1, 1e-300]);
        for _ in 0..100 {
            sum.add_sum(&sum.clone());
            assert!(sum.lanes.iter().all(|lane| lane.unsigned_abs() < 1 << 62));
        }
        assert_eq!(sum.value(), 1.4 * 2f64.powi(100));
        assert!(sum.lanes.len() < MOST_LIMBS);
    }

    #[test]
    fn foreign_bytes_are_refused() {
        for bytes in
            [&[0x00][..], &[0x80], &[1, 1, 0, 0], &[1, 0, 0, 0, 0], &[1, 1, 0, 0, 0, 0, 0, 0, 0], &[0x7f, 1, 0, 0, 0]]
        {
            assert_eq!(ExactSum::from_bytes(bytes), None, "{bytes:?}");
        }
        let count_of = |bin: u8, count: u8| [bin, 0, 0, 0, count, 0, 0, 0, 0, 0, 0, 0];
        assert!(Histogram::from_bytes(&[count_of(1, 1), count_of(2, 1)].concat()).is_some());
        assert_eq!(Histogram::from_bytes(&[count_of(2, 1), count_of(1, 1)].concat()), None);
        assert_eq!(Histogram::from_bytes(&count_of(1, 0)), None);
        assert_eq!(Histogram::from_bytes(&[0; 11]), None);
    }

    proptest! {
        #[test]
        fn any_order_split_and_merge_gives_the_same_bytes(
            numbers in prop::collection::vec((finite(), any::<u64>(), 0..3_usize), 0..40),
        ) {
            let plain = sum_of(&numbers.iter().map(|number| number.0).collect::<Vec<_>>());
            let mut shuffled = numbers;
            shuffled.sort_by_key(|number| number.1);
            let mut parts = [const { ExactSum { low: 0, lanes: SmallVec::new_const(), uncarried: 0 } }; 3];
            for (x, _, part) in shuffled {
                parts[part].add(x);
            }
            let [mut merged, middle, mut last] = parts;
            last.add_sum(&middle);
            merged.add_sum(&last);
            prop_assert_eq!(merged.to_bytes(), plain.to_bytes());
            prop_assert_eq!(merged, plain);
        }

        #[test]
        fn what_is_retracted_was_never_there(kept in prop::collection::vec(finite(), 0..10), gone in prop::collection::vec(finite(), 0..10)) {
            let expected = sum_of(&kept);
            let mut sum = sum_of(&kept);
            gone.iter().for_each(|x| sum.add(*x));
            let mut other = sum.clone();
            gone.iter().rev().for_each(|x| sum.subtract(*x));
            other.subtract_sum(&sum_of(&gone));
            prop_assert_eq!(sum.to_bytes(), expected.to_bytes());
            prop_assert_eq!(other.to_bytes(), expected.to_bytes());
        }

        #[test]
        fn bytes_come_back(numbers in prop::collection::vec(finite(), 0..20)) {
            let sum = sum_of(&numbers);
            let read = ExactSum::from_bytes(&sum.to_bytes());
            prop_assert_eq!(read.as_ref(), Some(&sum));
            prop_assert_eq!(read.map(|read| read.value().to_bits()), Some(sum.value().to_bits()));
        }

        /// The conversion of integers to `f64` rounds to nearest, ties to even, as the sum must.
        #[test]
        fn the_value_is_the_integer_sum_rounded_once(
            numbers in prop::collection::vec((-(1_i64 << 53)..1 << 53, 0..60_u32), 0..40), exponent in -1074..900_i32,
        ) {
            let unit = if exponent < -1022 { f64::from_bits(1 << (exponent + 1074)) } else { 2f64.powi(exponent) };
            let integer: i128 = numbers.iter().map(|(mantissa, shift)| i128::from(*mantissa) << shift).sum();
            let scaled: Vec<f64> = numbers.iter().map(|(mantissa, shift)| *mantissa as f64 * (1_u64 << shift) as f64 * unit).collect();
            let value = sum_of(&scaled).value();
            prop_assert_eq!(value.to_bits(), (integer as f64 * unit + 0.0).to_bits(), "{:e}", value);
        }

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
