//! The sections `[engine]`, `[state]`, `[web]` and `[notices]`: limits, times and addresses, all with defaults.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::{Notices, Web};
use crate::settings::{Placed, Table, nearest};

/// A snapshot is the whole join table; to write it all the time would help nobody.
const SNAPSHOT_EVERY_LEAST: Duration = Duration::from_secs(1);

/// The `[engine]` section.
pub(super) struct Engine {
    pub(super) tick: Duration,
    pub(super) lateness: Duration,
    pub(super) idle_after: Duration,
    pub(super) max_skew: Duration,
    pub(super) max_pending: usize,
    pub(super) max_models: usize,
    pub(super) max_record_bytes: usize,
    pub(super) max_text_bytes: usize,
}

impl Default for Engine {
    fn default() -> Engine {
        Engine {
            tick: Duration::from_secs(10),
            // Every alert waits this long. It loses nothing to keep it short: what is later still counts, in the
            // tick that is open when it comes.
            lateness: Duration::from_secs(10),
            idle_after: Duration::from_secs(30),
            max_skew: Duration::from_secs(5 * 60),
            max_pending: 20_000_000,
            max_models: 1_000,
            // librdkafka's and most brokers' own limit.
            max_record_bytes: 1_048_576,
            max_text_bytes: 256,
        }
    }
}

pub(super) fn engine(root: &mut Table<'_>) -> Engine {
    let defaults = Engine::default();
    let Some(mut table) = root.table("engine") else { return defaults };
    let mut limit = |key, most, default| {
        table.integer(key, 1..=most).and_then(|number| usize::try_from(number).ok()).unwrap_or(default)
    };
    let max_pending = limit("max_pending", 1_000_000_000, defaults.max_pending);
    let max_models = limit("max_models", 100_000, defaults.max_models);
    let max_record_bytes = limit("max_record_bytes", 1_000_000_000, defaults.max_record_bytes);
    let max_text_bytes = limit("max_text_bytes", 65_536, defaults.max_text_bytes);
    let engine = Engine {
        tick: tick(&mut table).unwrap_or(defaults.tick),
        lateness: table.duration_or_zero("lateness").map_or(defaults.lateness, |found| found.value),
        idle_after: table.duration("idle_after").map_or(defaults.idle_after, |found| found.value),
        max_skew: table.duration("max_skew").map_or(defaults.max_skew, |found| found.value),
        max_pending,
        max_models,
        max_record_bytes,
        max_text_bytes,
    };
    table.finish();
    engine
}

fn tick(table: &mut Table<'_>) -> Option<Duration> {
    let found = table.duration("tick")?;
    let whole_millis = found.value.subsec_nanos().is_multiple_of(1_000_000);
    if !whole_millis || found.value < Duration::from_millis(100) || found.value > Duration::from_secs(3_600) {
        table.problem(found.span, "`tick` must lie between \"100ms\" and \"1h\", in whole milliseconds");
        return None;
    }
    Some(found.value)
}

/// The `[state]` section.
pub(super) struct State {
    /// If the file names one.
    pub(super) directory: Option<PathBuf>,
    pub(super) snapshot_every: Duration,
}

pub(super) fn state(root: &mut Table<'_>) -> State {
    let default = State { directory: None, snapshot_every: Duration::from_secs(5 * 60) };
    let Some(mut table) = root.table("state") else { return default };
    let directory = table.text("directory");
    let snapshot_every = table.duration("snapshot_every");
    if let Some(found) = snapshot_every.as_ref().filter(|found| found.value < SNAPSHOT_EVERY_LEAST) {
        table.problem(found.span.clone(), "`snapshot_every` must be at least \"1s\"");
    }
    if let Some(found) = directory.as_ref().filter(|found| found.value.is_empty()) {
        table.problem(found.span.clone(), "`directory` must not be empty");
    }
    table.finish();
    State {
        directory: directory.map(|found| PathBuf::from(found.value)),
        snapshot_every: snapshot_every.map_or(default.snapshot_every, |found| found.value),
    }
}

pub(super) fn web(root: &mut Table<'_>) -> Web {
    let default = SocketAddr::from(([127, 0, 0, 1], 9848));
    let Some(mut table) = root.table("web") else { return Web { listen: Some(default) } };
    let listen = match table.text("listen") {
        Some(found) if found.value == "off" => None,
        Some(found) => found.value.parse().map_err(|_| explain_address(&table, &found)).ok(),
        None => Some(default),
    };
    table.finish();
    Web { listen }
}

fn explain_address(table: &Table<'_>, found: &Placed<String>) {
    let hint = match found.value.rsplit_once(':').map_or((found.value.as_str(), "9848"), |parts| parts) {
        ("localhost", port) => format!("did you mean \"127.0.0.1:{port}\"?"),
        ("" | "*", port) => format!("did you mean \"0.0.0.0:{port}\"?"),
        _ => "write it like \"127.0.0.1:9848\", \"[::1]:9848\" or \"off\"".to_owned(),
    };
    table.problem(found.span.clone(), format_args!("`listen` must be an IP address with a port, or \"off\"; {hint}"));
}

pub(super) fn notices(root: &mut Table<'_>, notifiers: &[&str]) -> Notices {
    let mut notices = Notices {
        time_zone: jiff::tz::TimeZone::UTC,
        instance: None,
        link: None,
        give_up_after: Duration::from_secs(72 * 3_600),
        trouble: None,
    };
    let Some(mut table) = root.table("notices") else { return notices };
    if let Some(zone) = table.text("time_zone").and_then(|found| time_zone(&table, &found)) {
        notices.time_zone = zone;
    }
    notices.instance = line(&mut table, "instance");
    notices.link = url(&mut table, "link");
    if let Some(found) = table.duration("give_up_after") {
        notices.give_up_after = found.value;
    }
    notices.trouble = super::rule::notifiers(&mut table, "trouble", notifiers);
    table.finish();
    notices
}

fn time_zone(table: &Table<'_>, found: &Placed<String>) -> Option<jiff::tz::TimeZone> {
    let zone = jiff::tz::TimeZone::get(&found.value);
    if zone.is_err() {
        let names: Vec<String> = jiff::tz::db().available().map(|name| name.as_str().to_owned()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let hint = match nearest(&found.value, &names) {
            Some(near) => format!("did you mean `{near}`?"),
            None if names.is_empty() => "this machine has no zone database; install the package `tzdata`".to_owned(),
            None => "take a name of the zone database, such as `Europe/Berlin`".to_owned(),
        };
        table.problem(found.span.clone(), format_args!("unknown time zone `{}`, {hint}", found.value));
    }
    zone.ok()
}

/// A text for headers and subjects: one line, not long.
pub(super) fn line(table: &mut Table<'_>, key: &'static str) -> Option<String> {
    const LONGEST: usize = 500;
    let found = table.text(key)?;
    if found.value.chars().any(char::is_control) || found.value.chars().count() > LONGEST {
        table.problem(found.span, format_args!("`{key}` must be one line of at most {LONGEST} characters"));
        return None;
    }
    Some(found.value)
}

/// An address that a reader can click.
pub(super) fn url(table: &mut Table<'_>, key: &'static str) -> Option<String> {
    let found = table.text(key)?;
    let parsed = reqwest::Url::parse(&found.value);
    if !parsed.is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
        table.problem(found.span, format_args!("`{key}` must be an address that begins with https:// or http://"));
        return None;
    }
    Some(found.value)
}
