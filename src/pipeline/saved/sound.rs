//! Reading a saved state: what the core cannot have written is refused, so that nothing in it overflows later.
//!
//! SQLite has no checksums: a damaged page may still be a page, and its bytes may still decode.

use std::time::Duration;

use super::super::{Counts, join};
use super::{Saved, SavedAlert, SavedCell, SavedSeries, SavedTrack};
use crate::alert::State;
use crate::clock::{Tick, TickGrid, Timestamp};
use crate::watermark::Frontier;

/// Further from the epoch than any event (they end with the year 9999), and near enough to be reckoned with.
const FARTHEST_MICROS: u64 = 1 << 58;
/// Longer than any tick that can be configured.
const LONGEST_TICK: Duration = Duration::from_secs(86_400);
/// More samples than any tick has.
const MOST_IN_A_TICK: u64 = 1 << 40;
/// More than was ever counted.
const MOST_COUNTED: u64 = 1 << 62;
/// More transitions than any incident has.
const MOST_TRANSITIONS: u32 = 1 << 30;

impl Saved {
    /// The state in `bytes`; `None` if the core cannot have written them.
    pub fn decode(bytes: &[u8]) -> Option<Saved> {
        match postcard::take_from_bytes::<Saved>(bytes) {
            Ok((saved, [])) if saved.is_sound() => Some(saved),
            _ => None,
        }
    }

    fn is_sound(&self) -> bool {
        let grid = TickGrid::new(self.tick);
        let begin = self.next.or(self.first.map(|first| grid.tick_of(first)));
        let ticks = Ticks { grid, next: self.next, begin };
        self.tick <= LONGEST_TICK
            && self.next.is_none_or(|next| ticks.exists(next))
            && self.first.is_none_or(is_near)
            && is_near(self.reached)
            && are_counts(&self.counts)
            && self.frontiers.iter().all(|Frontier { newest, floor, .. }| is_near(*newest) && is_near(*floor))
            && self.series.iter().all(|series| ticks.fit_series(series))
            && self.open.iter().all(|(tick, _, sums)| ticks.is_open(*tick) && sums.iter().all(|(_, sum)| is_sum(sum)))
            && self.alerts.iter().all(is_alert)
    }
}

/// The ticks that a state may speak of.
struct Ticks {
    grid: TickGrid,
    next: Option<Tick>,
    /// The next to be sealed, as soon as one can be.
    begin: Option<Tick>,
}

impl Ticks {
    fn exists(&self, tick: Tick) -> bool {
        is_near(self.grid.end_of(tick)) && tick.unsigned_abs() <= FARTHEST_MICROS
    }

    fn is_open(&self, tick: Tick) -> bool {
        self.exists(tick) && self.begin.is_some_and(|begin| tick >= begin)
    }

    fn is_sealed(&self, tick: Tick) -> bool {
        self.exists(tick) && self.next.is_some_and(|next| tick < next)
    }

    fn fit_series(&self, series: &SavedSeries) -> bool {
        series.last_predicted.is_none_or(|tick| self.is_sealed(tick))
            && series.tracks.iter().all(|track| self.fit_track(track))
    }

    fn fit_track(&self, track: &SavedTrack) -> bool {
        track.span.is_none_or(|(first, last)| first <= last && self.exists(first) && self.is_sealed(last))
            && track.inside.is_sorted_by(|(a, _), (b, _)| a < b)
            && track.inside.iter().all(|(tick, sums)| self.is_sealed(*tick) && sums.iter().all(is_sum))
            && track.cells.iter().chain([&track.weight_squared, &track.seconds]).all(|number| number.is_finite())
    }
}

fn is_near(at: Timestamp) -> bool {
    at == Timestamp::MIN || at.as_micros().unsigned_abs() <= FARTHEST_MICROS
}

/// The bytes of the others are checked when they are read for their term.
fn is_sum(sum: &SavedCell) -> bool {
    !matches!(sum, SavedCell::Count(count) if count.unsigned_abs() > MOST_IN_A_TICK)
}

fn is_alert(SavedAlert { alert, .. }: &SavedAlert) -> bool {
    let since = match alert.state {
        State::Pending { since } | State::Recovering { since } => Some(since),
        State::Insufficient | State::Ok | State::Firing => None,
    };
    let mut episodes = alert.incident.iter().chain(alert.silence.iter().map(|(_, episode)| episode));
    is_near(alert.watched_since)
        && since.is_none_or(is_near)
        && episodes.all(|one| is_near(one.since) && is_near(one.told_at) && one.sequence <= MOST_TRANSITIONS)
}

fn are_counts(counts: &Counts) -> bool {
    let Counts { late_events, sealed_ticks, join } = *counts;
    let join::Counts {
        predictions,
        duplicate_predictions,
        expired_predictions,
        evicted_predictions,
        labels,
        matched_labels,
        duplicate_labels,
        late_labels,
        orphan_labels,
        evicted_labels,
    } = join;
    let predictions = [predictions, duplicate_predictions, expired_predictions, evicted_predictions];
    let labels = [labels, matched_labels, duplicate_labels, late_labels, orphan_labels, evicted_labels];
    let own = [late_events, sealed_ticks];
    predictions.into_iter().chain(labels).chain(own).all(|count| count <= MOST_COUNTED)
}
