//! The core's state as a value: what a checkpoint stores, and what a reload carries over.
//!
//! Everything is kept by name (model, segment, indicator, smoothing, term), so that it fits into a core with other
//! options: what still exists goes on, what is new starts empty, and alerts that nobody watches any more end with a
//! transition that says so. The join table is not in here; it is rebuilt from the source.

mod sound;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::judge::{self, Labels};
use super::spec::Track;
use super::{Counts, Options, Pipeline};
use crate::alert::{Alert, End, Transition};
use crate::clock::{Tick, TickGrid, Timestamp};
use crate::exact::{ExactSum, Histogram};
use crate::indicator::{Addition, Term};
use crate::rule::{Rule, Severity};
use crate::series::SeriesId;
use crate::smoothing::Smoothed;
use crate::summary::{Cell, TickSums};
use crate::watermark::Frontier;
use smallvec::SmallVec;

/// The state of a core, but for its join table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// Length of the ticks that the others are numbers of.
    tick: Duration,
    next: Option<Tick>,
    first: Option<Timestamp>,
    counts: Counts,
    reached: Timestamp,
    frontiers: Vec<Frontier>,
    series: Vec<SavedSeries>,
    open: Vec<(Tick, Labels, SavedSums)>,
    alerts: Vec<SavedAlert>,
}

