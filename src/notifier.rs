//! Ways out: the trait of a notifier, the list of kinds, and how long to wait before another try.
//!
//! To add a kind: write `notifier/<kind>.rs` with its `Config`, then add it to [`Config`], [`KINDS`] and [`build`] below.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use siphasher::sip::SipHasher13;

use crate::clock::Clock;
use crate::notification::Message;
use crate::settings::{Level, Secret, Table};

pub mod email;
pub mod webhook;

/// One configured way out, `[notifier.NAME.KIND]`.
#[derive(Clone, Debug, PartialEq)]
pub enum Config {
    /// Mail by SMTP, or as files.
    Email(email::Config),
    /// JSON by HTTP POST.
    Webhook(webhook::Config),
}

type Read = fn(Table<'_>) -> Option<Config>;

/// Every kind: its name in the configuration, and what reads its table.
pub const KINDS: &[(&str, Read)] = &[
    ("email", |table| email::Config::read(table).map(Config::Email)),
    ("webhook", |table| webhook::Config::read(table).map(Config::Webhook)),
];

/// A notifier that is ready to send. Reads secrets and certificates; does not speak to the network.
///
/// # Errors
///
/// [`BuildError`] if a file or variable that the configuration names cannot be used.
pub fn build(name: &str, config: &Config, clock: Arc<dyn Clock>) -> Result<Box<dyn Notifier>, BuildError> {
    Ok(match config {
        Config::Email(config) => Box::new(email::Email::build(name, config)?),
        Config::Webhook(config) => Box::new(webhook::Webhook::build(name, config, clock)?),
    })
}

impl Config {
    /// Reads `[notifier.NAME]`, which holds exactly one table, named by its kind.
    pub fn read(mut table: Table<'_>) -> Option<Config> {
        let given = KINDS.iter().filter(|(kind, _)| table.has(kind)).count();
        let names =
            || KINDS.iter().map(|(kind, _)| format!("`[{}.{kind}]`", table.path())).collect::<Vec<_>>().join(" or ");
        match given {
            1 => {}
            0 => {
                let kinds: Vec<&str> = KINDS.iter().map(|(kind, _)| *kind).collect();
                table.missing_any(Level::Error, &kinds, format!("{} needs a kind: write {}", table.title(), names()));
            }
            _ => table.problem(table.span(), format!("must be of one kind only: {}", names())),
        }
        // Every kind is read, also when there are too many, so that all mistakes are reported at once.
        let read = |(kind, read): &(&'static str, Read)| table.table(kind).and_then(read);
        let mut configs: Vec<Config> = KINDS.iter().filter_map(read).collect();
        table.finish();
        if given == 1 { configs.pop() } else { None }
    }
}

/// Why a message could not be handed over, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Worth another try: the network, a 4xx of SMTP, a 408, 425, 429 or 5xx of HTTP.
    #[error("{reason}")]
    Retry {
        /// What happened, in the receiver's words where it spoke. Holds no secret and no URL with credentials.
        reason: String,
        /// The receiver asked to wait that long.
        after: Option<Duration>,
    },
    /// The receiver will never take it.
    #[error("{reason}")]
    Refused {
        /// What happened, in the receiver's words where it spoke. Holds no secret and no URL with credentials.
        reason: String,
    },
}

impl SendError {
    fn retry(reason: impl Into<String>) -> SendError {
        SendError::Retry { reason: reason.into(), after: None }
    }

    fn refused(reason: impl Into<String>) -> SendError {
        SendError::Refused { reason: reason.into() }
    }
}

/// The answer of [`Notifier::send`]: the receiver's words, or why it failed.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<String, SendError>> + Send + 'a>>;

/// One configured way out. Retries, backoff and bookkeeping are not its business.
pub trait Notifier: Send + Sync {
    /// Addresses that each get their own row, attempt and retries.
    fn recipients(&self) -> Vec<String>;
    /// Hands one message over and returns the receiver's answer.
    fn send<'a>(&'a self, message: &'a Message) -> Sending<'a>;
}

/// How long to wait before attempt number `attempt + 1`, after `attempt` (from 1) has failed.
///
/// 15 s, 30 s, 1 min, 2 min, then 5 min for ever, each ±20 % by a hash of `id` and `attempt`: messages that failed
/// together do not come back together, and a replay waits as long as the original did.
pub fn retry_delay(id: &str, attempt: u32) -> Duration {
    const SECONDS: [u32; 5] = [15, 30, 60, 120, 300];
    let step = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX).min(SECONDS.len() - 1);
    let hash = SipHasher13::new_with_keys(0, 0).hash(format!("{id} {attempt}").as_bytes());
    let permille = 800 + u32::try_from(hash % 401).unwrap_or(200);
    Duration::from_millis(u64::from(SECONDS[step] * permille))
}

