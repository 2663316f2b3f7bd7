//! The engine: one thread that owns the core and the state file, and does one thing after the other.
//!
//! Batch → core → commit. A commit takes positions, the core's state, transitions and the notices they owe in one
//! transaction; only then are the notices delivered and the positions published. A commit that fails (a full disk) is
//! tried again with all that has gathered; nothing is told before it is durable.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver as Inbox, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use super::backlog::Backlog;
use super::delivery::Bell;
use super::intake::Intake;
use super::notices::{self, Beginnings};
use super::positions::Positions;
use super::status::{Published, Status};
use crate::alert::Transition;
use crate::clock::{Clock, Timestamp};
use crate::metrics;
use crate::notification::{Message, Receiver, Rendering};
use crate::pipeline::Options;
use crate::source::{Gap, Partition, Polled};
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
    Polled(Polled, Arc<[Partition]>, Instant),
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
    told: Beginnings,
    gaps: BTreeMap<&'static str, u64>,
    committed_at: Instant,
    commit_took: Duration,
    pruned_at: Instant,
    healthy: bool,
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
        let (now, instant) = (parts.clock.now(), parts.clock.instant());
        // A crash may have left some. They are told once it shows that we are not, or no longer, catching up.
        let owes_digest = parts.state.held().map_or(true, |held| !held.is_empty());
        let mut engine = Engine {
            positions: Positions::new(next_offsets, &parts.intake),
            parts,
            polled_at: instant,
            transitions: Vec::new(),
            messages: Vec::new(),
            held: Vec::new(),
            backlog: Backlog::default(),
            catching_up: owes_digest,
            owes_digest,
            told: Beginnings::new(),
            gaps: BTreeMap::new(),
            committed_at: instant,
            commit_took: Duration::ZERO,
            pruned_at: instant,
            healthy: true,
            // A digest may be owed to a notifier that has left while we were away.
            notifiers_changed: owes_digest,
        };
        engine.gather(transitions, now);
        // A crash before the first batch must not begin elsewhere.
        engine.commit(now);
        engine
    }

    /// Runs until it is told to stop, then commits a last time. `beat` is called at least every second or so.
    pub fn run(mut self, inbox: &Inbox<Input>, beat: impl Fn()) {
        let mut owes_seals = false;
        loop {
            // Months of empty ticks are sealed bit by bit, between batches.
            let patience = if owes_seals { Duration::ZERO } else { LOOK_EVERY };
            let input = match inbox.recv_timeout(patience) {
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
            };
            owes_seals = match input {
                Some(Input::Polled(polled, partitions, at)) => self.turn(Some((&polled, &partitions, at))),
                _ => self.turn(None),
            };
            beat();
        }
        self.end();
    }

    /// One turn: takes in what the source brought, with its partitions as of then and when it was asked, then a reload,
    /// then seals what can be sealed, and commits if it is time. Gives whether there is more to seal.
    pub fn turn(&mut self, brought: Option<(&Polled, &[Partition], Instant)>) -> bool {
        let now = self.parts.clock.now();
        if let Some((polled, partitions, polled_at)) = brought {
            self.polled_at = polled_at;
            self.take(polled, partitions, now);
            let oldest = polled.batch.records().filter_map(|record| record.timestamp).min();
            self.watch_backlog(oldest, now);
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
        self.parts.intake.pipeline.owes_seals()
    }

    /// Commits a last time.
    pub fn end(&mut self) {
        let now = self.parts.clock.now();
        self.commit(now);
        self.publish(now);
    }

    fn take(&mut self, polled: &Polled, partitions: &[Partition], now: Timestamp) {
        self.parts.intake.expect_partitions(partitions);
        self.positions.grow(partitions.len(), &self.parts.intake);
        for gap in &polled.gaps {
            self.note_gap(gap);
        }
        for record in polled.batch.records() {
            let before = self.positions.before(&record, &self.parts.intake);
            let reached = self.parts.intake.pipeline.watermark();
            self.parts.intake.take_record(&record, now);
            self.positions.took(&record, before, reached, &self.parts.intake);
        }
        self.positions.note_ends(polled, self.polled_at);
    }

    /// `oldest` is the time of the oldest record that was just read: a backlog may be read at one go.
    fn watch_backlog(&mut self, oldest: Option<Timestamp>, now: Timestamp) {
        let behind = self.positions.behind(now).max(oldest.map_or(Duration::ZERO, |oldest| now.since(oldest)));
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

    fn note_gap(&mut self, gap: &Gap) {
        let place = gap.partition.and_then(|index| self.parts.intake.partitions().get(index as usize));
        warn!(?place, from = gap.from, to = gap.to, cause = gap.cause.name(), "records are missing");
        *self.gaps.entry(gap.cause.name()).or_default() += 1;
        if let Some(index) = gap.partition {
            self.positions.jump(index, gap.to);
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
            (Some(known), _) => Some(notices::all_told(known)),
            (None, Ok(known)) if !known.is_empty() => Some(known),
            // Forgotten with its history: the alert itself still knows which notifiers were told.
            (None, Ok(_)) => None,
            (None, Err(problem)) => {
                error!(%problem, incident, "cannot find out who was told; the rule's notifiers are");
                None
            }
        };
        let (messages, told) = notices::owed(&transitions, &self.parts.receivers, lookup, now, &self.parts.rendering);
        // What comes before the digest is out belongs into it: told alone, it would contradict a digest that comes later.
        if self.catching_up || self.owes_digest {
            self.held.extend(messages);
        } else {
            self.messages.extend(messages);
        }
        self.told.extend(told);
        self.transitions.extend(transitions);
    }

    fn commit_if_due(&mut self, now: Timestamp) {
        let pause = match self.healthy {
            true if !self.transitions.is_empty() => Duration::ZERO,
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

    fn commit(&mut self, now: Timestamp) {
        let begun = self.parts.clock.instant();
        self.positions.mark_now_and_then(&self.parts.intake);
        let saved = self.parts.intake.pipeline.save();
        let is_configured = |message: &&Message| self.parts.receivers.iter().any(|r| r.notifier == message.notifier);
        let (messages, undeliverable): (Vec<&Message>, Vec<&Message>) = self.messages.iter().partition(is_configured);
        let commit = Commit {
            now,
            saved: &saved,
            positions: &self.next_offsets(),
            marks: &self.positions.marks,
            transitions: &self.transitions,
            messages: &messages,
            undeliverable: &undeliverable,
            held: &self.held,
            told: &self.told,
        };
        let committed = self.parts.state.commit(&commit);
        self.committed_at = self.parts.clock.instant();
        self.commit_took = self.committed_at.saturating_duration_since(begun);
        ::metrics::gauge!(metrics::COMMIT_SECONDS.name).set(self.commit_took.as_secs_f64());
        match committed {
            Ok(()) => self.committed(now),
            Err(problem) => {
                self.healthy = false;
                ::metrics::counter!(metrics::COMMIT_FAILURES.name).increment(1);
                error!(%problem, "the state cannot be saved; notices wait until it can");
            }
        }
    }

    fn committed(&mut self, now: Timestamp) {
        if !self.healthy {
            info!("the state is saved again");
        }
        self.healthy = true;
        self.positions.marks.clear();
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
        if self.since(self.pruned_at) >= PRUNE_EVERY {
            self.pruned_at = self.parts.clock.instant();
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
        match self.parts.state.outbox().and_then(|mut outbox| outbox.bury_unknown(&known, now)) {
            Ok(0) => {}
            Ok(dead) => error!(dead, "notices are owed to notifiers that are no longer configured: dead letters"),
            Err(problem) => error!(%problem, "notices to former notifiers cannot be given up"),
        }
    }

    fn next_offsets(&self) -> Vec<(Partition, i64)> {
        self.parts.intake.partitions().iter().cloned().zip(self.positions.next_offsets()).collect()
    }

    fn reload(&mut self, reload: Reload, now: Timestamp) {
        let Reload { options, mapping, idle_after, receivers, rendering } = reload;
        let key = *self.parts.state.key();
        let ended = self.parts.intake.reload(mapping, options, &key);
        self.parts.idle_after = idle_after;
        self.parts.receivers = receivers;
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
            healthy: self.healthy,
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
