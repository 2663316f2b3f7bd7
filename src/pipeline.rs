//! The pure core: owns all state and calls the stages in order.
//!
//! Events go in with their partition; transitions come out when ticks are sealed. There is no I/O, no clock and no log
//! in here: time is an argument, and what went wrong is returned. The same inputs give the same transitions, whatever
//! the interleaving of partitions and the size of batches.

mod judge;
mod rebuild;
mod saved;
mod spec;
mod view;

use std::collections::HashMap;
use std::time::Duration;

use crate::alert::Transition;
use crate::clock::{Tick, TickGrid, Timestamp};
use crate::decode::Rejection;
use crate::event::{Events, Label, Prediction, Scalar, Task};
use crate::indicator::Indicator;
use crate::join::{self, Change, Fingerprinter, Join, Sample, Truth};
use crate::pattern;
use crate::rule::Rule;
use crate::series::{Registry, SeriesId};
use crate::smoothing::{Smoothed, Smoothing};
use crate::source::PartitionIndex;
use crate::summary::{Cell, Summary, TickSums};
use crate::watermark::Watermark;
use judge::Watch;
pub use rebuild::Rebuilding;
pub use saved::Saved;
use spec::Spec;
pub use view::{AlertView, ModelView, ReadingView, View};

/// Everything the core needs to know; what a reload swaps.
#[derive(Clone, Debug)]
pub struct Options {
    /// Length of a tick, the grid of evaluation.
    pub tick: Duration,
    /// How far an event may lag behind the newest of its partition and still count in its own tick.
    pub lateness: Duration,
    /// How far an event may lie ahead of its record's time (or of the clock) before it is rejected.
    pub max_skew: Duration,
    /// Most predictions and labels that wait in the join; beyond it the oldest expire early.
    pub max_pending: usize,
    /// Most models that patterns may bring to life.
    pub max_models: usize,
    /// The model sections, in the order of the file; the first that matches a name is used.
    pub models: Vec<Model>,
    /// The rules, in the order of the file.
    pub rules: Vec<Rule>,
    /// Whether labels name their model. If not, a label serves every model that used its id.
    pub labels_name_model: bool,
}

/// One `[model.NAME]` section.
#[derive(Clone, Debug)]
pub struct Model {
    /// A name, or a pattern with `*` for any run of characters.
    pub pattern: String,
    /// What its answers are.
    pub task: Task,
    /// How long after a prediction its label may come.
    pub label_timeout: Duration,
    /// How long before its prediction a label may come.
    pub early_label_wait: Duration,
    /// For how long a repeated id is a duplicate; at least `label_timeout + early_label_wait`.
    pub dedupe_window: Duration,
    /// Segment dimensions: name, and index into the decoder's attributes.
    pub dimensions: Vec<(String, usize)>,
    /// Most values of one dimension that are told apart; the rest is folded into `other`.
    pub max_segment_values: usize,
    /// Names of the negative and the positive class, for `binary`. `None`: false/0 and true/1.
    pub classes: Option<(String, String)>,
    /// From which score on the answer is positive, where a binary prediction bears only a score.
    pub threshold: f64,
    /// The smoothing of its indicators.
    pub smoothing: Smoothing,
    /// What is shown and exported even if no rule asks for it.
    pub indicators: Vec<&'static dyn Indicator>,
}

/// What the core counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Events that came behind their partition's frontier and were moved up to it.
    pub late_events: u64,
    /// Ticks sealed.
    pub sealed_ticks: u64,
    /// What the join did.
    pub join: join::Counts,
}

/// The core.
#[derive(Debug)]
pub struct Pipeline {
    options: Options,
    grid: TickGrid,
    fingerprinter: Fingerprinter,
    specs: Vec<Spec>,
    /// By model number: its section; `None` if no section matches it any more.
    spec_of: Vec<Option<usize>>,
    registry: Registry,
    watermark: Watermark,
    join: Join,
    summary: Summary,
    /// By series: one entry a track of its model.
    smoothed: Vec<Vec<Smoothed>>,
    /// By series: the last sealed tick with a prediction.
    last_predicted: Vec<Option<Tick>>,
    /// One a rule, in the order of the file.
    watches: Vec<Watch>,
    /// Series that are not watched by the rules yet.
    unwatched: Vec<SeriesId>,
    /// The next tick to seal; `None` before the first event.
    next: Option<Tick>,
    /// The earliest event so far, which decides where sealing begins.
    earliest: Option<Timestamp>,
    counts: Counts,
    /// Reused from event to event.
    changes: Vec<Change>,
}

