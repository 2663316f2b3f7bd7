//! Configuration: load → parse → validate. All problems at once, each with its file, line, column and caret.
//!
//! Nothing here opens a connection or looks at a secret, so that `check` can run anywhere. Every kind of source and
//! notifier reads its own table; the sections that belong to the engine are read by the files beside this one, and
//! cross references (a rule's model, its notifiers) are checked where the referring section is read.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use crate::decode::Mapping;
use crate::notifier;
use crate::pipeline::Options;
use crate::settings::{Level, Placed, Problems, Table};
use crate::source::kafka;

mod report;
mod place;
mod mapping;
mod model;
mod smoothing;
mod rule;
mod condition;
mod surroundings;

pub use report::Report;

/// A whole, valid configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// `[source.kafka]`.
    pub source: kafka::Config,
    /// `[predictions]` and `[labels]`, with the fields that segments need.
    pub mapping: Mapping,
    /// `[engine]`, `[model]` and `[rule]`: what the core needs to know.
    pub pipeline: Options,
    /// How long a partition must be at its end before it no longer holds the others back.
    pub idle_after: Duration,
    /// `[notifier]`, by name.
    pub notifiers: BTreeMap<String, notifier::Config>,
    /// Where the state file lives.
    pub state_directory: PathBuf,
    /// How often the join table is saved.
    pub snapshot_every: Duration,
    /// `[web]`.
    pub web: Web,
    /// `[notices]`.
    pub notices: Notices,
}

/// The `[web]` section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Web {
    /// Where metrics, health and status are served; `None` if they are not.
    pub listen: Option<SocketAddr>,
}

/// The `[notices]` section: what all notices have in common.
#[derive(Clone, Debug)]
pub struct Notices {
    /// The zone in which people read times.
    pub time_zone: jiff::tz::TimeZone,
    /// What this daemon is called in notices, if there are several.
    pub instance: Option<String>,
    /// Where the reader finds the status page.
    pub link: Option<String>,
    /// How long an undelivered notice is tried again.
    pub give_up_after: Duration,
    /// The notifiers that are told what is wrong with the watching itself; `None`: all of them.
    pub trouble: Option<Vec<String>>,
}

/// What the configuration takes from its surroundings where the file is silent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// Where the state file lives.
    pub state_directory: PathBuf,
}

impl Default for Defaults {
    fn default() -> Defaults {
        Defaults { state_directory: PathBuf::from("/var/lib/modelwatch") }
    }
}

impl Defaults {
    /// With what systemd says: the first of `$STATE_DIRECTORY`.
    pub fn from_environment() -> Defaults {
        let given = std::env::var_os("STATE_DIRECTORY").and_then(|list| std::env::split_paths(&list).next());
        given
            .filter(|path| !path.as_os_str().is_empty())
            .map_or_else(Defaults::default, |state_directory| Defaults { state_directory })
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: std::io::Error,
    },
    /// The file can be read, but not used.
    #[error("{0}")]
    Invalid(Report),
}

/// Reads and validates a file. The report beside the configuration holds only warnings.
///
/// # Errors
///
/// [`Error`] if the file cannot be read or has mistakes; all of them are in it.
pub fn load(path: &Path, defaults: &Defaults) -> Result<(Config, Report), Error> {
    let bytes = std::fs::read(path).map_err(|reason| Error::Unreadable { path: path.to_owned(), reason })?;
    let name = path.display().to_string();
    match String::from_utf8(bytes) {
        Ok(text) => parse(&name, &text, defaults).map_err(Error::Invalid),
        Err(error) => Err(Error::Invalid(not_text(&name, error.as_bytes(), error.utf8_error().valid_up_to()))),
    }
}

/// Validates the text of a configuration; `name` is how messages call the file.
///
/// # Errors
///
/// The [`Report`] of all its mistakes.
pub fn parse(name: &str, text: &str, defaults: &Defaults) -> Result<(Config, Report), Report> {
    let problems = Problems::default();
    let config = read(text, &problems, defaults);
    let report = Report::new(name, text, problems.into_sorted());
    debug_assert!(config.is_some() || report.errors() > 0, "whoever returns `None` says why");
    match config {
        Some(config) if report.errors() == 0 => Ok((config, report)),
        _ => Err(report),
    }
}

/// Every option that the readers asked for in `text`, with `*` for chosen names, and whether `text` has it.
///
/// The reference configuration is held against this list, so that no option stays undocumented.
pub fn options(text: &str) -> BTreeMap<String, bool> {
    let problems = Problems::default();
    read(text, &problems, &Defaults::default());
    problems.options()
}