/// The secret of notifier `name`.
fn load(secret: &Secret, name: &str) -> Result<String, BuildError> {
    secret.load().map_err(|unreadable| BuildError::new(name, unreadable.option, unreadable.reason))
}

fn read_text(name: &str, option: &'static str, path: &std::path::Path) -> Result<String, BuildError> {
    std::fs::read_to_string(path).map_err(|error| BuildError::new(name, option, format!("{}: {error}", path.display())))
}

/// A notifier that cannot be built from its configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("notifier `{notifier}`, `{option}`: {reason}")]
pub struct BuildError {
    /// Its name.
    pub notifier: String,
    /// The option that names what cannot be used.
    pub option: &'static str,
    /// Why not.
    pub reason: String,
}

impl BuildError {
    fn new(notifier: &str, option: &'static str, reason: impl Into<String>) -> BuildError {
        BuildError { notifier: notifier.to_owned(), option, reason: reason.into() }
    }
}

/// What a receiver said, fit for a log line: one line, no control characters, at most 300 characters.
fn words(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect()
}

/// An error and what caused it, on one line.
fn causes(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
    let mut parts: Vec<String> = chain.collect();
    // Some libraries repeat the cause in their own text.
    parts.dedup_by(|cause, error| error.ends_with(cause.as_str()));
    words(&parts.join(": "))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::settings::Problems;

    /// Reads `[notifier.ops]` of `text`; gives the configuration and the mistakes, without the title of the table.
    #[track_caller]
    pub(crate) fn read(text: &str) -> (Option<Config>, Vec<String>) {
        let document = toml::de::DeTable::parse(text).expect("valid TOML");
        let problems = Problems::default();
        let mut root = Table::root(document.get_ref(), &problems);
        let config = root.named("notifier").into_iter().find_map(|(_, table)| Config::read(table));
        (config, problems.into_sorted().into_iter().map(|problem| untitled(&problem.message)).collect())
    }

    fn untitled(message: &str) -> String {
        let rest = message.strip_prefix("notifier `ops").and_then(|rest| rest.split_once("`: "));
        rest.map_or(message, |(_, rest)| rest).to_owned()
    }

    #[track_caller]
    pub(crate) fn check_problems(text: &str, expected: &[&str]) {
        let (_, problems) = read(text);
        assert_eq!(problems, expected);
    }

    #[test]
    fn a_notifier_has_exactly_one_kind() {
        check_problems(
            "[notifier.ops]",
            &["notifier `ops` needs a kind: write `[notifier.ops.email]` or `[notifier.ops.webhook]`"],
        );
        check_problems("[notifier.ops.emial]\nx = 1", &["unknown option `emial`, did you mean `email`?"]);
        check_problems(
            "[notifier.ops.webhook]\nurl = 'https://a.example/'\n[notifier.ops.email]\nfrom = 'a@b.example'\nto = ['c@d.example']\nserver = 'm'",
            &["must be of one kind only: `[notifier.ops.email]` or `[notifier.ops.webhook]`"],
        );
    }

    #[test]
    fn delays_grow_to_five_minutes_and_stay_within_a_fifth() {
        for (attempt, seconds) in
            [(0, 15.0), (1, 15.0), (2, 30.0), (3, 60.0), (4, 120.0), (5, 300.0), (u32::MAX, 300.0)]
        {
            for id in ["a", "b", "c", "d"] {
                let ratio = retry_delay(id, attempt).as_secs_f64() / seconds;
                assert!((0.8..=1.2).contains(&ratio), "{id} {attempt}: {ratio}");
                assert_eq!(retry_delay(id, attempt), retry_delay(id, attempt));
            }
        }
        assert_ne!(retry_delay("a", 1), retry_delay("b", 1));
    }
}
