//! The `[model.NAME]` sections.

use std::time::Duration;

use crate::config::place::Places;
use crate::config::smoothing::show;
use crate::config::{check_name, missing_section, smoothing};
use crate::event::Task;
use crate::indicator::{self, Indicator};
use crate::pattern;
use crate::pipeline::Model;
use crate::settings::{Placed, Table, unknown};
use crate::smoothing::Smoothing;

/// Most dimensions of one model: every one multiplies the series.
const MAX_DIMENSIONS: usize = 8;

/// A section as far as it could be read, for those who refer to it.
pub(super) struct Section {
    pub(super) name: Placed<String>,
    pub(super) task: Option<Task>,
    pub(super) smoothing: Smoothing,
    /// Names of the segment dimensions.
    pub(super) dimensions: Vec<(String, usize)>,
    /// Indicators that are shown, for the checks that need the mapping.
    pub(super) indicators: Vec<Placed<&'static dyn Indicator>>,
    /// The finished model; `None` if the section has mistakes.
    model: Option<Model>,
}

impl Section {
    pub(super) fn into_model(self) -> Option<Model> {
        self.model
    }
}

/// All sections, in the order of the file.
pub(super) fn read(root: &mut Table<'_>, places: &mut Places, tick: Duration) -> Vec<Section> {
    let sections: Vec<Section> =
        root.named("model").into_iter().map(|(name, table)| read_model(name, table, places, tick)).collect();
    if sections.is_empty() && !root.has("model") {
        missing_section::<()>(root, "model", "model.NAME", "task = \"regression\"");
    }
    for (n, section) in sections.iter().enumerate() {
        let earlier =
            sections.iter().take(n).find(|earlier| pattern::matches(&earlier.name.value, &section.name.value));
        if let Some(earlier) = earlier {
            let (name, taker) = (&section.name.value, &earlier.name.value);
            let message =
                format!("`[model.{name}]` is never used, because `{taker}` above it takes its names; put it first");
            root.problem(section.name.span.clone(), message);
        }
    }
    sections
}

fn read_model(name: Placed<String>, mut table: Table<'_>, places: &mut Places, tick: Duration) -> Section {
    check_name(&name, &table, "*");
    let task = task(&mut table);
    let smoothing = smoothing::read(&mut table, tick).unwrap_or(Smoothing::HalfLife(Duration::from_secs(30 * 60)));
    let dimensions = dimensions(&mut table, places);
    let indicators = indicators(&mut table, task);
    let times = times(&mut table);
    let max_segment_values = table.integer("max_segment_values", 1..=10_000).and_then(|n| usize::try_from(n).ok());
    let (classes, threshold) = (classes(&mut table, task), threshold(&mut table, task));
    table.finish();
    let finish = |task: Task, (label_timeout, early_label_wait, dedupe_window)| Model {
        pattern: name.value.clone(),
        task,
        label_timeout,
        early_label_wait,
        dedupe_window,
        dimensions: dimensions.clone(),
        max_segment_values: max_segment_values.unwrap_or(100),
        classes,
        threshold: threshold.unwrap_or(0.5),
        smoothing,
        indicators: match &indicators {
            Some(named) => named.iter().map(|indicator| indicator.value).collect(),
            None => default_indicators(task),
        },
    };
    let model = task.zip(times).map(|(task, times)| finish(task, times));
    Section { name, task, smoothing, dimensions, indicators: indicators.unwrap_or_default(), model }
}

fn task(table: &mut Table<'_>) -> Option<Task> {
    if !table.has("task") {
        table.missing("task", "\"regression\"` or `task = \"binary\"");
    }
    table.choice("task", &Task::ALL)
}

/// `label_timeout`, `early_label_wait`, `dedupe_window`.
fn times(table: &mut Table<'_>) -> Option<(Duration, Duration, Duration)> {
    // There is no sensible default: minutes for deliveries, months for loans. A wrong one loses labels silently.
    if !table.has("label_timeout") {
        table.missing("label_timeout", "\"24h\"");
    }
    let timeout = table.duration("label_timeout").map(|found| found.value);
    let early = table.duration_or_zero("early_label_wait").map_or(Duration::from_secs(5 * 60), |found| found.value);
    let dedupe = table.duration("dedupe_window");
    let timeout = timeout?;
    let least = timeout.saturating_add(early);
    if let Some(found) = dedupe.as_ref().filter(|found| found.value < least) {
        let why = "a record that is delivered again within that time would count twice";
        table.problem(
            found.span.clone(),
            format_args!(
                "`dedupe_window` must be at least `label_timeout` + `early_label_wait` = {}, else {why}",
                show(least)
            ),
        );
    }
    Some((timeout, early, dedupe.map_or(least, |found| found.value)))
}

