//! The facts of a notice: since when, what was measured against which threshold, how sure.

use serde::Serialize;

use super::group::Notice;
use super::trouble::Telling;
use super::words::{clean, number, number_beside, short_span, span};
use super::{Rendering, SENTENCE_MAX, TEXT_MAX};
use crate::alert::{Change, Evidence, Transition};
use crate::clock::Timestamp;
use crate::rule::Bound;

/// One line of them.
#[derive(Debug, Serialize)]
pub(super) struct Fact {
    pub(super) name: String,
    pub(super) value: String,
}

pub(super) fn facts(notice: &Notice<'_>, now: Timestamp, options: &Rendering) -> Vec<Fact> {
    let first = notice.first;
    let mut facts = vec![when(first, now, options)];
    if !notice.others.is_empty() {
        facts.push(fact("Worst", place(first)));
    }
    // Of what is silent or no longer watched nothing is measured: numbers would only seem to say something.
    if !matches!(first.change, Change::NoData(_) | Change::Ended(_)) {
        for evidence in &first.evidence {
            facts.push(fact(evidence.indicator, condition(first, evidence)));
            facts.push(fact("How sure", how_sure(evidence)));
        }
    }
    facts
}

fn when(first: &Transition, now: Timestamp, options: &Rendering) -> Fact {
    let at = |at: Timestamp| at.in_zone(&options.zone);
    let ago = |at: Timestamp| format!("{} before this mail", span(now.since(at)));
    let lasted = span(first.at.since(first.since));
    match first.change {
        Change::Resolved | Change::Ended(_) => {
            fact("Lasted", format!("{lasted}, from {} to {} ({})", at(first.since), at(first.at), ago(first.at)))
        }
        Change::DataBack => {
            fact("Silent", format!("{lasted}, from {} to {} ({})", at(first.since), at(first.at), ago(first.at)))
        }
        _ => fact("Since", format!("{} ({})", at(first.since), ago(first.since))),
    }
}

fn condition(first: &Transition, evidence: &Evidence) -> String {
    let hold = if first.hold.is_zero() { String::new() } else { format!(" for {}", short_span(first.hold)) };
    format!(
        "{} (fires when {}{hold}, clears {}; {})",
        shown(evidence),
        evidence.bound,
        cleared(evidence.clear),
        evidence.smoothing
    )
}

fn cleared(clear: Bound) -> String {
    match clear {
        Bound::Above(limit) => format!("at {limit} or less"),
        Bound::Below(limit) => format!("at {limit} or more"),
        Bound::Outside(low, high) => format!("within [{low}, {high}]"),
    }
}

fn how_sure(evidence: &Evidence) -> String {
    let asked = if evidence.n_eff < evidence.min_samples { "fewer than the" } else { "at least" };
    let samples =
        format!("{} effective samples, {asked} {} needed", count(evidence.n_eff), count(evidence.min_samples));
    match evidence.bracket {
        Some((low, high)) => format!("{samples}; the exact value lies in [{}, {}]", number(low), number(high)),
        None => samples,
    }
}

pub(super) fn place(transition: &Transition) -> String {
    let model = clean(&transition.model, TEXT_MAX);
    match &transition.segment {
        Some((dimension, value)) => format!("{model}, {}={}", clean(dimension, TEXT_MAX), clean(value, TEXT_MAX)),
        None => model,
    }
}

pub(super) fn shown(evidence: &Evidence) -> String {
    match &evidence.value {
        Ok(value) => with_unit(&number_beside(*value, evidence.bound), evidence.unit),
        Err(why) => format!("unknown ({})", clean(why, TEXT_MAX)),
    }
}

fn with_unit(number: &str, unit: &str) -> String {
    if unit.is_empty() { number.to_owned() } else { format!("{number} {unit}") }
}

/// The facts of one trouble.
pub(super) fn trouble_facts(telling: &Telling, now: Timestamp, options: &Rendering) -> Vec<Fact> {
    let Telling { trouble, meanwhile } = telling;
    let mut facts = vec![
        fact("What", clean(&trouble.what, SENTENCE_MAX)),
        fact(
            "Since",
            format!("{} ({} before this mail)", trouble.since.in_zone(&options.zone), span(now.since(trouble.since))),
        ),
    ];
    facts.extend(trouble.span.map(|between| fact("Missing span", missing(between, options))));
    if *meanwhile > 0 {
        facts.push(fact("Meanwhile", format!("it came {meanwhile} more times since it was last told")));
    }
    facts
}

/// One trouble among several.
pub(super) fn trouble_line(telling: &Telling, options: &Rendering) -> Fact {
    let Telling { trouble, meanwhile } = telling;
    let between = trouble.span.map(|between| format!("; missing: {}", missing(between, options))).unwrap_or_default();
    let again = if *meanwhile > 0 { format!("; {meanwhile} more times meanwhile") } else { String::new() };
    let since = trouble.since.in_zone(&options.zone);
    fact(&clean(&trouble.place, TEXT_MAX), format!("{}, since {since}{between}{again}", clean(&trouble.what, TEXT_MAX)))
}

fn missing((from, to): (Timestamp, Timestamp), options: &Rendering) -> String {
    format!("{} from {} to {}", span(to.since(from)), from.in_zone(&options.zone), to.in_zone(&options.zone))
}

/// A number of samples; fractions matter only when there are few.
pub(super) fn count(samples: f64) -> String {
    number(if samples >= 10.0 { samples.floor() } else { samples })
}

pub(super) fn fact(name: &str, value: String) -> Fact {
    Fact { name: name.to_owned(), value }
}
