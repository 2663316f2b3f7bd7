//! Transitions of one step → notices: what people are told, one per rule, change and instant.

use std::cmp::Ordering;

use crate::alert::{Change, Evidence, Transition};
use crate::rule::{Bound, Severity};

/// Transitions that are told in one message: same rule, same change, same instant, same notifiers. Never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Notice<'t> {
    /// The worst one; the message is named after it.
    pub first: &'t Transition,
    /// The others, worst first.
    pub others: Vec<&'t Transition>,
}

impl<'t> Notice<'t> {
    /// All of its transitions, worst first.
    pub fn transitions(&self) -> impl Iterator<Item = &'t Transition> {
        std::iter::once(self.first).chain(self.others.iter().copied())
    }

    /// Names of the notifiers that are to be told.
    pub fn notify(&self) -> &'t [String] {
        &self.first.notify
    }

    /// The highest severity in it.
    pub fn severity(&self) -> Severity {
        self.others.iter().fold(self.first.severity, |most, transition| most.max(transition.severity))
    }

    /// Whether it tells of something that is wrong now.
    pub fn is_trouble(&self) -> bool {
        matches!(self.first.change, Change::Fired | Change::Repeated | Change::NoData(_))
    }

    fn takes(&self, transition: &Transition) -> bool {
        let same = |one: &Transition| (one.change, one.at) == (transition.change, transition.at);
        self.first.rule == transition.rule && self.first.notify == transition.notify && same(self.first)
    }
}

/// The notices of one step, in the order of their first transitions.
///
/// Changes that nobody is told of (pending, calmed, recovering, relapsed) are left out, and so are transitions of rules
/// that tell nobody. Costs O(transitions · notices).
pub fn notices(transitions: &[Transition]) -> Vec<Notice<'_>> {
    let mut notices: Vec<Notice<'_>> = Vec::new();
    for transition in transitions.iter().filter(|one| is_told(one.change) && !one.notify.is_empty()) {
        match notices.iter_mut().find(|notice| notice.takes(transition)) {
            Some(notice) => notice.others.push(transition),
            None => notices.push(Notice { first: transition, others: Vec::new() }),
        }
    }
    notices.into_iter().map(worst_first).collect()
}

fn is_told(change: Change) -> bool {
    match change {
        Change::Pending | Change::Calmed | Change::Recovering | Change::Relapsed => false,
        Change::Fired
        | Change::Repeated
        | Change::Resolved
        | Change::NoData(_)
        | Change::DataBack
        | Change::Ended(_) => true,
    }
}

fn worst_first(notice: Notice<'_>) -> Notice<'_> {
    let mut all: Vec<&Transition> = notice.transitions().collect();
    // The sort is stable: equals stay in the order in which they were decided.
    all.sort_by(|one, other| compare(badness(other), badness(one)));
    let mut all = all.into_iter();
    match all.next() {
        Some(first) => Notice { first, others: all.collect() },
        None => notice,
    }
}

fn compare(one: Option<f64>, other: Option<f64>) -> Ordering {
    match (one, other) {
        (Some(one), Some(other)) => one.total_cmp(&other),
        (one, other) => one.is_some().cmp(&other.is_some()),
    }
}

/// How far the headline is beyond its bound, in its own unit; negative on the good side.
fn badness(transition: &Transition) -> Option<f64> {
    let Evidence { value: Ok(value), bound, .. } = transition.evidence.first()? else { return None };
    Some(match *bound {
        Bound::Above(limit) => value - limit,
        Bound::Below(limit) => limit - value,
        Bound::Outside(low, high) => (low - value).max(value - high),
    })
}
