//! The sections `[predictions]` and `[labels]`: which topics, and where in a record the fields are.

use std::ops::Range;

use crate::config::missing_section;
use crate::config::model::Section;
use crate::config::place::Places;
use crate::config::surroundings::Engine;
use crate::decode::{LabelFields, Mapping, Place, PredictionFields, When};
use crate::event::Task;
use crate::settings::{Placed, Table};

pub(super) fn read(root: &mut Table<'_>, models: &[Section], mut places: Places, engine: &Engine) -> Option<Mapping> {
    let predictions = predictions(root, models, &mut places);
    let labels = labels(root, &mut places);
    let ((predictions_topic, prediction), (labels_topic, label, label_span)) = (predictions?, labels?);
    let Places { headers, attributes } = places;
    let prediction = PredictionFields { attributes, ..prediction };
    let same_topic = predictions_topic == labels_topic;
    if same_topic && prediction.when == label.when && prediction.prediction.as_ref() == Some(&label.label) {
        let cure = "tell them apart with `when`, or map them to different fields";
        root.problem(
            label_span,
            format_args!("every record of `{labels_topic}` would be both a prediction and its own label; {cure}"),
        );
    }
    Some(Mapping {
        predictions_topic,
        labels_topic,
        prediction,
        label,
        headers,
        max_text_bytes: engine.max_text_bytes,
        max_record_bytes: engine.max_record_bytes,
    })
}

fn predictions(root: &mut Table<'_>, models: &[Section], places: &mut Places) -> Option<(String, PredictionFields)> {
    let Some(mut table) = root.table("predictions") else {
        return missing_section(root, "predictions", "predictions", "topic = \"predictions\"");
    };
    let topic = topic(&mut table, "\"predictions\"");
    let when = when(&mut table, places);
    let fields = match table.table("fields") {
        Some(fields) => prediction_fields(fields, models, places),
        None => missing_fields(&table, "{ id = \"/id\", prediction = \"/prediction\" }"),
    };
    table.finish();
    Some((topic?, PredictionFields { when: when?, ..fields? }))
}

fn prediction_fields(mut table: Table<'_>, models: &[Section], places: &mut Places) -> Option<PredictionFields> {
    let id = required_place(&mut table, "id", "\"/id\"", places);
    let model = place(&mut table, "model", places);
    let time = place(&mut table, "time", places);
    let prediction = place(&mut table, "prediction", places);
    let score = place(&mut table, "score", places);
    if !table.has("model") {
        check_model_is_needed(&table, models);
    }
    let regression = models.iter().find(|model| model.task == Some(Task::Regression));
    if !table.has("prediction") && !table.has("score") {
        table.problem(
            table.span(),
            "needs `prediction` (or `score`, for classifiers), for example `prediction = \"/prediction\"`",
        );
    } else if let Some(model) = regression.filter(|_| !table.has("prediction")) {
        table.problem(
            table.span(),
            format_args!("needs `prediction`, because model `{}` is a regression", model.name.value),
        );
    }
    table.finish();
    Some(PredictionFields { when: None, id: id?, model, time, prediction, score, attributes: Vec::new() })
}

/// With one model of a fixed name, every record is that model's; otherwise records must say whose they are.
fn check_model_is_needed(table: &Table<'_>, models: &[Section]) {
    let why = match models {
        [only] if only.name.value.contains('*') => format!("model `{}` stands for many", only.name.value),
        [] | [_] => return,
        several => format!("the file has {} models", several.len()),
    };
    table.problem(table.span(), format_args!("needs `model`, for example `model = \"/model\"`, because {why}"));
}

fn labels(root: &mut Table<'_>, places: &mut Places) -> Option<(String, LabelFields, Range<usize>)> {
    let Some(mut table) = root.table("labels") else {
        return missing_section(root, "labels", "labels", "topic = \"labels\"");
    };
    let topic = topic(&mut table, "\"labels\"");
    let when = when(&mut table, places);
    let fields = match table.table("fields") {
        Some(fields) => label_fields(fields, places),
        None => missing_fields(&table, "{ id = \"/id\", label = \"/label\" }"),
    };
    table.finish();
    let (fields, span) = fields?;
    Some((topic?, LabelFields { when: when?, ..fields }, span))
}

fn label_fields(mut table: Table<'_>, places: &mut Places) -> Option<(LabelFields, Range<usize>)> {
    let id = required_place(&mut table, "id", "\"/id\"", places);
    let model = place(&mut table, "model", places);
    let time = place(&mut table, "time", places);
    let label = required_place(&mut table, "label", "\"/label\"", places);
    let span = table.span_of("label");
    table.finish();
    Some((LabelFields { when: None, id: id?, model, time, label: label? }, span))
}

fn missing_fields<T>(table: &Table<'_>, example: &str) -> Option<T> {
    table.problem(table.span(), format_args!("needs `fields`, for example `fields = {example}`"));
    None
}

fn topic(table: &mut Table<'_>, example: &str) -> Option<String> {
    const LONGEST: usize = 249;
    let found = table.required_text("topic", example)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if found.value.is_empty() || found.value.len() > LONGEST || !found.value.chars().all(fits) {
        table.problem(found.span, format_args!("Kafka's topics have 1 to {LONGEST} letters, digits, `.`, `_` and `-`"));
        return None;
    }
    Some(found.value)
}

/// The `when` of a shared topic; the inner `None` if there is none, the outer if it is wrong.
#[expect(clippy::option_option, reason = "absent and wrong are different here")]
fn when(table: &mut Table<'_>, places: &mut Places) -> Option<Option<When>> {
    if table.place("when").is_none() {
        return Some(None);
    }
    let mut table = table.table("when")?;
    let place = required_place(&mut table, "path", "\"/type\"", places);
    let equals = table.scalar("equals");
    if !table.has("equals") {
        table.missing("equals", "\"label\"");
    }
    table.finish();
    Some(Some(When { place: place?, equals: equals?.value }))
}

fn required_place(table: &mut Table<'_>, key: &'static str, example: &str, places: &mut Places) -> Option<Place> {
    let found: Placed<String> = table.required_text(key, example)?;
    places.read(table, key, &found)
}

fn place(table: &mut Table<'_>, key: &'static str, places: &mut Places) -> Option<Place> {
    let found = table.text(key)?;
    places.read(table, key, &found)
}
