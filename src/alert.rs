//! Verdict → state machine → transition.
//!
//! `insufficient → ok → pending → firing → recovering → ok`; beside them a silence ("no data", "labels late") that
//! comes and goes by itself. Timers are stored as instants of event time, so a restart or a reload does not reset them.

use std::hash::{Hash, Hasher};
use std::time::Duration;

use siphasher::sip::SipHasher13;

use crate::clock::Timestamp;
use crate::rule::{Bound, Rule, Severity, Verdict};

/// What happened to an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The breach began; it fires if it lasts for the rule's `for`.
    Pending,
    /// The breach ended before it fired.
    Calmed,
    /// It fired.
    Fired,
    /// It still fires, and its `repeat_every` has passed.
    Repeated,
    /// It is beyond its `clear` threshold; it is resolved if that lasts for `recover_for`.
    Recovering,
    /// The breach came back while recovering.
    Relapsed,
    /// Measured recovery.
    Resolved,
    /// The headline indicator had no sample for `no_data_after`.
    NoData(Silence),
    /// Samples are back.
    DataBack,
    /// It ended without a measured recovery.
    Ended(End),
}

impl Change {
    /// Its name in the journal, in headers and in payloads.
    pub fn name(self) -> &'static str {
        match self {
            Change::Pending => "pending",
            Change::Calmed => "calmed",
            Change::Fired => "firing",
            Change::Repeated => "repeated",
            Change::Recovering => "recovering",
            Change::Relapsed => "relapsed",
            Change::Resolved => "resolved",
            Change::NoData(Silence::Predictions) => "no data",
            Change::NoData(Silence::Labels) => "labels late",
            Change::DataBack => "data back",
            Change::Ended(End::RuleRemoved) => "ended: rule removed",
        }
    }
}

/// What fell silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Silence {
    /// No predictions.
    Predictions,
    /// Predictions, but no labels.
    Labels,
}

/// Why an alert ended without a measured recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The rule left the configuration, or no longer watches this series.
    RuleRemoved,
}

/// One condition with the reading that it was judged by.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// Name of the indicator.
    pub indicator: &'static str,
    /// Unit for people; may be empty.
    pub unit: &'static str,
    /// The smoothing, for people: `half_life 30m`.
    pub smoothing: String,
    /// The value; `Err` says in words why there is none.
    pub value: Result<f64, String>,
    /// `[low, high]` that holds the exact value, for indicators computed from bins.
    pub bracket: Option<(f64, f64)>,
    /// Effective sample size (Kish).
    pub n_eff: f64,
    /// What is a breach.
    pub bound: Bound,
    /// What must be left behind to recover.
    pub clear: Bound,
    /// Least effective sample size to judge.
    pub min_samples: f64,
}

/// A segment beside the whole, for "where is it worst".
#[derive(Clone, Debug, PartialEq)]
pub struct Contribution {
    /// Dimension, such as `region`.
    pub dimension: String,
    /// Value, such as `eu`.
    pub value: String,
    /// The headline indicator there.
    pub reading: f64,
    /// Effective sample size there.
    pub n_eff: f64,
}

/// One change of an alert's state, with the inputs that caused it.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// Name of the rule.
    pub rule: String,
    /// Name of the model. Comes from foreign data: untrusted.
    pub model: String,
    /// Dimension and value of the segment, `None` for the whole. The value is untrusted.
    pub segment: Option<(String, String)>,
    /// How bad the rule says it is.
    pub severity: Severity,
    /// What happened.
    pub change: Change,
    /// End of the tick at which it happened, in event time.
    pub at: Timestamp,
    /// When the breach (or the silence) began.
    pub since: Timestamp,
    /// The rule's `for`.
    pub hold: Duration,
    /// Id of the incident, for everything from firing on; never changes.
    pub incident: Option<String>,
    /// The incident's transitions, counted from 1.
    pub sequence: u32,
    /// What was judged, condition by condition; the first is the headline.
    pub evidence: Vec<Evidence>,
    /// Worst segments by the headline indicator, worst first.
    pub worst: Vec<Contribution>,
    /// Where it is written what to do.
    pub runbook: Option<String>,
    /// The rule's sentence for the reader.
    pub summary: Option<String>,
    /// Names of the notifiers that are to be told.
    pub notify: Vec<String>,
}

