//! The engine: one thread that owns the core and the state file, and does one thing after the other.
//!
//! Batch → core → commit. A commit takes positions, the core's state, transitions and the notices they owe in one
//! transaction; only then are the notices delivered and the positions published. A commit that fails (a full disk) is
//! tried again with all that has gathered; nothing is told before it is durable.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver as Inbox, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::{error, info, warn};

use super::delivery::Bell;
use super::intake::Intake;
use super::notices::{self, Told};
use super::status::{Published, Status};
use crate::alert::Transition;
use crate::clock::{Clock, Timestamp};
use crate::metrics;
use crate::notification::{Message, Receiver, Rendering};
use crate::pipeline::Options;
use crate::source::{Gap, Partition, PartitionIndex, Polled};
use crate::state::{Commit, Mark, State};

/// How long the engine waits for input before it looks at the clock.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A commit without transitions is made at most this often...
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// ... and takes at most one part in so many of the time.
const COMMIT_SHARE: u32 = 20;
/// Positions for rebuilding the join are noted once in so much event time.
const MARK_EVERY: Duration = Duration::from_secs(60);
/// How often history is pruned.
const PRUNE_EVERY: Duration = Duration::from_secs(600);

/// What the engine is told.
pub enum Input {
    /// What the source brought, with its partitions as of then.
    Polled(Polled, Arc<[Partition]>),
    /// A validated configuration.
    Reload(Box<Reload>),
    /// Stop taking in, commit, end.
    Stop,
}

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

/// What the engine knows of a partition beside the core.
#[derive(Clone, Debug)]
struct Progress {
    next_offset: i64,
    /// Since when it has been at its end without interruption.
    at_end_since: Option<Timestamp>,
    /// Event time at the last mark.
    marked_at: Timestamp,
}

/// The engine.
pub struct Engine {
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
    progress: Vec<Progress>,
    marks: Vec<Mark>,
    transitions: Vec<Transition>,
    messages: Vec<Message>,
    /// Owed to notifiers that are no longer configured.
    undeliverable: Vec<Message>,
    told: Told,
    gaps: BTreeMap<&'static str, u64>,
    committed_at: Timestamp,
    commit_took: Duration,
    pruned_at: Timestamp,
    healthy: bool,
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
    /// Transitions that the start itself brought about: alerts of rules that are gone.
    pub transitions: Vec<Transition>,
}

impl Engine {
    /// An engine that goes on from `positions` (next offsets, in the order of the source's partitions).
    pub fn new(parts: Parts, positions: &[i64]) -> Engine {
        let now = parts.clock.now();
        let progress = |next: &i64| Progress { next_offset: *next, at_end_since: None, marked_at: Timestamp::MIN };
        let mut engine = Engine {
            intake: parts.intake,
            state: parts.state,
            idle_after: parts.idle_after,
            receivers: parts.receivers,
            rendering: parts.rendering,
            clock: parts.clock,
            bell: parts.bell,
            published: parts.published,
            progress: positions.iter().map(progress).collect(),
            marks: Vec::new(),
            transitions: Vec::new(),
            messages: Vec::new(),
            undeliverable: Vec::new(),
            told: Told::new(),
            gaps: BTreeMap::new(),
            committed_at: now,
            commit_took: Duration::ZERO,
            pruned_at: now,
            healthy: true,
        };
        engine.mark_positions();
        engine.gather(parts.transitions, now);
        engine
    }

