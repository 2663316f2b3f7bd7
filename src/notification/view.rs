//! What a mail says, as words and rows, before any template: both bodies are laid out from one [`View`].

use serde::Serialize;

use super::group::Notice;
use super::words::{clean, number, number_beside, span};
use super::{LISTED_MAX, Message, Receiver, Rendering, subject};
use crate::alert::{Change, End, Evidence, Silence, Transition};
use crate::clock::Timestamp;
use crate::rule::Severity;

/// Longest foreign text in a body, in characters.
const TEXT_MAX: usize = 200;
/// Longest sentence of a rule or a server, in characters.
const SENTENCE_MAX: usize = 1_000;

/// Everything a template may show. Cleaned; not escaped, that is the template's business.
#[derive(Debug, Serialize)]
pub(super) struct View {
    pub(super) subject: String,
    badge: String,
    colour: &'static str,
    headline: String,
    place: String,
    facts: Vec<Fact>,
    alerts: Vec<Row>,
    more: usize,
    worst: Vec<Row>,
    summary: Option<String>,
    runbook: Option<Link>,
    status_page: Option<Link>,
    footer: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Fact {
    name: String,
    value: String,
}

/// One alert of a group, or one segment of a table.
#[derive(Debug, Serialize)]
struct Row {
    place: String,
    padding: String,
    value: String,
    note: String,
    id: String,
}

#[derive(Debug, Serialize)]
struct Link {
    text: String,
    /// Only for addresses of the web: anything else is shown, not linked.
    address: Option<String>,
}

/// How a state is called and coloured.
pub(super) struct State {
    /// In headers and payloads.
    pub(super) name: &'static str,
    /// In subjects.
    pub(super) badge: &'static str,
}

pub(super) fn state(change: Change) -> State {
    let (name, badge) = match change {
        Change::Fired => ("firing", "FIRING"),
        Change::Repeated => ("repeat", "REPEAT"),
        Change::Resolved => ("resolved", "RESOLVED"),
        Change::NoData(Silence::Predictions) => ("no_data", "NO DATA"),
        Change::NoData(Silence::Labels) => ("labels_late", "LABELS LATE"),
        Change::DataBack => ("data_back", "DATA BACK"),
        Change::Ended(End::RuleRemoved) => ("ended", "ENDED: rule removed"),
        Change::Pending => ("pending", "PENDING"),
        Change::Calmed => ("calmed", "CALMED"),
        Change::Recovering => ("recovering", "RECOVERING"),
        Change::Relapsed => ("relapsed", "RELAPSED"),
    };
    State { name, badge }
}

impl View {
    pub(super) fn of_notice(notice: &Notice<'_>, now: Timestamp, options: &Rendering) -> View {
        let first = notice.first;
        let alone = notice.others.is_empty();
        let badge = match first.change {
            Change::Fired | Change::Repeated => format!("{} · {}", state(first.change).badge, notice.severity().name()),
            _ => state(first.change).badge.to_owned(),
        };
        let mut view = View {
            colour: colour(notice),
            headline: headline(notice),
            place: if alone { place(first) } else { format!("{} alerts of one rule", notice.others.len() + 1) },
            facts: facts(notice, now, options),
            more: (notice.others.len() + 1).saturating_sub(LISTED_MAX),
            summary: first.summary.as_deref().map(|text| clean(text, SENTENCE_MAX)),
            runbook: first.runbook.as_deref().map(link),
            footer: footer(notice, options),
            ..View::bare(subject::of(notice), badge, options)
        };
        if alone {
            view.worst = first.worst.iter().take(LISTED_MAX).map(worst_row).collect();
        } else {
            view.alerts = notice.transitions().take(LISTED_MAX).map(|one| alert_row(one, options)).collect();
        }
        view.align();
        view
    }

    pub(super) fn of_failure(lost: &Message, reason: &str, now: Timestamp, options: &Rendering) -> View {
        let recipient = clean(&lost.recipient, TEXT_MAX);
        View {
            colour: AMBER,
            headline: format!("A notice to {recipient} could not be delivered"),
            place: format!("notifier {}", clean(&lost.notifier, TEXT_MAX)),
            facts: vec![
                fact("Reason", clean(reason, SENTENCE_MAX)),
                fact("It said", clean(&lost.subject, TEXT_MAX)),
                fact("Given up", now.in_zone(&options.zone)),
            ],
            summary: Some("It is kept as a dead letter and is not tried again.".to_owned()),
            footer: vec![format!("message {}", lost.id), said_by(options)],
            ..View::bare(
                clean(&format!("[NOT DELIVERED] to {recipient}: {reason}"), 70),
                "NOT DELIVERED".to_owned(),
                options,
            )
        }
    }

