//! Delivery: one thread a notifier takes what is due from the outbox, hands it over, and notes what came of it.
//!
//! The outbox is the only queue. A crash between a receiver's answer and the note sends the notice once more, with the
//! same id; a slow or dead receiver holds back nobody but its own notifier.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tracing::{error, info, warn};

use crate::clock::{Clock, Timestamp};
use crate::failpoint::reach;
use crate::metrics::NOTICES;
use crate::notification::{self, Message, Receiver, Rendering};
use crate::notifier::{Notifier, SendError, retry_delay};
use crate::state::{Outbox, Owed};

/// How often an idle thread looks into the outbox even if nobody rang.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// The notifiers, by name.
pub type Notifiers = BTreeMap<String, Arc<dyn Notifier>>;

/// Everybody who can be told, in the order of the notifiers' names.
pub fn receivers(notifiers: &Notifiers) -> Vec<Receiver> {
    let of = |(name, notifier): (&String, &Arc<dyn Notifier>)| {
        let notifier_name = name.clone();
        notifier
            .recipients()
            .into_iter()
            .map(move |recipient| Receiver { notifier: notifier_name.clone(), recipient })
            .collect::<Vec<_>>()
    };
    notifiers.iter().flat_map(of).collect()
}

/// Most messages that wait to be told without the outbox.
const DIRECT_MAX: usize = 100;
/// How often telling without the outbox is tried.
const DIRECT_TRIES: u32 = 5;

/// Wakes the delivery threads.
#[derive(Debug, Default)]
pub struct Bell {
    stopped: AtomicBool,
    /// What the outbox cannot take, with the attempts so far. Best effort: it does not outlive the process.
    direct: Mutex<Vec<(Message, u32)>>,
    rung: Mutex<u64>,
    ring: Condvar,
}

impl Bell {
    /// Something may be due.
    pub fn ring(&self) {
        *self.rung.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.ring.notify_all();
    }

