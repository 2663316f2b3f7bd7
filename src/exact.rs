//! Exact sums: the same bits whatever the order, the split or the detour of the additions.
//!
//! Sums of `f64` depend on their order, because every addition rounds. Those here do not round: they form an abelian
//! group, so that partitions, threads and instances can each add their share, and a correction is a subtraction.

mod histogram;
mod lanes;

use self::lanes::Lanes;

pub use self::histogram::Histogram;

/// An exact sum of finite numbers.
///
/// A finite number is a whole number of 53 bits times a power of two, and the sum of a tick of like numbers a whole number
/// of 127 bits: one `i128` and the place of its lowest bit. Only what does not fit, numbers of very different magnitude or
/// very many of them, takes as many limbs as it needs.
///
/// # Cost
///
/// 32 bytes, and a few nanoseconds per addition, while the sum fits; some ten nanoseconds and an allocation otherwise.
#[derive(Clone, Debug)]
pub struct ExactSum(Form);

#[derive(Clone, Debug)]
enum Form {
    /// [`Units`], field by field: as a struct they would be half as large again.
    Narrow {
        place: u16,
        count: i128,
    },
    Wide(Box<Lanes>),
}

impl From<Units> for Form {
    fn from(Units { place, count }: Units) -> Form {
        Form::Narrow { place, count }
    }
}

/// A finite number taken apart, `count · 2^(place − 1074)`: once, to be added to many sums.
#[derive(Clone, Copy, Debug)]
pub struct Number {
    place: u16,
    count: i64,
}

impl Number {
    /// `x`, which must be finite; anything else counts as zero.
    #[inline]
    pub fn of(x: f64) -> Number {
        debug_assert!(x.is_finite(), "only finite numbers can be summed, not {x}");
        let exponent = x.to_bits() >> 52 & 0x7ff;
        let fraction = x.to_bits() & ((1 << 52) - 1);
        let mantissa = match exponent {
            0x7ff => 0,
            // Subnormals stand where the least normal numbers do.
            0 => fraction,
            _ => fraction | 1 << 52,
        };
        let count = if x.is_sign_negative() { -mantissa.cast_signed() } else { mantissa.cast_signed() };
        Number { place: u16::try_from(exponent.saturating_sub(1)).unwrap_or(0), count }
    }
}

/// `count · 2^(place − 1074)`; `count` is never `i128::MIN`, so that it can be negated.
#[derive(Clone, Copy, Debug)]
struct Units {
    place: u16,
    count: i128,
}

impl From<Number> for Units {
    fn from(Number { place, count }: Number) -> Units {
        Units { place, count: count.into() }
    }
}

impl Units {
    /// The sum, if it fits.
    #[inline]
    fn plus(self, other: Units) -> Option<Units> {
        if other.count == 0 {
            return Some(self);
        }
        if self.count == 0 {
            return Some(other);
        }
        let (low, high) = if self.place <= other.place { (self, other) } else { (other, self) };
        let count = low.count.checked_add(high.count_at(low.place)?)?;
        (count != i128::MIN).then_some(Units { place: low.place, count })
    }

    /// The count with a lower place, if it fits.
    #[inline]
    fn count_at(self, place: u16) -> Option<i128> {
        let shift = u32::from(self.place - place);
        let copies_of_sign = (self.count ^ (self.count >> 127)).leading_zeros();
        (shift < copies_of_sign).then(|| self.count << shift)
    }

    /// The nearest `f64`; `None` where it may be subnormal or infinite.
    fn value(self) -> Option<f64> {
        if self.count == 0 {
            return Some(0.0);
        }
        // The conversion rounds, to nearest and ties to even; the power of two is exact, and so is the product.
        let is_normal = (52..1_900).contains(&self.place);
        #[expect(clippy::cast_precision_loss, reason = "the one rounding that is meant")]
        is_normal.then(|| self.count as f64 * f64::from_bits(u64::from(self.place - 51) << 52))
    }
}

impl Default for ExactSum {
    fn default() -> ExactSum {
        ExactSum(Form::Narrow { place: 0, count: 0 })
    }
}

impl ExactSum {
    /// Adds `x`, which must be finite; anything else is ignored.
    pub fn add(&mut self, x: f64) {
        self.add_number(Number::of(x));
    }

    /// Adds a number taken apart.
    #[inline]
    pub fn add_number(&mut self, number: Number) {
        // The usual case, in a few steps: the number stands no lower than the sum, and not so high that it might not fit.
        if let Form::Narrow { place, count } = &mut self.0
            && let Some(shift @ 0..=64) = number.place.checked_sub(*place)
            && let Some(total) = count.checked_add(i128::from(number.count) << shift)
            && total != i128::MIN
        {
            *count = total;
        } else {
            self.add_units(number.into());
        }
    }

    /// Takes `x` away again.
    pub fn subtract(&mut self, x: f64) {
        self.add(-x);
    }

