//! A plain batch computation of what the core must say, written from its documentation and not from its code.
//!
//! It sees the whole input at once, keeps nothing between ticks but the states of alerts, and sums from scratch.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use modelwatch::event::Task;
use modelwatch::pattern;
use modelwatch::pipeline::{Model, Options};
use modelwatch::rule::{Bound, Rule};
use modelwatch::smoothing::Smoothing;

/// One record of the input.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    /// Event time in seconds.
    pub(crate) time: i64,
    pub(crate) model: Option<String>,
    pub(crate) id: u32,
    /// Small, whole and not negative, so that sums are exact and ties are broken by it.
    pub(crate) value: f64,
    /// The segment values of a prediction; `None` for a label.
    pub(crate) segments: Option<Vec<Option<String>>>,
}

/// Model, and dimension and value.
pub(crate) type Labels = (String, Option<(String, String)>);

#[derive(Clone, Debug)]
enum Kind {
    Predicted,
    Labelled { predicted: f64, actual: f64, delay: f64 },
    Unlabelled,
}

/// A change of an alert. Times in seconds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Change {
    pub(crate) at: i64,
    pub(crate) since: i64,
    pub(crate) rule: String,
    pub(crate) labels: Labels,
    pub(crate) change: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Change { at, since, rule, labels, change } = self;
        write!(f, "{at:>5} since {since:>5} {rule} {labels:?} {change}")
    }
}

/// What the oracle says.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// Sorted by time.
    pub(crate) transitions: Vec<Change>,
    /// Value and effective sample size at the end.
    pub(crate) readings: BTreeMap<(Labels, &'static str), (Option<f64>, f64)>,
    pub(crate) late_events: u64,
    pub(crate) duplicate_predictions: u64,
    pub(crate) expired_predictions: u64,
    /// Labels that were used, of those that wait for no prediction any more.
    pub(crate) matched_labels: usize,
}

/// A notice: notifier and recipient, when it happened, the rule, and what happened.
pub(crate) type Notice = ((String, String), i64, String, String);

/// Which alerts a notice tells of, each with when its trouble began.
pub(crate) type Alerts = BTreeSet<(Labels, i64)>;

/// Changes of which people are told that something is wrong, and those that end it.
pub(crate) const TROUBLE: [&str; 4] = ["firing", "repeated", "no data", "labels late"];
const ENDS: [&str; 2] = ["resolved", "data back"];

/// What is owed to whom for these changes, if every beginning is delivered: one notice for everything that a rule has to
/// say of the same kind at the same instant. Receivers are notifier and recipient.
pub(crate) fn owed(rules: &[Rule], receivers: &[(String, String)], changes: &[Change]) -> BTreeMap<Notice, Alerts> {
    let mut owed: BTreeMap<Notice, Alerts> = BTreeMap::new();
    for Change { at, since, rule, labels, change } in changes {
        if !TROUBLE.contains(&change.as_str()) && !ENDS.contains(&change.as_str()) {
            continue;
        }
        let notify = rules.iter().find(|known| known.name == *rule).map(|known| &known.notify);
        for to in receivers.iter().filter(|(notifier, _)| notify.is_some_and(|notify| notify.contains(notifier))) {
            let notice = (to.clone(), *at, rule.clone(), change.clone());
            owed.entry(notice).or_default().insert((labels.clone(), *since));
        }
    }
    owed
}

type Ticks = BTreeMap<i64, Vec<Kind>>;

struct Oracle<'a> {
    options: &'a Options,
    tick: i64,
    first: i64,
    last: i64,
    series: BTreeMap<Labels, Ticks>,
    said: Said,
}

/// What the core must say of these partitions once the input has ended.
pub(crate) fn ask(options: &Options, partitions: &[Vec<Event>]) -> Said {
    let tick = options.tick.as_secs() as i64;
    let mut said = Said::default();
    let events = effective(options, partitions, &mut said);
    let Some(first) = events.iter().map(|(at, _)| at.div_euclid(tick)).min() else { return said };
    let newest = partitions.iter().flatten().map(|event| event.time).max().unwrap_or(0);
    let mut oracle = Oracle { options, tick, first, last: newest.div_euclid(tick), series: BTreeMap::new(), said };
    let outcomes = oracle.join(&events);
    oracle.sort_into_series(outcomes);
    oracle.read();
    oracle.judge();
    oracle.said.transitions.sort();
    oracle.said
}

/// The later of event time and the partition's frontier before the record.
fn effective<'e>(options: &Options, partitions: &'e [Vec<Event>], said: &mut Said) -> Vec<(i64, &'e Event)> {
    let lateness = options.lateness.as_secs() as i64;
    let mut events = Vec::new();
    for partition in partitions {
        let mut newest = i64::MIN / 2;
        for event in partition {
            said.late_events += u64::from(event.time < newest - lateness);
            events.push((event.time.max(newest - lateness), event));
            newest = newest.max(event.time);
        }
    }
    events
}