impl Pipeline {
    /// An empty core. `key` is the deployment's secret key for fingerprints.
    pub fn new(options: Options, key: &[u8; 16]) -> Pipeline {
        let grid = TickGrid::new(options.tick);
        let mut pipeline = Pipeline {
            grid,
            fingerprinter: Fingerprinter::new(key),
            specs: Vec::new(),
            spec_of: Vec::new(),
            registry: Registry::default(),
            watermark: Watermark::new(options.lateness),
            join: Join::new(grid, options.max_pending),
            summary: Summary::default(),
            smoothed: Vec::new(),
            last_predicted: Vec::new(),
            watches: options.rules.iter().map(Watch::new).collect(),
            unwatched: Vec::new(),
            next: None,
            earliest: None,
            counts: Counts::default(),
            changes: Vec::new(),
            options,
        };
        pipeline.configure();
        pipeline
    }

    /// Derives all that follows from the options.
    fn configure(&mut self) {
        self.specs = self.options.models.iter().map(|model| Spec::new(model, &self.options.rules)).collect();
        self.spec_of = (0..self.registry.models())
            .map(|model| self.section(self.registry.model_name(u32::try_from(model).unwrap_or(u32::MAX))))
            .collect();
        for index in 0..self.options.models.len() {
            let name = self.options.models[index].pattern.clone();
            if !name.contains('*') && self.registry.model(&name).is_none() {
                self.add_model(&name);
            }
        }
        self.configure_join();
    }

    fn configure_join(&mut self) {
        let never = join::Window { timeout_micros: 0, early_micros: 0, dedupe_micros: 0 };
        let windows = self.spec_of.iter().map(|spec| spec.map_or(never, |spec| self.specs[spec].window)).collect();
        self.join.configure(windows, self.options.max_pending);
    }

    /// The section that serves a model of this name.
    fn section(&self, name: &str) -> Option<usize> {
        self.options.models.iter().position(|model| pattern::matches(&model.pattern, name))
    }

    fn add_model(&mut self, name: &str) -> u32 {
        let model = self.registry.add_model(name);
        self.spec_of.push(self.section(name));
        self.unwatched.push(self.registry.overall(model));
        model
    }

    /// Makes the source's partitions known; each holds sealing back until it has data or is idle.
    pub fn expect_partitions(&mut self, count: usize) {
        self.watermark.expect_partitions(count);
    }

    /// Takes in the events of one record. `now` bounds how far ahead their times may lie.
    ///
    /// # Errors
    ///
    /// Why an event is not used. The prediction of a record is taken in even if its label is not.
    pub fn take(&mut self, partition: PartitionIndex, events: &Events<'_>, now: Timestamp) -> Result<(), Rejection> {
        let taken = self.join_events(partition, events, now);
        self.apply_changes();
        taken
    }

    /// Puts the events into the join; what that brings about is in `changes`.
    fn join_events(&mut self, partition: PartitionIndex, events: &Events<'_>, now: Timestamp) -> Result<(), Rejection> {
        let prediction = events.prediction.as_ref().map_or(Ok(()), |event| self.predict(partition, event, now));
        let label = events.label.as_ref().map_or(Ok(()), |event| self.label(partition, event, now));
        prediction.and(label)
    }

    fn predict(&mut self, partition: PartitionIndex, event: &Prediction<'_>, now: Timestamp) -> Result<(), Rejection> {
        self.refuse_future(event.time, event.recorded_at, now)?;
        let (model, spec) = self.resolve(event.model.as_deref())?;
        let answer = self.specs[spec].answer(event)?;
        let Model { dimensions, max_segment_values, .. } = &self.specs[spec].model;
        let values = dimensions.iter().map(|(name, attribute)| {
            let value = event.attributes.get(*attribute).and_then(|value| value.as_deref());
            (name.as_str(), value.unwrap_or(crate::series::NONE))
        });
        let slice = self.registry.slice_of(model, values, *max_segment_values);
        let at = self.observe(partition, event.time);
        #[expect(clippy::cast_precision_loss, reason = "ages are far below 2^53 microseconds")]
        let age_seconds = event.recorded_at.map(|recorded| recorded.micros_since(event.time) as f64 / 1e6);
        let sample = Sample { answer, age_seconds, slice, slice_rank: self.registry.slice(slice).rank };
        let named = self.options.labels_name_model.then(|| self.registry.model_name(model));
        let fingerprint = self.fingerprinter.of(named, &event.id);
        let read = |model: u32, truth: &Truth| read(&self.specs, &self.spec_of, model, truth);
        self.join.predict(fingerprint, model, at, sample, &read, &mut self.changes);
        Ok(())
    }

