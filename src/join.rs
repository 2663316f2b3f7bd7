//! Prediction + Label → Outcome.

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
