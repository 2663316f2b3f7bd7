//! Prediction rate: predictions per second.

use super::terms::{PREDICTED, samples};
use super::{Better, Estimate, Indicator, Sums, Term, Undefined};
use crate::event::Task;

/// Predictions per second of event time.
///
/// Neither direction is better: it is watched for change, and tells when a model stops answering.
///
/// # Definition
///
/// ```text
/// prediction rate = Σ wᵢ / ∫ w(t) dt
/// ```
///
/// where `wᵢ` is the decayed weight of the prediction and `w(t)` that of the instant `t`, over the time since the first
/// tick.
///
/// # Needs
///
/// Predictions only.
///
/// # Range
///
/// `[0, ∞)`, per second. Zero is a value here: time passed without predictions. No value while no time has passed.
///
/// # Cost
///
/// One count; O(1) per prediction.
///
/// # Reference
///
/// D. R. Cox, P. A. W. Lewis (1966), "The Statistical Analysis of Series of Events".
#[derive(Debug)]
pub struct PredictionRate;

impl Indicator for PredictionRate {
    fn name(&self) -> &'static str {
        "prediction_rate"
    }

    fn task(&self) -> Option<Task> {
        None
    }

    fn better(&self) -> Better {
        Better::Neither
    }

    fn needs_label(&self) -> bool {
        false
    }

    fn unit(&self) -> &'static str {
        "1/s"
    }

    fn moves_without_samples(&self) -> bool {
        true
    }

    fn terms(&self) -> &'static [&'static Term] {
        &[&PREDICTED]
    }

    fn read(&self, sums: Sums<'_>) -> Result<Estimate, Undefined> {
        let &[predicted] = sums.cells else { return Err(Undefined::NoSamples) };
        Ok(Estimate::from(predicted / samples(sums.seconds)?))
    }
}