    /// No new attempt is begun; those in flight end by themselves.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.ring();
    }

    /// Has messages told without the outbox, as long as there are not too many: when the outbox is what fails.
    pub(super) fn tell_directly(&self, messages: Vec<Message>) {
        let mut direct = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
        let room = DIRECT_MAX.saturating_sub(direct.len());
        direct.extend(messages.into_iter().take(room).map(|message| (message, 0)));
        drop(direct);
        self.ring();
    }

    /// What a notifier is to tell without the outbox.
    pub(super) fn take_direct(&self, notifier: &str) -> Vec<(Message, u32)> {
        let mut direct = self.direct.lock().unwrap_or_else(PoisonError::into_inner);
        direct.extract_if(.., |(message, _)| message.notifier == notifier).collect()
    }

    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Waits for the bell to ring after it had rung `heard` times, at most for `wait`.
    fn wait(&self, heard: u64, wait: Duration) -> u64 {
        let rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.ring.wait_timeout_while(rung, wait, |rung| *rung == heard && !self.is_stopped());
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// What a delivery thread works with.
pub struct Delivery {
    /// The notifier's name.
    pub name: String,
    /// The notifier.
    pub notifier: Arc<dyn Notifier>,
    /// The outbox, on a connection of its own.
    pub outbox: Outbox,
    /// Everybody who can be told of a dead letter.
    pub others: Vec<Receiver>,
    /// How notices are written.
    pub rendering: Rendering,
    /// How long an undelivered notice is tried again.
    pub give_up_after: Duration,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Rung when something may be due.
    pub bell: Arc<Bell>,
    /// Where sending happens.
    pub runtime: Handle,
    /// An attempt of which it is not yet written down what came of it.
    pub unnoted: Option<(Owed, Result<String, SendError>)>,
}

impl Delivery {
    /// Delivers until the bell says stop.
    pub fn run(mut self) {
        let mut heard = 0;
        while !self.bell.is_stopped() {
            self.deliver_directly();
            match self.deliver_next() {
                Ok(true) => {}
                Ok(false) => heard = self.bell.wait(heard, self.until_next()),
                Err(problem) => {
                    error!(notifier = self.name, %problem, "the outbox cannot be read or written");
                    heard = self.bell.wait(heard, LOOK_EVERY);
                }
            }
        }
        if let Err(problem) = self.note_last() {
            error!(notifier = self.name, %problem, "an attempt is not noted; its notice may be sent again");
        }
    }

    /// Makes one attempt for each message that the outbox could not take.
    fn deliver_directly(&self) {
        let mut again = Vec::new();
        for (message, tries) in self.bell.take_direct(&self.name) {
            let (name, recipient) = (self.name.as_str(), message.recipient.as_str());
            match self.runtime.block_on(self.notifier.send(&message)) {
                Ok(answer) => info!(notifier = name, recipient, answer, "told without the outbox"),
                Err(problem) => {
                    warn!(notifier = name, recipient, %problem, "not told without the outbox");
                    let worth_it = matches!(problem, SendError::Retry { .. }) && tries + 1 < DIRECT_TRIES;
                    again.extend(worth_it.then_some((message, tries + 1)));
                }
            }
        }
        // Silently: the bell would wake us at once.
        self.bell.direct.lock().unwrap_or_else(PoisonError::into_inner).extend(again);
    }

    fn until_next(&self) -> Duration {
        let due = self.outbox.next_attempt(&self.name).ok().flatten();
        due.map_or(LOOK_EVERY, |due| due.since(self.clock.now()).clamp(Duration::from_millis(10), LOOK_EVERY))
    }

    /// Makes one attempt, if one is due, and notes what came of it.
    fn deliver_next(&mut self) -> Result<bool, crate::state::Error> {
        let attempted = self.attempt_next()?;
        self.note_last()?;
        if attempted {
            reach("attempt.after");
        }
        Ok(attempted)
    }

    /// Makes one attempt, if one is due. What came of the last one is noted first: an answer that is not noted would be
    /// asked for again.
    ///
    /// # Errors
    ///
    /// If the outbox cannot be read or written.
    pub fn attempt_next(&mut self) -> Result<bool, crate::state::Error> {
        self.note_last()?;
        let Some(owed) = self.outbox.next_due(&self.name, self.clock.now())? else { return Ok(false) };
        reach("attempt.before");
        let outcome = self.runtime.block_on(self.notifier.send(&owed.message));
        self.unnoted = Some((owed, outcome));
        reach("attempt.answered");
        Ok(true)
    }

    /// Writes down what came of the last attempt, if that is not done yet; it stays to be done if it fails.
    ///
    /// # Errors
    ///
    /// If the outbox cannot be written.
    pub fn note_last(&mut self) -> Result<(), crate::state::Error> {
        let Some((owed, outcome)) = self.unnoted.take() else { return Ok(()) };
        let noted = self.note(&owed, &outcome);
        if noted.is_err() {
            self.unnoted = Some((owed, outcome));
        }
        noted
    }

    fn note(&mut self, owed: &Owed, outcome: &Result<String, SendError>) -> Result<(), crate::state::Error> {
        let now = self.clock.now();
        let Owed { message, attempts, created } = owed;
        let (name, recipient, id) = (self.name.as_str(), message.recipient.as_str(), message.id.as_str());
        let result = match outcome {
            Ok(answer) => {
                self.outbox.sent(id, answer, now)?;
                info!(notifier = name, recipient, id, answer, "notice sent");
                "sent"
            }
            Err(SendError::Retry { reason, after }) if now.since(*created) < self.give_up_after => {
                let wait = retry_delay(id, attempts + 1).max(after.unwrap_or_default());
                self.outbox.retry(id, reason, now.plus(wait))?;
                warn!(notifier = name, recipient, id, reason, ?wait, "notice not sent, to be tried again");
                "retry"
            }
            Err(SendError::Retry { reason, .. } | SendError::Refused { reason }) => {
                self.bury(owed, reason, now)?;
                "dead"
            }
        };
        metrics::counter!(NOTICES.name, "notifier" => self.name.clone(), "result" => result).increment(1);
        Ok(())
    }

    /// Gives a notice up, visibly, and tells everybody else. The failure of such a telling is not told in turn.
    fn bury(&mut self, owed: &Owed, reason: &str, now: Timestamp) -> Result<(), crate::state::Error> {
        let message = &owed.message;
        let is_other = |r: &&Receiver| r.notifier != message.notifier || r.recipient != message.recipient;
        let told: Vec<_> = match notification::is_delivery_failure(message) {
            true => Vec::new(),
            false => self
                .others
                .iter()
                .filter(is_other)
                .map(|receiver| notification::delivery_failure(message, reason, receiver, now, &self.rendering))
                .collect(),
        };
        let alone = self.outbox.dead(&message.id, reason, &told, now)?;
        let (name, recipient, id) = (self.name.as_str(), message.recipient.as_str(), message.id.as_str());
        error!(notifier = name, recipient, id, reason, "notice given up: a dead letter");
        if alone > 0 {
            error!(notifier = name, recipient, alone, "ends that would come alone: dead letters, too");
            metrics::counter!(NOTICES.name, "notifier" => self.name.clone(), "result" => "dead")
                .increment(alone as u64);
        }
        self.bell.ring();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;
    use crate::notification::test_notice;
    use crate::notifier::Sending;
    use crate::state::State;

    /// Fails at the first try, then takes everything; stops the bell when it has taken so many.
    struct Hearer {
        heard: Mutex<Vec<String>>,
        bell: Arc<Bell>,
        enough: usize,
    }

    impl Notifier for Hearer {
        fn recipients(&self) -> Vec<String> {
            vec!["somebody".to_owned()]
        }

        fn send<'a>(&'a self, message: &'a Message) -> Sending<'a> {
            let mut heard = self.heard.lock().unwrap();
            heard.push(message.id.clone());
            if heard.len() > self.enough {
                self.bell.stop();
            }
            let first = heard.len() == 1;
            let refusal = SendError::Retry { reason: "not now".to_owned(), after: None };
            Box::pin(async move { if first { Err(refusal) } else { Ok(String::new()) } })
        }
    }

    #[test]
    fn what_the_outbox_cannot_take_is_told_all_the_same() {
        let (directory, clock) = (tempfile::tempdir().unwrap(), SystemClock);
        let state = State::open(directory.path(), clock.now()).unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let bell = Arc::new(Bell::default());
        let hearer = Arc::new(Hearer { heard: Mutex::default(), bell: Arc::clone(&bell), enough: 2 });
        let rendering = Rendering { zone: jiff::tz::TimeZone::UTC, status_page: None, instance: "here".to_owned() };
        let delivery = Delivery {
            name: "ops".to_owned(),
            notifier: Arc::clone(&hearer) as Arc<dyn Notifier>,
            outbox: state.outbox().unwrap(),
            others: Vec::new(),
            rendering: rendering.clone(),
            give_up_after: Duration::from_secs(60),
            clock: Arc::new(SystemClock),
            bell: Arc::clone(&bell),
            runtime: runtime.handle().clone(),
            unnoted: None,
        };
        let file = rusqlite::Connection::open(directory.path().join("modelwatch.db")).unwrap();
        file.execute_batch("ALTER TABLE outbox RENAME TO elsewhere").unwrap();
        let message = |notifier: &str, second: i64| {
            let receiver = Receiver { notifier: notifier.to_owned(), recipient: "somebody".to_owned() };
            test_notice(&receiver, Timestamp::from_secs(second), &rendering)
        };
        bell.tell_directly(vec![message("ops", 1), message("other", 1), message("ops", 2)]);
        let (guarded, (done, is_done)) = (Arc::clone(&bell), std::sync::mpsc::channel::<()>());
        let guard = std::thread::spawn(move || {
            // Only a failing test waits so long.
            if is_done.recv_timeout(Duration::from_secs(20)) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                guarded.stop();
            }
        });
        delivery.run();
        drop(done);
        guard.join().unwrap();
        let told: Vec<String> = [1, 2, 1].map(|second| message("ops", second).id).into();
        assert_eq!(*hearer.heard.lock().unwrap(), told, "the first one twice");
        assert_eq!(bell.take_direct("other").len(), 1, "others have their own");
        let many = (0..1_000).map(|second| message("ops", second)).collect();
        bell.tell_directly(many);
        assert_eq!(bell.take_direct("ops").len(), DIRECT_MAX);
    }
}
