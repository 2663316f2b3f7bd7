//! Exact sums of any width: a superaccumulator.
//!
//! R. M. Neal (2015), "Fast exact summation using small and large superaccumulators", arXiv 1505.05571.

use smallvec::SmallVec;

use super::Units;

/// Bits of a limb.
const LIMB_BITS: usize = 32;
/// Limbs that [`Units`] touch: 127 bits at any place within the first one.
const LIMBS_OF_UNITS: usize = 5;
/// Additions after which carries are propagated. A lane then holds less than 2^(29 + 32) and two of them can be added.
const LATEST_CARRY: u32 = 1 << 29;
/// More limbs than any sum has: 66 span the finite numbers, the rest holds 2^192 of the largest one.
const MOST_LIMBS: usize = 72;

/// A fixed-point number that is wide enough for every sum of finite numbers.
///
/// ```text
/// sum = Σ lanesᵢ · 2^(32 (low + i) − 1074)
/// ```
///
/// Limbs of 32 bits are kept in lanes of 64, so that carries are rarely propagated, and only the window of limbs that was
/// ever touched is stored, of at most 72.
#[derive(Clone, Debug, Default)]
pub(super) struct Lanes {
    /// Place of the first lane, in limbs above 2^−1074.
    low: usize,
    lanes: SmallVec<[i64; 6]>,
    /// Additions since carries were propagated.
    uncarried: u32,
}

impl Lanes {
    /// Adds `units`.
    pub(super) fn add_units(&mut self, units: Units) {
        let (limb, shift) = (usize::from(units.place) / LIMB_BITS, usize::from(units.place) % LIMB_BITS);
        let (sign, magnitude) = (if units.count < 0 { -1 } else { 1 }, units.count.unsigned_abs());
        let start = self.cover(limb, LIMBS_OF_UNITS);
        for at in 0..LIMBS_OF_UNITS - 1 {
            let shifted = u64::from(low_limb(magnitude >> (at * LIMB_BITS))) << shift;
            self.lanes[start + at] += sign * i64::from(low_limb(shifted.into()));
            self.lanes[start + at + 1] += sign * i64::from(low_limb((shifted >> LIMB_BITS).into()));
        }
        // A lane gets two limbs.
        self.note_additions(2);
    }

    /// Adds another sum, or takes it away if `sign` is −1.
    pub(super) fn add_sum(&mut self, other: &Lanes, sign: i64) {
        if other.lanes.is_empty() {
            return;
        }
        let start = self.cover(other.low, other.lanes.len());
        for (lane, addend) in self.lanes[start..].iter_mut().zip(&other.lanes) {
            *lane += sign * addend;
        }
        self.note_additions(other.uncarried + 1);
    }

    /// The nearest `f64`, ties to even; beyond the finite numbers ±`f64::MAX`.
    pub(super) fn value(&self) -> f64 {
        let sum = self.canonical();
        let magnitude = magnitude(sum.low, &sum.lanes);
        if sum.is_negative() { -magnitude } else { magnitude }
    }

    /// Place, sign and limbs; equal sums give equal bytes.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let sum = self.canonical();
        if sum.lanes.is_empty() {
            return Vec::new();
        }
        let sign = if sum.is_negative() { 0x80 } else { 0 };
        let head = [u8::try_from(sum.low).unwrap_or(u8::MAX) | sign];
        let limbs = sum.lanes.iter().map(|lane| low_limb(lane.unsigned_abs().into()));
        head.into_iter().chain(limbs.flat_map(u32::to_le_bytes)).collect()
    }

    /// The sum that [`Lanes::to_bytes`] wrote; `None` for other bytes.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Lanes> {
        let Some((head, limbs)) = bytes.split_first() else { return Some(Lanes::default()) };
        let (limbs, []) = limbs.as_chunks::<4>() else { return None };
        let low = usize::from(head & 0x7f);
        let sign = if head & 0x80 == 0 { 1 } else { -1 };
        let lanes: SmallVec<[i64; 6]> = limbs.iter().map(|limb| sign * i64::from(u32::from_le_bytes(*limb))).collect();
        let is_trimmed = lanes.first().is_some_and(|lane| *lane != 0) && lanes.last().is_some_and(|lane| *lane != 0);
        (is_trimmed && low + lanes.len() <= MOST_LIMBS).then_some(Lanes { low, lanes, uncarried: 0 })
    }

    /// The same as [`Units`], if they are certain to hold it; of the canonical form only.
    pub(super) fn as_units(&self) -> Option<Units> {
        if self.lanes.len() >= 4 {
            return None;
        }
        let count = self.lanes.iter().rev().fold(0, |count, lane| (count << LIMB_BITS) + i128::from(*lane));
        Some(Units { place: u16::try_from(self.low * LIMB_BITS).ok()?, count })
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
    fn canonical(&self) -> Lanes {
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
        Lanes { low, lanes, uncarried: 0 }
    }
}

/// Equal if the sums are, whichever way they came about.
impl PartialEq for Lanes {
    fn eq(&self, other: &Lanes) -> bool {
        let (a, b) = (self.canonical(), other.canonical());
        (a.low, a.lanes) == (b.low, b.lanes)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lowest 32 bits are wanted")]
fn low_limb(bits: u128) -> u32 {
    bits as u32
}

/// Propagates carries: every lane but the last becomes one limb, not negative; the last is not zero.
fn carry(lanes: &mut SmallVec<[i64; 6]>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Doubling gives lanes their greatest content faster than additions could.
    #[test]
    fn lanes_do_not_overflow() {
        let mut sum = Lanes::default();
        for (place, count) in [(1_074, i128::MAX), (1_000, -7), (70, 1)] {
            sum.add_units(Units { place, count });
        }
        for _ in 0..100 {
            sum.add_sum(&sum.clone(), 1);
            assert!(sum.lanes.iter().all(|lane| lane.unsigned_abs() < 1 << 62));
        }
        assert_eq!(sum.value(), 2f64.powi(227));
        assert!(sum.lanes.len() < MOST_LIMBS);
    }
}