    /// Adds another sum.
    pub fn add_sum(&mut self, other: &ExactSum) {
        self.accumulate(other, 1);
    }

    /// Takes another sum away again.
    pub fn subtract_sum(&mut self, other: &ExactSum) {
        self.accumulate(other, -1);
    }

    fn accumulate(&mut self, other: &ExactSum, sign: i64) {
        match other.units() {
            Ok(units) => self.add_units(Units { count: i128::from(sign) * units.count, ..units }),
            Err(lanes) => self.widen(|sum| sum.add_sum(lanes, sign)),
        }
    }

    /// The sum as units; as lanes if it does not fit.
    #[inline]
    fn units(&self) -> Result<Units, &Lanes> {
        match &self.0 {
            Form::Narrow { place, count } => Ok(Units { place: *place, count: *count }),
            Form::Wide(lanes) => Err(lanes),
        }
    }

    fn add_units(&mut self, units: Units) {
        match self.units().ok().and_then(|sum| sum.plus(units)) {
            Some(total) => self.0 = total.into(),
            None => self.widen(|sum| sum.add_units(units)),
        }
    }

    #[cold]
    fn widen(&mut self, add: impl FnOnce(&mut Lanes)) {
        let mut lanes = match std::mem::take(self).0 {
            Form::Wide(lanes) => lanes,
            Form::Narrow { place, count } => Box::new(wide(Units { place, count })),
        };
        add(&mut lanes);
        self.0 = Form::Wide(lanes);
    }

    fn with_lanes<T>(&self, use_them: impl FnOnce(&Lanes) -> T) -> T {
        match self.units() {
            Ok(units) => use_them(&wide(units)),
            Err(lanes) => use_them(lanes),
        }
    }

    /// Whether the sum is zero.
    pub fn is_zero(&self) -> bool {
        self.value() == 0.0
    }

    /// The sum, rounded once: to the nearest `f64`, ties to even. Beyond the finite numbers it is ±`f64::MAX`.
    pub fn value(&self) -> f64 {
        self.units().ok().and_then(Units::value).unwrap_or_else(|| self.with_lanes(Lanes::value))
    }

    /// The sum as bytes; equal sums give equal bytes.
    ///
    /// Empty if zero. Else one byte with the place of the lowest limb, its top bit set if the sum is negative, and the
    /// limbs of the magnitude from low to high, each of four bytes in little-endian order.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.with_lanes(Lanes::to_bytes)
    }

    /// The sum that [`ExactSum::to_bytes`] wrote; `None` for other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<ExactSum> {
        let lanes = Lanes::from_bytes(bytes)?;
        Some(ExactSum(lanes.as_units().map_or_else(|| Form::Wide(Box::new(lanes)), Form::from)))
    }
}

/// Equal if the sums are, whichever way they came about.
impl PartialEq for ExactSum {
    fn eq(&self, other: &ExactSum) -> bool {
        self.with_lanes(|ours| other.with_lanes(|theirs| ours == theirs))
    }
}

impl Eq for ExactSum {}

fn wide(units: Units) -> Lanes {
    let mut lanes = Lanes::default();
    lanes.add_units(units);
    lanes
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

    /// Any finite number, of any exponent; or one of those whose sums just fit, or just do not.
    fn finite() -> impl Strategy<Value = f64> {
        let any_exponent = any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |x| x.is_finite());
        let like = (any::<i64>(), -40..40_i32).prop_map(|(mantissa, exponent)| mantissa as f64 * 2f64.powi(exponent));
        prop_oneof![any_exponent, like.clone(), like]
    }

    /// Millions of them are kept; the sum of a term takes no more.
    #[test]
    fn a_sum_is_half_a_cache_line() {
        assert_eq!((size_of::<ExactSum>(), size_of::<crate::summary::Cell>()), (32, 32));
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

    /// Doubling makes a sum wide faster than additions could.
    #[test]
    fn doubling_loses_nothing() {
        let mut sum = sum_of(&[1.5, -0.1, 1e-300]);
        for _ in 0..100 {
            sum.add_sum(&sum.clone());
        }
        assert_eq!(sum.value(), 1.4 * 2f64.powi(100));
    }

    #[test]
    fn foreign_bytes_are_refused() {
        for bytes in
            [&[0x00][..], &[0x80], &[1, 1, 0, 0], &[1, 0, 0, 0, 0], &[1, 1, 0, 0, 0, 0, 0, 0, 0], &[0x7f, 1, 0, 0, 0]]
        {
            assert_eq!(ExactSum::from_bytes(bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_order_split_and_merge_gives_the_same_bytes(
            numbers in prop::collection::vec((finite(), any::<u64>(), 0..3_usize), 0..40),
        ) {
            let plain = sum_of(&numbers.iter().map(|number| number.0).collect::<Vec<_>>());
            let mut shuffled = numbers;
            shuffled.sort_by_key(|number| number.1);
            let mut parts = [(); 3].map(|()| ExactSum::default());
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
    }
}
