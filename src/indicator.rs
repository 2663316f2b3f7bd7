//! Indicators: pure functions of decayed sums.
//!
//! An indicator names the [`Term`]s it needs, which say what one [`Outcome`] adds, and reads its value from their
//! (smoothed) sums. It sees no time, no model and no segment. To add one: write `indicator/<name>.rs` and put it into
//! [`ALL`]; names in the configuration, metrics, pages, and the contract tests follow from that list.

pub mod accuracy;
pub mod bias;
pub mod brier;
pub mod event_age;
pub mod f1;
pub mod label_delay;
pub mod label_delay_quantile;
pub mod log_loss;
pub mod mae;
pub mod mape;
pub mod match_rate;
pub mod mse;
pub mod positive_rate;
pub mod precision;
pub mod prediction_rate;
pub mod r2;
pub mod recall;
pub mod rmse;
pub mod roc_auc;
pub mod unlabelled_rate;

mod terms;

use crate::event::Task;
use crate::join::Outcome;

/// What one outcome adds to a sum. Terms are compared by name, so that indicators can share them.
#[derive(Debug)]
pub struct Term {
    /// Unique name, such as `squared_error`.
    pub name: &'static str,
    /// How an outcome is turned into an addition.
    pub of: Addition,
}

/// The three kinds of sums; all exact, so that the order of outcomes never shows in the result.
#[derive(Clone, Copy, Debug)]
pub enum Addition {
    /// One if the function says so. Summed as an integer.
    Count(fn(&Outcome) -> bool),
    /// A finite real number, `None` if the outcome does not take part. Summed without rounding.
    Real(fn(&Outcome) -> Option<f64>),
    /// One in the bin that the function names, `None` if the outcome does not take part. Summed as integers.
    Bin {
        /// Number of bins; the function returns less than this.
        bins: usize,
        /// The bin of an outcome.
        of: fn(&Outcome) -> Option<usize>,
    },
}

impl Term {
    /// How many cells the term takes in a vector of sums: its bins, else one.
    pub const fn width(&self) -> usize {
        match self.of {
            Addition::Bin { bins, .. } => bins,
            Addition::Count(_) | Addition::Real(_) => 1,
        }
    }
}

/// What an indicator reads: its terms' sums, one after the other, each of its [`Term::width`].
#[derive(Clone, Copy, Debug)]
pub struct Sums<'a> {
    /// The sums, of shape `(Σ width,)`, in the order of [`Indicator::terms`].
    pub cells: &'a [f64],
    /// Seconds of event time that the sums cover, decayed like they are; what rates divide by.
    pub seconds: f64,
}

/// A value, with the bracket that holds the exact one where the indicator is computed from bins.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// `[low, high]` that surely holds the value of the unbinned definition; `None` if the value is that value.
    pub bracket: Option<(f64, f64)>,
}

impl From<f64> for Estimate {
    fn from(value: f64) -> Estimate {
        Estimate { value, bracket: None }
    }
}

/// Why an indicator has no value. Never reported as 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undefined {
    /// No outcome that takes part has been seen, or all of them have faded away.
    #[error("no samples")]
    NoSamples,
    /// The definition divides by something that is zero here, which the text names.
    #[error("{0}")]
    Degenerate(&'static str),
}

/// Which direction is an improvement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Higher is better (accuracy).
    Higher,
    /// Lower is better (error).
    Lower,
    /// Neither: it is watched for change (bias is best at zero, a rate at its usual level).
    Neither,
}

/// One indicator. All facts about a kind live in its own file.
pub trait Indicator: Sync + std::fmt::Debug {
    /// Name in configuration, metrics and messages; scikit-learn's where it has one.
    fn name(&self) -> &'static str;
    /// The task it is for; `None` if any.
    fn task(&self) -> Option<Task>;
    /// Which direction is an improvement.
    fn better(&self) -> Better;
    /// Whether it needs the label (then missing labels make it fall silent).
    fn needs_label(&self) -> bool;
    /// Unit for people, such as `s` or `1/s`; empty if it has none or that of the prediction.
    fn unit(&self) -> &'static str {
        ""
    }
    /// Whether its value moves while no sample comes (a rate falls).
    fn moves_without_samples(&self) -> bool {
        false
    }
    /// The terms it reads. The first one is a [`Addition::Count`] of its samples: it gives `n_eff`, and the `n` of
    /// `alpha` smoothing.
    fn terms(&self) -> &'static [&'static Term];
    /// The value of the sums.
    ///
    /// # Errors
    ///
    /// [`Undefined`] if the sums do not define one.
    fn read(&self, sums: Sums<'_>) -> Result<Estimate, Undefined>;
}

/// Every indicator, in the order of the documentation.
pub const ALL: &[&dyn Indicator] = &[
    &bias::Bias,
    &mae::Mae,
    &mse::Mse,
    &rmse::Rmse,
    &mape::Mape,
    &r2::R2,
    &accuracy::Accuracy,
    &precision::Precision,
    &recall::Recall,
    &f1::F1,
    &log_loss::LogLoss,
    &brier::Brier,
    &roc_auc::RocAuc,
    &positive_rate::PositiveRate,
    &prediction_rate::PredictionRate,
    &match_rate::MatchRate,
    &unlabelled_rate::UnlabelledRate,
    &label_delay::LabelDelay,
    &label_delay_quantile::P50,
    &label_delay_quantile::P90,
    &label_delay_quantile::P99,
    &event_age::EventAge,
];

/// The indicator of that name.
pub fn by_name(name: &str) -> Option<&'static dyn Indicator> {
    ALL.iter().copied().find(|indicator| indicator.name() == name)
}
