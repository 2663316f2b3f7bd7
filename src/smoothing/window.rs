//! The ticks inside a window, with their exact sums: what leaves is subtracted without a trace.

use std::collections::VecDeque;

use crate::clock::Tick;
use crate::summary::Cell;

/// The last ticks that had samples.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WindowSums {
    ticks: VecDeque<(Tick, Vec<Cell>)>,
    /// Their sum; empty before the first.
    total: Vec<Cell>,
}

impl WindowSums {
    /// Lets a tick in, later than all before.
    pub fn push(&mut self, tick: Tick, cells: Vec<Cell>) {
        if self.total.is_empty() {
            self.total.clone_from(&cells);
        } else {
            self.total.iter_mut().zip(&cells).for_each(|(total, cell)| total.add(cell));
        }
        self.ticks.push_back((tick, cells));
    }

    /// Lets go of the ticks before `oldest`; whether there were any.
    pub(super) fn leave(&mut self, oldest: Tick) -> bool {
        let count = self.ticks.iter().take_while(|(tick, _)| *tick < oldest).count();
        for (_, cells) in self.ticks.drain(..count) {
            self.total.iter_mut().zip(&cells).for_each(|(total, cell)| total.subtract(cell));
        }
        count > 0
    }

    /// The ticks, in order.
    pub fn ticks(&self) -> impl Iterator<Item = &(Tick, Vec<Cell>)> {
        self.ticks.iter()
    }

    /// The sum of all ticks, one cell a term.
    pub(super) fn total(&self) -> &[Cell] {
        &self.total
    }
}