/// Cells by the name of their term.
type SavedSums = Vec<(String, SavedCell)>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedSeries {
    labels: Labels,
    last_predicted: Option<Tick>,
    tracks: Vec<SavedTrack>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedTrack {
    indicator: String,
    smoothing: String,
    cells: Vec<f64>,
    weight_squared: f64,
    seconds: f64,
    span: Option<(Tick, Tick)>,
    inside: Vec<(Tick, Vec<SavedCell>)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum SavedCell {
    Count(i64),
    Real(Vec<u8>),
    Bins(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SavedAlert {
    rule: String,
    severity: String,
    labels: Labels,
    alert: Alert,
}

impl Saved {
    /// Length of its ticks.
    pub fn tick(&self) -> Duration {
        self.tick
    }

    /// On another grid: positions in time, alerts and counts go on, the sums of the old ticks are given up.
    fn on_grid(mut self, grid: TickGrid) -> Saved {
        let old = TickGrid::new(self.tick);
        if old == grid {
            return self;
        }
        self.next = self.next.map(|next| grid.tick_of(old.end_of(next - 1)));
        self.open.clear();
        for series in &mut self.series {
            series.tracks.clear();
            series.last_predicted = series.last_predicted.map(|tick| grid.tick_of(old.end_of(tick)) - 1);
        }
        self
    }

    /// With the partitions in another order: `old` gives the former number of each partition, `None` for a new one.
    pub fn with_partitions(mut self, old: &[Option<usize>]) -> Saved {
        let unseen = Frontier { newest: Timestamp::MIN, floor: self.reached, idle: false };
        let known = |old: &Option<usize>| old.and_then(|old| self.frontiers.get(old).copied()).unwrap_or(unseen);
        self.frontiers = old.iter().map(known).collect();
        self
    }
}

impl Pipeline {
    /// The state as a value.
    pub fn save(&self) -> Saved {
        let labels = |series: SeriesId| {
            let (model, segment) = self.name(series);
            (model.to_owned(), segment.cloned())
        };
        let admitted = (0..).zip(&self.smoothed).filter(|(id, _)| self.registry.series(*id).admitted);
        let series = admitted.map(|(id, tracks)| SavedSeries {
            labels: labels(id),
            last_predicted: self.last_predicted[id as usize],
            tracks: self.saved_tracks(id, tracks),
        });
        let open = self.summary.open().map(|(tick, id, sums)| (tick, labels(id), self.saved_sums(id, sums)));
        // In the order of names, so that equal states are equal values.
        let mut series: Vec<SavedSeries> = series.collect();
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        let mut open: Vec<(Tick, Labels, SavedSums)> = open.collect();
        open.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        Saved {
            tick: self.grid.length(),
            next: self.next,
            first: self.first,
            counts: self.counts(),
            reached: self.watermark.reached(),
            frontiers: self.watermark.frontiers().to_vec(),
            series,
            open,
            alerts: self.saved_alerts(),
        }
    }

    fn saved_sums(&self, series: SeriesId, sums: &TickSums) -> SavedSums {
        let terms = self.section_of(series).map(|spec| spec.terms.as_slice()).unwrap_or_default();
        terms.iter().zip(sums).map(|(term, cell)| (term.name.to_owned(), saved_cell(cell))).collect()
    }

    fn saved_tracks(&self, series: SeriesId, tracks: &[Smoothed]) -> Vec<SavedTrack> {
        let Some(spec) = self.section_of(series) else { return Vec::new() };
        let saved = spec.tracks.iter().zip(tracks).map(|(track, smoothed)| SavedTrack {
            indicator: track.indicator.name().to_owned(),
            smoothing: track.smoothing.to_string(),
            cells: smoothed.cells.to_vec(),
            weight_squared: smoothed.weight_squared,
            seconds: smoothed.seconds,
            span: smoothed.span,
            inside: smoothed
                .window
                .iter()
                .flat_map(|window| window.ticks())
                .map(|(tick, cells)| (*tick, cells.iter().map(saved_cell).collect()))
                .collect(),
        });
        saved.collect()
    }

    fn saved_alerts(&self) -> Vec<SavedAlert> {
        let all = self.options.rules.iter().zip(&self.watches).flat_map(|(rule, watch)| {
            watch.alerts.iter().map(|(labels, (_, alert))| SavedAlert {
                rule: watch.rule.clone(),
                severity: rule.severity.name().to_owned(),
                labels: labels.clone(),
                alert: alert.clone(),
            })
        });
        all.collect()
    }

    /// Puts a saved state into an empty core. Gives the transitions of the alerts that nobody watches any more.
    ///
    /// If the length of a tick is another, the smoothed sums begin anew.
    pub fn restore(&mut self, saved: Saved) -> Vec<Transition> {
        let saved = saved.on_grid(self.grid);
        self.next = saved.next;
        self.first = saved.first;
        self.counts = saved.counts;
        self.join.restore_counts(saved.counts.join);
        self.watermark.restore(saved.reached, saved.frontiers);
        for series in saved.series {
            self.restore_series(series);
        }
        for (tick, labels, sums) in saved.open {
            let id = self.series_of(&labels);
            let Some(terms) = self.section_of(id).map(|spec| spec.terms.clone()) else { continue };
            let of = |term: &Term| sums.iter().find(|(known, _)| known == term.name);
            let cell = |term: &Term| of(term).and_then(|(_, cell)| restored(cell, term));
            let cells = terms.iter().map(|term| cell(term).unwrap_or_else(|| Cell::empty(term))).collect();
            self.summary.restore(tick, id, cells);
        }
        self.registry.renew();
        let ended = saved.alerts.into_iter().flat_map(|alert| self.restore_alert(alert));
        let ended: Vec<Transition> = ended.collect();
        self.grow();
        self.configure_join();
        ended
    }

    /// The series of that name, made known. It is not admitted by this: open ticks may hold series that never will be.
    fn series_of(&mut self, (model, segment): &Labels) -> SeriesId {
        let number = self.registry.model(model).unwrap_or_else(|| self.add_model(model));
        match segment {
            None => self.registry.overall(number),
            // Without a limit: what was told apart stays apart, even if a reload allows less.
            Some((dimension, value)) => self.registry.segment(number, dimension, value, usize::MAX),
        }
    }

    fn restore_series(&mut self, saved: SavedSeries) {
        let id = self.series_of(&saved.labels);
        let id = self.registry.admit(id, usize::MAX);
        self.grow();
        self.last_predicted[id as usize] = saved.last_predicted;
        let Some(spec) = self.spec_of[self.registry.series(id).model as usize].map(|spec| &self.specs[spec]) else {
            return;
        };
        for (track, smoothed) in spec.tracks.iter().zip(&mut self.smoothed[id as usize]) {
            let same = |known: &&SavedTrack| {
                known.indicator == track.indicator.name() && known.smoothing == track.smoothing.to_string()
            };
            if let Some(restored) = saved.tracks.iter().find(same).and_then(|known| restored_track(known, track)) {
                *smoothed = restored;
            }
        }
    }

    fn restore_alert(&mut self, saved: SavedAlert) -> Vec<Transition> {
        let wanted = self.options.rules.iter().position(|rule| rule.name == saved.rule);
        let wanted = wanted.filter(|index| judge::concerns(&self.options.rules[*index], &saved.labels));
        let id = self.series_of(&saved.labels);
        if let Some(index) = wanted.filter(|_| self.section_of(id).is_some()) {
            self.watches[index].alerts.insert(saved.labels, (id, saved.alert));
            return Vec::new();
        }
        let rule = removed_rule(&saved.rule, &saved.severity);
        let at = self.sealed_until().unwrap_or(saved.alert.watched_since);
        let steps = saved.alert.end(End::RuleRemoved).into_iter();
        steps.map(|step| judge::transition(&rule, &saved.labels, step, at, Vec::new(), Vec::new())).collect()
    }

    /// The same state under other options. Gives the transitions of the alerts that nobody watches any more.
    ///
    /// The tick must be the same: sums of one grid do not fit into another.
    pub fn reload(&mut self, options: Options, key: &[u8; 16]) -> Vec<Transition> {
        let saved = self.save();
        let mut next = Pipeline::new(options, key);
        std::mem::swap(&mut next.registry, &mut self.registry);
        std::mem::swap(&mut next.classes, &mut self.classes);
        std::mem::swap(&mut next.join, &mut self.join);
        next.configure();
        let ended = next.restore(saved);
        *self = next;
        ended
    }
}

/// What is left of a rule that is no longer in the configuration.
fn removed_rule(name: &str, severity: &str) -> Rule {
    let known = Severity::ALL.iter().find(|(known, _)| *known == severity);
    Rule {
        name: name.to_owned(),
        model: String::new(),
        by: None,
        conditions: Vec::new(),
        hold: Duration::ZERO,
        recover_for: Duration::ZERO,
        no_data_after: None,
        repeat_every: None,
        severity: known.map_or(Severity::Warning, |(_, severity)| *severity),
        notify: Vec::new(),
        runbook: None,
        summary: None,
    }
}

fn saved_cell(cell: &Cell) -> SavedCell {
    match cell {
        Cell::Count(count) => SavedCell::Count(*count),
        Cell::Real(sum) => SavedCell::Real(sum.to_bytes()),
        Cell::Bins(bins) => SavedCell::Bins(bins.to_bytes()),
    }
}

/// The sum of a term; `None` if it is no sum of that term.
fn restored(cell: &SavedCell, term: &Term) -> Option<Cell> {
    match (cell, term.of) {
        (SavedCell::Count(count), Addition::Count(_)) => Some(Cell::Count(*count)),
        (SavedCell::Real(bytes), Addition::Real(_)) => ExactSum::from_bytes(bytes).map(Cell::Real),
        (SavedCell::Bins(bytes), Addition::Bin { bins, .. }) => Histogram::from_bytes(bytes)
            .filter(|histogram| histogram.iter().all(|(bin, _)| (bin as usize) < bins))
            .map(Cell::Bins),
        _ => None,
    }
}

/// What was smoothed; `None` if it is not of the terms of that track.
fn restored_track(saved: &SavedTrack, track: &Track) -> Option<Smoothed> {
    let terms = track.indicator.terms();
    let width: usize = terms.iter().map(|term| term.width()).sum();
    if saved.cells.len() != width {
        return None;
    }
    let mut smoothed = Smoothed {
        cells: SmallVec::from_slice(&saved.cells),
        weight_squared: saved.weight_squared,
        seconds: saved.seconds,
        span: saved.span,
        ..Smoothed::default()
    };
    for (tick, cells) in &saved.inside {
        let cells = terms.iter().zip(cells).map(|(term, cell)| restored(cell, term)).collect::<Option<Vec<Cell>>>()?;
        if cells.len() != terms.len() {
            return None;
        }
        smoothed.window.get_or_insert_default().push(*tick, cells);
    }
    Some(smoothed)
}
