//! One message for all that was held back while the daemon caught up with a backlog.
//!
//! Notices of hours ago, one by one, would be a storm of things that are over. What people need to know is what is still
//! true; what came and went meanwhile is said in a line each.

use super::Message;

/// Held notices, sorted by what is left of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sorted<'m> {
    /// The latest word on incidents that are still open.
    pub(super) still: Vec<&'m Message>,
    /// The end of incidents whose beginning was told before.
    pub(super) over: Vec<&'m Message>,
    /// The end of incidents that nobody had heard of.
    pub(super) came_and_went: Vec<&'m Message>,
}

/// Sorts the held notices of one receiver, which come in the order in which they were held.
pub(super) fn sort(held: &[Message]) -> Sorted<'_> {
    let mut incidents: Vec<(&str, &Message, &Message)> = Vec::new();
    for message in held {
        for id in &message.incidents {
            match incidents.iter_mut().find(|(known, ..)| known == id) {
                Some((_, _, last)) => *last = message,
                None => incidents.push((id, message, message)),
            }
        }
    }
    let mut sorted = Sorted::default();
    for (_, first, last) in incidents {
        let list = match (is_trouble(first), is_trouble(last)) {
            (_, true) => &mut sorted.still,
            (true, false) => &mut sorted.came_and_went,
            (false, false) => &mut sorted.over,
        };
        // A message may tell of several incidents; it is listed once.
        if !list.iter().any(|known| known.id == last.id) {
            list.push(last);
        }
    }
    sorted
}

pub(super) fn is_trouble(message: &Message) -> bool {
    ["firing", "repeat", "no_data", "labels_late"].contains(&state(message))
}

/// What a message says that its incidents are.
pub(super) fn state(message: &Message) -> &str {
    let state = message.headers.iter().find(|(name, _)| name == "X-Modelwatch-State");
    state.map_or("", |(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(id: &str, state: &str, incidents: &str) -> Message {
        Message {
            id: id.to_owned(),
            thread: None,
            incidents: incidents.split(", ").map(str::to_owned).collect(),
            notifier: "oncall".to_owned(),
            recipient: "a@example.org".to_owned(),
            subject: format!("{state} {incidents}"),
            text: String::new(),
            html: String::new(),
            headers: vec![("X-Modelwatch-State".to_owned(), state.to_owned())],
            json: "{}".to_owned(),
        }
    }

    #[track_caller]
    fn check(held: &[Message], still: &[&str], over: &[&str], came_and_went: &[&str]) {
        let ids = |list: &[&Message]| list.iter().map(|message| message.id.clone()).collect::<Vec<_>>();
        let sorted = sort(held);
        assert_eq!(
            (ids(&sorted.still), ids(&sorted.over), ids(&sorted.came_and_went)),
            (
                still.iter().map(|id| (*id).to_owned()).collect(),
                over.iter().map(|id| (*id).to_owned()).collect(),
                came_and_went.iter().map(|id| (*id).to_owned()).collect(),
            )
        );
    }

    #[test]
    fn what_is_left_of_held_notices() {
        check(&[held("1", "firing", "a")], &["1"], &[], &[]);
        check(&[held("1", "firing", "a"), held("2", "resolved", "a")], &[], &[], &["2"]);
        check(&[held("1", "resolved", "a")], &[], &["1"], &[]);
        check(&[held("1", "firing", "a"), held("2", "resolved", "a"), held("3", "firing", "b")], &["3"], &[], &["2"]);
        check(&[held("1", "firing", "a, b"), held("2", "resolved", "b")], &["1"], &[], &["2"]);
        check(&[held("1", "labels_late", "a, b")], &["1"], &[], &[]);
    }
}