fn dimensions(table: &mut Table<'_>, places: &mut Places) -> Vec<(String, usize)> {
    let Some(mut segments) = table.table("segments") else { return Vec::new() };
    let entries = segments.each_text();
    if entries.len() > MAX_DIMENSIONS {
        segments.problem(
            segments.span(),
            format_args!("a model has at most {MAX_DIMENSIONS} segment dimensions, not {}", entries.len()),
        );
    }
    let mut dimensions = Vec::new();
    for (name, path) in entries {
        check_name(&name, &segments, "");
        if let Some(place) = places.read(&segments, &name.value, &path) {
            dimensions.push((name.value, places.attribute(place)));
        }
    }
    dimensions
}

fn classes(table: &mut Table<'_>, task: Option<Task>) -> Option<(String, String)> {
    let found = table.texts("classes")?;
    only_for_binary(table, "classes", task)?;
    match found.value.as_slice() {
        [negative, positive] if negative.value != positive.value => {
            Some((negative.value.clone(), positive.value.clone()))
        }
        _ => {
            let example = "the negative one first: `classes = [\"legit\", \"fraud\"]`";
            table.problem(found.span, format_args!("`classes` must be two different names, {example}"));
            None
        }
    }
}

fn threshold(table: &mut Table<'_>, task: Option<Task>) -> Option<f64> {
    let found = table.number("threshold")?;
    only_for_binary(table, "threshold", task)?;
    if !(0.0..=1.0).contains(&found.value) {
        table.problem(found.span, "`threshold` is a probability, from 0 to 1");
        return None;
    }
    Some(found.value)
}

fn only_for_binary(table: &Table<'_>, key: &str, task: Option<Task>) -> Option<()> {
    if task == Some(Task::Regression) {
        table.problem(table.span_of(key), format_args!("`{key}` is only for `task = \"binary\"`"));
        return None;
    }
    Some(())
}

fn indicators(table: &mut Table<'_>, task: Option<Task>) -> Option<Vec<Placed<&'static dyn Indicator>>> {
    let named = table.texts("indicators")?;
    let mut found: Vec<Placed<&'static dyn Indicator>> = Vec::new();
    for name in named.value {
        if let Some(indicator) = indicator(table, &name, task) {
            if found.iter().any(|known| known.value.name() == name.value) {
                table.problem(name.span.clone(), format_args!("`{}` is there twice", name.value));
            }
            found.push(Placed { value: indicator, span: name.span });
        }
    }
    Some(found)
}

/// The indicator of that name, if it is one that `task` has.
pub(super) fn indicator(
    table: &Table<'_>,
    name: &Placed<String>,
    task: Option<Task>,
) -> Option<&'static dyn Indicator> {
    let of_task =
        |indicator: &&'static dyn Indicator| indicator.task().is_none() || task.is_none() || indicator.task() == task;
    let known: Vec<&str> = indicator::ALL.iter().copied().filter(of_task).map(Indicator::name).collect();
    match indicator::by_name(&name.value) {
        Some(indicator) if of_task(&indicator) => return Some(indicator),
        Some(indicator) => {
            let kind = |task: Option<Task>| task.map_or("any", Task::name);
            let (given, wanted) = (kind(indicator.task()), kind(task));
            let list = known.join(", ");
            table.problem(
                name.span.clone(),
                format_args!(
                    "`{}` is for `task = \"{given}\"`, but this model's is \"{wanted}\", which has {list}",
                    name.value
                ),
            );
        }
        None => table.problem(name.span.clone(), unknown("indicator", &name.value, &known)),
    }
    None
}

/// What is shown of a model that names no indicators: what people ask for first, and what tells that labels come.
fn default_indicators(task: Task) -> Vec<&'static dyn Indicator> {
    let quality: &[&str] = match task {
        Task::Regression => &["rmse", "mae", "bias"],
        Task::Binary => &["accuracy", "precision", "recall", "f1", "positive_rate"],
    };
    let flow = ["prediction_rate", "match_rate", "label_delay"];
    quality.iter().chain(&flow).filter_map(|name| indicator::by_name(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_indicators_exist() {
        assert_eq!(default_indicators(Task::Regression).len(), 6);
        assert_eq!(default_indicators(Task::Binary).len(), 8);
    }
}
