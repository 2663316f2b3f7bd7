//! Outcomes → exact sums, per series and tick.
//!
//! Integers for counts, [`ExactSum`] for reals: the sums of a tick form an abelian group, so any order, split or merge
//! of its outcomes gives the same bits, and a correction is a subtraction.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use crate::clock::Tick;
use crate::exact::{ExactSum, Histogram, Number};
use crate::indicator::{Addition, Term};
use crate::join::Outcome;
use crate::series::SeriesId;

/// The sum of one term.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// How many outcomes.
    Count(i64),
    /// Sum of reals.
    Real(ExactSum),
    /// How many outcomes in each bin.
    Bins(Histogram),
}

impl Cell {
    /// The empty sum of a term.
    pub fn empty(term: &Term) -> Cell {
        match term.of {
            Addition::Count(_) => Cell::Count(0),
            Addition::Real(_) => Cell::Real(ExactSum::default()),
            Addition::Bin { .. } => Cell::Bins(Histogram::default()),
        }
    }

    /// Adds the sum of the same term over other outcomes.
    pub fn add(&mut self, other: &Cell) {
        match (self, other) {
            (Cell::Count(sum), Cell::Count(more)) => *sum += more,
            (Cell::Real(sum), Cell::Real(more)) => sum.add_sum(more),
            (Cell::Bins(sum), Cell::Bins(more)) => sum.add_sum(more),
            _ => debug_assert!(false, "cells of different terms"),
        }
    }

    /// Takes back what [`Cell::add`] added.
    pub fn subtract(&mut self, other: &Cell) {
        match (self, other) {
            (Cell::Count(sum), Cell::Count(less)) => *sum -= less,
            (Cell::Real(sum), Cell::Real(less)) => sum.subtract_sum(less),
            (Cell::Bins(sum), Cell::Bins(less)) => sum.subtract_sum(less),
            _ => debug_assert!(false, "cells of different terms"),
        }
    }

    /// The nearest numbers to the sums, `add(index, number)` for each that is not zero.
    #[expect(clippy::cast_precision_loss, reason = "counts of one tick are far below 2^53")]
    pub fn each_number(&self, mut add: impl FnMut(usize, f64)) {
        match self {
            Cell::Count(0) => {}
            Cell::Count(sum) => add(0, *sum as f64),
            Cell::Real(sum) => add(0, sum.value()),
            Cell::Bins(bins) => bins.iter().for_each(|(bin, count)| add(bin as usize, count as f64)),
        }
    }

    /// Whether an outcome takes part, after all corrections.
    pub fn has_samples(&self) -> bool {
        match self {
            Cell::Count(count) => *count != 0,
            // Every real stands beside a count of those who take part.
            Cell::Real(_) => false,
            Cell::Bins(bins) => !bins.is_zero(),
        }
    }

    fn apply(&mut self, addend: Addend) {
        match (self, addend) {
            (Cell::Count(sum), Addend::Count(count)) => *sum += count,
            (Cell::Real(sum), Addend::Real(number)) => sum.add_number(number),
            (Cell::Bins(bins), Addend::Bin(bin, count)) => bins.add_count(bin, count),
            _ => debug_assert!(false, "an addend of another term"),
        }
    }
}

/// What one outcome adds to one term.
#[derive(Clone, Copy, Debug)]
enum Addend {
    Count(i64),
    Real(Number),
    Bin(u32, i64),
}

impl Addend {
    /// `sign` is 1 if the outcome is added, -1 if it is taken back. `None` if it takes no part in the term.
    fn of(term: &Term, outcome: &Outcome, sign: i32) -> Option<Addend> {
        Some(match term.of {
            Addition::Count(takes_part) => takes_part(outcome).then_some(Addend::Count(sign.into()))?,
            Addition::Real(number) => Addend::Real(Number::of(f64::from(sign) * number(outcome)?)),
            Addition::Bin { of, .. } => Addend::Bin(u32::try_from(of(outcome)?).ok()?, sign.into()),
        })
    }
}

/// Sums of one series in one tick, one cell a term of its model.
pub type TickSums = Vec<Cell>;

/// The sums of all ticks that are not sealed.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    open: BTreeMap<Tick, HashMap<SeriesId, TickSums>>,
    /// What an outcome adds, by term; reused from outcome to outcome.
    addends: Vec<(usize, Addend)>,
}

impl Summary {
    /// Adds an outcome to its series in its tick, or takes it back.
    pub fn apply(&mut self, tick: Tick, series: &[SeriesId], terms: &[&Term], outcome: &Outcome, added: bool) {
        let sign = if added { 1 } else { -1 };
        // Most terms are about labels, and most outcomes are predictions.
        let addends = terms.iter().enumerate().filter_map(|(at, term)| Some((at, Addend::of(term, outcome, sign)?)));
        self.addends.clear();
        self.addends.extend(addends);
        let open = self.open.entry(tick).or_default();
        for id in series {
            let sums = open.entry(*id).or_insert_with(|| terms.iter().map(|term| Cell::empty(term)).collect());
            for (term, addend) in &self.addends {
                sums[*term].apply(*addend);
            }
        }
    }

    /// Closes a tick and gives its sums, in the order of their series: so they lie in memory, and with many series it is
    /// much faster to go through them.
    ///
    /// What corrections have emptied is left out: whether it was ever there depends on the order of arrival.
    pub fn close(&mut self, tick: Tick) -> Vec<(SeriesId, TickSums)> {
        let mut sums: Vec<(SeriesId, TickSums)> = self.open.remove(&tick).unwrap_or_default().into_iter().collect();
        sums.sort_unstable_by_key(|(series, _)| *series);
        sums.retain(|(_, sums)| sums.iter().any(Cell::has_samples));
        sums
    }

    /// The sums of all open ticks, in order of time; what a checkpoint keeps.
    pub fn open(&self) -> impl Iterator<Item = (Tick, SeriesId, &TickSums)> {
        self.open.iter().flat_map(|(tick, all)| all.iter().map(move |(series, sums)| (*tick, *series, sums)))
    }

    /// Puts back what a checkpoint kept.
    pub fn restore(&mut self, tick: Tick, series: SeriesId, sums: TickSums) {
        self.open.entry(tick).or_default().insert(series, sums);
    }
}
