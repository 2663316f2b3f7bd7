//! The engine: one thread that owns the core and the state file, and does one thing after the other.
//!
//! Batch → core → commit. A commit takes positions, the core's state, transitions and the notices they owe in one
//! transaction; only then are the notices delivered and the positions published. A commit that fails (a full disk) is
//! tried again with all that has gathered; nothing is told before it is durable.

mod trouble;

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver as Inbox, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::backlog::Backlog;
use super::delivery::Bell;
use super::intake::Intake;
use super::notices::{self, Told};
use super::positions::Positions;
use super::status::{Published, Status};
use super::trouble::Troubles;
use crate::alert::Transition;
use crate::clock::{Clock, Timestamp};
use crate::metrics;
use crate::notification::{Message, Receiver, Rendering};
use crate::pipeline::Options;
use crate::source::{Partition, Polled};
use crate::state::{Commit, State};

/// How long the engine waits for input before it looks at the clock.
const LOOK_EVERY: Duration = Duration::from_millis(200);
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

/// What the engine is told.
pub enum Input {
    /// What the source brought, with its partitions as of then, and when it was asked.
    Polled(Box<Polled>, Arc<[Partition]>, Instant),
    /// Stop taking in, commit, end.
    Stop,
}

/// A validated configuration that the engine has not taken yet. The latest wins; nobody waits for an engine that waits
/// for its source.
pub type NextReload = Arc<Mutex<Option<Box<Reload>>>>;

/// What a reload swaps.
pub struct Reload {
    /// The core's options.
    pub options: Options,
    /// The field mapping.
    pub mapping: crate::decode::Mapping,
    /// How long a partition must be at its end to be left behind.
    pub idle_after: Duration,
    /// Who can be told.
    pub receivers: Vec<Receiver>,
    /// Who is told of trouble.
    pub trouble_receivers: Vec<Receiver>,
    /// How notices are written.
    pub rendering: Rendering,
}

/// The engine.
pub struct Engine {
    parts: Parts,
    positions: Positions,
    /// When the source was last asked.
    polled_at: Instant,
    transitions: Vec<Transition>,
    messages: Vec<Message>,
    /// Messages of while we are catching up, for the digest.
    held: Vec<Message>,
    backlog: Backlog,
    catching_up: bool,
    /// The state file may hold messages that wait for a digest.
    owes_digest: bool,
    told: Told,
    gaps: BTreeMap<&'static str, u64>,
    committed_at: Instant,
    commit_took: Duration,
    pruned_at: Instant,
    /// Since when commits fail.
    failing_since: Option<Timestamp>,
    /// Notifiers may have left the configuration: what is owed to them must be given up.
    notifiers_changed: bool,
}

/// What an engine is made of.
pub struct Parts {
    /// The core, with what feeds it.
    pub intake: Intake,
    /// The state file.
    pub state: State,
    /// How long a partition must be at its end to be left behind.
    pub idle_after: Duration,
    /// Who can be told.
    pub receivers: Vec<Receiver>,
    /// Who is told of trouble.
    pub trouble_receivers: Vec<Receiver>,
    /// What is wrong, also what the start itself has found.
    pub troubles: Troubles,
    /// How notices are written.
    pub rendering: Rendering,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Rung after a commit with notices.
    pub bell: Arc<Mutex<Arc<Bell>>>,
    /// Where others see what is going on.
    pub published: Published,
    /// Where a reload is put.
    pub next_reload: NextReload,
}