    pub(super) fn of_test(receiver: &Receiver, now: Timestamp, options: &Rendering) -> View {
        let instance = clean(&options.instance, TEXT_MAX);
        View {
            colour: GREEN,
            headline: "This is a test: modelwatch can reach you".to_owned(),
            place: format!("from {instance}"),
            facts: vec![
                fact("Notifier", clean(&receiver.notifier, TEXT_MAX)),
                fact("Recipient", clean(&receiver.recipient, TEXT_MAX)),
                fact("Sent", now.in_zone(&options.zone)),
            ],
            summary: Some("Nothing is wrong and nothing needs to be done.".to_owned()),
            footer: vec![said_by(options)],
            ..View::bare(
                clean(&format!("[TEST] modelwatch on {instance} can reach you"), 70),
                "TEST".to_owned(),
                options,
            )
        }
    }

    fn bare(subject: String, badge: String, options: &Rendering) -> View {
        View {
            subject,
            badge,
            colour: GREY,
            headline: String::new(),
            place: String::new(),
            facts: Vec::new(),
            alerts: Vec::new(),
            more: 0,
            worst: Vec::new(),
            summary: None,
            runbook: None,
            status_page: options.status_page.as_deref().map(link),
            footer: Vec::new(),
        }
    }

    /// The facts as lines, for a notice without a template.
    pub(super) fn lines(&self) -> Vec<String> {
        let head = [self.headline.clone(), self.place.clone()].into_iter();
        head.chain(self.facts.iter().map(|fact| format!("{}: {}", fact.name, fact.value)))
            .chain(self.footer.clone())
            .collect()
    }

