//! The pure core: owns all state and calls the stages in order.
//!
//! Events go in with their partition; transitions come out when ticks are sealed. There is no I/O, no clock and no log
//! in here: time is an argument, and what went wrong is returned. The same inputs give the same transitions, whatever
//! the interleaving of partitions and the size of batches.

mod image;
mod judge;
mod meaning;
mod options;
mod rebuild;
mod saved;
mod seal;
mod spec;
mod view;

use smallvec::SmallVec;

use crate::clock::{Tick, TickGrid, Timestamp};
use crate::decode::Rejection;
use crate::event::{Events, Label, Prediction};
use crate::join::{self, Change, Fingerprint, Fingerprinter, Join, Sample, Truth};
use crate::pattern;
use crate::series::{Registry, SeriesId};
use crate::smoothing::Smoothed;
use crate::source::PartitionIndex;
use crate::summary::Summary;
use crate::watermark::{Frontier, Watermark};
pub use image::{Image, NotAnImage, Reading};
use judge::Watch;
use meaning::ClassNames;
pub use options::{Model, Options};
pub use rebuild::Rebuilding;
pub use saved::Saved;
use spec::Spec;
pub use view::{AlertView, ModelView, ReadingView, View};

/// Of the events that are looked at together.
type Fingerprints = SmallVec<[Fingerprint; 64]>;

