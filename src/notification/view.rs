//! What a mail says, as words and rows, before any template: both bodies are laid out from one [`View`].

use serde::Serialize;

use super::digest::Sorted;
use super::facts::{Fact, count, fact, facts, place, shown, trouble_facts, trouble_line};
use super::group::Notice;
use super::trouble::{Telling, TroubleKind};
use super::words::{clean, number, span};
use super::{LISTED_MAX, Message, Receiver, Rendering, SENTENCE_MAX, TEXT_MAX, subject};
use crate::alert::{Change, Contribution, End, Silence, Transition};
use crate::clock::Timestamp;
use crate::rule::Severity;

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

/// One alert of a group, or one segment of a table.
#[derive(Debug, Serialize)]
struct Row {
    place: String,
    value: String,
    padding: String,
    value_padding: String,
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
            summary: sentence(notice),
            runbook: first.runbook.as_deref().filter(|_| notice.is_trouble()).map(link),
            footer: footer(notice, options),
            ..View::bare(subject::of(notice), badge, options)
        };
        if alone {
            let worst = first.worst.iter().filter(|_| is_breach(first.change));
            view.worst = worst.take(LISTED_MAX).map(worst_row).collect();
        } else {
            view.alerts =
                notice.transitions().take(LISTED_MAX).map(|one| alert_row(one, first.since, options)).collect();
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

    pub(super) fn of_digest(sorted: &Sorted<'_>, now: Timestamp, options: &Rendering) -> View {
        let lists = [("Still", &sorted.still), ("Over", &sorted.over), ("Came and went", &sorted.came_and_went)];
        let lines = lists.iter().flat_map(|(name, list)| list.iter().map(move |message| (*name, *message)));
        let all: usize = lists.iter().map(|(_, list)| list.len()).sum();
        let mut facts: Vec<Fact> =
            lines.take(LISTED_MAX).map(|(name, message)| fact(name, clean(&message.subject, TEXT_MAX))).collect();
        if all > LISTED_MAX {
            facts.push(fact("And", format!("{} more", all - LISTED_MAX)));
        }
        let still = sorted.still.len();
        View {
            colour: if still > 0 { RED } else { GREEN },
            headline: match still {
                0 => "Nothing of it is still true".to_owned(),
                1 => "One thing is still true".to_owned(),
                still => format!("{still} things are still true"),
            },
            place: format!("caught up at {}", now.in_zone(&options.zone)),
            facts,
            summary: Some(
                "modelwatch was behind and has caught up. Notices were held back meanwhile; this is what is left of them."
                    .to_owned(),
            ),
            footer: vec![said_by(options)],
            ..View::bare(
                format!("[CAUGHT UP] {still} still true, {} over", all - still),
                "CAUGHT UP".to_owned(),
                options,
            )
        }
    }

    /// `tellings` are of one kind.
    pub(super) fn of_trouble(kind: TroubleKind, tellings: &[Telling], now: Timestamp, options: &Rendering) -> View {
        let place = match tellings {
            [alone] => clean(&alone.trouble.place, TEXT_MAX),
            several => format!("{} places", several.len()),
        };
        let mut facts: Vec<Fact> = match tellings {
            [alone] => trouble_facts(alone, now, options),
            several => several.iter().take(LISTED_MAX).map(|telling| trouble_line(telling, options)).collect(),
        };
        if let Some(more) = tellings.len().checked_sub(LISTED_MAX + 1) {
            facts.push(fact("And", format!("{} more places", more + 1)));
        }
        View {
            colour: AMBER,
            headline: kind.headline().to_owned(),
            place,
            facts,
            summary: Some(format!("For the numbers: {}", kind.meaning())),
            runbook: Some(link(kind.remedy())),
            footer: vec![said_by(options)],
            ..View::bare(subject::of_trouble(kind, tellings), "TROUBLE".to_owned(), options)
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

    /// What matters, as lines, for a notice without a template.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.headline.clone(), self.place.clone()];
        lines.extend(self.facts.iter().map(|fact| format!("{}: {}", fact.name, fact.value)));
        lines.extend(self.alerts.iter().map(|row| format!("{}: {} ({})", row.place, row.value, row.note)));
        lines.extend(self.runbook.iter().map(|runbook| format!("What to do: {}", runbook.text)));
        lines.extend(self.footer.iter().cloned());
        lines
    }

    /// Pads the first columns to one width, for plain text.
    fn align(&mut self) {
        let length = |text: &str| text.chars().count();
        for rows in [&mut self.alerts, &mut self.worst] {
            let widest = |of: fn(&Row) -> &str| rows.iter().map(|row| length(of(row))).max().unwrap_or(0).min(40);
            let (place, value) = (widest(|row| &row.place), widest(|row| &row.value));
            for row in rows.iter_mut() {
                row.padding = " ".repeat(place.saturating_sub(length(&row.place)));
                row.value_padding = " ".repeat(value.saturating_sub(length(&row.value)));
            }
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

fn is_breach(change: Change) -> bool {
    matches!(change, Change::Fired | Change::Repeated)
}

/// The rule's sentence says what a breach means; silence means something else.
fn sentence(notice: &Notice<'_>) -> Option<String> {
    match notice.first.change {
        Change::Fired | Change::Repeated => notice.first.summary.as_deref().map(|text| clean(text, SENTENCE_MAX)),
        Change::NoData(_) => {
            Some("Nobody knows how the model does until samples are back; silence resolves no alert.".to_owned())
        }
        _ => None,
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
    let worst = if notice.others.is_empty() { "" } else { "at worst " };
    match first.change {
        Change::Fired => format!("{what} is {bound}: {worst}{value}"),
        Change::Repeated => format!("{what} is still {bound}: {worst}{value}"),
        Change::Resolved => format!("{what} is no longer {bound}: {worst}{value}"),
        Change::NoData(Silence::Predictions) => format!("No predictions for {lasted}"),
        Change::NoData(Silence::Labels) => format!("Predictions arrive, but no labels for {lasted}"),
        Change::DataBack => format!("Samples are back after {lasted}"),
        Change::Ended(End::RuleRemoved) => {
            "The alert ended without a measured recovery: nothing watches it any more".to_owned()
        }
        Change::Pending | Change::Calmed | Change::Recovering | Change::Relapsed => format!("{what} is {value}"),
    }
}

/// Says since when only if that differs from `since`, which stands above.
fn alert_row(transition: &Transition, since: Timestamp, options: &Rendering) -> Row {
    let measured = transition.evidence.first().map(|one| (shown(one), format!("{} samples", count(one.n_eff))));
    let (value, samples) = measured.unwrap_or_default();
    Row {
        place: place(transition),
        padding: String::new(),
        value_padding: String::new(),
        value,
        note: if transition.since == since {
            samples
        } else {
            format!("{samples}, since {}", transition.since.in_zone(&options.zone))
        },
        id: transition.incident.as_deref().map_or_else(String::new, |id| clean(id, TEXT_MAX)),
    }
}

fn worst_row(segment: &Contribution) -> Row {
    Row {
        place: format!("{}={}", clean(&segment.dimension, TEXT_MAX), clean(&segment.value, TEXT_MAX)),
        padding: String::new(),
        value_padding: String::new(),
        value: number(segment.reading),
        note: format!("{} samples", count(segment.n_eff)),
        id: String::new(),
    }
}

fn footer(notice: &Notice<'_>, options: &Rendering) -> Vec<String> {
    let first = notice.first;
    let mut lines = vec![format!("rule {}", clean(&first.rule, TEXT_MAX))];
    if let (true, Some(incident)) = (notice.others.is_empty(), &first.incident) {
        lines.push(format!("incident {}, transition {}", clean(incident, TEXT_MAX), first.sequence));
    }
    lines.push(said_by(options));
    lines
}

fn said_by(options: &Rendering) -> String {
    format!("modelwatch on {}", clean(&options.instance, TEXT_MAX))
}

fn link(address: &str) -> Link {
    let text = clean(address, SENTENCE_MAX);
    let of_the_web = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
    Link { address: of_the_web.then(|| text.clone()), text }
}