/// What a rule keeps about one series.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Alert {
    /// Where it stands.
    pub state: State,
    /// The open incident, from firing to its end.
    pub incident: Option<Episode>,
    /// The open silence, from "no data" to "data back".
    pub silence: Option<(Silence, Episode)>,
    /// When the series began to be watched; a silence is counted from here at the earliest.
    pub watched_since: Timestamp,
}

/// The states of an alert. Each keeps what it needs to go on after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum State {
    /// Not enough evidence to say anything.
    Insufficient,
    /// Within bounds.
    Ok,
    /// Beyond the threshold, not yet for long enough.
    Pending {
        /// Since when.
        since: Timestamp,
    },
    /// Beyond the threshold for long enough.
    Firing,
    /// Behind the `clear` threshold, not yet for long enough.
    Recovering {
        /// Since when.
        since: Timestamp,
    },
}

impl State {
    /// Its name on pages and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            State::Insufficient => "insufficient",
            State::Ok => "ok",
            State::Pending { .. } => "pending",
            State::Firing => "firing",
            State::Recovering { .. } => "recovering",
        }
    }
}

/// Something that was told, and whose end is owed to those who were told.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Episode {
    /// Id that never changes.
    pub id: String,
    /// When the breach or the silence began.
    pub since: Timestamp,
    /// Number of transitions so far.
    pub sequence: u32,
    /// When a notice was last due.
    pub told_at: Timestamp,
    /// The notifiers that were told of its beginning, and are owed its end.
    pub notify: Vec<String>,
}

/// What an alert is judged by at one tick.
#[derive(Clone, Copy, Debug)]
pub struct Judgement {
    /// End of the tick.
    pub at: Timestamp,
    /// What the rule says.
    pub verdict: Verdict,
    /// End of the last tick with a sample of the headline indicator.
    pub last_sample: Option<Timestamp>,
    /// Whether the value can move without samples (a rate falls while nothing comes).
    pub moves_without_samples: bool,
    /// What is missing if samples are missing.
    pub missing: Silence,
}

/// A change, and since when what it is about has been going on.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What happened.
    pub change: Change,
    /// Since when.
    pub since: Timestamp,
    /// Id and number of the transition within its episode, if it belongs to one.
    pub episode: Option<(String, u32)>,
    /// Who is told.
    pub notify: Vec<String>,
}

/// Names an alert by its rule and labels.
pub type Identity<'i> = &'i dyn Fn() -> String;

impl Alert {
    /// An alert of which nothing is known yet.
    pub fn new(watched_since: Timestamp) -> Alert {
        Alert { state: State::Insufficient, incident: None, silence: None, watched_since }
    }

    /// Moves on by one tick. `identity` names the alert (rule and labels) for the ids of its incidents, if one begins.
    ///
    /// Missing data and unknown verdicts neither fire nor resolve: both need a sample that is newer than what they
    /// confirm. Only [`Change::Resolved`] says that a recovery was measured.
    pub fn step(&mut self, rule: &Rule, judgement: &Judgement, identity: Identity<'_>) -> Vec<Step> {
        let mut steps = Vec::new();
        self.watch_silence(rule, judgement, identity, &mut steps);
        self.watch_value(rule, judgement, identity, &mut steps);
        self.repeat(rule, judgement, &mut steps);
        steps
    }

