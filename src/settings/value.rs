//! TOML values as texts and numbers, and in words.

use std::ops::{Bound, RangeBounds};

use toml::de::DeValue;

/// ` from 1 to 100`, ` of at least 1`.
pub(super) fn in_words(range: &impl RangeBounds<i64>) -> String {
    let from = match range.start_bound() {
        Bound::Included(low) => Some(*low),
        Bound::Excluded(low) => Some(low.saturating_add(1)),
        Bound::Unbounded => None,
    };
    let to = match range.end_bound() {
        Bound::Included(high) => Some(*high),
        Bound::Excluded(high) => Some(high.saturating_sub(1)),
        Bound::Unbounded => None,
    };
    match (from, to) {
        (Some(from), Some(to)) => format!(" from {from} to {to}"),
        (Some(from), None) => format!(" of at least {from}"),
        (None, Some(to)) => format!(" of at most {to}"),
        (None, None) => String::new(),
    }
}

pub(super) fn as_text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        _ => None,
    }
}

pub(super) fn as_number(value: &DeValue<'_>) -> Option<f64> {
    let text = match value {
        DeValue::Integer(number) => return i64::from_str_radix(number.as_str(), number.radix()).ok().map(exact),
        DeValue::Float(number) => number.as_str(),
        _ => return None,
    };
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

#[expect(clippy::cast_precision_loss, reason = "thresholds are far below 2^53; beyond it the nearest number is meant")]
fn exact(number: i64) -> f64 {
    number as f64
}

/// What a text was probably meant to be.
pub(super) fn hint(wanted: &str, found: &DeValue<'_>) -> String {
    match found {
        DeValue::String(text) if wanted.contains("number") && text.parse::<f64>().is_ok() => {
            format!(", did you mean {text} without quotes?")
        }
        DeValue::String(text) if wanted.starts_with("a list of texts") => format!(", did you mean [{text:?}]?"),
        _ => String::new(),
    }
}

pub(super) fn describe(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
