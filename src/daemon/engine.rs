//! The engine: one thread that owns the core and the state file, and does one thing after the other.
//!
//! Batch → core → commit. A commit takes positions, the core's state, transitions and the notices they owe in one
//! transaction; only then are the notices delivered and the positions published. A commit that fails (a full disk) is
//! tried again with all that has gathered; nothing is told before it is durable.

mod commit;
mod trouble;

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver as Inbox, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info};

use super::backlog::Backlog;
use super::delivery::Bell;
use super::intake::Intake;
use super::notices::{self, Beginnings};
use super::pace::Pace;
use super::positions::Positions;
use super::snapshots::Snapshots;
use super::status::{Published, Status};
use super::trouble::Troubles;
use crate::alert::Transition;
use crate::clock::{Clock, Timestamp};
use crate::failpoint::reach;
use crate::metrics;
use crate::notification::{Message, Receiver, Rendering};
use crate::pipeline::Options;
use crate::source::{Partition, Polled};
use crate::state::State;

/// How long the engine waits for input before it looks at the clock.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What others see is at most this old.
const PUBLISH_EVERY: Duration = Duration::from_secs(1);

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
    /// How often the join table is saved.
    pub snapshot_every: Duration,
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
    pace: Pace,
    catching_up: bool,
    /// The state file may hold messages that wait for a digest.
    owes_digest: bool,
    told: Beginnings,
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
    /// Saves the join table.
    pub snapshots: Snapshots,
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
            pace: Pace::new(now, instant),
            catching_up: owes_digest,
            owes_digest,
            told: Beginnings::new(),
            gaps: BTreeMap::new(),
            committed_at: instant,
            commit_took: Duration::ZERO,
            pruned_at: instant,
            failing_since: None,
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
        self.save_join_at_the_end(beat);
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
        let believed = self.pace.believed(now, self.polled_at);
        let transitions = self.parts.intake.pipeline.advance(believed);
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
        let furthest = self.pace.furthest(now, self.polled_at);
        for gap in &polled.gaps {
            self.note_gap(gap, polled);
        }
        polled.seen.iter().for_each(|seen| self.positions.saw(seen));
        polled.faults.iter().for_each(|fault| self.note_fault(fault));
        self.parts.intake.take(polled.batch.records(), |intake, decoded| {
            let before = self.positions.before(&decoded.record, intake);
            let reached = intake.pipeline.watermark();
            intake.take_record(decoded, furthest);
            self.positions.took(&decoded.record, before, reached, intake);
        });
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
        reach("decided");
    }

    fn next_offsets(&self) -> Vec<(Partition, i64)> {
        self.parts.intake.partitions().iter().cloned().zip(self.positions.next_offsets()).collect()
    }

    fn reload(&mut self, reload: Reload, now: Timestamp) {
        let Reload { options, mapping, idle_after, receivers, trouble_receivers, rendering, snapshot_every } = reload;
        let key = *self.parts.state.key();
        let ended = self.parts.intake.reload(mapping, options, &key);
        self.parts.idle_after = idle_after;
        self.parts.receivers = receivers;
        self.parts.trouble_receivers = trouble_receivers;
        self.parts.rendering = rendering;
        // What is read again is read with the new configuration: from here on, as soon as may be.
        self.parts.snapshots.reload(snapshot_every);
        self.notifiers_changed = true;
        // Another lateness moves the frontiers: from here on, with what they are now.
        self.positions.mark_all(&self.parts.intake);
        self.gather(ended, now);
        info!("configuration reloaded");
    }

    fn publish(&mut self, now: Timestamp) {
        let last = self.parts.published.at();
        if now.since(last) < PUBLISH_EVERY && now >= last {
            self.parts.published.beat();
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
            records: self.parts.intake.records(),
            ignored: self.parts.intake.ignored(),
            rejected: self.parts.intake.rejected().clone(),
            gaps: self.gaps.clone(),
            positions: self.next_offsets(),
        };
        self.parts.published.publish(status);
    }
}
