//! Event age: mean time from an event to its record.

use super::terms::mean;
use super::{Addition, Better, Estimate, Indicator, Sums, Term, Undefined};
use crate::event::Task;
use crate::join::Outcome;

/// Mean time from a prediction's event time to the time at which its record was written.
///
/// Lower is better: it is how old predictions already are when they reach the source.
///
/// # Definition
///
/// ```text
/// event age = Σ wᵢ (record timeᵢ − event timeᵢ) / Σ wᵢ
/// ```
///
/// where `wᵢ` is the decayed weight of the prediction.
///
/// # Needs
///
/// Predictions from a source that gives its records a time; others do not take part.
///
/// # Range
///
/// Any number, in seconds; negative if the producer's clock is ahead. No value while no weight has been seen.
///
/// # Cost
///
/// Two sums; O(1) per prediction.
///
/// # Reference
///
/// T. Akidau et al. (2015), "The dataflow model", Proceedings of the VLDB Endowment 8(12), 1792–1803 (event-time skew).
#[derive(Debug)]
pub struct EventAge;

const AGED: Term = Term { name: "aged", of: Addition::Count(|outcome| age(outcome).is_some()) };

const AGE: Term = Term { name: "age", of: Addition::Real(age) };

fn age(outcome: &Outcome) -> Option<f64> {
    match outcome {
        Outcome::Predicted { age_seconds, .. } => *age_seconds,
        Outcome::Labelled { .. } | Outcome::Unlabelled => None,
    }
}

impl Indicator for EventAge {
    fn name(&self) -> &'static str {
        "event_age"
    }

    fn task(&self) -> Option<Task> {
        None
    }

    fn better(&self) -> Better {
        Better::Lower
    }

    fn needs_label(&self) -> bool {
        false
    }

    fn unit(&self) -> &'static str {
        "s"
    }

    fn terms(&self) -> &'static [&'static Term] {
        &[&AGED, &AGE]
    }

    fn read(&self, sums: Sums<'_>) -> Result<Estimate, Undefined> {
        mean(sums.cells)
    }
}
