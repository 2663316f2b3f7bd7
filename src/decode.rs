//! Record → events: the field mapping, why a record is rejected, the list of formats.

// The formats.
pub mod json;

use crate::event::Events;
use crate::source::Record;

/// Where a field is found in a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// A JSON Pointer (RFC 6901) into the value, such as `/segment/region`; empty for the value itself.
    Value(String),
    /// The record's key, as text.
    Key,
    /// The header at this index of [`Mapping::headers`], as text.
    Header(usize),
    /// The record's timestamp.
    Timestamp,
}

/// Only records whose field equals a text are of this role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct When {
    /// The field.
    pub place: Place,
    /// What it must equal, as text (`1` equals `"1"`, `true` equals `"true"`).
    pub equals: String,
}

/// Where the fields of predictions are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PredictionFields {
    /// Which records of a shared topic are predictions; `None`: those that have a prediction or a score.
    pub when: Option<When>,
    /// The id.
    pub id: Place,
    /// The model's name, if there is more than one model.
    pub model: Option<Place>,
    /// The event time; `None` for the record's timestamp.
    pub time: Option<Place>,
    /// The predicted value or class.
    pub prediction: Option<Place>,
    /// The predicted probability.
    pub score: Option<Place>,
    /// The union of all models' segment dimensions, without repetition.
    pub attributes: Vec<Place>,
}

/// Where the fields of labels are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelFields {
    /// Which records of a shared topic are labels; `None`: those that have a label.
    pub when: Option<When>,
    /// The id of the prediction.
    pub id: Place,
    /// The model's name, if labels bear it.
    pub model: Option<Place>,
    /// The event time; `None` for the record's timestamp.
    pub time: Option<Place>,
    /// The true value or class.
    pub label: Place,
}

/// The whole mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Topic of the predictions.
    pub predictions_topic: String,
    /// Topic of the labels; may be the same.
    pub labels_topic: String,
    /// Fields of predictions.
    pub prediction: PredictionFields,
    /// Fields of labels.
    pub label: LabelFields,
    /// Names of the headers that are read, without repetition.
    pub headers: Vec<String>,
    /// Longest id, model name and attribute that is taken, in bytes.
    pub max_text_bytes: usize,
    /// Longest record value that is looked into, in bytes.
    pub max_record_bytes: usize,
}

/// Which roles the records of a topic may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// They may be predictions.
    pub prediction: bool,
    /// They may be labels.
    pub label: bool,
}

impl Mapping {
    /// The roles of the records of `topic`.
    pub fn roles(&self, topic: &str) -> Roles {
        Roles { prediction: topic == self.predictions_topic, label: topic == self.labels_topic }
    }
}

/// Why a record or an event is not used. The variant is the `reason` label of the metric.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The value is no JSON.
    #[error("invalid JSON: {0}")]
    Malformed(String),
    /// The value is longer than `max_record_bytes`.
    #[error("value of {0} bytes is too large")]
    Oversize(usize),
    /// The record has no value (a tombstone) though the mapping needs one.
    #[error("record has no value")]
    Empty,
    /// A mapped field is not there, or is null.
    #[error("no `{0}`")]
    Missing(&'static str),
    /// A mapped field has a type or form that its use cannot take.
    #[error("`{field}` {problem}")]
    Invalid {
        /// The field of the mapping, such as `time`.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A number that is not finite (a text such as `"NaN"` or `"1e999"`; a bare `NaN` or `1e999` is no JSON and counts as malformed).
    #[error("`{0}` is not finite")]
    NonFinite(&'static str),
    /// The event lies further ahead of its record or of the clock than `max_skew`.
    #[error("event time lies too far in the future")]
    Future,
    /// The event is more than 400 days older than its record.
    #[error("event time lies more than 400 days before its record's")]
    Past,
    /// No `[model]` section matches the name.
    #[error("no model section matches `{0}`")]
    UnknownModel(String),
    /// `max_models` is reached.
    #[error("too many models")]
    TooManyModels,
}

impl Rejection {
    /// The `reason` label of the metric; one of a fixed set.
    pub fn reason(&self) -> &'static str {
        match self {
            Rejection::Malformed(_) => "malformed",
            Rejection::Oversize(_) => "oversize",
            Rejection::Empty => "empty",
            Rejection::Missing(_) => "missing_field",
            Rejection::Invalid { .. } => "invalid_field",
            Rejection::NonFinite(_) => "non_finite",
            Rejection::Future => "future",
            Rejection::Past => "past",
            Rejection::UnknownModel(_) => "unknown_model",
            Rejection::TooManyModels => "too_many_models",
        }
    }
}

/// Turns the records of one topic into events.
pub trait Decode: Send {
    /// The events of a record; none if it is of neither role. If it is both and one cannot be read, neither is used.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] if the record should be an event and cannot be read as one.
    fn decode<'a>(&self, record: &Record<'a>) -> Result<Events<'a>, Rejection>;
}
