//! Numbers, times and foreign text as people read them.

use std::time::Duration;

use crate::clock::Timestamp;
use crate::rule::Bound;

/// Significant digits of a value.
const DIGITS: usize = 4;

/// `text` fit for a header or a line: no control characters, none that reorder or hide text, at most `most` characters.
///
/// Line breaks and tabs become a space, the rest `U+FFFD`, so that an attempt to deceive stays visible.
pub(super) fn clean(text: &str, most: usize) -> String {
    cut(&text.chars().take(most.saturating_add(1)).map(plain).collect::<String>(), most)
}

fn plain(c: char) -> char {
    match c {
        '\r' | '\n' | '\t' | '\u{85}' | '\u{2028}' | '\u{2029}' => ' ',
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{ad}' => {
            '\u{fffd}'
        }
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// `text`, its end replaced by `…` if it has more than `most` characters.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// `value` with four significant digits; digits before the point are never dropped: `5.312`, `0.8125`, `123457`, `1.234e-5`.
pub(super) fn number(value: f64) -> String {
    digits(value, DIGITS)
}

/// `value` with as many digits as tell it from the limits of `bound`, at least four significant ones.
///
/// So that nobody reads "0.8 < 0.8".
pub(super) fn number_beside(value: f64, bound: Bound) -> String {
    let (low, high) = limits(bound);
    let differs = |text: &String| {
        let shown = text.parse::<f64>().unwrap_or(value);
        [low, high].iter().all(|limit| value.partial_cmp(limit) == shown.partial_cmp(limit))
    };
    (DIGITS..=17).map(|count| digits(value, count)).find(differs).unwrap_or_else(|| value.to_string())
}

fn limits(bound: Bound) -> (f64, f64) {
    match bound {
        Bound::Above(limit) | Bound::Below(limit) => (limit, limit),
        Bound::Outside(low, high) => (low, high),
    }
}

fn digits(value: f64, count: usize) -> String {
    let scientific = format!("{value:.*e}", count - 1);
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value != 0.0 && !(-4..15).contains(&exponent) {
        return format!("{}e{exponent}", trim_zeros(mantissa));
    }
    let places = usize::try_from(i32::try_from(count - 1).unwrap_or(3) - exponent).unwrap_or(0);
    trim_zeros(&format!("{value:.places$}")).to_owned()
}

fn trim_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// The two largest units: `42 seconds`, `12 minutes`, `1 hour 5 minutes`, `3 days`.
pub(super) fn span(span: Duration) -> String {
    units(span, |count, unit| format!("{count} {unit}{}", if count == 1 { "" } else { "s" }))
}

/// The two largest units, short: `42s`, `12m`, `1h 5m`, `3d`.
pub(super) fn short_span(span: Duration) -> String {
    units(span, |count, unit| format!("{count}{}", &unit[..1]))
}

fn units(span: Duration, word: impl Fn(u64, &str) -> String) -> String {
    let (mut rest, mut words) = (span.as_secs(), Vec::new());
    for (unit, length) in [("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)] {
        let count = rest / length;
        rest %= length;
        if count > 0 {
            words.push(word(count, unit));
        }
        // Seconds beside minutes, and whatever follows the second unit, tell nobody anything.
        if words.len() == 2 || (length == 60 && !words.is_empty()) {
            break;
        }
    }
    if words.is_empty() { word(0, "second") } else { words.join(" ") }
}

/// `at` as RFC 5322 writes it, in UTC; as RFC 3339 if the calendar cannot hold it.
pub(super) fn mail_date(at: Timestamp) -> String {
    let instant = jiff::Timestamp::from_microsecond(at.as_micros()).ok();
    instant
        .and_then(|at| jiff::fmt::rfc2822::to_string(&at.to_zoned_datetime(jiff::tz::TimeZone::UTC)).ok())
        .unwrap_or_else(|| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_significant_digits() {
        for (value, expected) in [
            (5.3123, "5.312"),
            (0.8125, "0.8125"),
            (4.0, "4"),
            (123_456.7, "123457"),
            (0.000_012_34, "1.234e-5"),
            (0.0, "0"),
            (-0.5, "-0.5"),
            (0.001_234_5, "0.001234"),
            (9_999.96, "10000"),
            (1e20, "1e20"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "inf"),
        ] {
            assert_eq!(number(value), expected);
        }
    }

    #[test]
    fn a_value_is_told_from_its_limit() {
        assert_eq!(number_beside(4.000_03, Bound::Above(4.0)), "4.00003");
        assert_eq!(number_beside(0.799_999, Bound::Below(0.8)), "0.799999");
        assert_eq!(number_beside(5.312_34, Bound::Above(4.0)), "5.312");
        assert_eq!(number_beside(4.0, Bound::Above(4.0)), "4");
        assert_eq!(number_beside(1.000_002, Bound::Outside(-1.0, 1.0)), "1.000002");
    }

    #[test]
    fn spans_have_two_units() {
        for (secs, long, short) in [
            (0, "0 seconds", "0s"),
            (42, "42 seconds", "42s"),
            (90, "1 minute", "1m"),
            (3_900, "1 hour 5 minutes", "1h 5m"),
            (86_400, "1 day", "1d"),
            (90_061, "1 day 1 hour", "1d 1h"),
            (86_700, "1 day 5 minutes", "1d 5m"),
        ] {
            assert_eq!(
                (span(Duration::from_secs(secs)).as_str(), short_span(Duration::from_secs(secs)).as_str()),
                (long, short)
            );
        }
    }

    #[test]
    fn foreign_text_cannot_break_or_reorder_a_line() {
        assert_eq!(clean("a\r\nBcc: x@y\u{202e}\0", 100), "a  Bcc: x@y\u{fffd}\u{fffd}");
        assert_eq!(clean("abcdef", 4), "abc…");
        assert_eq!(clean("äöü", 3), "äöü");
    }

    #[test]
    fn dates_are_those_of_mail() {
        assert_eq!(mail_date(Timestamp::from_secs(784_111_777)), "Sun, 6 Nov 1994 08:49:37 +0000");
    }
}