    /// Runs until it is told to stop, then commits a last time. `beat` is called at least every second or so.
    pub fn run(mut self, inbox: &Inbox<Input>, beat: impl Fn()) {
        loop {
            let input = match inbox.recv_timeout(LOOK_EVERY) {
                Ok(Input::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
            };
            let now = self.clock.now();
            match input {
                Some(Input::Polled(polled, partitions)) => self.take(&polled, &partitions, now),
                Some(Input::Reload(reload)) => self.reload(*reload, now),
                Some(Input::Stop) | None => {}
            }
            self.watch_ends(now);
            let transitions = self.intake.pipeline.advance(now);
            self.gather(transitions, now);
            self.commit_if_due(now);
            self.publish(now);
            beat();
        }
        let now = self.clock.now();
        self.commit(now);
        self.publish(now);
    }

    fn take(&mut self, polled: &Polled, partitions: &[Partition], now: Timestamp) {
        self.intake.expect_partitions(partitions);
        for gap in &polled.gaps {
            self.note_gap(gap);
        }
        for record in polled.batch.records() {
            let partition = record.partition;
            let before = self.intake.pipeline.frontier(partition).filter(|frontier| frontier.idle);
            let reached = self.intake.pipeline.watermark();
            self.grow(partition);
            self.intake.take_record(&record, now);
            if let Some(mut frontier) = before
                && self.intake.pipeline.frontier(partition).is_some_and(|after| !after.idle)
            {
                // A decision that the partition's content does not show: noted where it took effect.
                frontier.idle = false;
                frontier.floor = frontier.floor.max(reached);
                self.mark(partition, record.offset, frontier);
            }
            let progress = &mut self.progress[partition as usize];
            progress.next_offset = record.offset + 1;
            progress.at_end_since = None;
        }
        for partition in &polled.at_end {
            self.grow(*partition);
            self.progress[*partition as usize].at_end_since.get_or_insert(now);
        }
        for (index, progress) in (0..).zip(&mut self.progress) {
            if !polled.at_end.contains(&index) {
                progress.at_end_since = None;
            }
        }
    }

    /// Makes room for a partition that appeared while we run: it is read from its beginning.
    fn grow(&mut self, partition: PartitionIndex) {
        if self.progress.len() <= partition as usize {
            let begin = Progress { next_offset: 0, at_end_since: None, marked_at: Timestamp::MIN };
            self.progress.resize(partition as usize + 1, begin);
            self.mark_positions();
        }
    }

    fn note_gap(&mut self, gap: &Gap) {
        let place = gap.partition.and_then(|index| self.intake.partitions().get(index as usize));
        warn!(?place, from = gap.from, to = gap.to, cause = gap.cause.name(), "records are missing");
        *self.gaps.entry(gap.cause.name()).or_default() += 1;
        if let Some(index) = gap.partition {
            self.grow(index);
            self.progress[index as usize].next_offset = gap.to;
        }
    }

    fn mark(&mut self, partition: PartitionIndex, next_offset: i64, frontier: crate::watermark::Frontier) {
        if let Some(known) = self.intake.partitions().get(partition as usize) {
            self.marks.push(Mark { partition: known.clone(), next_offset, frontier });
        }
    }

    /// Leaves partitions behind that have been at their end for long enough.
    fn watch_ends(&mut self, now: Timestamp) {
        for (index, progress) in (0..).zip(&self.progress) {
            if progress.at_end_since.is_some_and(|since| now.since(since) >= self.idle_after) {
                self.intake.pipeline.idle(index);
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
        let (state, told) = (&self.state, &self.told);
        let lookup = |incident: &str| {
            told.get(incident).cloned().unwrap_or_else(|| {
                state.told(incident).unwrap_or_else(|problem| {
                    error!(%problem, incident, "cannot find out who was told");
                    Vec::new()
                })
            })
        };
        let (messages, told) = notices::owed(&transitions, &self.receivers, lookup, now, &self.rendering);
        let configured = |message: &Message| self.receivers.iter().any(|r| r.notifier == message.notifier);
        let (messages, undeliverable): (Vec<_>, Vec<_>) = messages.into_iter().partition(configured);
        for message in &undeliverable {
            error!(
                notifier = message.notifier,
                recipient = message.recipient,
                id = message.id,
                "owed to a notifier that is no longer configured: a dead letter"
            );
        }
        self.messages.extend(messages);
        self.undeliverable.extend(undeliverable);
        self.told.extend(told);
        self.transitions.extend(transitions);
    }

    fn commit_if_due(&mut self, now: Timestamp) {
        let pause = COMMIT_EVERY.max(self.commit_took * COMMIT_SHARE);
        let urgent = !self.transitions.is_empty() && self.healthy;
        if urgent || now.since(self.committed_at) >= pause || now < self.committed_at {
            self.commit(now);
        }
    }

    fn commit(&mut self, now: Timestamp) {
        self.mark_positions();
        let positions: Vec<(Partition, i64)> =
            self.intake.partitions().iter().cloned().zip(self.progress.iter().map(|p| p.next_offset)).collect();
        let saved = self.intake.pipeline.save();
        let commit = Commit {
            now,
            saved: &saved,
            positions: &positions,
            marks: &self.marks,
            transitions: &self.transitions,
            messages: &self.messages,
            undeliverable: &self.undeliverable,
            told: &self.told,
        };
        let committed = self.state.commit(&commit);
        self.committed_at = now;
        self.commit_took = self.clock.now().since(now);
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
        self.marks.clear();
        self.transitions.clear();
        self.undeliverable.clear();
        self.told.clear();
        if !self.messages.is_empty() {
            self.messages.clear();
            self.bell.lock().unwrap_or_else(PoisonError::into_inner).ring();
        }
        let positions = (0..).zip(&self.progress).map(|(index, progress)| (index, progress.next_offset));
        self.published.positions(positions.collect());
        if now.since(self.pruned_at) >= PRUNE_EVERY {
            self.pruned_at = now;
            let horizon = self.intake.pipeline.join_horizon().unwrap_or(Timestamp::MIN);
            if let Err(problem) = self.state.prune(horizon, now) {
                warn!(%problem, "history cannot be pruned");
            }
        }
    }

    /// Notes positions from which the join can be rebuilt, now and then; the first ones before anything is read.
    fn mark_positions(&mut self) {
        for index in 0..self.progress.len() {
            let partition = PartitionIndex::try_from(index).unwrap_or(PartitionIndex::MAX);
            let Some(frontier) = self.intake.pipeline.frontier(partition) else { continue };
            let Progress { next_offset, marked_at, .. } = self.progress[index];
            let reached = frontier.newest.max(frontier.floor);
            let first = marked_at == Timestamp::MIN && reached == Timestamp::MIN;
            if first || reached.since(marked_at) >= MARK_EVERY {
                self.mark(partition, next_offset, crate::watermark::Frontier { idle: false, ..frontier });
                self.progress[index].marked_at = reached;
            }
        }
    }

    fn reload(&mut self, reload: Reload, now: Timestamp) {
        let Reload { options, mapping, idle_after, receivers, rendering } = reload;
        let key = *self.state.key();
        let ended = self.intake.reload(mapping, options, &key);
        self.idle_after = idle_after;
        self.receivers = receivers;
        self.rendering = rendering;
        self.gather(ended, now);
        info!("configuration reloaded");
    }

    fn publish(&mut self, now: Timestamp) {
        let last = self.published.at();
        if now.since(last) < COMMIT_EVERY && now >= last {
            self.published.beat(now);
            return;
        }
        let pipeline = &self.intake.pipeline;
        let status = Status {
            at: now,
            healthy: self.healthy,
            view: pipeline.view(super::status::MAX_SERIES),
            counts: pipeline.counts(),
            pending: pipeline.pending(),
            records: self.intake.records().clone(),
            rejected: self.intake.rejected().clone(),
            gaps: self.gaps.clone(),
            positions: self
                .intake
                .partitions()
                .iter()
                .cloned()
                .zip(self.progress.iter().map(|p| p.next_offset))
                .collect(),
        };
        self.published.publish(status);
    }
}
