//! What stands at a place of a record, and its reading as text, number, time or scalar.

use std::borrow::Cow;

use crate::clock::Timestamp;
use crate::decode::Rejection;
use crate::event::Scalar;

/// What stands at a place.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found<'a> {
    /// Nothing.
    Missing,
    /// `null`; means the same as nothing.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number within `i64` or `u64`.
    Integer(i128),
    /// Any other number.
    Float(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// The record's timestamp.
    Instant(Timestamp),
    /// An object or an array.
    Compound,
}

/// From here on neighbouring whole numbers have the same `f64`.
const INEXACT: f64 = 9_007_199_254_740_992.0;

/// The last microsecond of the year 9999.
const LATEST_MICROS: i64 = 253_402_300_799_999_999;

impl<'a> Found<'a> {
    /// Whether there is something, right or wrong.
    pub(super) fn is_present(&self) -> bool {
        !matches!(self, Found::Missing | Found::Null)
    }

    /// As text: whole numbers as they are written, other numbers in the shortest form, `true` and `false`.
    ///
    /// # Errors
    ///
    /// What is wrong: an object, an array, or a number of which neighbours would give the same text.
    pub(super) fn text(&self) -> Result<Option<Cow<'a, str>>, &'static str> {
        Ok(Some(match self {
            Found::Missing | Found::Null => return Ok(None),
            Found::Text(text) => text.clone(),
            Found::Boolean(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Found::Integer(number) => Cow::Owned(number.to_string()),
            Found::Float(number) if number.abs() < INEXACT => Cow::Owned(number.to_string()),
            Found::Float(_) => return Err("is a number of more than 64 bits, which must be written as a text"),
            Found::Instant(at) => Cow::Owned(at.to_string()),
            Found::Compound => return Err("is an object or an array, not a text or a number"),
        }))
    }

    /// As a finite number, also if written as a text.
    ///
    /// # Errors
    ///
    /// A rejection that names `field`.
    pub(super) fn number(&self, field: &'static str) -> Result<Option<f64>, Rejection> {
        let number = match self {
            Found::Missing | Found::Null => return Ok(None),
            Found::Integer(number) => nearest(*number),
            Found::Float(number) => *number,
            Found::Text(text) => text.trim().parse().map_err(|_| invalid(field, "is a text that is no number"))?,
            Found::Boolean(_) | Found::Instant(_) | Found::Compound => return Err(invalid(field, "is no number")),
        };
        if number.is_finite() { Ok(Some(number)) } else { Err(Rejection::NonFinite(field)) }
    }

    /// As a scalar, without a thought of what it means.
    ///
    /// # Errors
    ///
    /// A rejection that names `field`.
    pub(super) fn scalar(&self, field: &'static str) -> Result<Option<Scalar<'a>>, Rejection> {
        Ok(Some(match self {
            Found::Missing | Found::Null => return Ok(None),
            Found::Boolean(value) => Scalar::Boolean(*value),
            Found::Integer(number) => Scalar::Number(nearest(*number)),
            Found::Float(number) => Scalar::Number(*number),
            Found::Text(text) => Scalar::Text(text.clone()),
            Found::Instant(at) => Scalar::Text(Cow::Owned(at.to_string())),
            Found::Compound => return Err(invalid(field, "is an object or an array, not a number, text or boolean")),
        }))
    }

    /// As a time: RFC 3339 with an offset, or a number (also as text) of seconds, milliseconds, microseconds or
    /// nanoseconds since the epoch, told apart by magnitude: below 1e11 s, below 1e14 ms, below 1e17 us, else ns.
    ///
    /// # Errors
    ///
    /// If it is none of these or not between the years 1970 and 9999.
    pub(super) fn time(&self) -> Result<Option<Timestamp>, Rejection> {
        let at = match self {
            Found::Missing | Found::Null => return Ok(None),
            Found::Instant(at) => Some(*at),
            Found::Integer(number) => whole_epoch(*number),
            Found::Float(number) => fractional_epoch(*number),
            Found::Text(text) => time_in(text.trim()),
            Found::Boolean(_) | Found::Compound => None,
        };
        let sane = at.filter(|at| (0..=LATEST_MICROS).contains(&at.as_micros()));
        sane.map(Some).ok_or_else(|| {
            invalid("time", "is no time between 1970 and 9999 (RFC 3339 with an offset, or a number since the epoch)")
        })
    }
}

fn time_in(text: &str) -> Option<Timestamp> {
    if let Ok(number) = text.parse::<i64>() {
        return whole_epoch(number.into());
    }
    match text.parse::<f64>() {
        Ok(number) => fractional_epoch(number),
        Err(_) => Timestamp::parse_rfc3339(text),
    }
}

/// Whole numbers stay whole: nanoseconds of today have more digits than an `f64`.
fn whole_epoch(number: i128) -> Option<Timestamp> {
    let micros = match number.unsigned_abs() {
        0..100_000_000_000 => number.checked_mul(1_000_000)?,
        100_000_000_000..100_000_000_000_000 => number.checked_mul(1_000)?,
        100_000_000_000_000..100_000_000_000_000_000 => number,
        _ => number.div_euclid(1_000),
    };
    i64::try_from(micros).ok().map(Timestamp::from_micros)
}

/// Seconds of today with six decimals are exact to a quarter of a microsecond.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates and what is out of range is refused by `time`")]
fn fractional_epoch(number: f64) -> Option<Timestamp> {
    let micros_per_unit = match number.abs() {
        size if size < 1e11 => 1e6,
        size if size < 1e14 => 1e3,
        size if size < 1e17 => 1.0,
        _ => 1e-3,
    };
    number.is_finite().then(|| Timestamp::from_micros((number * micros_per_unit).round() as i64))
}

#[expect(clippy::cast_precision_loss, reason = "the nearest number is meant")]
fn nearest(number: i128) -> f64 {
    number as f64
}

/// A rejection of `field`.
pub(super) fn invalid(field: &'static str, problem: impl Into<String>) -> Rejection {
    Rejection::Invalid { field, problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_time(found: Found<'_>, expected: Option<&str>) {
        let text = found.time().ok().flatten().map(|at| at.to_string());
        assert_eq!(text.as_deref(), expected);
    }

    fn text(text: &str) -> Found<'_> {
        Found::Text(Cow::Borrowed(text))
    }

    #[test]
    fn times() {
        let instant = Some("2023-11-14T22:13:20.123456Z");
        check_time(Found::Float(1_700_000_000.123_456), instant);
        check_time(Found::Float(1_700_000_000_123.456), instant);
        check_time(Found::Integer(1_700_000_000_123_456), instant);
        check_time(Found::Integer(1_700_000_000_123_456_789), instant);
        check_time(text("1700000000123456999"), instant);
        check_time(text("1700000000.123456"), instant);
        check_time(text("2023-11-14T23:13:20.123456+01:00"), instant);
        check_time(Found::Integer(1_700_000_000), Some("2023-11-14T22:13:20Z"));
        check_time(Found::Integer(1_700_000_000_000), Some("2023-11-14T22:13:20Z"));
        check_time(text("2023-11-14T22:13:20Z"), Some("2023-11-14T22:13:20Z"));
        check_time(Found::Integer(0), Some("1970-01-01T00:00:00Z"));
        check_time(Found::Instant(Timestamp::from_micros(1)), Some("1970-01-01T00:00:00.000001Z"));
    }

    #[test]
    fn no_times() {
        for found in [
            Found::Integer(-1),
            Found::Float(f64::INFINITY),
            Found::Float(1e300),
            Found::Float(-0.5),
            Found::Boolean(true),
            Found::Compound,
            text(""),
            text("NaN"),
            text("2023-11-14"),
            text("2023-11-14T22:13:20"),
            text("0000-01-01T00:00:00Z"),
            text("99999999999999999999999"),
        ] {
            assert!(found.time().is_err(), "{found:?}");
        }
    }

    #[track_caller]
    fn check_text(found: Found<'_>, expected: Result<Option<&str>, ()>) {
        assert_eq!(
            found.text().map_err(|_| ()).as_ref().map(|text| text.as_deref()),
            expected.as_ref().map(|text| *text)
        );
    }

    #[test]
    fn texts() {
        check_text(Found::Integer(u64::MAX.into()), Ok(Some("18446744073709551615")));
        check_text(Found::Integer(i64::MIN.into()), Ok(Some("-9223372036854775808")));
        check_text(Found::Float(1.5), Ok(Some("1.5")));
        check_text(Found::Float(1e22), Err(()));
        check_text(Found::Boolean(false), Ok(Some("false")));
        check_text(Found::Null, Ok(None));
        check_text(Found::Compound, Err(()));
    }

    #[test]
    fn numbers() {
        assert_eq!(text(" 0.25 ").number("score"), Ok(Some(0.25)));
        assert_eq!(text("NaN").number("score"), Err(Rejection::NonFinite("score")));
        assert_eq!(text("1e999").number("score"), Err(Rejection::NonFinite("score")));
        assert!(matches!(text("high").number("score"), Err(Rejection::Invalid { .. })));
        assert!(matches!(Found::Boolean(true).number("score"), Err(Rejection::Invalid { .. })));
    }
}
