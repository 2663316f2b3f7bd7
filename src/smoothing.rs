//! Sealed sums → smoothed sums.
//!
//! One fold, `S <- a·S + b·s`, in tick order, by one owner: the only step that rounds. Sums and weights fade alike and
//! the ratio is taken last, so a reading is free of bias from the first outcome on.
//!
//! | mode | `a` over `k` ticks | `b` |
//! |---|---|---|
//! | `half_life` | `2^(-k·tick/half_life)` | 1 |
//! | `alpha` | `alpha^n`, n = samples in the tick | `(1 - alpha^n) / ((1 - alpha)·n)` |
//! | `window` | 1; the ticks that leave are subtracted, exactly | 1 |
//!
//! Idle time is not folded: a series keeps the tick of its last fold, and `a` over the gap is one call of the pinned
//! `libm::exp2`. Bits therefore do not depend on how often a series was looked at.

mod window;

use std::fmt;
use std::time::Duration;

use smallvec::SmallVec;

use crate::clock::{Tick, TickGrid, micros};
use crate::indicator::{Sums, Term};
use crate::summary::Cell;

pub use self::window::WindowSums;

/// How the sums of past ticks fade.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Smoothing {
    /// Evidence halves every so much event time.
    HalfLife(Duration),
    /// The classic filter `y[n] = alpha·y[n-1] + (1-alpha)·x[n]` per outcome; `alpha` is the keep factor, in (0, 1).
    /// Outcomes within one tick are exchangeable: each has the same weight.
    Alpha {
        /// The keep factor.
        keep: f64,
        /// Start with `y[0] = x[0]` at full weight (the textbook filter) instead of the bias-free mean.
        seed_first: bool,
    },
    /// The plain sums of the last so much event time.
    Window(Duration),
}

/// As in the configuration: `half_life 30m`, `alpha 0.99`, `window 1h`.
impl fmt::Display for Smoothing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Smoothing::HalfLife(span) => write!(f, "half_life {}", humantime::format_duration(*span)),
            Smoothing::Alpha { keep, seed_first: false } => write!(f, "alpha {keep}"),
            Smoothing::Alpha { keep, seed_first: true } => write!(f, "alpha {keep} seeded"),
            Smoothing::Window(span) => write!(f, "window {}", humantime::format_duration(*span)),
        }
    }
}

impl Smoothing {
    /// Number of ticks of a window: the least number that covers it.
    fn window_ticks(span: Duration, grid: TickGrid) -> Tick {
        let tick = micros(grid.length());
        (micros(span).saturating_add(tick - 1) / tick).max(1)
    }

    /// Half-lives in a tick.
    #[expect(clippy::cast_precision_loss, reason = "half-lives are far below 2^53 microseconds")]
    fn half_lives_a_tick(half_life: Duration, grid: TickGrid) -> f64 {
        grid.seconds() * 1e6 / micros(half_life).max(1) as f64
    }
}

/// `2^-(half-lives in so many ticks)`.
fn left_after(ticks: Tick, half_lives_a_tick: f64) -> f64 {
    libm::exp2(-(ticks as f64 * half_lives_a_tick))
}

/// What is left of a sum after a gap, of which the last is remembered: most series of a tick have the same.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fading {
    last: Option<(Duration, Tick)>,
    kept: f64,
}

impl Fading {
    /// What is left after so many ticks.
    fn over(&mut self, ticks: Tick, half_life: Duration, grid: TickGrid) -> f64 {
        if self.last != Some((half_life, ticks)) {
            self.last = Some((half_life, ticks));
            self.kept = left_after(ticks, Smoothing::half_lives_a_tick(half_life, grid));
        }
        self.kept
    }
}

/// The smoothed sums of one indicator in one series. There may be a million of them, so that most lie in one piece.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Smoothed {
    /// Σ a·b·s, of shape `(Σ width,)`, as of the tick of the last fold. Empty before the first.
    pub cells: SmallVec<[f64; 4]>,
    /// Σ (weight of a sample)², on the same scale; with the samples' weight it gives `n_eff`.
    pub weight_squared: f64,
    /// Seconds covered, decayed; kept for `alpha` only, the others have a closed form.
    pub seconds: f64,
    /// First and last tick that was folded.
    pub span: Option<(Tick, Tick)>,
    /// For `window` only.
    pub window: Option<Box<WindowSums>>,
}