impl Engine {
    /// An engine that goes on from `next_offsets`, in the order of the source's partitions. `transitions` are what the
    /// start itself brought about: the ends of alerts whose rules are gone.
    pub fn new(parts: Parts, next_offsets: &[i64], transitions: Vec<Transition>) -> Engine {
        let (now, instant) = (parts.clock.now(), Instant::now());
        let mut engine = Engine {
            positions: Positions::new(next_offsets, &parts.intake),
            parts,
            polled_at: instant,
            transitions: Vec::new(),
            messages: Vec::new(),
            held: Vec::new(),
            backlog: Backlog::default(),
            catching_up: false,
            // A crash may have left some.
            owes_digest: true,
            told: Told::new(),
            gaps: BTreeMap::new(),
            committed_at: instant,
            commit_took: Duration::ZERO,
            pruned_at: instant,
            failing_since: None,
            notifiers_changed: false,
        };
        engine.gather(transitions, now);
        // A crash before the first batch must not begin elsewhere.
        engine.commit(now);
        engine
    }

    /// Runs until it is told to stop, then commits a last time. `beat` is called at least every second or so.
    pub fn run(mut self, inbox: &Inbox<Input>, beat: impl Fn()) {
        loop {
            // Months of empty ticks are sealed bit by bit, between batches.
            let patience = if self.parts.intake.pipeline.owes_seals() { Duration::ZERO } else { LOOK_EVERY };
            let input = match inbox.recv_timeout(patience) {
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
            };
            let now = self.parts.clock.now();
            if let Some(Input::Polled(polled, partitions, polled_at)) = input {
                self.polled_at = polled_at;
                self.take(&polled, &partitions, now);
                self.watch_backlog(now);
            }
            let reload = self.parts.next_reload.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(reload) = reload {
                self.reload(*reload, now);
            }
            self.positions.watch_ends(self.polled_at, self.parts.idle_after, &mut self.parts.intake);
            let transitions = self.parts.intake.pipeline.advance(now);
            self.gather(transitions, now);
            self.commit_if_due(now);
            self.publish(now);
            beat();
        }
        let now = self.parts.clock.now();
        self.commit(now);
        self.publish(now);
    }

    fn take(&mut self, polled: &Polled, partitions: &[Partition], now: Timestamp) {
        self.parts.intake.expect_partitions(partitions);
        self.positions.grow(partitions.len(), &self.parts.intake);
        for gap in &polled.gaps {
            self.note_gap(gap, polled);
        }
        polled.seen.iter().for_each(|seen| self.positions.saw(seen));
        polled.faults.iter().for_each(|fault| self.note_fault(fault));
        for record in polled.batch.records() {
            let before = self.positions.before(&record, &self.parts.intake);
            let reached = self.parts.intake.pipeline.watermark();
            self.parts.intake.take_record(&record, now);
            self.positions.took(&record, before, reached, &self.parts.intake);
        }
        self.positions.note_ends(polled, self.polled_at);
    }

    fn watch_backlog(&mut self, now: Timestamp) {
        let behind = self.positions.behind(now);
        if self.catching_up != self.backlog.is_worked_off(behind, self.polled_at) {
            self.catching_up = !self.catching_up;
            if self.catching_up {
                let behind = humantime::format_duration(Duration::from_secs(behind.as_secs()));
                info!("catching up, {behind} behind: notices are held back for a digest");
                self.owes_digest = true;
            } else {
                info!("caught up");
            }
        }
    }

    /// Turns transitions into what is owed for them.
    fn gather(&mut self, transitions: Vec<Transition>, now: Timestamp) {
        if transitions.is_empty() {
            return;
        }
        for transition in &transitions {
            let Transition { rule, model, segment, incident, .. } = transition;
            let change = transition.change.name();
            info!(rule, model, ?segment, incident, at = %transition.at, "{change}");
            ::metrics::counter!(metrics::TRANSITIONS.name, "change" => change).increment(1);
        }
        let (state, told) = (&self.parts.state, &self.told);
        let lookup = |incident: &str| match (told.get(incident), state.told(incident)) {
            (Some(known), _) => Some(known.clone()),
            (None, Ok(known)) if !known.is_empty() => Some(known),
            // Forgotten with its history: the alert itself still knows which notifiers were told.
            (None, Ok(_)) => None,
            (None, Err(problem)) => {
                error!(%problem, incident, "cannot find out who was told; the rule's notifiers are");
                None
            }
        };
        let (messages, told) = notices::owed(&transitions, &self.parts.receivers, lookup, now, &self.parts.rendering);
        if self.catching_up {
            self.held.extend(messages);
        } else {
            self.messages.extend(messages);
        }
        self.told.extend(told);
        self.transitions.extend(transitions);
    }

