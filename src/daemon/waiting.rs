//! Waiting for the source at the start: there is no engine yet that could tell anybody.

use std::cell::RefCell;
use std::time::Duration;

use tracing::error;

use super::couriers::CurrentBell;
use super::trouble::Troubles;
use crate::clock::Timestamp;
use crate::notification::{Receiver, Rendering, Trouble};
use crate::state::{Error, Outbox};

/// Who waits for so long tells it.
const TELL_AFTER: Duration = Duration::from_secs(300);

/// What is told while the source is waited for.
pub(super) struct Waiting<O> {
    /// What is wrong so far.
    pub(super) troubles: RefCell<Troubles>,
    pub(super) brokers: String,
    pub(super) to: Vec<Receiver>,
    pub(super) rendering: Rendering,
    /// Opens the outbox.
    pub(super) outbox: O,
    pub(super) bell: CurrentBell,
}

impl<O: Fn() -> Result<Outbox, Error>> Waiting<O> {
    /// The source has been waited for since `since`. What was wrong before is told now, too: the engine may never come.
    pub(super) fn goes_on(&self, since: Timestamp, now: Timestamp) {
        let mut troubles = self.troubles.borrow_mut();
        if now.since(since) < TELL_AFTER || !troubles.is_new(&Trouble::broker_unreachable(&self.brokers, since), now) {
            return;
        }
        troubles.note(Trouble::broker_unreachable(&self.brokers, since), now);
        let messages = troubles.take_messages(&self.to, now, &self.rendering);
        match (self.outbox)().and_then(|mut outbox| outbox.tell(troubles.noted(), &messages, now)) {
            Ok(()) => {
                troubles.committed();
                self.bell.lock().unwrap_or_else(std::sync::PoisonError::into_inner).ring();
            }
            Err(problem) => error!(%problem, "nobody can be told that the source is waited for"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;

    #[test]
    fn a_source_that_is_waited_for_is_told_without_an_engine_with_what_was_wrong_before() {
        let directory = tempfile::tempdir().unwrap();
        let at = |second: i64| Timestamp::from_secs(1_000 + second);
        let state = State::open(directory.path(), at(0)).unwrap();
        let mut troubles = Troubles::default();
        troubles.note(Trouble::state_damaged("aside", at(0)), at(0));
        let waiting = Waiting {
            troubles: RefCell::new(troubles),
            brokers: "a:1".to_owned(),
            to: vec![Receiver { notifier: "ops".to_owned(), recipient: "ops".to_owned() }],
            rendering: Rendering { zone: jiff::tz::TimeZone::UTC, status_page: None, instance: "here".to_owned() },
            outbox: || state.outbox(),
            bell: CurrentBell::default(),
        };
        let mut owed = 0;
        for (second, expected) in [(299, 0), (300, 2), (301, 2), (3_899, 2), (3_900, 3)] {
            waiting.goes_on(at(0), at(second));
            owed = state.outbox().unwrap().counts().unwrap().pending;
            assert_eq!(owed, expected, "at second {second}");
        }
        assert_eq!(state.troubles_told(at(-1)).unwrap().len(), 2);
        assert_eq!(owed, 3);
    }
}
