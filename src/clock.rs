//! Time: instants in microseconds, the grid of ticks, and the only reader of the system clock.

use std::fmt;
use std::time::{Duration, Instant};

/// An instant, in microseconds since the Unix epoch (UTC). Ranges over roughly ±292 000 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Earlier than every event.
    pub const MIN: Timestamp = Timestamp(i64::MIN);
    /// Later than every event.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// The instant `micros` microseconds after the epoch.
    pub const fn from_micros(micros: i64) -> Timestamp {
        Timestamp(micros)
    }

    /// The instant `millis` milliseconds after the epoch, saturating.
    pub const fn from_millis(millis: i64) -> Timestamp {
        Timestamp(millis.saturating_mul(1_000))
    }

    /// The instant `secs` seconds after the epoch, saturating.
    pub const fn from_secs(secs: i64) -> Timestamp {
        Timestamp(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Signed microseconds from `earlier` to `self`, saturating.
    pub const fn micros_since(self, earlier: Timestamp) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// How long after `earlier` this is; zero if it is not after.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.micros_since(earlier)).unwrap_or(0))
    }

    /// `self + span`, saturating.
    pub fn plus(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(micros(span)))
    }

    /// `self - span`, saturating.
    pub fn minus(self, span: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(micros(span)))
    }

    /// Reads an RFC 3339 date-time with its offset, such as `2026-01-31T08:00:00.5+01:00`.
    ///
    /// `None` if the text is not one.
    pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
        text.parse::<jiff::Timestamp>().ok().map(|instant| Timestamp(instant.as_microsecond()))
    }

    /// In `zone`, as `2026-01-31 08:00:00 CET`; RFC 3339 in UTC if the calendar cannot hold it.
    pub fn in_zone(self, zone: &jiff::tz::TimeZone) -> String {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(instant) => instant.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string(),
            Err(_) => self.to_string(),
        }
    }
}

/// RFC 3339 in UTC, with as many fractional digits as needed.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(instant) => instant.fmt(f),
            Err(_) => write!(f, "{} us since the epoch", self.0),
        }
    }
}

/// Whole microseconds of `span`, saturating.
pub fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// The grid of event time on which everything is evaluated: tick `k` spans `[k·length, (k+1)·length)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TickGrid {
    length_micros: i64,
}

/// The number of a tick on its [`TickGrid`].
pub type Tick = i64;

impl TickGrid {
    /// A grid of ticks of `length`; shorter than a millisecond is taken as a millisecond.
    pub fn new(length: Duration) -> TickGrid {
        TickGrid { length_micros: micros(length).max(1_000) }
    }

    /// The tick in which `at` lies.
    pub fn tick_of(self, at: Timestamp) -> Tick {
        at.0.div_euclid(self.length_micros)
    }

    /// The tick in which `at` lies, and how many microseconds after its beginning; ticks are shorter than 71 minutes.
    pub fn split(self, at: Timestamp) -> (Tick, u32) {
        let offset = at.0.rem_euclid(self.length_micros);
        (self.tick_of(at), u32::try_from(offset).unwrap_or(u32::MAX))
    }

    /// The first instant after `tick`.
    pub fn end_of(self, tick: Tick) -> Timestamp {
        Timestamp(tick.saturating_add(1).saturating_mul(self.length_micros))
    }

    /// Length of a tick in seconds.
    #[expect(clippy::cast_precision_loss, reason = "a tick is far shorter than 2^53 microseconds")]
    pub fn seconds(self) -> f64 {
        self.length_micros as f64 / 1e6
    }

    /// Length of a tick.
    pub fn length(self) -> Duration {
        Duration::from_micros(self.length_micros.unsigned_abs())
    }
}

/// Where the edges get the present instant from.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present instant.
    fn now(&self) -> Timestamp;
    /// The same for spans of time, which must not change when the system's clock is put right.
    fn instant(&self) -> Instant {
        Instant::now()
    }
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the system clock")]
    fn now(&self) -> Timestamp {
        match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => Timestamp(micros(since)),
            Err(before) => Timestamp(-micros(before.duration())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_half_open_and_count_down_before_the_epoch() {
        let grid = TickGrid::new(Duration::from_secs(10));
        assert_eq!(grid.tick_of(Timestamp::from_secs(9)), 0);
        assert_eq!(grid.tick_of(Timestamp::from_secs(10)), 1);
        assert_eq!(grid.tick_of(Timestamp::from_micros(-1)), -1);
        assert_eq!(grid.end_of(0), Timestamp::from_secs(10));
    }

    #[test]
    fn rfc3339_with_offset_and_fraction() {
        let parsed = Timestamp::parse_rfc3339("2026-01-31T08:00:00.5+01:00");
        assert_eq!(parsed.map(|at| at.to_string()).as_deref(), Some("2026-01-31T07:00:00.5Z"));
        assert_eq!(Timestamp::parse_rfc3339("2026-01-31"), None);
    }
}