fn not_text(name: &str, bytes: &[u8], valid_up_to: usize) -> Report {
    let text = String::from_utf8_lossy(bytes);
    let problems = Problems::default();
    problems.add(valid_up_to..valid_up_to + 1, "the file is no UTF-8 text from here on");
    Report::new(name, &text, problems.into_sorted())
}

fn read(text: &str, problems: &Problems, defaults: &Defaults) -> Option<Config> {
    let (document, errors) = DeTable::parse_recoverable(text);
    // What a parser makes of broken syntax misleads; its own errors are enough for one round.
    if !errors.is_empty() {
        report::syntax_errors(text, &errors, problems);
        return None;
    }
    let mut root = Table::root(document.get_ref(), problems);
    let config = read_sections(&mut root, defaults);
    root.finish();
    config
}

fn read_sections(root: &mut Table<'_>, defaults: &Defaults) -> Option<Config> {
    let source = read_source(root);
    let engine = surroundings::engine(root);
    let mut places = place::Places::default();
    let models = model::read(root, &mut places, engine.tick);
    let mapping = mapping::read(root, &models, places, &engine);
    let notifiers = read_notifiers(root);
    let names: Vec<&str> = notifiers.iter().map(|(name, _)| name.value.as_str()).collect();
    let notices = surroundings::notices(root, &names);
    let rules = rule::read(
        root,
        &rule::Context {
            models: &models,
            notifiers: &notifiers,
            trouble: notices.trouble.as_deref().unwrap_or_default(),
            tick: engine.tick,
            mapping: mapping.as_ref(),
        },
    );
    let state = surroundings::state(root);
    let web = surroundings::web(root);
    let mapping = mapping?;
    let pipeline = Options {
        tick: engine.tick,
        lateness: engine.lateness,
        max_skew: engine.max_skew,
        max_pending: engine.max_pending,
        max_models: engine.max_models,
        models: models.into_iter().map(model::Section::into_model).collect::<Option<_>>()?,
        rules,
        labels_name_model: mapping.label.model.is_some(),
    };
    let notifiers = notifiers.into_iter().map(|(name, config)| Some((name.value, config?))).collect::<Option<_>>()?;
    Some(Config {
        source: source?,
        mapping,
        pipeline,
        idle_after: engine.idle_after,
        notifiers,
        state_directory: state.directory.unwrap_or_else(|| defaults.state_directory.clone()),
        snapshot_every: state.snapshot_every,
        web,
        notices,
    })
}

fn read_source(root: &mut Table<'_>) -> Option<kafka::Config> {
    let Some(mut sources) = root.table("source") else {
        return missing_section(root, "source", "source.kafka", "brokers = [\"localhost:9092\"]");
    };
    let config = match sources.table("kafka") {
        Some(mut table) => {
            let config = kafka::Config::read(&mut table);
            table.finish();
            config
        }
        None => missing_section(&sources, "kafka", "source.kafka", "brokers = [\"localhost:9092\"]"),
    };
    sources.finish();
    config
}

/// The notifiers by name; `None` for those with mistakes, so that rules may still name them.
fn read_notifiers(root: &mut Table<'_>) -> Vec<(Placed<String>, Option<notifier::Config>)> {
    let read = |(name, table): (Placed<String>, Table<'_>)| {
        check_name(&name, &table, "");
        let config = notifier::Config::read(table);
        (name, config)
    };
    root.named("notifier").into_iter().map(read).collect()
}

/// Names of sections stay readable in mail headers, metrics and URLs; models may also be patterns.
fn check_name(name: &Placed<String>, table: &Table<'_>, also: &str) {
    const LONGEST: usize = 100;
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c) || also.contains(c);
    if name.value.is_empty() || name.value.len() > LONGEST || !name.value.chars().all(fits) {
        let marks = if also.is_empty() { "`.`, `_` and `-`" } else { "`.`, `_`, `-` and `*`" };
        table.problem(name.span.clone(), format_args!("a name has 1 to {LONGEST} letters, digits, {marks}"));
    }
}

fn missing_section<T>(table: &Table<'_>, key: &str, section: &str, example: &str) -> Option<T> {
    let message = format!("the section `[{section}]` is missing; it needs at least `{example}`");
    table.missing_any(Level::Error, &[key], message);
    None
}