    /// Pads the first columns to one width, for plain text.
    fn align(&mut self) {
        let length = |text: &str| text.chars().count();
        for rows in [&mut self.alerts, &mut self.worst] {
            let width = rows.iter().map(|row| length(&row.place)).max().unwrap_or(0).min(40);
            rows.iter_mut().for_each(|row| row.padding = " ".repeat(width.saturating_sub(length(&row.place))));
        }
    }
}

// Each bears white letters with a contrast of at least 4.5 : 1.
const RED: &str = "#b3261e";
const AMBER: &str = "#8f5200";
const BLUE: &str = "#1f5fa8";
const GREEN: &str = "#1b7a3d";
const GREY: &str = "#5f6368";

fn colour(notice: &Notice<'_>) -> &'static str {
    match (notice.first.change, notice.severity()) {
        (Change::Fired | Change::Repeated | Change::NoData(_), Severity::Critical) => RED,
        (Change::Fired | Change::Repeated | Change::NoData(_), Severity::Warning) => AMBER,
        (Change::Fired | Change::Repeated | Change::NoData(_), Severity::Info) => BLUE,
        (Change::Resolved, _) => GREEN,
        _ => GREY,
    }
}

fn headline(notice: &Notice<'_>) -> String {
    let first = notice.first;
    let (what, value) = match first.evidence.first() {
        Some(evidence) => (evidence.indicator, shown(evidence)),
        None => ("the indicator", "unknown".to_owned()),
    };
    let bound = first.evidence.first().map_or_else(String::new, |evidence| evidence.bound.to_string());
    let lasted = span(first.at.since(first.since));
    let worst = if notice.others.is_empty() { "" } else { ", at worst" };
    match first.change {
        Change::Fired => format!("{what} is {value}{worst}, {bound}"),
        Change::Repeated => format!("{what} is still {bound}: {value}{worst}"),
        Change::Resolved => format!("{what} is {value}{worst}, no longer {bound}"),
        Change::NoData(Silence::Predictions) => format!("No predictions for {lasted}"),
        Change::NoData(Silence::Labels) => format!("Predictions arrive, but no labels for {lasted}"),
        Change::DataBack => format!("Samples are back after {lasted}"),
        Change::Ended(End::RuleRemoved) => {
            "The alert ended without a measured recovery: nothing watches it any more".to_owned()
        }
        Change::Pending | Change::Calmed | Change::Recovering | Change::Relapsed => format!("{what} is {value}"),
    }
}

fn shown(evidence: &Evidence) -> String {
    match &evidence.value {
        Ok(value) => with_unit(&number_beside(*value, evidence.bound), evidence.unit),
        Err(why) => format!("unknown ({})", clean(why, TEXT_MAX)),
    }
}

fn with_unit(number: &str, unit: &str) -> String {
    if unit.is_empty() { number.to_owned() } else { format!("{number} {unit}") }
}

fn place(transition: &Transition) -> String {
    let model = clean(&transition.model, TEXT_MAX);
    match &transition.segment {
        Some((dimension, value)) => format!("{model}, {}={}", clean(dimension, TEXT_MAX), clean(value, TEXT_MAX)),
        None => model,
    }
}

fn facts(notice: &Notice<'_>, now: Timestamp, options: &Rendering) -> Vec<Fact> {
    let first = notice.first;
    let mut facts = vec![when(first, now, options)];
    if !notice.others.is_empty() {
        facts.push(fact("Worst", place(first)));
    }
    for evidence in &first.evidence {
        facts.push(fact(evidence.indicator, condition(evidence)));
        facts.push(fact("How sure", how_sure(evidence)));
    }
    facts
}

fn when(first: &Transition, now: Timestamp, options: &Rendering) -> Fact {
    let at = |at: Timestamp| at.in_zone(&options.zone);
    let ago = |at: Timestamp| format!("{} before this mail", span(now.since(at)));
    let lasted = span(first.at.since(first.since));
    match first.change {
        Change::Resolved | Change::Ended(_) => {
            fact("Lasted", format!("{lasted}, from {} to {} ({})", at(first.since), at(first.at), ago(first.at)))
        }
        Change::DataBack => {
            fact("Silent", format!("{lasted}, from {} to {} ({})", at(first.since), at(first.at), ago(first.at)))
        }
        _ => fact("Since", format!("{} ({})", at(first.since), ago(first.since))),
    }
}

fn condition(evidence: &Evidence) -> String {
    let clear =
        if evidence.clear == evidence.bound { String::new() } else { format!("; clears when not {}", evidence.clear) };
    format!("{}; a breach is {}{clear}; {}", shown(evidence), evidence.bound, evidence.smoothing)
}

fn how_sure(evidence: &Evidence) -> String {
    let asked = if evidence.n_eff < evidence.min_samples { "fewer than the" } else { "at least" };
    let samples =
        format!("{} effective samples, {asked} {} needed", count(evidence.n_eff), count(evidence.min_samples));
    match evidence.bracket {
        Some((low, high)) => format!("{samples}; the exact value lies in [{}, {}]", number(low), number(high)),
        None => samples,
    }
}

/// A number of samples; fractions matter only when there are few.
fn count(samples: f64) -> String {
    number(if samples >= 10.0 { samples.floor() } else { samples })
}

fn alert_row(transition: &Transition, options: &Rendering) -> Row {
    let (value, n_eff) =
        transition.evidence.first().map_or((String::new(), String::new()), |one| (shown(one), count(one.n_eff)));
    Row {
        place: place(transition),
        padding: String::new(),
        value,
        note: format!("n {n_eff}, since {}", transition.since.in_zone(&options.zone)),
        id: transition.incident.as_deref().map_or_else(String::new, |id| clean(id, TEXT_MAX)),
    }
}

fn worst_row(segment: &crate::alert::Contribution) -> Row {
    Row {
        place: format!("{}={}", clean(&segment.dimension, TEXT_MAX), clean(&segment.value, TEXT_MAX)),
        padding: String::new(),
        value: number(segment.reading),
        note: format!("n {}", count(segment.n_eff)),
        id: String::new(),
    }
}

fn footer(notice: &Notice<'_>, options: &Rendering) -> Vec<String> {
    let first = notice.first;
    let mut lines = vec![format!("rule {}", clean(&first.rule, TEXT_MAX))];
    if let (true, Some(incident)) = (notice.others.is_empty(), &first.incident) {
        lines.push(format!("incident {}, message {} of it", clean(incident, TEXT_MAX), first.sequence));
    }
    lines.push(said_by(options));
    lines
}

fn said_by(options: &Rendering) -> String {
    format!("modelwatch on {}", clean(&options.instance, TEXT_MAX))
}

fn fact(name: &str, value: String) -> Fact {
    Fact { name: name.to_owned(), value }
}

fn link(address: &str) -> Link {
    let text = clean(address, SENTENCE_MAX);
    let of_the_web = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
    Link { address: of_the_web.then(|| text.clone()), text }
}