    fn commit_if_due(&mut self, now: Timestamp) {
        let news = !self.transitions.is_empty() || !self.parts.troubles.noted().is_empty();
        let pause = match self.failing_since.is_none() {
            true if news => Duration::ZERO,
            true => COMMIT_EVERY.max(self.commit_took * COMMIT_SHARE).min(COMMIT_LATEST),
            false => COMMIT_AGAIN,
        };
        if self.committed_at.elapsed() >= pause {
            self.commit(now);
        }
    }

    fn commit(&mut self, now: Timestamp) {
        let begun = Instant::now();
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
        self.committed_at = Instant::now();
        self.commit_took = begun.elapsed();
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
        if self.owes_digest && !self.catching_up {
            self.tell_digests(now);
        }
        if std::mem::take(&mut self.notifiers_changed) {
            self.give_up_unknown(now);
        }
        self.parts.published.positions((0..).zip(self.positions.next_offsets()).collect());
        if self.pruned_at.elapsed() >= PRUNE_EVERY {
            self.pruned_at = Instant::now();
            let horizon = self.parts.intake.pipeline.join_horizon().unwrap_or(Timestamp::MIN);
            if let Err(problem) = self.parts.state.prune(horizon, now) {
                warn!(%problem, "history cannot be pruned");
            }
        }
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
        match self.parts.state.outbox().and_then(|outbox| outbox.bury_unknown(&known, now)) {
            Ok(0) => {}
            Ok(dead) => error!(dead, "notices are owed to notifiers that are no longer configured: dead letters"),
            Err(problem) => error!(%problem, "notices to former notifiers cannot be given up"),
        }
    }

    fn next_offsets(&self) -> Vec<(Partition, i64)> {
        self.parts.intake.partitions().iter().cloned().zip(self.positions.next_offsets()).collect()
    }

    fn reload(&mut self, reload: Reload, now: Timestamp) {
        let Reload { options, mapping, idle_after, receivers, trouble_receivers, rendering } = reload;
        let key = *self.parts.state.key();
        let ended = self.parts.intake.reload(mapping, options, &key);
        self.parts.idle_after = idle_after;
        self.parts.receivers = receivers;
        self.parts.trouble_receivers = trouble_receivers;
        self.parts.rendering = rendering;
        self.notifiers_changed = true;
        // Another lateness moves the frontiers: from here on, with what they are now.
        self.positions.mark_all(&self.parts.intake);
        self.gather(ended, now);
        info!("configuration reloaded");
    }

    fn publish(&mut self, now: Timestamp) {
        let last = self.parts.published.at();
        if now.since(last) < COMMIT_EVERY && now >= last {
            self.parts.published.beat(now);
        } else {
            self.show(now);
        }
    }

    /// Lets others see how things stand.
    fn show(&mut self, now: Timestamp) {
        let pipeline = &self.parts.intake.pipeline;
        let status = Status {
            at: now,
            healthy: self.failing_since.is_none(),
            catching_up: self.catching_up.then(|| self.positions.behind(now)),
            view: pipeline.view(super::status::MAX_SERIES),
            counts: pipeline.counts(),
            pending: pipeline.pending(),
            records: self.parts.intake.records().clone(),
            ignored: self.parts.intake.ignored(),
            rejected: self.parts.intake.rejected().clone(),
            gaps: self.gaps.clone(),
            positions: self.next_offsets(),
        };
        self.parts.published.publish(status);
    }
}
