//! `check`: validates a configuration without touching the network, and says in a few lines what it means.

use std::io::{self, Write};
use std::path::Path;

use crate::config::{self, Config, Defaults, Report};
use crate::pipeline::Model;
use crate::rule::{Condition, Rule};

/// Exit code: all is well.
pub const OK: u8 = 0;
/// Exit code `EX_NOINPUT` of sysexits: the file cannot be read.
pub const UNREADABLE: u8 = 66;
/// Exit code `EX_CONFIG` of sysexits: the file has mistakes.
pub const BAD_CONFIGURATION: u8 = 78;

/// Checks the file at `path`: a summary goes to `out`, problems go to `err`. Returns the exit code.
///
/// # Errors
///
/// If `out` or `err` cannot be written to.
pub fn run(path: &Path, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<u8> {
    match config::load(path, &Defaults::from_environment()) {
        Ok((config, warnings)) => {
            write!(err, "{warnings}")?;
            writeln!(out, "{}: ok{}", path.display(), count(&warnings))?;
            summarise(&config, out)?;
            Ok(OK)
        }
        Err(config::Error::Invalid(report)) => {
            write!(err, "{report}\n{}: not usable{}\n", path.display(), count(&report))?;
            Ok(BAD_CONFIGURATION)
        }
        Err(error @ config::Error::Unreadable { .. }) => {
            writeln!(err, "error: {error}")?;
            Ok(UNREADABLE)
        }
    }
}

/// `, 2 errors, 1 warning`; nothing if there are none.
fn count(report: &Report) -> String {
    let (errors, all) = (report.errors(), report.problems().len());
    let plural = |n: usize, what: &str| match n {
        0 => String::new(),
        1 => format!(", 1 {what}"),
        n => format!(", {n} {what}s"),
    };
    plural(errors, "error") + &plural(all - errors, "warning")
}

fn summarise(config: &Config, out: &mut dyn Write) -> io::Result<()> {
    let mapping = &config.mapping;
    writeln!(out, "  predictions from `{}`, labels from `{}`", mapping.predictions_topic, mapping.labels_topic)?;
    for model in &config.pipeline.models {
        writeln!(out, "  model {}", model_line(model))?;
    }
    for rule in &config.pipeline.rules {
        writeln!(out, "  rule {}", rule_line(rule))?;
    }
    for name in config.notifiers.keys() {
        let rules = config.pipeline.rules.iter().filter(|rule| rule.notify.contains(name)).count();
        writeln!(out, "  notifier {name}: told by {rules} {}", if rules == 1 { "rule" } else { "rules" })?;
    }
    Ok(())
}

fn model_line(model: &Model) -> String {
    let indicators: Vec<&str> = model.indicators.iter().map(|indicator| indicator.name()).collect();
    let dimensions: Vec<&str> = model.dimensions.iter().map(|(name, _)| name.as_str()).collect();
    let by = if dimensions.is_empty() { String::new() } else { format!(", by {}", dimensions.join(" and by ")) };
    let timeout = humantime::format_duration(model.label_timeout);
    let (pattern, task, smoothing) = (&model.pattern, model.task.name(), model.smoothing);
    format!("{pattern}: {task}, labels within {timeout}, {smoothing}{by}; shows {}", indicators.join(", "))
}

fn rule_line(rule: &Rule) -> String {
    let condition = |condition: &Condition| format!("{} {}", condition.indicator, condition.bound);
    let conditions: Vec<String> = rule.conditions.iter().map(condition).collect();
    let by = rule.by.as_ref().map_or_else(String::new, |by| format!(", each {by}"));
    let hold =
        if rule.hold.is_zero() { String::new() } else { format!(" for {}", humantime::format_duration(rule.hold)) };
    let (name, model, severity) = (&rule.name, &rule.model, rule.severity.name());
    format!("{name}: {model}{by}: {}{hold} tells {} ({severity})", conditions.join(" and "), rule.notify.join(", "))
}