/// An event that is so much older than its record has no time worth believing.
const MAX_AGE: std::time::Duration = std::time::Duration::from_secs(400 * 86_400);

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
    classes: ClassNames,
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
    /// The next tick to seal; `None` before the first can be.
    next: Option<Tick>,
    /// The earliest effective time of the events taken in before the first seal.
    first: Option<Timestamp>,
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
            classes: ClassNames::default(),
            registry: Registry::default(),
            watermark: Watermark::new(options.lateness),
            join: Join::new(grid, options.max_pending),
            summary: Summary::default(),
            smoothed: Vec::new(),
            last_predicted: Vec::new(),
            watches: options.rules.iter().map(Watch::new).collect(),
            next: None,
            first: None,
            counts: Counts::default(),
            changes: Vec::new(),
            options,
        };
        pipeline.configure();
        pipeline
    }

    /// Derives all that follows from the options.
    fn configure(&mut self) {
        self.smoothed.clear();
        self.last_predicted.clear();
        self.specs = self.options.models.iter().map(|model| Spec::new(model, &self.options.rules)).collect();
        for (negative, positive) in self.options.models.iter().filter_map(|model| model.classes.as_ref()) {
            self.classes.add(negative);
            self.classes.add(positive);
        }
        self.spec_of = (0..self.registry.models())
            .map(|model| self.section(self.registry.model_name(u32::try_from(model).unwrap_or(u32::MAX))))
            .collect();
        for index in 0..self.options.models.len() {
            let name = self.options.models[index].pattern.clone();
            if !name.contains('*') && self.registry.model(&name).is_none() {
                let model = self.add_model(&name);
                // It is watched even if nothing ever comes.
                self.registry.admit(self.registry.overall(model), 0);
            }
        }
        self.grow();
        self.configure_join();
    }

    fn configure_join(&mut self) {
        let never = join::Window { timeout_micros: 0, early_micros: 0, dedupe_micros: 0 };
        let windows = self.spec_of.iter().map(|spec| spec.map_or(never, |spec| self.specs[spec].window)).collect();
        let early = self.specs.iter().map(|spec| spec.window.early_micros).max().unwrap_or(0);
        self.join.configure(windows, early, self.options.max_pending);
    }

    /// The section that serves a model of this name.
    fn section(&self, name: &str) -> Option<usize> {
        self.options.models.iter().position(|model| pattern::matches(&model.pattern, name))
    }

    fn add_model(&mut self, name: &str) -> u32 {
        let model = self.registry.add_model(name);
        self.spec_of.push(self.section(name));
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

    /// Reads the places in memory that these events will need: such reads wait for memory together, and without them each
    /// event would wait for its own.
    pub fn look_ahead<'e, 'a: 'e>(&self, events: impl Iterator<Item = &'e Events<'a>>) {
        let (mut predictions, mut labels) = (Fingerprints::new(), Fingerprints::new());
        for event in events {
            let prediction = event.prediction.as_ref();
            predictions.extend(prediction.map(|event| self.fingerprint(event.model.as_deref(), &event.id)));
            labels.extend(event.label.as_ref().map(|event| self.fingerprint(event.model.as_deref(), &event.id)));
        }
        self.join.look_ahead(&predictions, &labels);
    }

    /// The fingerprint of an id of a model, named or not.
    fn fingerprint(&self, model: Option<&str>, id: &str) -> Fingerprint {
        let model = model.or(only_model(&self.options));
        self.fingerprinter.of(model.filter(|_| self.options.labels_name_model), id)
    }

    /// Puts the events into the join; what that brings about is in `changes`.
    fn join_events(&mut self, partition: PartitionIndex, events: &Events<'_>, now: Timestamp) -> Result<(), Rejection> {
        let prediction = events.prediction.as_ref().map_or(Ok(()), |event| self.predict(partition, event, now));
        let label = events.label.as_ref().map_or(Ok(()), |event| self.label(partition, event, now));
        prediction.and(label)
    }

    fn predict(&mut self, partition: PartitionIndex, event: &Prediction<'_>, now: Timestamp) -> Result<(), Rejection> {
        self.refuse_absurd(event.time, event.recorded_at, now)?;
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
        let sample = Sample { answer, age_seconds, slice };
        let named = self.options.labels_name_model.then(|| self.registry.model_name(model));
        let fingerprint = self.fingerprinter.of(named, &event.id);
        let (join, known, changes) = self.join_parts();
        join.predict(fingerprint, at, sample, &known, changes);
        Ok(())
    }

    fn label(&mut self, partition: PartitionIndex, event: &Label<'_>, now: Timestamp) -> Result<(), Rejection> {
        self.refuse_absurd(event.time, event.recorded_at, now)?;
        let truth = self.classes.truth(&event.value);
        let named = self.options.labels_name_model;
        let resolved = if named { Some(self.resolve(event.model.as_deref())?) } else { None };
        // Without a model's name it is for all of them.
        let readers = resolved.map_or(&self.specs[..], |(_, spec)| std::slice::from_ref(&self.specs[spec]));
        let understood = |truth: &Truth| readers.iter().any(|spec| spec.actual(*truth, &self.classes).is_some());
        let Some(truth) = truth.filter(understood) else {
            let problem = readers.first().map_or_else(String::new, |spec| spec.refusal(&event.value));
            return Err(Rejection::Invalid { field: "label", problem });
        };
        let at = self.observe(partition, event.time);
        let model = resolved.map(|(model, _)| model);
        let fingerprint = self.fingerprinter.of(model.map(|model| self.registry.model_name(model)), &event.id);
        let (join, known, changes) = self.join_parts();
        join.label(fingerprint, model, at, truth, &known, changes);
        Ok(())
    }

    fn refuse_absurd(&self, time: Timestamp, recorded: Option<Timestamp>, now: Timestamp) -> Result<(), Rejection> {
        let bound = recorded.map_or(now, |recorded| recorded.min(now)).plus(self.options.max_skew);
        if time > bound {
            return Err(Rejection::Future);
        }
        // A time that was never set (1970) would begin decades of empty ticks.
        if recorded.is_some_and(|recorded| recorded.since(time) > MAX_AGE) { Err(Rejection::Past) } else { Ok(()) }
    }

    /// Model and section of a name; without a name, those of the only section.
    fn resolve(&mut self, name: Option<&str>) -> Result<(u32, usize), Rejection> {
        let name = name.or(only_model(&self.options)).ok_or(Rejection::Missing("model"))?;
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
        if self.next.is_none() {
            self.first = Some(self.first.map_or(observed.effective, |first| first.min(observed.effective)));
        }
        observed.effective
    }

    /// Adds what the join found out to the sums of the open ticks.
    fn apply_changes(&mut self) {
        for change in self.changes.drain(..) {
            let slice = self.registry.slice(change.slice);
            let Some(spec) = self.spec_of[slice.model as usize] else { continue };
            let tick = self.grid.tick_of(change.at);
            if self.next.is_some_and(|next| tick < next) {
                // What is sealed stays; only a reload that changes the windows can ask for it.
                continue;
            }
            let terms = &self.specs[spec].terms;
            self.summary.apply(tick, &slice.series, terms, &change.outcome, change.added);
        }
    }

    /// A partition is at its end and has been for long enough to be left behind.
    pub fn idle(&mut self, partition: PartitionIndex) {
        self.watermark.idle(partition);
    }

    /// An idle partition is waited for again; gives its frontier if it was idle.
    pub fn wake(&mut self, partition: PartitionIndex) -> Option<Frontier> {
        self.watermark.wake(partition)
    }

    fn name(&self, series: SeriesId) -> (&str, Option<&(String, String)>) {
        let series = self.registry.series(series);
        (self.registry.model_name(series.model), series.segment.as_ref())
    }

    fn section_of(&self, series: SeriesId) -> Option<&Spec> {
        let model = self.registry.series(series).model;
        self.spec_of[model as usize].map(|spec| &self.specs[spec])
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        Counts { join: self.join.counts(), ..self.counts }
    }

    /// Length of a tick.
    pub fn tick(&self) -> std::time::Duration {
        self.grid.length()
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

/// The model that is meant where none is named, if there is but one.
fn only_model(options: &Options) -> Option<&str> {
    match options.models.as_slice() {
        [only] if !only.pattern.contains('*') => Some(only.pattern.as_str()),
        _ => None,
    }
}

fn name_of(registry: &Registry, model: u32) -> String {
    registry.model_name(model).to_owned()
}
