//! How long predictions and labels wait for each other.

use std::time::Duration;

use crate::clock::{Timestamp, micros};

/// How long the events of a model wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// How long after its prediction a label may come, in microseconds.
    pub timeout_micros: i64,
    /// How long before its prediction a label may come, in microseconds.
    pub early_micros: i64,
    /// For how long a repeated id is a duplicate, in microseconds.
    pub dedupe_micros: i64,
}

impl Window {
    /// The windows of a model's configuration.
    pub fn new(timeout: Duration, early: Duration, dedupe: Duration) -> Window {
        let (timeout_micros, early_micros) = (micros(timeout), micros(early));
        let dedupe_micros = micros(dedupe).max(timeout_micros.saturating_add(early_micros));
        Window { timeout_micros, early_micros, dedupe_micros }
    }

    /// How long a prediction is kept after its last repetition, in microseconds: until no repetition can come, and what
    /// came too late is told from what never had a prediction (a label is judged when it has waited for `early_micros`).
    pub fn kept_micros(self) -> i64 {
        self.dedupe_micros.saturating_add(self.early_micros)
    }

    /// How far back records must be read to fill a table anew, in microseconds. One dedupe window further than it is kept:
    /// what is kept may repeat something earlier, and must not be taken for the first.
    pub fn reread_micros(self) -> i64 {
        self.kept_micros().saturating_add(self.dedupe_micros)
    }

    pub(super) fn deadline(self, prediction: Timestamp) -> Timestamp {
        later(prediction, self.timeout_micros)
    }

    pub(super) fn holds(self, prediction: Timestamp, label: Timestamp) -> bool {
        label >= later(prediction, -self.early_micros) && label <= self.deadline(prediction)
    }
}

/// `at` moved by so many microseconds, saturating.
pub(super) fn later(at: Timestamp, micros: i64) -> Timestamp {
    Timestamp::from_micros(at.as_micros().saturating_add(micros))
}
