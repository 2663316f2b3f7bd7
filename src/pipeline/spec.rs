//! A model section made ready: its terms and tracks, and how its answers and labels are read.

use crate::decode::Rejection;
use crate::event::{Prediction, Scalar, Task};
use crate::indicator::{self, Addition, Indicator, Term};
use crate::join::{Answer, Outcome, Truth, Window};
use crate::pattern;
use crate::rule::Rule;
use crate::smoothing::Smoothing;

use super::Model;
use super::meaning::ClassNames;

/// Counted for every model: tells "labels late" from "no data".
static PREDICTED: Term =
    Term { name: "predictions", of: Addition::Count(|outcome| matches!(outcome, Outcome::Predicted { .. })) };

/// One indicator with one smoothing.
#[derive(Clone, Debug)]
pub(super) struct Track {
    pub(super) indicator: &'static dyn Indicator,
    pub(super) smoothing: Smoothing,
    /// Where the indicator's terms are among the model's.
    pub(super) cells: Vec<usize>,
    /// Whether the model's `indicators` lists it, so that it is shown and exported.
    pub(super) listed: bool,
}

/// A model section made ready.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) model: Model,
    pub(super) window: Window,
    /// Without repetition; [`PREDICTED`] is the first.
    pub(super) terms: Vec<&'static Term>,
    pub(super) tracks: Vec<Track>,
    /// By rule: for those that watch this model, the track of each condition.
    pub(super) watched_by: Vec<Option<Vec<usize>>>,
}

impl Spec {
    pub(super) fn new(model: &Model, rules: &[Rule]) -> Spec {
        let window = Window::new(model.label_timeout, model.early_label_wait, model.dedupe_window);
        let mut spec =
            Spec { model: model.clone(), window, terms: vec![&PREDICTED], tracks: Vec::new(), watched_by: Vec::new() };
        for indicator in &model.indicators {
            spec.track(*indicator, model.smoothing, true);
        }
        // A rule for one name of a pattern still needs its tracks in the whole section.
        let concerns = |rule: &Rule| pattern::overlap(&rule.model, &model.pattern);
        spec.watched_by = rules.iter().map(|rule| concerns(rule).then(|| spec.tracks_of(rule))).collect();
        spec
    }

    fn tracks_of(&mut self, rule: &Rule) -> Vec<usize> {
        let known = rule.conditions.iter().filter_map(|c| Some((indicator::by_name(c.indicator)?, c.smoothing)));
        known.map(|(indicator, smoothing)| self.track(indicator, smoothing, false)).collect()
    }

    /// The track of an indicator with a smoothing, added if it is new.
    fn track(&mut self, indicator: &'static dyn Indicator, smoothing: Smoothing, listed: bool) -> usize {
        let same = |track: &Track| track.indicator.name() == indicator.name() && track.smoothing == smoothing;
        if let Some(index) = self.tracks.iter().position(same) {
            return index;
        }
        let cells = indicator.terms().iter().map(|term| self.term(term)).collect();
        self.tracks.push(Track { indicator, smoothing, cells, listed });
        self.tracks.len() - 1
    }

    fn term(&mut self, term: &'static Term) -> usize {
        self.terms.iter().position(|known| known.name == term.name).unwrap_or_else(|| {
            self.terms.push(term);
            self.terms.len() - 1
        })
    }

    /// Whether sums of this section leave windows.
    pub(super) fn has_windows(&self) -> bool {
        self.tracks.iter().any(|track| matches!(track.smoothing, Smoothing::Window(_)))
    }

    /// What a prediction answers.
    pub(super) fn answer(&self, prediction: &Prediction<'_>) -> Result<Answer, Rejection> {
        let invalid = |field, problem: String| Rejection::Invalid { field, problem };
        let value = prediction
            .value
            .as_ref()
            .map(|value| self.number(value).ok_or_else(|| invalid("prediction", self.refusal(value))));
        match self.model.task {
            Task::Regression => match value {
                Some(value) => Ok(Answer { value: value?, score: None }),
                None => Err(Rejection::Missing("prediction")),
            },
            Task::Binary => {
                let score = prediction.score;
                if let Some(score) = score.filter(|score| !(0.0..=1.0).contains(score)) {
                    return Err(invalid("score", format!("{score} is no probability in [0, 1]")));
                }
                let by_score = score.map(|score| Ok(f64::from(u8::from(score >= self.model.threshold))));
                match value.or(by_score) {
                    Some(value) => Ok(Answer { value: value?, score }),
                    None => Err(Rejection::Missing("prediction")),
                }
            }
        }
    }

    /// What a label says; `None` if it is no value of this model's task.
    pub(super) fn actual(&self, truth: Truth, classes: &ClassNames) -> Option<f64> {
        match truth {
            Truth::Number(number) => self.number(&Scalar::Number(number)),
            Truth::Numeral(number) => (self.model.task == Task::Regression).then_some(number),
            Truth::Class(class) => self.number(&Scalar::Text(classes.names().get(class as usize)?.as_str().into())),
            Truth::Boolean(value) => self.number(&Scalar::Boolean(value)),
        }
    }

    /// What is wrong with a value.
    pub(super) fn refusal(&self, value: &Scalar<'_>) -> String {
        // Foreign text may be long.
        let shown = match value {
            Scalar::Text(text) => format!("{:?}", text.chars().take(100).collect::<String>()),
            other => format!("{other:?}"),
        };
        let expected = match (self.model.task, &self.model.classes) {
            (Task::Regression, _) => "is no finite number".to_owned(),
            (Task::Binary, None) => "is neither false/0 nor true/1; set `classes` for other names".to_owned(),
            (Task::Binary, Some((negative, positive))) => format!("is neither {negative:?} nor {positive:?}"),
        };
        format!("{shown} {expected}")
    }

    fn number(&self, value: &Scalar<'_>) -> Option<f64> {
        match self.model.task {
            Task::Regression => match value {
                Scalar::Number(number) => Some(*number),
                Scalar::Text(text) => text.trim().parse().ok().filter(|number: &f64| number.is_finite()),
                Scalar::Boolean(_) => None,
            },
            Task::Binary => self.class(value).map(|positive| f64::from(u8::from(positive))),
        }
    }

    fn class(&self, value: &Scalar<'_>) -> Option<bool> {
        let text = match value {
            Scalar::Number(number) => &number.to_string(),
            Scalar::Text(text) => text.as_ref(),
            Scalar::Boolean(true) => "true",
            Scalar::Boolean(false) => "false",
        };
        match &self.model.classes {
            Some((negative, _)) if text == negative => Some(false),
            Some((_, positive)) if text == positive => Some(true),
            Some(_) => None,
            None if ["false", "0"].contains(&text) => Some(false),
            None if ["true", "1"].contains(&text) => Some(true),
            None => None,
        }
    }
}
