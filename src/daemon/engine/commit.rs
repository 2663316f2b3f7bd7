//! When and how the engine makes durable what it knows, and what follows from a commit.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::{Engine, Parts};
use crate::clock::Timestamp;
use crate::daemon::notices;
use crate::metrics;
use crate::notification::Message;
use crate::state::{Commit, Snapshot};

/// A commit without transitions is made at most this often...
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// ... takes at most one part in so many of the time ...
const COMMIT_SHARE: u32 = 20;
/// ... but is made at least this often.
const COMMIT_LATEST: Duration = Duration::from_secs(30);
/// A commit that failed is tried again after this.
const COMMIT_AGAIN: Duration = Duration::from_secs(5);
/// How often history is pruned.
const PRUNE_EVERY: Duration = Duration::from_secs(600);

impl Engine {
    pub(super) fn commit_if_due(&mut self, now: Timestamp) {
        let news = !self.transitions.is_empty() || !self.parts.troubles.noted().is_empty();
        let pause = match self.failing_since.is_none() {
            true if news => Duration::ZERO,
            true => COMMIT_EVERY.max(self.commit_took * COMMIT_SHARE).min(COMMIT_LATEST),
            false => COMMIT_AGAIN,
        };
        if self.since(self.committed_at) >= pause {
            self.commit(now);
        }
    }

    fn since(&self, earlier: Instant) -> Duration {
        self.parts.clock.instant().saturating_duration_since(earlier)
    }

    pub(super) fn commit(&mut self, now: Timestamp) {
        let begun = self.parts.clock.instant();
        self.positions.mark_now_and_then(&self.parts.intake);
        let Parts { troubles, trouble_receivers, rendering, .. } = &mut self.parts;
        self.messages.extend(troubles.take_messages(trouble_receivers, now, rendering));
        let saved = self.parts.intake.pipeline.save();
        let is_configured = |message: &&Message| self.parts.receivers.iter().any(|r| r.notifier == message.notifier);
        let (messages, undeliverable): (Vec<&Message>, Vec<&Message>) = self.messages.iter().partition(is_configured);
        let commit = Commit {
            now,
            saved: &saved,
            positions: &self.next_offsets(),
            seen: &self.positions.seen(),
            forgotten: &self.positions.forgotten,
            marks: &self.positions.marks,
            transitions: &self.transitions,
            messages: &messages,
            undeliverable: &undeliverable,
            held: &self.held,
            told: &self.told,
            troubles: self.parts.troubles.noted(),
        };
        let committed = self.parts.state.commit(&commit);
        self.committed_at = self.parts.clock.instant();
        self.commit_took = self.committed_at.saturating_duration_since(begun);
        ::metrics::gauge!(metrics::COMMIT_SECONDS.name).set(self.commit_took.as_secs_f64());
        match committed {
            Ok(()) => self.committed(now),
            Err(problem) => {
                ::metrics::counter!(metrics::COMMIT_FAILURES.name).increment(1);
                error!(%problem, "the state cannot be saved; notices wait until it can");
                self.not_saved(&problem.to_string(), now);
            }
        }
    }

    fn committed(&mut self, now: Timestamp) {
        if self.failing_since.take().is_some() {
            info!("the state is saved again");
        }
        self.parts.troubles.committed();
        self.positions.committed();
        self.transitions.clear();
        self.told.clear();
        if !self.messages.is_empty() {
            self.messages.clear();
            // Whoever gets a mail and looks finds what it says.
            self.show(now);
            self.parts.bell.lock().unwrap_or_else(PoisonError::into_inner).ring();
        }
        self.held.clear();
        if self.owes_digest && !self.catching_up && self.positions.are_known() {
            self.tell_digests(now);
        }
        if std::mem::take(&mut self.notifiers_changed) {
            self.give_up_unknown(now);
        }
        self.parts.published.positions((0..).zip(self.positions.next_offsets()).collect());
        self.save_join(now);
        if self.since(self.pruned_at) >= PRUNE_EVERY {
            self.pruned_at = self.parts.clock.instant();
            let horizon = self.parts.intake.pipeline.join_horizon().unwrap_or(Timestamp::MIN);
            if let Err(problem) = self.parts.state.prune(horizon, now) {
                warn!(%problem, "history cannot be pruned");
            }
        }
    }

    /// Names the snapshot that has become whole, which the commit that was just made is newer than, and begins another one
    /// if it is time.
    fn save_join(&mut self, now: Timestamp) {
        let Parts { snapshots, state, intake, .. } = &mut self.parts;
        if let Some(snapshot) = snapshots.finished() {
            let Snapshot { bytes, pending: (predictions, labels), .. } = snapshot;
            match state.name_snapshot(&snapshot) {
                Ok(()) => info!(bytes, predictions, labels, "the join is saved"),
                Err(problem) => warn!(%problem, "a snapshot cannot be named; the one before it stays"),
            }
        }
        if snapshots.is_due() {
            snapshots.begin(&intake.pipeline, self.positions.now(intake), now);
        }
    }

    /// The positions that the snapshot goes on from mean something else now: it is of no use, and another one is made.
    pub(super) fn renew_snapshot(&mut self) {
        if let Err(problem) = self.parts.state.forget_snapshot(false) {
            error!(%problem, "a snapshot that is of no use any more cannot be removed");
        }
        self.parts.snapshots.renew();
    }

    /// We have caught up: one message per receiver says what is left of the notices that were held back.
    fn tell_digests(&mut self, now: Timestamp) {
        let told = self.parts.state.held().and_then(|held| {
            let digests = notices::digests(held, now, &self.parts.rendering);
            self.parts.state.release(&digests, now)
        });
        match told {
            Ok(()) => {
                self.owes_digest = false;
                self.parts.bell.lock().unwrap_or_else(PoisonError::into_inner).ring();
            }
            Err(problem) => error!(%problem, "the digest cannot be written; it is tried again"),
        }
    }

    /// What is owed to notifiers that have left the configuration is a dead letter.
    fn give_up_unknown(&self, now: Timestamp) {
        let known: Vec<&str> = self.parts.receivers.iter().map(|receiver| receiver.notifier.as_str()).collect();
        match self.parts.state.outbox().and_then(|mut outbox| outbox.bury_unknown(&known, now)) {
            Ok(0) => {}
            Ok(dead) => error!(dead, "notices are owed to notifiers that are no longer configured: dead letters"),
            Err(problem) => error!(%problem, "notices to former notifiers cannot be given up"),
        }
    }

    /// So that the next start has nothing to read again.
    pub(super) fn save_join_at_the_end(self, beat: impl Fn()) {
        let (now, positions, healthy) = (self.parts.clock.now(), self.positions, self.failing_since.is_none());
        let Parts { snapshots, state, intake, .. } = self.parts;
        if healthy
            && let Some(last) = snapshots.last(&intake.pipeline, positions.now(&intake), now, beat)
            && let Err(problem) = state.name_snapshot(&last)
        {
            warn!(%problem, "the last snapshot cannot be named; the next start reads more of the source");
        }
    }
}
