//! The `[source.kafka]` table, checked against librdkafka itself without any network.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;

use crate::settings::{Placed, Secret, Table, nearest};

/// Where to begin in a partition of which no position is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At its end.
    Latest,
    /// At its beginning.
    Earliest,
    /// At the first record whose timestamp is not longer ago than this.
    Ago(Duration),
}

/// The `[source.kafka]` table.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// Addresses of some brokers, as `host:port`.
    pub brokers: Vec<String>,
    /// The consumer group under which positions are published. Nothing is read back from it.
    pub group_id: String,
    /// Where to begin the first time.
    pub start: Start,
    /// Where the password of SASL is kept, so that it need not stand in the configuration.
    pub password: Option<Secret>,
    /// Further settings of librdkafka, by its own names.
    pub librdkafka: Vec<(String, String)>,
}

/// The names only: the values may be passwords.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.librdkafka.iter().map(|(name, _)| name.as_str()).collect();
        let Config { brokers, group_id, start, .. } = self;
        f.debug_struct("Config")
            .field("brokers", brokers)
            .field("group_id", group_id)
            .field("start", start)
            .field("librdkafka", &names)
            .finish()
    }
}

/// The setting that `sasl_password_file` and `sasl_password_env` stand for.
pub(super) const PASSWORD: &str = "sasl.password";

/// Settings that are ours, and what to do instead.
const OWNED: [(&str, &str); 11] = [
    ("bootstrap.servers", "set `brokers` in `[source.kafka]`"),
    ("metadata.broker.list", "set `brokers` in `[source.kafka]`"),
    ("group.id", "set `group_id` in `[source.kafka]`"),
    ("auto.offset.reset", "set `start` in `[source.kafka]`"),
    ("enable.auto.commit", "positions are kept in the state file; leave it out"),
    ("auto.commit.enable", "positions are kept in the state file; leave it out"),
    ("auto.commit.interval.ms", "positions are kept in the state file; leave it out"),
    ("enable.auto.offset.store", "positions are kept in the state file; leave it out"),
    ("offset.store.method", "positions are kept in the state file; leave it out"),
    ("enable.partition.eof", "the end of a partition is found without it; leave it out"),
    ("statistics.interval.ms", "the end of a partition is found by statistics; leave it out"),
];

/// The names that people write most, to find a slip of the pen.
const COMMON: [&str; 32] = [
    "broker.address.family",
    "client.id",
    "client.rack",
    "debug",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "isolation.level",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "sasl.kerberos.keytab",
    "sasl.kerberos.principal",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "socket.keepalive.enable",
    "socket.timeout.ms",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "ssl.key.password",
];

impl Config {
    /// Reads the table; `None` if it lacks what is needed. Mistakes are noted in the table.
    pub fn read(table: &mut Table<'_>) -> Option<Config> {
        let brokers = brokers(table);
        let group_id = table.text("group_id").map_or_else(|| "modelwatch".to_owned(), |group_id| group_id.value);
        let start = start(table);
        let password = Secret::read(table, "sasl_password_file", "sasl_password_env");
        let settings = table.table("librdkafka");
        let place = settings.as_ref().map(Table::span);
        let (librdkafka, good) = settings.map(|mut table| librdkafka(&mut table)).unwrap_or((Vec::new(), true));
        if password.is_some() && librdkafka.iter().any(|(name, _)| name == PASSWORD) {
            table.problem(table.span(), format!("the password is given twice: leave out `{PASSWORD}`"));
        }
        let config = Config { brokers: brokers?, group_id, start: start?, password, librdkafka };
        // Some settings are only refused together, when a client is made.
        if let (Some(place), true, Some(reason)) = (place, good, super::client::refusal(&config)) {
            table.problem(place, format!("librdkafka refuses these settings: {reason}"));
        }
        Some(config)
    }
}

fn brokers(table: &mut Table<'_>) -> Option<Vec<String>> {
    if !table.has("brokers") {
        table.missing("brokers", "[\"localhost:9092\"]");
    }
    let brokers = table.texts("brokers")?;
    if brokers.value.is_empty() {
        table.problem(brokers.span, "`brokers` must name at least one broker, such as \"localhost:9092\"");
        return None;
    }
    for broker in &brokers.value {
        let name = broker.value.rsplit_once("://").map_or(broker.value.as_str(), |(_, address)| address);
        let (host, port) = name.rsplit_once(':').unwrap_or((name, "9092"));
        if host.is_empty() || port.parse::<u16>().is_err() || name.contains([',', ' ']) {
            table.problem(broker.span.clone(), "a broker is one address, such as \"kafka1.example.org:9092\"");
        }
    }
    Some(brokers.value.into_iter().map(|broker| broker.value).collect())
}

fn start(table: &mut Table<'_>) -> Option<Start> {
    let Some(text) = table.text("start") else { return (!table.has("start")).then_some(Start::Latest) };
    match text.value.as_str() {
        "latest" => Some(Start::Latest),
        "earliest" => Some(Start::Earliest),
        ago => match humantime::parse_duration(ago) {
            Ok(ago) => Some(Start::Ago(ago)),
            Err(_) => {
                let message =
                    format!("`start` must be \"latest\", \"earliest\" or how long ago, such as \"24h\", not {ago:?}");
                table.problem(text.span, message);
                None
            }
        },
    }
}