    fn label(&mut self, partition: PartitionIndex, event: &Label<'_>, now: Timestamp) -> Result<(), Rejection> {
        self.refuse_future(event.time, event.recorded_at, now)?;
        let truth = match &event.value {
            Scalar::Number(number) => Truth::Number(*number),
            Scalar::Text(text) => Truth::Text(text.as_ref().into()),
            Scalar::Boolean(value) => Truth::Boolean(*value),
        };
        let named = self.options.labels_name_model;
        let resolved = if named { Some(self.resolve(event.model.as_deref())?) } else { None };
        let mut readers = self.specs.iter().enumerate().filter(|(n, _)| resolved.is_none_or(|(_, spec)| spec == *n));
        if !readers.any(|(_, spec)| spec.actual(&truth).is_some()) {
            let expected = resolved.map_or(self.specs.first(), |(_, spec)| self.specs.get(spec)).map(Spec::expected);
            let problem = format!("{truth:?} {}", expected.unwrap_or_default());
            return Err(Rejection::Invalid { field: "label", problem });
        }
        let at = self.observe(partition, event.time);
        let model = resolved.map(|(model, _)| model);
        let fingerprint = self.fingerprinter.of(model.map(|model| self.registry.model_name(model)), &event.id);
        let read = |model: u32, truth: &Truth| read(&self.specs, &self.spec_of, model, truth);
        self.join.label(fingerprint, model, at, truth, &read, &mut self.changes);
        Ok(())
    }

    fn refuse_future(&self, time: Timestamp, recorded: Option<Timestamp>, now: Timestamp) -> Result<(), Rejection> {
        let bound = recorded.map_or(now, |recorded| recorded.min(now)).plus(self.options.max_skew);
        if time > bound { Err(Rejection::Future) } else { Ok(()) }
    }

    /// Model and section of a name; without a name, those of the only section.
    fn resolve(&mut self, name: Option<&str>) -> Result<(u32, usize), Rejection> {
        let only = self.options.models.first().map(|model| model.pattern.as_str());
        let name = name.or(only).ok_or(Rejection::Missing("model"))?;
        let model = match self.registry.model(name) {
            Some(model) => model,
            None if self.section(name).is_none() => return Err(Rejection::UnknownModel(name.to_owned())),
            None if self.registry.models() >= self.options.max_models => return Err(Rejection::TooManyModels),
            None => {
                let name = name.to_owned();
                let model = self.add_model(&name);
                self.configure_join();
                model
            }
        };
        let spec =
            self.spec_of[model as usize].ok_or_else(|| Rejection::UnknownModel(name_of(&self.registry, model)))?;
        Ok((model, spec))
    }

    fn observe(&mut self, partition: PartitionIndex, time: Timestamp) -> Timestamp {
        let observed = self.watermark.observe(partition, time);
        self.counts.late_events += u64::from(observed.late);
        self.earliest = Some(self.earliest.map_or(observed.effective, |earliest| earliest.min(observed.effective)));
        observed.effective
    }

    /// Adds what the join found out to the sums of the open ticks.
    fn apply_changes(&mut self) {
        for change in self.changes.drain(..) {
            let slice = self.registry.slice(change.slice);
            let Some(spec) = self.spec_of[slice.model as usize] else { continue };
            let tick = self.grid.tick_of(change.at);
            let terms = &self.specs[spec].terms;
            self.summary.apply(tick, &slice.series, terms, &change.outcome, change.added);
        }
    }

    /// A partition is at its end and has been for long enough to be left behind.
    pub fn idle(&mut self, partition: PartitionIndex) {
        self.watermark.idle(partition);
    }

    /// Seals what can be sealed; call it after each batch. `now` counts only while all partitions are idle.
    pub fn advance(&mut self, now: Timestamp) -> Vec<Transition> {
        let reached = self.watermark.advance(now);
        self.seal_until(reached)
    }

    /// Seals everything: the input has ended.
    pub fn finish(&mut self) -> Vec<Transition> {
        let newest = self.watermark.finish();
        if newest == Timestamp::MIN { Vec::new() } else { self.seal_until(self.grid.end_of(self.grid.tick_of(newest))) }
    }

    fn seal_until(&mut self, reached: Timestamp) -> Vec<Transition> {
        let mut transitions = Vec::new();
        if reached == Timestamp::MIN {
            return transitions;
        }
        let current = self.grid.tick_of(reached);
        let mut tick = self.next.unwrap_or_else(|| self.first_tick().unwrap_or(current));
        if tick > current {
            // The first one may still turn out to be an earlier one.
            return transitions;
        }
        while tick < current {
            self.seal(tick, &mut transitions);
            tick += 1;
        }
        self.next = Some(tick);
        transitions
    }

    /// The earliest tick with an event, as far as is known.
    fn first_tick(&self) -> Option<Tick> {
        let observed = self.earliest.map(|at| self.grid.tick_of(at));
        observed.into_iter().chain(self.summary.first_open()).min()
    }

