//! The conditions of a rule: one at the rule's own level, or several under `all_of`.

use std::ops::Range;
use std::time::Duration;

use crate::config::model::{self, Section};
use crate::config::smoothing;
use crate::decode::Mapping;
use crate::event::Task;
use crate::rule::{Bound, Condition};
use crate::settings::{Level, Placed, Table};
use crate::smoothing::Smoothing;

/// Least effective sample size where the rule names none: a rate of 0.9 is then known to about ±0.06 (95 %).
const MIN_SAMPLES: f64 = 100.0;

/// Indicators that read the predicted probability.
const NEED_SCORE: [&str; 3] = ["roc_auc", "log_loss", "brier"];

/// Indicators that cannot leave `[0, 1]`.
const UNIT_RANGE: [&str; 9] =
    ["accuracy", "precision", "recall", "f1", "brier", "roc_auc", "positive_rate", "match_rate", "unlabelled_rate"];

/// What a rule watches.
pub(super) struct Watched<'c> {
    pub(super) sections: &'c [&'c Section],
    pub(super) mapping: Option<&'c Mapping>,
    pub(super) tick: Duration,
}

/// What conditions take from their rule where they say nothing.
struct Inherited {
    smoothing: Option<Smoothing>,
    min_samples: Option<f64>,
}

pub(super) fn read(table: &mut Table<'_>, watched: &Watched<'_>) -> Option<Vec<Condition>> {
    let inherited = Inherited { smoothing: smoothing::read(table, watched.tick), min_samples: min_samples(table) };
    if table.place("all_of").is_none() {
        return Some(vec![read_one(table, watched, &inherited)?]);
    }
    for key in ["indicator", "above", "below", "outside", "clear"] {
        if let Some(span) = table.place(key) {
            table.problem(span, format_args!("`{key}` belongs in the conditions of `all_of`, not beside them"));
        }
    }
    let tables = table.tables("all_of")?;
    if tables.is_empty() {
        table.problem(
            table.span_of("all_of"),
            "`all_of` needs at least one condition, for example { indicator = \"rmse\", above = 4.0 }",
        );
        return None;
    }
    let read = |mut table: Table<'_>| {
        let own = Inherited {
            smoothing: smoothing::read(&mut table, watched.tick).or(inherited.smoothing),
            min_samples: min_samples(&mut table).or(inherited.min_samples),
        };
        let condition = read_one(&mut table, watched, &own);
        table.finish();
        condition
    };
    // All are read before any missing one ends it, so that all mistakes are found.
    let conditions: Vec<Option<Condition>> = tables.into_iter().map(read).collect();
    conditions.into_iter().collect()
}

fn read_one(table: &mut Table<'_>, watched: &Watched<'_>, inherited: &Inherited) -> Option<Condition> {
    let indicator = table.required_text("indicator", "\"rmse\"").and_then(|name| indicator(table, &name, watched));
    let bound = bound(table);
    let clear = bound.and_then(|bound| clear(table, bound));
    let smoothing = inherited.smoothing.or_else(|| common_smoothing(table, watched));
    let (indicator, bound) = (indicator?, bound?);
    check_range(table, indicator, bound);
    let min_samples = inherited.min_samples.unwrap_or_else(|| default_min_samples(indicator));
    if indicator == "prediction_rate" && matches!(bound, Bound::Below(_)) && min_samples > 0.0 {
        let why = "fewer predictions are fewer samples, so this rule would fall silent when it should fire";
        table.warn(table.span_of("min_samples"), format!("{}: {why}; leave `min_samples` out", table.title()));
    }
    Some(Condition { indicator, smoothing: smoothing?, bound, clear: clear?, min_samples })
}

fn indicator(table: &Table<'_>, name: &Placed<String>, watched: &Watched<'_>) -> Option<&'static str> {
    let tasks: Vec<Task> = watched.sections.iter().filter_map(|model| model.task).collect();
    let (Some(first), Some(last)) = (tasks.first(), tasks.last()) else {
        return model::indicator(table, name, None).map(|indicator| indicator.name());
    };
    let only_task = (first == last && tasks.iter().all(|task| task == first)).then_some(*first);
    let indicator = model::indicator(table, name, only_task)?;
    let misfit = watched.sections.iter().find(|model| indicator.task().zip(model.task).is_some_and(|(a, b)| a != b));
    if let Some(model) = misfit {
        let task = model.task.map_or("", Task::name);
        let cure = "watch fewer models";
        table.problem(
            name.span.clone(),
            format_args!(
                "`{}` does not fit model `{}`, whose task is \"{task}\"; {cure}",
                name.value, model.name.value
            ),
        );
        return None;
    }
    check_score(table, watched.mapping, indicator.name(), &name.span);
    Some(indicator.name())
}