/// The settings, and whether each is good by itself.
fn librdkafka(table: &mut Table<'_>) -> (Vec<(String, String)>, bool) {
    let settings = table.each_text();
    let mut good = true;
    for (name, value) in &settings {
        if let Some((span, message)) = mistake(name, value) {
            table.problem(span, message);
            good = false;
        }
    }
    (settings.into_iter().map(|(name, value)| (name.value, value.value)).collect(), good)
}

/// What is wrong with one setting, and where.
fn mistake(name: &Placed<String>, value: &Placed<String>) -> Option<(Range<usize>, String)> {
    if let Some((_, instead)) = OWNED.iter().find(|(owned, _)| *owned == name.value) {
        return Some((name.span.clone(), format!("`{}` is not to be set here: {instead}", name.value)));
    }
    let error = ClientConfig::new().set(&name.value, &value.value).create_native_config().err()?;
    let reason = match error {
        KafkaError::ClientConfig(_, reason, _, _) => reason,
        _ => "a setting cannot hold a NUL character".to_owned(),
    };
    if !reason.starts_with("No such configuration property") {
        return Some((value.span.clone(), format!("librdkafka: {reason}")));
    }
    let hint = nearest(&name.value, &COMMON).map(|near| format!(", did you mean `{near}`?")).unwrap_or_default();
    Some((name.span.clone(), format!("librdkafka: {reason}{hint}")))
}

#[cfg(test)]
mod tests {
    use toml::de::DeTable;

    use super::*;
    use crate::settings::{Problem, Problems};

    /// The configuration, and each mistake as `place: message`.
    fn read(text: &str) -> (Option<Config>, Vec<String>) {
        let document = DeTable::parse(text).unwrap();
        let problems = Problems::default();
        let mut table = Table::root(document.get_ref(), &problems);
        let config = Config::read(&mut table);
        table.finish();
        let problems = problems.into_sorted();
        let untitled = |message: &str| message.trim_start_matches("`librdkafka`: ").to_owned();
        let show = |problem: &Problem| format!("{}: {}", &text[problem.span.clone()], untitled(&problem.message));
        (config, problems.iter().map(show).collect())
    }

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let (_, problems) = read(text);
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.starts_with(expected), "{problem}\ndoes not start with\n{expected}");
        }
    }

    #[test]
    fn defaults() {
        let (config, problems) = read("brokers = [\"a:1\", \"b\"]");
        assert_eq!(problems, [""; 0]);
        let config = config.unwrap();
        assert_eq!((config.group_id.as_str(), config.start), ("modelwatch", Start::Latest));
        assert_eq!(config.brokers, ["a:1", "b"]);
    }

    #[test]
    fn everything_and_no_secret_in_debug() {
        let text = "brokers = [\"a:1\"]\ngroup_id = \"g\"\nstart = \"24h\"\n[librdkafka]\n\"sasl.password\" = \"hush\"\n\"fetch.wait.max.ms\" = 50";
        let (config, problems) = read(text);
        assert_eq!(problems, [""; 0]);
        let config = config.unwrap();
        assert_eq!(config.start, Start::Ago(Duration::from_secs(86_400)));
        assert_eq!(config.librdkafka.len(), 2);
        assert!(!format!("{config:?}").contains("hush"));
    }

    #[test]
    fn mistakes_have_places() {
        check("", &[": the file needs `brokers`"]);
        check("brokers = []", &["[]: `brokers` must name at least one"]);
        check("brokers = [\"a:1,b:1\", \"a:port\"]", &["\"a:1,b:1\": a broker is one", "\"a:port\": a broker is one"]);
        check("brokers = [\"a\"]\nstart = \"newest\"", &["\"newest\": `start` must be"]);
    }

    #[test]
    fn librdkafka_judges_its_own_settings() {
        let check =
            |line: &str, expected: &[&str]| check(&format!("brokers = [\"a\"]\n[librdkafka]\n{line}"), expected);
        check(
            "\"security.protocoll\" = \"ssl\"",
            &[
                "\"security.protocoll\": librdkafka: No such configuration property: \"security.protocoll\", did you mean `security.protocol`?",
            ],
        );
        check(
            "\"security.protocol\" = \"tls\"",
            &["\"tls\": librdkafka: Invalid value \"tls\" for configuration property \"security.protocol\""],
        );
        check("\"fetch.wait.max.ms\" = \"soon\"", &["\"soon\": librdkafka: Invalid value"]);
        check(
            "\"fetch.wait.max.ms\" = 999999999",
            &[
                "999999999: librdkafka: Configuration property \"fetch.wait.max.ms\" value 999999999 is outside allowed range",
            ],
        );
        check("\"group.id\" = \"g\"", &["\"group.id\": `group.id` is not to be set here: set `group_id`"]);
        check("\"enable.auto.commit\" = true", &["\"enable.auto.commit\": `enable.auto.commit` is not to be set here"]);
        check("\"client.id\" = \"a\\u0000b\"", &["\"a\\u0000b\": librdkafka: a setting cannot hold a NUL"]);
        check("\"ssl.ca.location\" = \"/etc/ca.pem\"", &[]);
    }
}
