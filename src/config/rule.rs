//! The `[rule.NAME]` sections.

use std::time::Duration;

use crate::config::check_name;
use crate::config::condition::{self, Watched};
use crate::config::model::Section;
use crate::config::smoothing::show;
use crate::config::surroundings::{line, url};
use crate::decode::Mapping;
use crate::notifier;
use crate::pattern;
use crate::rule::{Rule, Severity};
use crate::settings::{Level, Placed, Table, unknown};

/// What rules refer to.
pub(super) struct Context<'c> {
    pub(super) models: &'c [Section],
    pub(super) notifiers: &'c [(Placed<String>, Option<notifier::Config>)],
    /// Names of the notifiers that are told of trouble.
    pub(super) trouble: &'c [String],
    pub(super) tick: Duration,
    /// `None` if it has mistakes.
    pub(super) mapping: Option<&'c Mapping>,
}

/// All rules, in the order of the file. Rules with mistakes are left out; these have been noted.
pub(super) fn read(root: &mut Table<'_>, context: &Context<'_>) -> Vec<Rule> {
    for model in context.models {
        for indicator in &model.indicators {
            condition::check_score(root, context.mapping, indicator.value.name(), &indicator.span);
        }
    }
    let sections = root.named("rule");
    let count = sections.len();
    let rules: Vec<Rule> = sections.into_iter().filter_map(|(name, table)| read_rule(name, table, context)).collect();
    if !root.has("rule") {
        let message = "there is no `[rule.NAME]`, so nobody will be told anything".to_owned();
        root.missing_any(Level::Warning, &["rule"], message);
    } else if rules.len() == count {
        warn_of_unused_notifiers(root, context, &rules);
    }
    rules
}

fn warn_of_unused_notifiers(root: &Table<'_>, context: &Context<'_>, rules: &[Rule]) {
    let is_told = |name: &String| context.trouble.contains(name) || rules.iter().any(|rule| rule.notify.contains(name));
    for (name, _) in context.notifiers.iter().filter(|(name, _)| !is_told(&name.value)) {
        let cure = "name it in a rule's `notify`";
        root.warn(name.span.clone(), format!("notifier `{}`: no rule tells it anything; {cure}", name.value));
    }
}

fn read_rule(name: Placed<String>, mut table: Table<'_>, context: &Context<'_>) -> Option<Rule> {
    check_name(&name, &table, "");
    let model = table.required_text("model", "\"eta\"");
    let watched = model.as_ref().map(|model| watch(&table, model, context)).unwrap_or_default();
    let watched = Watched { sections: &watched, mapping: context.mapping, tick: context.tick };
    let by = table.text("by").and_then(|by| check_dimension(&table, by, watched.sections));
    let conditions = condition::read(&mut table, &watched);
    let hold = table.duration_or_zero("for").map_or(Duration::ZERO, |found| found.value);
    let recover_for = table.duration_or_zero("recover_for").map_or_else(|| recovery_of(hold), |found| found.value);
    let no_data_after = at_least(&mut table, "no_data_after", context.tick);
    let repeat_every = at_least(&mut table, "repeat_every", Duration::from_secs(60));
    let severity = table.choice("severity", &Severity::ALL).unwrap_or(Severity::Warning);
    let notify = notify(&mut table, context);
    let (runbook, summary) = (url(&mut table, "runbook"), line(&mut table, "summary"));
    table.finish();
    Some(Rule {
        name: name.value,
        model: model?.value,
        by,
        conditions: conditions?,
        hold,
        recover_for,
        no_data_after,
        repeat_every,
        severity,
        notify: notify?,
        runbook,
        summary,
    })
}

/// A "resolved" that has to be taken back is worse than a late one, so it waits even where `for` is short.
fn recovery_of(hold: Duration) -> Duration {
    hold.max(Duration::from_secs(5 * 60))
}

fn watch<'c>(table: &Table<'_>, model: &Placed<String>, context: &Context<'c>) -> Vec<&'c Section> {
    let watched: Vec<&'c Section> =
        context.models.iter().filter(|section| pattern::overlap(&section.name.value, &model.value)).collect();
    if watched.is_empty() && !context.models.is_empty() {
        let names: Vec<&str> = context.models.iter().map(|model| model.name.value.as_str()).collect();
        table.problem(model.span.clone(), unknown("model", &model.value, &names));
    }
    watched
}

fn check_dimension(table: &Table<'_>, by: Placed<String>, watched: &[&Section]) -> Option<String> {
    for model in watched {
        let names: Vec<&str> = model.dimensions.iter().map(|(name, _)| name.as_str()).collect();
        if names.is_empty() {
            let cure = format!("give it one, for example `segments = {{ {} = \"/{}\" }}`", by.value, by.value);
            table.problem(by.span.clone(), format_args!("model `{}` has no segments; {cure}", model.name.value));
            return None;
        }
        if !names.contains(&by.value.as_str()) {
            let what = format!("segment dimension of model `{}`:", model.name.value);
            table.problem(by.span.clone(), unknown(&what, &by.value, &names));
            return None;
        }
    }
    Some(by.value)
}

fn at_least(table: &mut Table<'_>, key: &'static str, least: Duration) -> Option<Duration> {
    let found = table.duration(key)?;
    if found.value < least {
        table.problem(found.span, format_args!("`{key}` must be at least \"{}\"", show(least)));
        return None;
    }
    Some(found.value)
}

fn notify(table: &mut Table<'_>, context: &Context<'_>) -> Option<Vec<String>> {
    let known: Vec<&str> = context.notifiers.iter().map(|(name, _)| name.value.as_str()).collect();
    if !table.has("notify") {
        table.missing("notify", &format!("[\"{}\"]", known.first().copied().unwrap_or("oncall")));
    }
    notifiers(table, "notify", &known)
}

/// A list of names of notifiers: at least one, each known, none twice.
pub(super) fn notifiers(table: &mut Table<'_>, key: &'static str, known: &[&str]) -> Option<Vec<String>> {
    let found = table.texts(key)?;
    if found.value.is_empty() {
        let example = known.first().copied().unwrap_or("oncall");
        table.problem(found.span, format_args!("`{key}` must name at least one notifier, for example [\"{example}\"]"));
        return None;
    }
    let mut names: Vec<String> = Vec::new();
    let mut all_known = true;
    for name in found.value {
        let is_known = known.contains(&name.value.as_str());
        if is_known && !names.contains(&name.value) {
            names.push(name.value);
            continue;
        }
        let add = || format!("unknown notifier `{0}`, because there is none; add [notifier.{0}.email]", name.value);
        let message = match is_known {
            true => format!("`{}` is there twice", name.value),
            false if known.is_empty() => add(),
            false => unknown("notifier", &name.value, known),
        };
        table.problem(name.span, message);
        all_known = false;
    }
    all_known.then_some(names)
}
