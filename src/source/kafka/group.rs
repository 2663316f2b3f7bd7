//! Whether somebody else uses our consumer group.
//!
//! Positions are published in the group with a mark of this process, and read back now and then. Another modelwatch leaves
//! its own mark. While consumers subscribe in the group, the broker refuses our positions (`UNKNOWN_MEMBER_ID`, in a log
//! line only), so what is read back falls behind.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use crate::source::Partition;

/// So many times in a row our positions are not in the group before somebody is told.
const STALE_TIMES: u32 = 2;

/// A position in the group: the next offset and the mark beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) next: i64,
    pub(super) mark: String,
}

/// What we published, to be compared with what is there.
#[derive(Debug)]
pub(super) struct Group {
    /// Put beside every position that we publish.
    pub(super) mark: String,
    published: HashMap<Partition, i64>,
    /// What was read back was ours at least once.
    accepted: bool,
    stale: u32,
}

impl Group {
    /// With a mark of its own.
    pub(super) fn new() -> Group {
        let mark = format!("modelwatch {:016x}", RandomState::new().hash_one(std::process::id()));
        Group { mark, published: HashMap::new(), accepted: false, stale: 0 }
    }

    /// Takes note of positions that are published.
    pub(super) fn publish(&mut self, positions: impl Iterator<Item = (Partition, i64)>) {
        self.published = positions.collect();
    }

    /// Compares what is in the group with what we published; gives what shows that somebody else uses it.
    pub(super) fn compare(&mut self, committed: &HashMap<Partition, Committed>) -> Option<String> {
        let foreign = |(partition, next): (&Partition, &i64)| {
            let there = committed.get(partition);
            let is_ours = there.is_some_and(|there| there.next == *next && there.mark == self.mark);
            (!is_ours).then(|| (there.cloned(), format!("{}/{}", partition.topic, partition.number)))
        };
        // Where something is, first: it says more.
        let Some((there, place)) =
            self.published.iter().filter_map(foreign).min_by_key(|(there, place)| (there.is_none(), place.clone()))
        else {
            self.accepted |= !self.published.is_empty();
            self.stale = 0;
            return None;
        };
        let refused = "our offsets are refused, as while consumers subscribe";
        let evidence = match there {
            Some(Committed { next, mark }) if !mark.starts_with("modelwatch ") => {
                return Some(format!("another consumer committed offset {next} of {place}"));
            }
            Some(Committed { next, mark }) if mark != self.mark && self.accepted => {
                return Some(format!("another modelwatch committed offset {next} of {place}"));
            }
            Some(Committed { next, mark }) if mark == self.mark => format!("{refused}; {place} stays at {next}"),
            // Perhaps of an earlier run of ours.
            Some(Committed { next, .. }) => format!("offset {next} of {place} is of another modelwatch, or {refused}"),
            None => format!("{refused}; {place} has none"),
        };
        self.stale += 1;
        (self.stale >= STALE_TIMES).then_some(evidence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition() -> Partition {
        Partition { topic: "t".to_owned(), number: 3 }
    }

    /// What a group says that published 40 and finds these offsets and marks (`None`: our own), one after the other.
    #[track_caller]
    fn check(there: &[(i64, Option<&str>)], expected: &[Option<&str>]) {
        let mut group = Group::new();
        let mut found = Vec::new();
        for (next, mark) in there {
            group.publish(std::iter::once((partition(), 40)));
            let mark = mark.map_or_else(|| group.mark.clone(), str::to_owned);
            found.push(group.compare(&HashMap::from([(partition(), Committed { next: *next, mark })])));
        }
        assert_eq!(found.iter().map(Option::as_deref).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn strangers_are_told_by_their_mark_or_by_their_keeping_us_out() {
        let refused = "our offsets are refused, as while consumers subscribe; t/3 stays at 7";
        check(&[(40, None), (40, None)], &[None, None]);
        let other = Some("another modelwatch committed offset 40 of t/3");
        check(&[(40, None), (40, Some("modelwatch 1"))], &[None, other]);
        let perhaps =
            Some("offset 7 of t/3 is of another modelwatch, or our offsets are refused, as while consumers subscribe");
        check(&[(7, Some("modelwatch 1")), (7, Some("modelwatch 1"))], &[None, perhaps]);
        check(&[(12, Some(""))], &[Some("another consumer committed offset 12 of t/3")]);
        check(&[(7, None), (7, None)], &[None, Some(refused)]);
        check(&[(7, None), (40, None), (7, None)], &[None, None, None]);
    }

    #[test]
    fn a_group_that_holds_nothing_though_we_published_keeps_us_out() {
        let mut group = Group::new();
        assert_eq!(group.compare(&HashMap::new()), None, "nothing is published yet");
        group.publish(std::iter::once((partition(), 40)));
        assert_eq!(group.compare(&HashMap::new()), None, "the topic was just made anew, or the offsets expired");
        let refused = "our offsets are refused, as while consumers subscribe; t/3 has none";
        assert_eq!(group.compare(&HashMap::new()).as_deref(), Some(refused));
        assert_ne!(Group::new().mark, Group::new().mark);
    }
}
