//! The subject: what an on-call person reads on a lock screen.

use super::group::Notice;
use super::trouble::{Telling, TroubleKind};
use super::words::{clean, cut, number_beside, short_span};
use crate::alert::{Change, Evidence, Silence, Transition};
use crate::rule::Bound;

/// Longest subject, in characters; more is not shown by phones, and mail readers fold it.
const SUBJECT_MAX: usize = 70;
/// Foreign names are never cut shorter than this.
const NAME_MIN: usize = 8;

/// `[FIRING critical] eta rmse 5.31 > 4 region=eu +11 more`, at most 70 characters.
pub(super) fn of(notice: &Notice<'_>) -> String {
    let first = notice.first;
    let badge = badge(notice);
    let what = what(first);
    let more = if notice.others.is_empty() { String::new() } else { format!(" +{} more", notice.others.len()) };
    let (dimension, value) = match &first.segment {
        Some((dimension, value)) => (format!(" {}=", clean(dimension, 20)), clean(value, SUBJECT_MAX)),
        None => (String::new(), String::new()),
    };
    let build = |model: &str, value: &str| format!("[{badge}] {model}{what}{dimension}{value}{more}");
    fit(clean(&first.model, SUBJECT_MAX), value, build)
}

/// `[TROUBLE] records lost: eta-predictions/3 +22 more`, at most 70 characters.
pub(super) fn of_trouble(kind: TroubleKind, tellings: &[Telling]) -> String {
    let more = tellings.len().saturating_sub(1);
    let more = if more == 0 { String::new() } else { format!(" +{more} more") };
    let place = tellings.first().map_or_else(String::new, |first| clean(&first.trouble.place, SUBJECT_MAX));
    let build = |place: &str, _: &str| format!("[TROUBLE] {}: {place}{more}", kind.name().replace('_', " "));
    fit(place, String::new(), build)
}

/// Shortens the longer of two names until `build` gives a subject that fits.
fn fit(mut model: String, mut value: String, build: impl Fn(&str, &str) -> String) -> String {
    let length = |text: &str| text.chars().count();
    while length(&build(&model, &value)) > SUBJECT_MAX {
        let longer = if length(&model) >= length(&value) { &mut model } else { &mut value };
        if length(longer) <= NAME_MIN {
            break;
        }
        *longer = cut(longer, length(longer) - 1);
    }
    cut(&build(&model, &value), SUBJECT_MAX)
}

fn badge(notice: &Notice<'_>) -> String {
    let state = super::view::state(notice.first.change).badge;
    match notice.first.change {
        Change::Fired => format!("{state} {}", notice.severity().name()),
        _ => state.to_owned(),
    }
}

/// What follows the model's name.
fn what(transition: &Transition) -> String {
    let lasted = short_span(transition.at.since(transition.since));
    match transition.change {
        Change::NoData(Silence::Predictions) => format!(": no predictions for {lasted}"),
        Change::NoData(Silence::Labels) => format!(": no labels for {lasted}"),
        Change::DataBack => format!("{} after {lasted} of silence", headline(transition)),
        Change::Ended(_) => format!("{}, no recovery measured", headline(transition)),
        Change::Resolved => headline(transition) + &beside(transition, false),
        Change::Repeated => format!("{}{}, for {lasted}", headline(transition), beside(transition, true)),
        _ => headline(transition) + &beside(transition, true),
    }
}

fn headline(transition: &Transition) -> String {
    transition.evidence.first().map_or_else(String::new, |one| format!(" {}", one.indicator))
}

/// ` 5.31 > 4` of a breach, ` 3.41 <= 4` of its end; empty without a value.
fn beside(transition: &Transition, breach: bool) -> String {
    let Some(evidence @ Evidence { value: Ok(value), .. }) = transition.evidence.first() else { return String::new() };
    let value = number_beside(*value, evidence.bound);
    match (evidence.bound, breach) {
        (Bound::Above(limit), true) => format!(" {value} > {limit}"),
        (Bound::Above(limit), false) => format!(" {value} <= {limit}"),
        (Bound::Below(limit), true) => format!(" {value} < {limit}"),
        (Bound::Below(limit), false) => format!(" {value} >= {limit}"),
        (Bound::Outside(low, high), true) => format!(" {value} outside [{low}, {high}]"),
        (Bound::Outside(low, high), false) => format!(" {value} inside [{low}, {high}]"),
    }
}
