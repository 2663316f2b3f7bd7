//! What others may see of the core: a copy, made at a seal.

use super::Pipeline;
use crate::alert::{Silence, State};
use crate::clock::Timestamp;
use crate::indicator::{Estimate, Undefined};
use crate::rule::Severity;

/// A copy of what is known at the last seal.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// How far event time has come.
    pub sealed_until: Option<Timestamp>,
    /// The models, by name.
    pub models: Vec<ModelView>,
    /// The alerts, rule by rule.
    pub alerts: Vec<AlertView>,
    /// Series that were left out because there are too many.
    pub left_out: usize,
}

/// One model's readings.
#[derive(Clone, Debug)]
pub struct ModelView {
    /// Its name. Untrusted.
    pub name: String,
    /// Its listed indicators, the whole first.
    pub readings: Vec<ReadingView>,
}

/// One reading.
#[derive(Clone, Debug)]
pub struct ReadingView {
    /// Dimension and value; `None` for the whole.
    pub segment: Option<(String, String)>,
    /// Name of the indicator.
    pub indicator: &'static str,
    /// Unit for people.
    pub unit: &'static str,
    /// The value, or why there is none.
    pub value: Result<Estimate, Undefined>,
    /// Effective sample size.
    pub n_eff: f64,
}

/// One alert.
#[derive(Clone, Debug)]
pub struct AlertView {
    /// Name of the rule.
    pub rule: String,
    /// Name of the model. Untrusted.
    pub model: String,
    /// Dimension and value; `None` for the whole.
    pub segment: Option<(String, String)>,
    /// How bad the rule says it is.
    pub severity: Severity,
    /// Where it stands.
    pub state: State,
    /// What fell silent, and since when.
    pub silence: Option<(Silence, Timestamp)>,
    /// The open incident: id, and since when.
    pub incident: Option<(String, Timestamp)>,
}

impl Pipeline {
    /// A copy of the readings of at most `max_series` series, and of all alerts.
    pub fn view(&self, max_series: usize) -> View {
        let Some(tick) = self.next.map(|next| next - 1) else { return View::default() };
        let mut shown: Vec<u32> = (0..u32::try_from(self.smoothed.len()).unwrap_or(u32::MAX))
            .filter(|id| self.registry.series(*id).admitted && self.section_of(*id).is_some())
            .collect();
        shown.sort_by(|a, b| self.name(*a).cmp(&self.name(*b)));
        let left_out = shown.len().saturating_sub(max_series);
        let mut models: Vec<ModelView> = Vec::new();
        for series in shown.into_iter().take(max_series) {
            let (name, segment) = self.name(series);
            let Some(spec) = self.section_of(series) else { continue };
            if models.last().is_none_or(|model| model.name != name) {
                models.push(ModelView { name: name.to_owned(), readings: Vec::new() });
            }
            let Some(model) = models.last_mut() else { continue };
            for (index, track) in spec.tracks.iter().enumerate().filter(|(_, track)| track.listed) {
                let reading = self.reading(spec, series, index, tick);
                model.readings.push(ReadingView {
                    segment: segment.cloned(),
                    indicator: track.indicator.name(),
                    unit: track.indicator.unit(),
                    value: reading.value,
                    n_eff: reading.n_eff,
                });
            }
        }
        View { sealed_until: self.sealed_until(), models, alerts: self.alert_views(), left_out }
    }

    fn alert_views(&self) -> Vec<AlertView> {
        let watched = self.options.rules.iter().zip(&self.watches);
        let alerts = watched.flat_map(|(rule, watch)| watch.alerts.iter().map(move |entry| (rule, entry)));
        alerts
            .map(|(rule, ((model, segment), (_, alert)))| AlertView {
                rule: rule.name.clone(),
                model: model.clone(),
                segment: segment.clone(),
                severity: rule.severity,
                state: alert.state,
                silence: alert.silence.as_ref().map(|(what, episode)| (*what, episode.since)),
                incident: alert.incident.as_ref().map(|incident| (incident.id.clone(), incident.since)),
            })
            .collect()
    }
}
