//! What systemd is told: ready, reloading, stopping, alive.

use std::cell::Cell;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// Tells systemd a state; of no effect without systemd.
pub fn notify(states: &[NotifyState<'_>]) {
    if let Err(problem) = sd_notify::notify(states) {
        tracing::debug!(%problem, "systemd cannot be told");
    }
}

/// Pings systemd's watchdog, at most twice in the time it allows.
#[derive(Debug)]
pub struct Watchdog {
    every: Option<Duration>,
    last: Cell<Option<Instant>>,
}

impl Watchdog {
    /// As `WATCHDOG_USEC` asks; never pings without it.
    pub fn from_environment() -> Watchdog {
        Watchdog { every: sd_notify::watchdog_enabled().map(|allowed| allowed / 2), last: Cell::new(None) }
    }

    /// The loop that matters is alive.
    pub fn ping(&self) {
        let Some(every) = self.every else { return };
        if self.last.get().is_none_or(|last| last.elapsed() >= every) {
            self.last.set(Some(Instant::now()));
            notify(&[NotifyState::Watchdog]);
        }
    }
}