fn section<'o>(options: &'o Options, model: &str) -> &'o Model {
    options.models.iter().find(|section| pattern::matches(&section.pattern, model)).expect("a section")
}

impl Oracle<'_> {
    /// Tick, model, segments and kind of every outcome.
    fn join<'e>(&mut self, events: &[(i64, &'e Event)]) -> Vec<(i64, &'e Event, Kind)> {
        let mut by_id: BTreeMap<(&str, u32), Vec<(i64, &Event)>> = BTreeMap::new();
        for (at, event) in events.iter().filter(|(_, event)| event.segments.is_some()) {
            by_id.entry((event.model.as_deref().unwrap_or_default(), event.id)).or_default().push((*at, event));
        }
        let mut outcomes = Vec::new();
        let (mut used, end) = (BTreeSet::new(), (self.last + 1) * self.tick);
        let longest = self.options.models.iter().map(|section| section.early_label_wait.as_secs() as i64).max();
        for ((model, id), mut predictions) in by_id {
            let section = section(self.options, model);
            let [timeout, early, dedupe] = [section.label_timeout, section.early_label_wait, section.dedupe_window]
                .map(|window| window.as_secs() as i64);
            predictions.sort_by(|a, b| (a.0, a.1.value).partial_cmp(&(b.0, b.1.value)).expect("finite"));
            let mut before = i64::MIN / 2;
            for (at, prediction) in predictions {
                let repeats = at - before <= dedupe.max(timeout + early);
                before = at;
                if repeats {
                    self.said.duplicate_predictions += 1;
                    continue;
                }
                outcomes.push((at, prediction, Kind::Predicted));
                let labels = events.iter().filter(|(time, label)| {
                    label.segments.is_none()
                        && label.id == id
                        && label.model.as_deref().is_none_or(|own| own == model)
                        && (section.task == Task::Regression || [0.0, 1.0].contains(&label.value))
                        && (at - early..=at + timeout).contains(time)
                });
                let label = labels.min_by(|a, b| (a.0, a.1.value).partial_cmp(&(b.0, b.1.value)).expect("finite"));
                if let Some((time, label)) = label {
                    // Labels that say the same at the same time are one and its copies.
                    let waits = if label.model.is_some() { early } else { longest.unwrap_or(0) };
                    if time + waits < end {
                        used.insert((time, &label.model, id, label.value.to_bits()));
                    }
                    let delay = (time - at) as f64;
                    let kind = Kind::Labelled { predicted: prediction.value, actual: label.value, delay };
                    outcomes.push((at.max(*time), prediction, kind));
                } else if (at + timeout).div_euclid(self.tick) <= self.last {
                    self.said.expired_predictions += 1;
                    outcomes.push((at + timeout, prediction, Kind::Unlabelled));
                }
            }
        }
        self.said.matched_labels = used.len();
        outcomes
    }

    /// Tick by tick: new segment values are admitted by name up to the limit, the rest is `other`.
    fn sort_into_series(&mut self, outcomes: Vec<(i64, &Event, Kind)>) {
        let mut by_tick: BTreeMap<i64, BTreeMap<Labels, Vec<Kind>>> = BTreeMap::new();
        for (at, event, kind) in outcomes {
            let model = event.model.clone().unwrap_or_default();
            let all = by_tick.entry(at.div_euclid(self.tick)).or_default();
            let dimensions = &section(self.options, &model).dimensions;
            for (name, index) in dimensions {
                let value = event.segments.as_ref().and_then(|values| values[*index].clone());
                let segment = Some((name.clone(), value.unwrap_or("(none)".to_owned())));
                all.entry((model.clone(), segment)).or_default().push(kind.clone());
            }
            all.entry((model, None)).or_default().push(kind);
        }
        let mut admitted: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
        for (tick, all) in by_tick.range(..=self.last) {
            for ((model, segment), kinds) in all {
                let segment = segment.clone().map(|(dimension, value)| {
                    let known = admitted.entry((model.clone(), dimension.clone())).or_default();
                    if value != "other" && known.len() < section(self.options, model).max_segment_values {
                        known.insert(value.clone());
                    }
                    let value = if known.contains(&value) { value } else { "other".to_owned() };
                    (dimension, value)
                });
                let series = self.series.entry((model.clone(), segment)).or_default();
                series.entry(*tick).or_default().extend(kinds.iter().cloned());
            }
        }
    }

    fn read(&mut self) {
        for (labels, ticks) in &self.series {
            let section = section(self.options, &labels.0);
            for indicator in &section.indicators {
                let read = self.value(ticks, indicator.name(), section.smoothing, self.last);
                self.said.readings.insert((labels.clone(), indicator.name()), read);
            }
        }
    }

    /// Value and effective sample size at the end of a tick, from scratch.
    fn value(&self, ticks: &Ticks, indicator: &str, smoothing: Smoothing, now: i64) -> (Option<f64>, f64) {
        let samples = |tick: i64| -> Vec<f64> {
            ticks.get(&tick).into_iter().flatten().filter_map(|kind| amount(indicator, kind)).collect()
        };
        let sampled: Vec<i64> =
            ticks.keys().copied().filter(|tick| *tick <= now && !samples(*tick).is_empty()).collect();
        let Some(first) = sampled.first().copied() else { return (None, 0.0) };
        // Weight of each sample of a tick, and of the seconds of each tick.
        let mut weights: Vec<(i64, f64)> = Vec::new();
        match smoothing {
            Smoothing::HalfLife(span) => {
                let faded = |tick: i64| (-((now - tick) * self.tick) as f64 / span.as_secs_f64()).exp2();
                weights.extend((first..=now).map(|tick| (tick, faded(tick))));
            }
            Smoothing::Window(span) => {
                let count = (span.as_secs() as i64 + self.tick - 1) / self.tick;
                weights.extend((first.max(now - count + 1)..=now).map(|tick| (tick, 1.0)));
            }
            Smoothing::Alpha { keep, .. } => {
                for tick in first..=now {
                    let n = samples(tick).len() as f64;
                    let own = if n == 0.0 { -keep.ln() } else { (1.0 - keep.powf(n)) / n } / (1.0 - keep);
                    weights.iter_mut().for_each(|(_, weight)| *weight *= keep.powf(n));
                    weights.push((tick, own));
                }
            }
        }
        let [mut sum, mut count, mut squares, mut seconds] = [0.0; 4];
        for (tick, weight) in weights {
            let amounts = samples(tick);
            sum += weight * amounts.iter().sum::<f64>();
            count += weight * amounts.len() as f64;
            squares += weight * weight * amounts.len() as f64;
            seconds += weight * self.tick as f64;
        }
        match indicator {
            "prediction_rate" => (Some(count / seconds), if count > 0.0 { count * count / squares } else { 0.0 }),
            _ if count == 0.0 => (None, 0.0),
            _ => (Some(sum / count), count * count / squares),
        }
    }

    fn judge(&mut self) {
        let mut said = Vec::new();
        for rule in &self.options.rules {
            let exact = self.options.models.iter().filter(|model| !model.pattern.contains('*'));
            let exact = exact.map(|model| (model.pattern.clone(), None));
            let series: BTreeSet<Labels> = self.series.keys().cloned().chain(exact).collect();
            let watched = series.into_iter().filter(|(model, segment)| {
                pattern::matches(&rule.model, model) && rule.by.as_ref() == segment.as_ref().map(|(name, _)| name)
            });
            for labels in watched {
                self.judge_series(rule, &labels, &mut said);
            }
        }
        self.said.transitions = said;
    }

    fn judge_series(&self, rule: &Rule, labels: &Labels, said: &mut Vec<Change>) {
        let none = Ticks::new();
        let ticks = self.series.get(labels).unwrap_or(&none);
        let is_exact = labels.1.is_none() && self.options.models.iter().any(|model| model.pattern == labels.0);
        let start = if is_exact { self.first } else { *ticks.keys().next().expect("a tick") };
        let headline = rule.conditions[0].indicator;
        let mut alert = Alert { state: State::Quiet, since: 0, told: 0, silent: None, watched: start * self.tick };
        for tick in start..=self.last {
            let verdicts = rule.conditions.iter().map(|condition| {
                let (value, n_eff) = self.value(ticks, condition.indicator, condition.smoothing, tick);
                let value =
                    value.filter(|_| condition.indicator == "prediction_rate" || n_eff >= condition.min_samples);
                value.map(|value| (beyond(condition.bound, value), beyond(condition.clear, value)))
            });
            let last_of = |wanted: &str| {
                let seen = ticks.range(..=tick).rev();
                let mut seen = seen.filter(|(_, kinds)| kinds.iter().any(|kind| amount(wanted, kind).is_some()));
                seen.next().map(|(tick, _)| (tick + 1) * self.tick)
            };
            let sampled = last_of(headline);
            let step = Step {
                at: (tick + 1) * self.tick,
                verdicts: verdicts.collect(),
                sampled,
                predicted: last_of("prediction_rate"),
                rate: headline == "prediction_rate",
            };
            for (change, since) in alert.step(rule, &step) {
                let (rule, change) = (rule.name.clone(), change.to_owned());
                said.push(Change { at: step.at, since, rule, labels: labels.clone(), change });
            }
        }
    }
}

