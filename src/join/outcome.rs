//! What the join takes and gives: samples and truths in, changes of outcomes out.

use crate::clock::Timestamp;

/// What one prediction (with or without its label) is to the indicators.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// A prediction was made.
    Predicted {
        /// What the model answered.
        answer: Answer,
        /// Seconds from its event time to its record's; `None` if the source gives records no time.
        age_seconds: Option<f64>,
    },
    /// Its label is known.
    Labelled {
        /// What the model answered.
        answer: Answer,
        /// What was true: the value, or 1 for the positive class and 0 for the negative.
        actual: f64,
        /// Seconds from the prediction to its label; negative if the label came first.
        delay_seconds: f64,
    },
    /// No label came within the model's `label_timeout`.
    Unlabelled,
}

/// What a model answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// The value, or 1 for the positive class and 0 for the negative. Finite.
    pub value: f64,
    /// Probability of the positive class in `[0, 1]`, if the prediction bears one.
    pub score: Option<f64>,
}

/// An outcome that became true, or that turned out not to be true after all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// Whether it is added or taken back.
    pub added: bool,
    /// When it was learned: the later of the prediction's and the label's effective time.
    pub at: Timestamp,
    /// The slice of the prediction: which series it counts in.
    pub slice: u32,
    /// The outcome.
    pub outcome: Outcome,
}

/// A prediction as the join takes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// What the model answered.
    pub answer: Answer,
    /// Seconds from its event time to its record's.
    pub age_seconds: Option<f64>,
    /// Which series it counts in, and thereby which model it is of.
    pub slice: u32,
}

/// What turned out to be true, before it is known which model's class names apply.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Truth {
    /// A number.
    Number(f64),
    /// A text that is a number, and no model's class.
    Numeral(f64),
    /// A boolean.
    Boolean(bool),
    /// A text that some model has as its class; the number of the name.
    Class(u32),
}

/// What the join must know of things of which it keeps numbers only.
pub trait Meaning {
    /// The truth as a number to a model; `None` if the model knows no such class.
    fn actual(&self, model: u32, truth: Truth) -> Option<f64>;
    /// The model of a slice.
    fn model_of(&self, slice: u32) -> u32;
    /// Rank of a slice by its content, for ties; the number of a slice depends on the order of arrival.
    fn rank_of(&self, slice: u32) -> u64;
}
