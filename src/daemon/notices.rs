//! Transitions → messages for everybody who is to be told.
//!
//! Who was told of an incident's beginning is owed its end, whatever the configuration says by then; everybody else is
//! not bothered with the end of something they never heard of.

use std::collections::BTreeMap;

use crate::alert::{Change, Transition};
use crate::clock::Timestamp;
use crate::notification::{self, Message, Receiver, Rendering};
use crate::state::Told;

/// Who was told of the beginning of an incident.
pub type Beginnings = BTreeMap<String, Vec<Receiver>>;

/// The messages owed for the transitions of one step, and who is told of which incident from now on.
///
/// `receivers` is everybody who can be told; `told` looks up who was told of the beginning of an incident, `None` if
/// that cannot be found out: then the rule's notifiers are told, since one notice too many is better than none. Those
/// whose notice was given up are told again that something is wrong, but not that it is over.
pub fn owed(
    transitions: &[Transition],
    receivers: &[Receiver],
    mut told: impl FnMut(&str) -> Option<Vec<Told>>,
    now: Timestamp,
    rendering: &Rendering,
) -> (Vec<Message>, Beginnings) {
    let mut beginnings = Beginnings::new();
    let mut per_receiver: Vec<(Receiver, Vec<Transition>)> = Vec::new();
    for transition in transitions {
        let known = match &transition.incident {
            Some(incident) if !begins(transition.change) => {
                let is_told = |told: &Told| !told.lost || transition.change == Change::Repeated;
                let known = |told: Vec<Told>| told.into_iter().filter(is_told).map(|told| told.receiver).collect();
                beginnings.get(incident).cloned().or_else(|| told(incident).map(known))
            }
            _ => None,
        };
        let by_rule = || receivers.iter().filter(|r| transition.notify.contains(&r.notifier)).cloned().collect();
        let to: Vec<Receiver> = known.unwrap_or_else(by_rule);
        // A repetition is a beginning to those who did not get the first notice.
        let is_trouble = begins(transition.change) || transition.change == Change::Repeated;
        if let Some(incident) = transition.incident.as_ref().filter(|_| is_trouble) {
            beginnings.insert(incident.clone(), to.clone());
        }
        for receiver in to {
            match per_receiver.iter_mut().find(|(known, _)| *known == receiver) {
                Some((_, own)) => own.push(transition.clone()),
                None => per_receiver.push((receiver, vec![transition.clone()])),
            }
        }
    }
    let messages = per_receiver.iter().flat_map(|(receiver, own)| {
        notification::notices(own)
            .into_iter()
            .map(|notice| notification::render(&notice, receiver, now, rendering))
            .collect::<Vec<_>>()
    });
    (messages.collect(), beginnings)
}

/// One digest a receiver of the messages that were held back, which come in the order in which they were held.
pub fn digests(held: Vec<Message>, now: Timestamp, rendering: &Rendering) -> Vec<Message> {
    let mut by_receiver: BTreeMap<Receiver, Vec<Message>> = BTreeMap::new();
    for message in held {
        let receiver = Receiver { notifier: message.notifier.clone(), recipient: message.recipient.clone() };
        by_receiver.entry(receiver).or_default().push(message);
    }
    let told = by_receiver.iter().filter_map(|(to, held)| notification::digest(held, to, now, rendering));
    told.collect()
}

/// Receivers of whom nobody knows that a notice was given up.
pub fn all_told(receivers: &[Receiver]) -> Vec<Told> {
    receivers.iter().map(|receiver| Told { receiver: receiver.clone(), lost: false }).collect()
}

fn begins(change: Change) -> bool {
    matches!(change, Change::Fired | Change::NoData(_))
}