impl Smoothed {
    /// Folds the sums of a sealed tick, one cell a term, the first being the count of samples.
    ///
    /// Ticks without a sample are not folded. `fading` serves all of one grid. Precondition: `tick` is later than every
    /// tick folded before.
    pub fn fold(
        &mut self,
        smoothing: Smoothing,
        grid: TickGrid,
        tick: Tick,
        terms: &[&Term],
        sums: &[&Cell],
        fading: &mut Fading,
    ) {
        let Some(Cell::Count(samples)) = sums.first() else { return };
        if *samples <= 0 {
            return;
        }
        let n = *samples as f64;
        match smoothing {
            Smoothing::HalfLife(half_life) => {
                let kept = self.span.map_or(0.0, |(_, last)| fading.over(tick - last, half_life, grid));
                self.step(kept, 1.0, n, terms, sums);
            }
            Smoothing::Alpha { keep, seed_first } => {
                let kept = libm::pow(keep, n);
                let mut weight = (1.0 - kept) / ((1.0 - keep) * n);
                if seed_first && self.span.is_none() {
                    weight = 1.0 / ((1.0 - keep) * n);
                }
                let idle = self.span.map_or(0.0, |(_, last)| (tick - last - 1) as f64);
                let seconds = self.seconds + idle * idle_weight(keep) * grid.seconds();
                self.seconds = kept * seconds + weight * grid.seconds();
                self.step(kept, weight, n, terms, sums);
            }
            Smoothing::Window(_) => {
                let window = self.window.get_or_insert_default();
                window.push(tick, sums.iter().map(|cell| (*cell).clone()).collect());
                self.show_window(terms);
            }
        }
        self.span = Some((self.span.map_or(tick, |(first, _)| first), tick));
    }

    fn step(&mut self, kept: f64, weight: f64, samples: f64, terms: &[&Term], sums: &[&Cell]) {
        self.cells.resize(terms.iter().map(|term| term.width()).sum(), 0.0);
        self.cells.iter_mut().for_each(|cell| *cell *= kept);
        let mut offset = 0;
        for (term, sum) in terms.iter().zip(sums) {
            sum.each_number(|index, number| self.cells[offset + index] += weight * number);
            offset += term.width();
        }
        self.weight_squared = kept * kept * self.weight_squared + weight * weight * samples;
    }

    fn show_window(&mut self, terms: &[&Term]) {
        self.cells.clear();
        self.cells.resize(terms.iter().map(|term| term.width()).sum(), 0.0);
        let mut offset = 0;
        let totals = self.window.as_ref().map(|window| window.total()).unwrap_or_default();
        for (term, sum) in terms.iter().zip(totals) {
            sum.each_number(|index, number| self.cells[offset + index] = number);
            offset += term.width();
        }
        self.weight_squared = self.cells.first().copied().unwrap_or(0.0);
    }

    /// Lets the ticks that have left a window go. Of no effect for the other modes, and when nothing has left.
    pub fn leave_window(&mut self, smoothing: Smoothing, grid: TickGrid, tick: Tick, terms: &[&Term]) {
        let Smoothing::Window(span) = smoothing else { return };
        let oldest = tick - Smoothing::window_ticks(span, grid) + 1;
        if self.window.as_mut().is_some_and(|window| window.leave(oldest)) {
            self.show_window(terms);
        }
    }

    /// The sums as of the end of `tick`; `None` if nothing is left of them.
    ///
    /// Cells are not rescaled for the time since the last fold, the seconds are instead: the value of a ratio keeps its
    /// bits while nothing happens.
    pub fn sums(&self, smoothing: Smoothing, grid: TickGrid, tick: Tick) -> Option<Sums<'_>> {
        let (first, last) = self.span?;
        let covered = (tick - first + 1) as f64;
        let seconds = match smoothing {
            Smoothing::HalfLife(half_life) => {
                let rate = Smoothing::half_lives_a_tick(half_life, grid);
                let faded = left_after(tick - last, rate);
                if faded == 0.0 {
                    return None;
                }
                // Σ a^i over the ticks covered, by its closed form.
                let fades = |ticks: f64| -libm::expm1(-std::f64::consts::LN_2 * rate * ticks);
                grid.seconds() * fades(covered) / fades(1.0) / faded
            }
            Smoothing::Alpha { keep, .. } => self.seconds + (tick - last) as f64 * idle_weight(keep) * grid.seconds(),
            Smoothing::Window(span) => covered.min(Smoothing::window_ticks(span, grid) as f64) * grid.seconds(),
        };
        Some(Sums { cells: &self.cells, seconds })
    }

    /// Effective sample size after Kish (1965): `(Σw)² / Σw²`, over samples.
    ///
    /// At most the number of samples seen; 0 before the first.
    pub fn n_eff(&self) -> f64 {
        match self.cells.first() {
            Some(weight) if self.weight_squared > 0.0 => weight * weight / self.weight_squared,
            _ => 0.0,
        }
    }
}

/// Weight of an empty tick under `alpha`: the limit of `(1 - alpha^n) / ((1 - alpha)·n)` for n → 0.
fn idle_weight(keep: f64) -> f64 {
    -libm::log(keep) / (1.0 - keep)
}
