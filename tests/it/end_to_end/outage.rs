//! The broker dies and comes back while the daemon reads: nothing is lost, nothing counted twice.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::restart::outcome;
use super::{Dataset, Stage, rules, write};
use crate::process::{Hooks, Watch};
use crate::servers::{self, Kafka};

/// How long the client waits for an answer.
const SOCKET_TIMEOUT: Duration = Duration::from_secs(2);

/// A broker of this test's own: the others must not feel what is done to it.
pub(super) struct Broker(TempDir);

impl Broker {
    /// `None` where tests with servers are left out.
    #[track_caller]
    pub(super) fn start() -> Option<(Broker, Kafka)> {
        servers::kafka()?;
        let broker = Broker(tempfile::tempdir().unwrap());
        let exports = broker.does("start");
        let value = |name: &str| {
            let line = exports.lines().find_map(|line| line.strip_prefix(&format!("export {name}="))).unwrap();
            line.trim_matches(['"', '\'']).to_owned()
        };
        let kafka = Kafka {
            plaintext: value("MODELWATCH_TEST_KAFKA"),
            sasl_ssl: value("MODELWATCH_TEST_KAFKA_SASL_SSL"),
            ca: value("MODELWATCH_TEST_KAFKA_CA"),
            user: value("MODELWATCH_TEST_KAFKA_USER"),
            password: value("MODELWATCH_TEST_KAFKA_PASSWORD"),
        };
        Some((broker, kafka))
    }

    #[track_caller]
    pub(super) fn does(&self, verb: &str) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka");
        let run = Command::new(script).arg(verb).env("MODELWATCH_TEST_DIR", self.0.path()).output().unwrap();
        assert!(run.status.success(), "{verb}: {}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.does("stop");
    }
}

#[test]
fn a_broker_that_is_killed_and_comes_back_changes_nothing() {
    let Some((broker, kafka)) = Broker::start() else { return };
    let (stage, data, hooks, calm_hooks) =
        (Stage::on(kafka, "outage"), Dataset::recent(), Hooks::start(), Hooks::start());
    let timeout = format!("[source.kafka.librdkafka]\n'socket.timeout.ms' = '{}'\n", SOCKET_TIMEOUT.as_millis());
    let told = |hooks: &Hooks| {
        rules(&stage.name, "['ops']") + &format!("[notifier.ops.webhook]\nurl = '{}'\n{timeout}", hooks.url)
    };
    let watch = Watch::start(&stage.configure(&told(&hooks)));
    let (mut begin, mut produced) = (0, 0);
    for end in [2_150, 4_530] {
        produced += stage.produce(data.between(begin, end));
        begin = end;
        watch.has_committed(produced);
        broker.does("kill");
        broker.does("start");
    }
    // It does not answer for longer than the client waits for an answer, while load runs.
    broker.does("freeze");
    produced += std::thread::scope(|scope| {
        let load = scope.spawn(|| stage.produce(data.between(begin, 9_999)));
        std::thread::sleep(3 * SOCKET_TIMEOUT);
        broker.does("thaw");
        load.join().unwrap()
    });
    watch.has_committed(produced);
    let calm = stage.head().replace("/state'", "/calm'") + &told(&calm_hooks);
    let calm = Watch::start(&write(&stage.folder.path().join("calm.toml"), &calm));
    assert_eq!(outcome(&watch, produced), outcome(&calm, produced));
    assert_eq!(hooks.heard().len(), calm_hooks.heard().len());
    assert_eq!(watch.end("TERM"), Some(0));
    assert_eq!(calm.end("TERM"), Some(0));
}
