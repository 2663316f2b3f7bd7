//! The vocabulary of what flows in: predictions and labels, as decoded from records. No behaviour.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::clock::Timestamp;

/// A scalar found in a record, before the model's task says what it means.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// A finite number.
    Number(f64),
    /// A text.
    Text(Cow<'a, str>),
    /// `true` or `false`.
    Boolean(bool),
}

/// Texts of configured attributes (segment dimensions), in the order of the decoder's attribute list.
pub type Attributes<'a> = SmallVec<[Option<Cow<'a, str>>; 4]>;

/// What a model answered to one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction<'a> {
    /// Joins the prediction with its label; compares as text (`123` equals `"123"`).
    pub id: Cow<'a, str>,
    /// The model's name; `None` if the configuration maps none.
    pub model: Option<Cow<'a, str>>,
    /// When it was made.
    pub time: Timestamp,
    /// When its record was written to the source, if the source says.
    pub recorded_at: Option<Timestamp>,
    /// The predicted value or class.
    pub value: Option<Scalar<'a>>,
    /// The predicted probability of the positive class.
    pub score: Option<f64>,
    /// The values of the segment dimensions, one per attribute path of the decoder.
    pub attributes: Attributes<'a>,
}

/// What turned out to be true.
#[derive(Clone, Debug, PartialEq)]
pub struct Label<'a> {
    /// The id of the prediction it belongs to.
    pub id: Cow<'a, str>,
    /// The model's name; `None` if the configuration maps none for labels: it then serves every model that used the id.
    pub model: Option<Cow<'a, str>>,
    /// When the truth became known.
    pub time: Timestamp,
    /// When its record was written to the source, if the source says.
    pub recorded_at: Option<Timestamp>,
    /// The true value or class.
    pub value: Scalar<'a>,
}

/// Whatever one record holds: a prediction, a label, or both (an already joined log).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Events<'a> {
    /// The prediction, if the record is one.
    pub prediction: Option<Prediction<'a>>,
    /// The label, if the record is one.
    pub label: Option<Label<'a>>,
}

/// What a model's answers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Task {
    /// A real number.
    Regression,
    /// One of two classes, with or without the probability of the positive one.
    Binary,
}

impl Task {
    /// Every task, by the name used in the configuration.
    pub const ALL: [(&'static str, Task); 2] = [("regression", Task::Regression), ("binary", Task::Binary)];

    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Task::Regression => "regression",
            Task::Binary => "binary",
        }
    }
}