/// What one outcome adds to the numerator, if it is a sample of the indicator.
fn amount(indicator: &str, kind: &Kind) -> Option<f64> {
    match (indicator, kind) {
        ("mae", Kind::Labelled { predicted, actual, .. }) => Some((predicted - actual).abs()),
        ("bias", Kind::Labelled { predicted, actual, .. }) => Some(predicted - actual),
        ("mse", Kind::Labelled { predicted, actual, .. }) => Some((predicted - actual).powi(2)),
        ("accuracy", Kind::Labelled { predicted, actual, .. }) => Some(f64::from(u8::from(predicted == actual))),
        ("label_delay", Kind::Labelled { delay, .. }) => Some(*delay),
        ("unlabelled_rate", Kind::Labelled { .. }) => Some(0.0),
        ("unlabelled_rate", Kind::Unlabelled) | ("prediction_rate", Kind::Predicted) => Some(1.0),
        _ => None,
    }
}

fn beyond(bound: Bound, value: f64) -> bool {
    match bound {
        Bound::Above(limit) => value > limit,
        Bound::Below(limit) => value < limit,
        Bound::Outside(low, high) => value < low || value > high,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    Quiet,
    Pending(i64),
    Firing,
    Recovering(i64),
}

struct Alert {
    state: State,
    /// When the incident began, and when it was last told of.
    since: i64,
    told: i64,
    /// The open silence: when it began, and when it was told.
    silent: Option<(i64, i64)>,
    watched: i64,
}

struct Step {
    at: i64,
    /// For each condition beyond its bound, beyond its clear bound; `None` if it cannot be told.
    verdicts: Vec<Option<(bool, bool)>>,
    sampled: Option<i64>,
    predicted: Option<i64>,
    rate: bool,
}

impl Alert {
    fn step(&mut self, rule: &Rule, step: &Step) -> Vec<(&'static str, i64)> {
        let mut said = Vec::new();
        let at = step.at;
        let seconds = |span: std::time::Duration| span.as_secs() as i64;
        let heard = step.sampled.unwrap_or(self.watched).max(self.watched);
        if let Some((since, told)) = self.silent {
            if step.sampled.is_some_and(|sampled| sampled > told) {
                said.push(("data back", since));
                self.silent = None;
            }
        } else if let Some(limit) = rule.no_data_after.filter(|limit| at - heard >= seconds(*limit)) {
            let flowing = step.predicted.is_some_and(|last| at - last < seconds(limit));
            let needs_label = !["prediction_rate", "unlabelled_rate"].contains(&rule.conditions[0].indicator);
            said.push((if needs_label && flowing { "labels late" } else { "no data" }, heard));
            self.silent = Some((heard, at));
        }
        let breach = step.verdicts.iter().all(|verdict| verdict.is_some_and(|(breach, _)| breach));
        let clear = step.verdicts.iter().any(|verdict| verdict.is_some_and(|(_, uncleared)| !uncleared));
        let unknown = !clear && step.verdicts.iter().any(Option::is_none);
        let lasted = |since: i64, span| {
            let fresh = step.rate || step.sampled.is_some_and(|sampled| sampled > since);
            seconds(span) == 0 || (at - since >= seconds(span) && fresh)
        };
        let was = self.state;
        match was {
            State::Quiet if breach && !rule.hold.is_zero() => {
                said.push(("pending", at));
                self.state = State::Pending(at);
            }
            State::Quiet if breach => (self.state, self.since, self.told) = (State::Firing, at, at),
            State::Pending(since) if breach && lasted(since, rule.hold) => {
                (self.state, self.since, self.told) = (State::Firing, since, at);
            }
            State::Pending(since) if !breach && !unknown => {
                said.push(("calmed", since));
                self.state = State::Quiet;
            }
            State::Firing if clear && !rule.recover_for.is_zero() => {
                said.push(("recovering", self.since));
                self.state = State::Recovering(at);
            }
            State::Firing if clear => self.state = State::Quiet,
            State::Recovering(since) if clear && lasted(since, rule.recover_for) => self.state = State::Quiet,
            State::Recovering(_) if !clear && !unknown => {
                said.push(("relapsed", self.since));
                (self.state, self.told) = (State::Firing, at);
            }
            _ => {}
        }
        match (was, self.state) {
            (State::Firing | State::Recovering(_), State::Quiet) => said.push(("resolved", self.since)),
            (State::Quiet | State::Pending(_), State::Firing) => said.push(("firing", self.since)),
            (_, State::Firing) if rule.repeat_every.is_some_and(|every| at - self.told >= seconds(every)) => {
                said.push(("repeated", self.since));
                self.told = at;
            }
            _ => {}
        }
        said
    }
}
