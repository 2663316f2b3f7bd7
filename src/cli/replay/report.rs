//! What `replay` prints: transitions as they come, then a summary; for people or for machines.
#![expect(clippy::print_stdout, reason = "the report is what the command is for")]

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::alert::{Change, Evidence, Transition};
use crate::daemon::intake::Intake;
use crate::pipeline::{ReadingView, View};
use crate::source::Gap;

/// Prints the report.
pub(super) struct Report {
    json: bool,
    zone: TimeZone,
    /// Changes by rule.
    changes: BTreeMap<String, BTreeMap<&'static str, u64>>,
    gaps: BTreeMap<&'static str, u64>,
}

impl Report {
    pub(super) fn new(json: bool, zone: TimeZone) -> Report {
        Report { json, zone, changes: BTreeMap::new(), gaps: BTreeMap::new() }
    }

    pub(super) fn gaps(&mut self, gaps: &[Gap]) {
        for gap in gaps {
            *self.gaps.entry(gap.cause.name()).or_default() += 1;
        }
    }

    pub(super) fn transitions(&mut self, transitions: &[Transition]) {
        for transition in transitions {
            *self.changes.entry(transition.rule.clone()).or_default().entry(transition.change.name()).or_default() += 1;
            if self.json {
                println!("{}", as_json(transition));
            } else if !matches!(transition.change, Change::Pending | Change::Calmed) {
                println!("{}", self.line(transition));
            }
        }
    }

    fn line(&self, transition: &Transition) -> String {
        let Transition { rule, model, change, .. } = transition;
        let at = transition.at.in_zone(&self.zone);
        let segment = transition.segment.as_ref().map(|(name, value)| format!(" {name}={value}")).unwrap_or_default();
        let headline = transition.evidence.first().map(headline).unwrap_or_default();
        format!("{at}  {:<11} {rule}  {model}{segment}  {headline}", change.name())
    }

    /// The last readings, what the rules did, and what could not be used.
    pub(super) fn summary(&self, intake: &Intake) {
        let view = intake.pipeline.view(usize::MAX);
        if self.json {
            println!("{}", self.summary_json(intake, &view));
            return;
        }
        if let Some(until) = view.sealed_until {
            println!("\nIndicators at {}", until.in_zone(&self.zone));
        }
        for model in &view.models {
            for reading in &model.readings {
                println!("  {}", reading_line(&model.name, reading));
            }
        }
        println!("\nRules");
        for alert in &view.alerts {
            let segment = alert.segment.as_ref().map(|(name, value)| format!(" {name}={value}")).unwrap_or_default();
            println!("  {:<24} {}{segment}: {}", alert.rule, alert.model, alert.state.name());
        }
        for (rule, changes) in &self.changes {
            let times: Vec<String> = changes.iter().map(|(change, count)| format!("{change} {count}x")).collect();
            println!("  {rule:<24} {}", times.join(", "));
        }
        let join = intake.pipeline.counts().join;
        println!(
            "\nEvents\n  {} predictions, of which {} duplicates and {} that expired without a label\n  {} labels, of which {} \
             duplicates, {} late and {} of no known prediction\n  {} events behind the lateness",
            join.predictions,
            join.duplicate_predictions,
            join.expired_predictions,
            join.labels,
            join.duplicate_labels,
            join.late_labels,
            join.orphan_labels,
            intake.pipeline.counts().late_events,
        );
        if intake.ignored() > 0 {
            println!("  {} records that are neither predictions nor labels", intake.ignored());
        }
        for (reason, rejected) in intake.rejected() {
            println!("  {} rejected ({reason}); the last at {}: {}", rejected.count, rejected.sample, rejected.problem);
        }
        for (cause, count) in &self.gaps {
            println!("  {count} gaps ({cause})");
        }
    }

    fn summary_json(&self, intake: &Intake, view: &View) -> Value {
        let readings = view.models.iter().flat_map(|model| {
            model.readings.iter().map(|reading| {
                json!({
                    "model": model.name,
                    "segment": reading.segment.as_ref().map(|(name, value)| json!({ "dimension": name, "value": value })),
                    "indicator": reading.indicator,
                    "value": reading.value.ok().map(|estimate| estimate.value),
                    "bracket": reading.value.ok().and_then(|estimate| estimate.bracket),
                    "no_value_because": reading.value.err().map(|undefined| undefined.to_string()),
                    "effective_samples": reading.n_eff,
                })
            })
        });
        let rejected = intake.rejected().iter().map(|(reason, rejected)| (*reason, rejected.count));
        json!({
            "type": "summary",
            "sealed_until": view.sealed_until.map(|at| at.to_string()),
            "readings": readings.collect::<Vec<_>>(),
            "changes": self.changes,
            "counts": intake.pipeline.counts(),
            "ignored_records": intake.ignored(),
            "rejected": rejected.collect::<BTreeMap<_, _>>(),
            "gaps": self.gaps,
        })
    }
}

fn headline(evidence: &Evidence) -> String {
    let Evidence { indicator, unit, bound, n_eff, .. } = evidence;
    match &evidence.value {
        Ok(value) => format!("{indicator} {value:.4}{unit} (bound: {bound}), {n_eff:.0} effective samples"),
        Err(reason) => format!("{indicator}: {reason}"),
    }
}

fn reading_line(model: &str, reading: &ReadingView) -> String {
    let segment = reading.segment.as_ref().map(|(name, value)| format!("{name}={value}")).unwrap_or_default();
    let value = match reading.value {
        Ok(estimate) => format!("{:>12.5} {:<4}", estimate.value, reading.unit),
        Err(undefined) => format!("{:>17}", format!("({undefined})")),
    };
    format!("{model:<16} {segment:<20} {:<16} {value} {:>10.0} effective samples", reading.indicator, reading.n_eff)
}

fn as_json(transition: &Transition) -> Value {
    let evidence = transition.evidence.iter().map(|evidence| {
        json!({
            "indicator": evidence.indicator,
            "smoothing": evidence.smoothing,
            "value": evidence.value.as_ref().ok(),
            "no_value_because": evidence.value.as_ref().err(),
            "bound": evidence.bound.to_string(),
            "clear": evidence.clear.to_string(),
            "effective_samples": evidence.n_eff,
            "min_samples": evidence.min_samples,
        })
    });
    json!({
        "type": "transition",
        "at": transition.at.to_string(),
        "change": transition.change.name(),
        "rule": transition.rule,
        "severity": transition.severity.name(),
        "model": transition.model,
        "segment": transition.segment.as_ref().map(|(name, value)| json!({ "dimension": name, "value": value })),
        "since": transition.since.to_string(),
        "incident": transition.incident,
        "evidence": evidence.collect::<Vec<_>>(),
        "notify": transition.notify,
    })
}
