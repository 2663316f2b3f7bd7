//! Real servers and programs, as `tests/all` provides them. A test that needs one asks here, and ends where it gets `None`.
//! What is left out is said on standard error; with `MODELWATCH_TEST_ALL=1` (set by `tests/all`) it is a failure.

use std::env;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// The broker that `tests/kafka start` starts.
pub(crate) struct Kafka {
    /// Without encryption or login, as `host:port`.
    pub(crate) plaintext: String,
    /// TLS and a login by PLAIN or SCRAM-SHA-256, as `host:port`.
    pub(crate) sasl_ssl: String,
    /// The authority that signed the broker's certificate.
    pub(crate) ca: String,
    pub(crate) user: String,
    pub(crate) password: String,
}

/// The mail server that `tests/mail start` starts: STARTTLS and a login are compulsory.
pub(crate) struct Mail {
    /// As `host:port`.
    pub(crate) server: String,
    pub(crate) user: String,
    pub(crate) password_file: PathBuf,
    /// The authority that signed the server's certificate.
    pub(crate) ca: PathBuf,
    /// Has a Maildir `oncall` and one `ops` as soon as they got a mail.
    pub(crate) maildir: PathBuf,
}

/// The real Kafka.
#[track_caller]
pub(crate) fn kafka() -> Option<Kafka> {
    let Some(plaintext) = variable("MODELWATCH_TEST_KAFKA") else { return left_out("Apache Kafka") };
    Some(Kafka {
        plaintext,
        sasl_ssl: variable("MODELWATCH_TEST_KAFKA_SASL_SSL")?,
        ca: variable("MODELWATCH_TEST_KAFKA_CA")?,
        user: variable("MODELWATCH_TEST_KAFKA_USER")?,
        password: variable("MODELWATCH_TEST_KAFKA_PASSWORD")?,
    })
}

/// The real mail server.
#[track_caller]
pub(crate) fn mail() -> Option<Mail> {
    let Some(server) = variable("MODELWATCH_TEST_SMTP") else { return left_out("a mail server") };
    Some(Mail {
        server,
        user: variable("MODELWATCH_TEST_SMTP_USER")?,
        password_file: variable("MODELWATCH_TEST_SMTP_PASSWORD_FILE")?.into(),
        ca: variable("MODELWATCH_TEST_SMTP_CA")?.into(),
        maildir: variable("MODELWATCH_TEST_MAILDIR")?.into(),
    })
}

/// A program by name, ready for arguments: `MODELWATCH_TEST_<NAME>` says where it is, else it is looked for in the path.
#[track_caller]
pub(crate) fn program(name: &str) -> Option<Command> {
    let path = variable(&format!("MODELWATCH_TEST_{}", name.to_uppercase().replace('-', "_"))).map(PathBuf::from);
    let found = path.or_else(|| {
        env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
    });
    found.map(Command::new).or_else(|| left_out(name))
}

/// `unshare`, ready for a command that may mount what it likes without anybody else seeing it: as `root` of a user namespace
/// of its own, or, for real devices, as the real one.
#[track_caller]
pub(crate) fn namespace(real_root: bool) -> Option<Command> {
    let flags = if real_root { "-m" } else { "-rm" };
    let works = program("unshare")?.args([flags, "true"]).output().is_ok_and(|tried| tried.status.success());
    if !works {
        return left_out(if real_root { "root" } else { "user namespaces" });
    }
    let mut command = program("unshare")?;
    command.arg(flags);
    Some(command)
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Says that the running test is left out. Written to the stream itself: what `eprintln!` writes is shown for failed tests only.
#[track_caller]
fn left_out<T>(what: &str) -> Option<T> {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    assert!(
        variable("MODELWATCH_TEST_ALL").is_none(),
        "{test} needs {what}, and MODELWATCH_TEST_ALL wants every test run"
    );
    writeln!(std::io::stderr(), "LEFT OUT: {test} needs {what}: run tests/all").unwrap();
    None
}

mod tests {
    use super::*;
    use rdkafka::ClientConfig;
    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::message::Message;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
    use std::io::{BufRead, BufReader};
    use std::net::TcpStream;
    use std::time::Duration;

    const TIMEOUT: Duration = Duration::from_secs(20);
    const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

    impl Kafka {
        fn client(&self, mechanism: &str, password: &str) -> ClientConfig {
            let mut config = ClientConfig::new();
            config.set("bootstrap.servers", &self.sasl_ssl).set("security.protocol", "sasl_ssl");
            config.set("ssl.ca.location", &self.ca).set("sasl.mechanism", mechanism);
            config.set("sasl.username", &self.user).set("sasl.password", password).set("log_level", "0");
            config
        }

        /// Makes a topic with one partition, by Kafka's own tool.
        fn create_topic(&self, name: &str) {
            let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka");
            let arguments = ["exec", "topics", "--create", "--if-not-exists", "--partitions", "1", "--topic", name];
            let done = Command::new(script).args(arguments).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
    }

    /// Writes one record of each codec and reads all back.
    #[track_caller]
    fn check_round_trip(config: &ClientConfig, topic: &str) {
        let sent = CODECS.map(|codec| format!("{codec} {}", "to be compressed ".repeat(50)));
        for (codec, payload) in CODECS.iter().zip(&sent) {
            let producer: BaseProducer = config.clone().set("compression.codec", *codec).create().unwrap();
            producer.send(BaseRecord::<(), _>::to(topic).payload(payload)).unwrap();
            producer.flush(TIMEOUT).unwrap();
        }
        let consumer: BaseConsumer = config.clone().set("group.id", "unused").create().unwrap();
        let mut from_start = TopicPartitionList::new();
        from_start.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
        consumer.assign(&from_start).unwrap();
        for expected in &sent {
            let record = consumer.poll(TIMEOUT).expect("a record in time").unwrap();
            assert_eq!(record.payload(), Some(expected.as_bytes()));
        }
    }

    #[test]
    fn kafka_takes_and_gives_every_codec_without_tls() {
        let Some(kafka) = kafka() else { return };
        kafka.create_topic("codecs-plaintext");
        check_round_trip(ClientConfig::new().set("bootstrap.servers", &kafka.plaintext), "codecs-plaintext");
    }

    #[test]
    fn kafka_takes_and_gives_every_codec_over_tls_with_a_login() {
        let Some(kafka) = kafka() else { return };
        for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
            let topic = format!("codecs-{}", mechanism.to_lowercase());
            kafka.create_topic(&topic);
            check_round_trip(&kafka.client(mechanism, &kafka.password), &topic);
        }
    }

    #[test]
    fn kafka_refuses_a_wrong_password() {
        let Some(kafka) = kafka() else { return };
        for mechanism in ["PLAIN", "SCRAM-SHA-256"] {
            let consumer: BaseConsumer = kafka.client(mechanism, "wrong").create().unwrap();
            consumer.fetch_metadata(None, Duration::from_secs(3)).expect_err(mechanism);
        }
    }

    #[test]
    fn mail_server_greets() {
        let Some(mail) = mail() else { return };
        let mut greeting = String::new();
        BufReader::new(TcpStream::connect(&mail.server).unwrap()).read_line(&mut greeting).unwrap();
        assert!(greeting.starts_with("220 "), "{greeting}");
        assert!(!mail.user.is_empty() && mail.password_file.is_file() && mail.ca.is_file() && mail.maildir.is_dir());
    }

    #[test]
    fn promtool_runs() {
        let Some(mut promtool) = program("promtool") else { return };
        assert!(promtool.arg("--version").output().unwrap().status.success());
    }
}
