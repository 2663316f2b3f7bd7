//! Everything the core needs to know.

use std::time::Duration;

use crate::event::Task;
use crate::indicator::Indicator;
use crate::rule::Rule;
use crate::smoothing::Smoothing;

/// Everything the core needs to know; what a reload swaps.
#[derive(Clone, Debug)]
pub struct Options {
    /// Length of a tick, the grid of evaluation.
    pub tick: Duration,
    /// How far an event may lag behind the newest of its partition and still count in its own tick.
    pub lateness: Duration,
    /// How far an event may lie ahead of its record's time (or of the clock) before it is rejected.
    pub max_skew: Duration,
    /// Most predictions and labels that wait in the join; beyond it the oldest expire early.
    pub max_pending: usize,
    /// Most models that patterns may bring to life.
    pub max_models: usize,
    /// The model sections, in the order of the file; the first that matches a name is used.
    pub models: Vec<Model>,
    /// The rules, in the order of the file.
    pub rules: Vec<Rule>,
    /// Whether labels name their model. If not, a label serves every model that used its id.
    pub labels_name_model: bool,
}

/// One `[model.NAME]` section.
#[derive(Clone, Debug)]
pub struct Model {
    /// A name, or a pattern with `*` for any run of characters.
    pub pattern: String,
    /// What its answers are.
    pub task: Task,
    /// How long after a prediction its label may come.
    pub label_timeout: Duration,
    /// How long before its prediction a label may come.
    pub early_label_wait: Duration,
    /// For how long a repeated id is a duplicate; at least `label_timeout + early_label_wait`.
    pub dedupe_window: Duration,
    /// Segment dimensions: name, and index into the decoder's attributes.
    pub dimensions: Vec<(String, usize)>,
    /// Most values of one dimension that are told apart; the rest is folded into `other`.
    pub max_segment_values: usize,
    /// Names of the negative and the positive class, for `binary`. `None`: false/0 and true/1.
    pub classes: Option<(String, String)>,
    /// From which score on the answer is positive, where a binary prediction bears only a score.
    pub threshold: f64,
    /// The smoothing of its indicators.
    pub smoothing: Smoothing,
    /// What is shown and exported even if no rule asks for it.
    pub indicators: Vec<&'static dyn Indicator>,
}
