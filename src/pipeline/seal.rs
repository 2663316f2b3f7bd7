//! The seal of a tick: its sums enter the smoothing, then the rules are judged.

use std::collections::BTreeMap;

use smallvec::SmallVec;

use super::Pipeline;
use super::spec::Spec;
use crate::alert::Transition;
use crate::clock::{Tick, Timestamp};
use crate::series::SeriesId;
use crate::smoothing::{Fading, Smoothed};
use crate::summary::{Cell, TickSums};

/// Most ticks that are sealed at once: months without data must not keep the caller from anything else.
const TICKS_AT_ONCE: Tick = 2_000;

impl Pipeline {
    /// Seals what can be sealed, up to a limit; call it after each batch, and again while [`Pipeline::owes_seals`].
    ///
    /// `now` counts only while all partitions are idle.
    pub fn advance(&mut self, now: Timestamp) -> Vec<Transition> {
        self.watermark.advance(now);
        self.seal_some()
    }

    /// The input has ended: everything can be sealed. Up to a limit, as [`Pipeline::advance`].
    pub fn finish(&mut self) -> Vec<Transition> {
        self.watermark.finish(self.grid);
        self.seal_some()
    }

    /// Whether there is more to seal.
    pub fn owes_seals(&self) -> bool {
        self.next.is_some_and(|next| next < self.grid.tick_of(self.watermark.reached()))
    }

    fn seal_some(&mut self) -> Vec<Transition> {
        let mut transitions = Vec::new();
        let reached = self.watermark.reached();
        if reached == Timestamp::MIN {
            return transitions;
        }
        let current = self.grid.tick_of(reached);
        // The first tick is that of the first event, which is known for sure once the watermark is there.
        let first = self.next.unwrap_or_else(|| self.first.map_or(current, |first| self.grid.tick_of(first)));
        if first > current {
            return transitions;
        }
        let until = current.min(first.saturating_add(TICKS_AT_ONCE));
        for tick in first..until {
            self.next = Some(tick);
            self.seal(tick, &mut transitions);
        }
        self.next = Some(until);
        transitions
    }

    fn seal(&mut self, tick: Tick, transitions: &mut Vec<Transition>) {
        self.seal_join(tick);
        self.apply_changes();
        let mut sums = self.summary.close(tick);
        self.admit(&mut sums);
        self.grow();
        let mut fading = Fading::default();
        for (series, sums) in sums {
            self.fold(tick, series, &sums, &mut fading);
        }
        self.leave_windows(tick);
        self.watch_newcomers(tick);
        self.judge(tick, transitions);
        self.counts.sealed_ticks += 1;
    }

    /// Lets go of what the seal of `tick` puts out of the join's reach.
    pub(super) fn seal_join(&mut self, tick: Tick) {
        let end = self.grid.end_of(tick);
        let (join, known, changes) = self.join_parts();
        join.seal(tick, end, &known, changes);
    }

    /// Decides by name which series come to life, and puts the rest into `other`.
    fn admit(&mut self, sums: &mut Vec<(SeriesId, TickSums)>) {
        let mut fresh: Vec<SeriesId> =
            sums.iter().map(|(series, _)| *series).filter(|series| !self.registry.series(*series).admitted).collect();
        fresh.sort_by(|a, b| self.name(*a).cmp(&self.name(*b)));
        let mut others: BTreeMap<SeriesId, TickSums> = BTreeMap::new();
        for series in fresh {
            let limit = self.section_of(series).map_or(0, |spec| spec.model.max_segment_values);
            let target = self.registry.admit(series, limit);
            if target == series {
                continue;
            }
            let Some(cells) = sums_of(sums, series).map(std::mem::take) else { continue };
            match sums_of(sums, target).or(others.get_mut(&target)) {
                Some(sums) => sums.iter_mut().zip(&cells).for_each(|(sum, more)| sum.add(more)),
                None => drop(others.insert(target, cells)),
            }
        }
        sums.retain(|(_, cells)| !cells.is_empty());
        sums.extend(others);
    }

    /// Gives every series a place for its smoothed sums.
    pub(super) fn grow(&mut self) {
        for id in self.smoothed.len()..self.registry.all().len() {
            let tracks = self.section_of(u32::try_from(id).unwrap_or(u32::MAX)).map_or(0, |spec| spec.tracks.len());
            self.smoothed.push(vec![Smoothed::default(); tracks]);
        }
        self.last_predicted.resize(self.smoothed.len(), None);
    }

    fn fold(&mut self, tick: Tick, series: SeriesId, sums: &TickSums, fading: &mut Fading) {
        let model = self.registry.series(series).model;
        let Some(spec) = self.spec_of[model as usize].map(|spec| &self.specs[spec]) else { return };
        if matches!(sums.first(), Some(Cell::Count(predicted)) if *predicted > 0) {
            self.last_predicted[series as usize] = Some(tick);
        }
        for (track, smoothed) in spec.tracks.iter().zip(&mut self.smoothed[series as usize]) {
            let cells: SmallVec<[&Cell; 8]> = track.cells.iter().map(|index| &sums[*index]).collect();
            smoothed.fold(track.smoothing, self.grid, tick, track.indicator.terms(), &cells, fading);
        }
    }

    fn leave_windows(&mut self, tick: Tick) {
        if !self.specs.iter().any(Spec::has_windows) {
            return;
        }
        for (series, tracks) in self.smoothed.iter_mut().enumerate() {
            let model = self.registry.all()[series].model;
            let Some(spec) = self.spec_of[model as usize].map(|spec| &self.specs[spec]) else { continue };
            if !spec.has_windows() {
                continue;
            }
            for (track, smoothed) in spec.tracks.iter().zip(tracks) {
                smoothed.leave_window(track.smoothing, self.grid, tick, track.indicator.terms());
            }
        }
    }
}

/// The sums of a series, among those in the order of their series.
fn sums_of(sums: &mut [(SeriesId, TickSums)], series: SeriesId) -> Option<&mut TickSums> {
    let at = sums.binary_search_by_key(&series, |(other, _)| *other).ok()?;
    Some(&mut sums[at].1)
}