/// Notes a mistake if the indicator reads scores and none are mapped.
pub(super) fn check_score(table: &Table<'_>, mapping: Option<&Mapping>, indicator: &str, span: &Range<usize>) {
    if NEED_SCORE.contains(&indicator) && mapping.is_some_and(|mapping| mapping.prediction.score.is_none()) {
        let message = format!("`{indicator}` reads the predicted probability; add `score` to `[predictions.fields]`");
        table.problem(span.clone(), message);
    }
}

/// The breach. Exactly one of `above`, `below` and `outside`.
fn bound(table: &mut Table<'_>) -> Option<Bound> {
    let above = table.number("above").map(|found| Bound::Above(found.value));
    let below = table.number("below").map(|found| Bound::Below(found.value));
    let outside = table.interval("outside").map(|found| Bound::Outside(found.value.0, found.value.1));
    let given: Vec<&str> = ["above", "below", "outside"].into_iter().filter(|key| table.has(key)).collect();
    match given.as_slice() {
        [_] => above.or(below).or(outside),
        [] => {
            let message =
                format!("{} needs one of `above`, `below` and `outside`, for example `above = 4.0`", table.title());
            table.missing_any(Level::Error, &["above", "below", "outside"], message);
            None
        }
        [first, second, ..] => {
            let band = "a band is written `outside = [low, high]`";
            table.problem(
                table.span_of(second),
                format_args!("has both `{first}` and `{second}`, of which it takes one; {band}"),
            );
            None
        }
    }
}

/// The bound that must be left behind to recover; the breach's own if there is no `clear`.
fn clear(table: &mut Table<'_>, bound: Bound) -> Option<Bound> {
    let span = table.span_of("clear");
    if !table.has("clear") {
        table.place("clear");
        return Some(bound);
    }
    let ends = "`clear` is where the alert ends, so it must";
    let (clear, wrong, message) = match bound {
        Bound::Above(limit) => {
            let clear = table.number("clear")?.value;
            (Bound::Above(clear), clear > limit, format!("{ends} not be greater than `above`, {limit}"))
        }
        Bound::Below(limit) => {
            let clear = table.number("clear")?.value;
            (Bound::Below(clear), clear < limit, format!("{ends} not be less than `below`, {limit}"))
        }
        Bound::Outside(low, high) => {
            let (from, to) = table.interval("clear")?.value;
            (Bound::Outside(from, to), from < low || to > high, format!("{ends} lie inside `outside`, [{low}, {high}]"))
        }
    };
    if wrong {
        table.problem(span, message);
        return None;
    }
    Some(clear)
}

/// A threshold where the indicator never gets to is a slip, most often percent for a fraction.
fn check_range(table: &Table<'_>, indicator: &str, bound: Bound) {
    let (key, limits) = match bound {
        Bound::Above(limit) => ("above", [limit, limit]),
        Bound::Below(limit) => ("below", [limit, limit]),
        Bound::Outside(low, high) => ("outside", [low, high]),
    };
    let beyond = limits.into_iter().find(|limit| !(0.0..=1.0).contains(limit));
    if let Some(limit) = beyond.filter(|_| UNIT_RANGE.contains(&indicator)) {
        let hint =
            if (1.0..=100.0).contains(&limit) { format!("; did you mean {}?", limit / 100.0) } else { String::new() };
        table.problem(table.span_of(key), format_args!("`{indicator}` lies between 0 and 1{hint}"));
    }
}

fn min_samples(table: &mut Table<'_>) -> Option<f64> {
    let found = table.number("min_samples")?;
    if found.value < 0.0 {
        table.problem(found.span, "`min_samples` must not be negative");
        return None;
    }
    Some(found.value)
}

/// A fall of the prediction rate is a fall of samples, so it must be judged without them.
fn default_min_samples(indicator: &str) -> f64 {
    if indicator == "prediction_rate" { 0.0 } else { MIN_SAMPLES }
}

/// The smoothing of the watched models, if they agree.
fn common_smoothing(table: &Table<'_>, watched: &Watched<'_>) -> Option<Smoothing> {
    let (first, rest) = watched.sections.split_first()?;
    if let Some(other) = rest.iter().find(|model| model.smoothing != first.smoothing) {
        let (one, two) = (&first.name.value, &other.name.value);
        let message = format!(
            "models `{one}` and `{two}` smooth differently ({}, {}); give the rule a `smoothing` of its own",
            first.smoothing, other.smoothing
        );
        table.problem(table.span(), message);
        return None;
    }
    Some(first.smoothing)
}