    fn seal(&mut self, tick: Tick, transitions: &mut Vec<Transition>) {
        let end = self.grid.end_of(tick);
        let read = |model: u32, truth: &Truth| read(&self.specs, &self.spec_of, model, truth);
        self.join.seal(tick, end, &read, &mut self.changes);
        self.apply_changes();
        let closed = self.summary.close(tick);
        let sums = self.admitted(closed);
        self.grow();
        for (series, sums) in sums {
            self.fold(tick, series, &sums);
        }
        self.leave_windows(tick);
        self.watch_newcomers(tick);
        self.judge(tick, transitions);
        self.counts.sealed_ticks += 1;
    }

    /// Decides by name which new segments get a series of their own, and folds the rest into `other`.
    fn admitted(&mut self, closed: HashMap<SeriesId, TickSums>) -> Vec<(SeriesId, TickSums)> {
        let mut by_name: Vec<(SeriesId, TickSums)> = closed.into_iter().collect();
        by_name.sort_by(|(a, _), (b, _)| self.name(*a).cmp(&self.name(*b)));
        let mut sums: Vec<(SeriesId, TickSums)> = Vec::with_capacity(by_name.len());
        let mut folded: HashMap<SeriesId, TickSums> = HashMap::new();
        for (series, cells) in by_name {
            let known = self.registry.series(series).admitted;
            let limit = self.section_of(series).map_or(0, |spec| spec.model.max_segment_values);
            let target = self.registry.admit(series, limit);
            if target != series
                || self.registry.series(series).segment.as_ref().is_some_and(|s| s.1 == crate::series::OTHER)
            {
                let other = folded.entry(target);
                other
                    .and_modify(|sum| sum.iter_mut().zip(&cells).for_each(|(sum, more)| sum.add(more)))
                    .or_insert(cells);
                continue;
            }
            if !known {
                self.unwatched.push(series);
            }
            sums.push((series, cells));
        }
        for (series, cells) in folded {
            if self.registry.series(series).segment.is_some() && !self.unwatched.contains(&series) {
                self.unwatched.push(series);
            }
            sums.push((series, cells));
        }
        sums
    }

    fn name(&self, series: SeriesId) -> (&str, Option<&(String, String)>) {
        let series = self.registry.series(series);
        (self.registry.model_name(series.model), series.segment.as_ref())
    }

    fn section_of(&self, series: SeriesId) -> Option<&Spec> {
        let model = self.registry.series(series).model;
        self.spec_of[model as usize].map(|spec| &self.specs[spec])
    }

    /// Gives every series a place for its smoothed sums.
    fn grow(&mut self) {
        for id in self.smoothed.len()..self.registry.all().len() {
            let tracks = self.section_of(u32::try_from(id).unwrap_or(u32::MAX)).map_or(0, |spec| spec.tracks.len());
            self.smoothed.push(vec![Smoothed::EMPTY; tracks]);
        }
        self.last_predicted.resize(self.smoothed.len(), None);
    }

    fn fold(&mut self, tick: Tick, series: SeriesId, sums: &TickSums) {
        let model = self.registry.series(series).model;
        let Some(spec) = self.spec_of[model as usize].map(|spec| &self.specs[spec]) else { return };
        if matches!(sums.first(), Some(Cell::Count(predicted)) if *predicted > 0) {
            self.last_predicted[series as usize] = Some(tick);
        }
        for (track, smoothed) in spec.tracks.iter().zip(&mut self.smoothed[series as usize]) {
            let cells: Vec<&Cell> = track.cells.iter().map(|index| &sums[*index]).collect();
            smoothed.fold(track.smoothing, self.grid, tick, track.indicator.terms(), &cells);
        }
    }

    fn leave_windows(&mut self, tick: Tick) {
        for (series, tracks) in self.smoothed.iter_mut().enumerate() {
            let model = self.registry.all()[series].model;
            let Some(spec) = self.spec_of[model as usize].map(|spec| &self.specs[spec]) else { continue };
            for (track, smoothed) in spec.tracks.iter().zip(tracks) {
                smoothed.leave_window(track.smoothing, self.grid, tick, track.indicator.terms());
            }
        }
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        Counts { join: self.join.counts(), ..self.counts }
    }

    /// How many predictions and labels wait in the join.
    pub fn pending(&self) -> (usize, usize) {
        self.join.len()
    }

    /// How far event time has come.
    pub fn watermark(&self) -> Timestamp {
        self.watermark.reached()
    }

    /// End of the last sealed tick; `None` before the first.
    pub fn sealed_until(&self) -> Option<Timestamp> {
        self.next.map(|next| self.grid.end_of(next - 1))
    }
}

fn read(specs: &[Spec], spec_of: &[Option<usize>], model: u32, truth: &Truth) -> Option<f64> {
    spec_of[model as usize].and_then(|spec| specs[spec].actual(truth))
}

fn name_of(registry: &Registry, model: u32) -> String {
    registry.model_name(model).to_owned()
}