    fn watch_value(&mut self, rule: &Rule, judgement: &Judgement, identity: Identity<'_>, steps: &mut Vec<Step>) {
        let at = judgement.at;
        let lasted = |since: Timestamp, span: Duration| {
            let confirmed = judgement.moves_without_samples || judgement.last_sample.is_some_and(|last| last > since);
            span.is_zero() || (at.since(since) >= span && confirmed)
        };
        match (self.state, judgement.verdict) {
            (State::Insufficient | State::Ok, Verdict::Breach) if rule.hold.is_zero() => {
                self.fire(rule, at, at, identity, steps);
            }
            (State::Insufficient | State::Ok, Verdict::Breach) => {
                self.state = State::Pending { since: at };
                steps.push(Step { change: Change::Pending, since: at, episode: None, notify: Vec::new() });
            }
            (State::Pending { since }, Verdict::Breach) if lasted(since, rule.hold) => {
                self.fire(rule, since, at, identity, steps);
            }
            (State::Pending { since }, Verdict::Between | Verdict::Clear) => {
                self.state = State::Ok;
                steps.push(Step { change: Change::Calmed, since, episode: None, notify: Vec::new() });
            }
            (State::Insufficient, Verdict::Between | Verdict::Clear) => self.state = State::Ok,
            (State::Ok, Verdict::Unknown) => self.state = State::Insufficient,
            (State::Firing, Verdict::Clear) if rule.recover_for.is_zero() => self.resolve(steps),
            (State::Firing, Verdict::Clear) => {
                self.state = State::Recovering { since: at };
                self.tell(Change::Recovering, at, steps);
            }
            (State::Recovering { since }, Verdict::Clear) if lasted(since, rule.recover_for) => self.resolve(steps),
            (State::Recovering { .. }, Verdict::Breach | Verdict::Between) => {
                self.state = State::Firing;
                self.tell(Change::Relapsed, at, steps);
            }
            _ => {}
        }
    }

    fn fire(&mut self, rule: &Rule, since: Timestamp, at: Timestamp, identity: Identity<'_>, steps: &mut Vec<Step>) {
        self.state = State::Firing;
        let id = episode_id(&identity(), "breach", since);
        self.incident = Some(Episode { id, since, sequence: 0, told_at: at, notify: rule.notify.clone() });
        self.tell(Change::Fired, at, steps);
    }

    fn resolve(&mut self, steps: &mut Vec<Step>) {
        self.state = State::Ok;
        if let Some(mut incident) = self.incident.take() {
            steps.push(incident.next(Change::Resolved));
        }
    }

    fn tell(&mut self, change: Change, at: Timestamp, steps: &mut Vec<Step>) {
        if let Some(incident) = &mut self.incident {
            incident.told_at = if change == Change::Recovering { incident.told_at } else { at };
            steps.push(incident.next(change));
        }
    }

    fn repeat(&mut self, rule: &Rule, judgement: &Judgement, steps: &mut Vec<Step>) {
        let Some(every) = rule.repeat_every else { return };
        if self.state == State::Firing
            && self.incident.as_ref().is_some_and(|incident| judgement.at.since(incident.told_at) >= every)
        {
            self.tell(Change::Repeated, judgement.at, steps);
        }
    }

    fn watch_silence(&mut self, rule: &Rule, judgement: &Judgement, identity: Identity<'_>, steps: &mut Vec<Step>) {
        let heard = judgement.last_sample.unwrap_or(self.watched_since).max(self.watched_since);
        match &mut self.silence {
            Some((_, episode)) if judgement.last_sample.is_some_and(|last| last > episode.told_at) => {
                steps.push(episode.next(Change::DataBack));
                self.silence = None;
            }
            Some(_) => {}
            None if rule.no_data_after.is_some_and(|limit| judgement.at.since(heard) >= limit) => {
                let id = episode_id(&identity(), "silence", heard);
                let notify = rule.notify.clone();
                let mut episode = Episode { id, since: heard, sequence: 0, told_at: judgement.at, notify };
                steps.push(episode.next(Change::NoData(judgement.missing)));
                self.silence = Some((judgement.missing, episode));
            }
            None => {}
        }
    }

    /// Ends what is open without a measured recovery.
    pub fn end(self, why: End) -> Vec<Step> {
        let silence = self.silence.map(|(_, episode)| episode);
        self.incident.into_iter().chain(silence).map(|mut episode| episode.next(Change::Ended(why))).collect()
    }
}

impl Episode {
    fn next(&mut self, change: Change) -> Step {
        self.sequence += 1;
        let episode = Some((self.id.clone(), self.sequence));
        Step { change, since: self.since, episode, notify: self.notify.clone() }
    }
}

/// Twelve hexadecimal digits from what makes an episode unique: whose it is, of what kind, and when it began.
fn episode_id(identity: &str, kind: &str, since: Timestamp) -> String {
    let mut hasher = SipHasher13::new();
    (identity, kind, since.as_micros()).hash(&mut hasher);
    format!("{:012x}", hasher.finish() >> 16)
}
