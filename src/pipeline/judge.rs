//! Readings → verdicts → transitions, for every rule and every series it watches.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::Pipeline;
use super::spec::Spec;
use crate::alert::{Alert, Contribution, Evidence, Judgement, Silence, Step, Transition};
use crate::clock::{Tick, Timestamp};
use crate::indicator::Indicator;
use crate::pattern;
use crate::reading::{self, Reading};
use crate::rule::Rule;
use crate::series::SeriesId;

/// Most segments named in a transition.
const WORST_SEGMENTS: usize = 5;
/// A segment with less evidence than this is not called the worst.
const WORST_MIN_SAMPLES: f64 = 10.0;

/// Model, and dimension and value of the segment: with the rule's name it is an alert's identity.
pub(super) type Labels = (String, Option<(String, String)>);

/// The alerts of one rule, in the order of their labels.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch {
    /// Name of the rule.
    pub(super) rule: String,
    pub(super) alerts: BTreeMap<Labels, (SeriesId, Alert)>,
}

impl Watch {
    pub(super) fn new(rule: &Rule) -> Watch {
        Watch { rule: rule.name.clone(), alerts: BTreeMap::new() }
    }
}

/// Whether a rule watches a series of that name.
pub(super) fn concerns(rule: &Rule, (model, segment): &Labels) -> bool {
    pattern::matches(&rule.model, model) && rule.by.as_ref() == segment.as_ref().map(|(dimension, _)| dimension)
}

pub(super) fn identity(rule: &str, (model, segment): &Labels) -> String {
    match segment {
        Some((dimension, value)) => format!("{rule}|{model}|{dimension}={value}"),
        None => format!("{rule}|{model}"),
    }
}

impl Pipeline {
    /// Lets the rules watch the series that have come to life.
    pub(super) fn watch_newcomers(&mut self, tick: Tick) {
        self.grow();
        let since = self.grid.end_of(tick - 1);
        for series in self.registry.take_newcomers() {
            let (model, segment) = self.name(series);
            let labels = (model.to_owned(), segment.cloned());
            for (rule, watch) in self.options.rules.iter().zip(&mut self.watches) {
                if concerns(rule, &labels) {
                    watch.alerts.entry(labels.clone()).or_insert_with(|| (series, Alert::new(since)));
                }
            }
        }
    }

    /// Judges every rule at the end of `tick`.
    pub(super) fn judge(&mut self, tick: Tick, transitions: &mut Vec<Transition>) {
        let mut watches = std::mem::take(&mut self.watches);
        for (index, watch) in watches.iter_mut().enumerate() {
            let rule = &self.options.rules[index];
            for (labels, (series, alert)) in &mut watch.alerts {
                let Some(spec) = self.section_of(*series) else { continue };
                let Some(tracks) = spec.watched_by[index].as_ref() else { continue };
                let readings: SmallVec<[Reading; 2]> =
                    tracks.iter().map(|track| self.reading(spec, *series, *track, tick)).collect();
                let judgement = self.judgement(rule, spec, tracks, &readings, *series, tick);
                for step in alert.step(rule, &judgement, &|| identity(&rule.name, labels)) {
                    let evidence = evidence(rule, spec, tracks, &readings);
                    let worst =
                        if labels.1.is_none() { self.worst(rule, spec, tracks, *series, tick) } else { Vec::new() };
                    transitions.push(transition(rule, labels, step, judgement.at, evidence, worst));
                }
            }
        }
        self.watches = watches;
    }

    pub(super) fn reading(&self, spec: &Spec, series: SeriesId, track: usize, tick: Tick) -> Reading {
        let known = &spec.tracks[track];
        let smoothed = &self.smoothed[series as usize][track];
        reading::read(known.indicator, smoothed, known.smoothing, self.grid, tick)
    }

    fn judgement(
        &self,
        rule: &Rule,
        spec: &Spec,
        tracks: &[usize],
        readings: &[Reading],
        series: SeriesId,
        tick: Tick,
    ) -> Judgement {
        let at = self.grid.end_of(tick);
        let headline = tracks.first().map(|track| spec.tracks[*track].indicator);
        let end_of = |tick: Option<Tick>| tick.map(|tick| self.grid.end_of(tick));
        let predicted = end_of(self.last_predicted[series as usize]);
        let limit = rule.no_data_after.unwrap_or_default();
        let flowing = predicted.is_some_and(|last| at.since(last) < limit);
        let needs_label = headline.is_some_and(Indicator::needs_label);
        Judgement {
            at,
            verdict: rule.judge(readings),
            last_sample: end_of(readings.first().and_then(|reading| reading.last_sample)),
            moves_without_samples: headline.is_some_and(Indicator::moves_without_samples),
            missing: if needs_label && flowing { Silence::Labels } else { Silence::Predictions },
        }
    }

    /// The segments in which the headline indicator is worst, worst first.
    fn worst(&self, rule: &Rule, spec: &Spec, tracks: &[usize], whole: SeriesId, tick: Tick) -> Vec<Contribution> {
        let (Some(track), Some(condition)) = (tracks.first(), rule.conditions.first()) else { return Vec::new() };
        let model = self.registry.series(whole).model;
        let admitted = self.registry.segments(model).filter(|id| self.registry.series(*id).admitted);
        let mut worst: Vec<Contribution> = admitted
            .filter_map(|id| {
                let (dimension, value) = self.registry.series(id).segment.clone()?;
                let reading = self.reading(spec, id, *track, tick);
                let estimate = reading.value.ok().filter(|_| reading.n_eff >= WORST_MIN_SAMPLES)?;
                Some(Contribution { dimension, value, reading: estimate.value, n_eff: reading.n_eff })
            })
            .collect();
        let badness = |contribution: &Contribution| condition.bound.badness(contribution.reading);
        worst.sort_by(|a, b| {
            badness(b).total_cmp(&badness(a)).then_with(|| (&a.dimension, &a.value).cmp(&(&b.dimension, &b.value)))
        });
        worst.truncate(WORST_SEGMENTS);
        worst
    }
}

fn evidence(rule: &Rule, spec: &Spec, tracks: &[usize], readings: &[Reading]) -> Vec<Evidence> {
    let judged = rule.conditions.iter().zip(tracks).zip(readings);
    judged
        .map(|((condition, track), reading)| Evidence {
            indicator: condition.indicator,
            unit: spec.tracks[*track].indicator.unit(),
            smoothing: condition.smoothing.to_string(),
            value: reading.value.map(|estimate| estimate.value).map_err(|undefined| undefined.to_string()),
            bracket: reading.value.ok().and_then(|estimate| estimate.bracket),
            n_eff: reading.n_eff,
            bound: condition.bound,
            clear: condition.clear,
            min_samples: condition.min_samples,
        })
        .collect()
}

pub(super) fn transition(
    rule: &Rule,
    (model, segment): &Labels,
    step: Step,
    at: Timestamp,
    evidence: Vec<Evidence>,
    worst: Vec<Contribution>,
) -> Transition {
    let (incident, sequence) = step.episode.unzip();
    Transition {
        rule: rule.name.clone(),
        model: model.clone(),
        segment: segment.clone(),
        severity: rule.severity,
        change: step.change,
        at,
        since: step.since,
        hold: rule.hold,
        incident,
        sequence: sequence.unwrap_or(0),
        evidence,
        worst,
        runbook: rule.runbook.clone(),
        summary: rule.summary.clone(),
        notify: step.notify,
    }
}
