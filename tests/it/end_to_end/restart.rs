//! Ends and restarts at any point change nothing of what is told.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use super::mails::{email, header, mails};
use super::{Dataset, Stage, rules, write};
use crate::process::{Hook, Hooks, Watch, eventually, modelwatch, python};
use crate::servers;

/// Ends before, between and within the phases of the incident: while pending, firing and recovering.
const ENDS: [i64; 7] = [1_000, 2_150, 2_195, 2_400, 4_000, 4_530, 9_999];

const LOG: &str = "import json, sqlite3, sys
rows = sqlite3.connect(sys.argv[1]).execute('SELECT * FROM transition_log ORDER BY id').fetchall()
print(json.dumps([row[1:] for row in rows]))";

/// The transitions in a state file, read by another program; `None` without it.
pub(super) fn transitions(state: &Path) -> Option<String> {
    python(&["-c", LOG, state.join("modelwatch.db").to_str()?], b"")
}

/// What must not depend on restarts, once everything is read.
pub(super) fn outcome(watch: &Watch, records: u64) -> Value {
    watch.has_committed(records);
    eventually("nothing is owed", || (watch.status()["outbox"]["pending"] == 0).then_some(()));
    let status = watch.status();
    let kept = ["counts", "models", "alerts", "pending_predictions", "pending_labels", "positions", "sealed_until"];
    kept.iter().map(|key| ((*key).to_owned(), status[key].clone())).collect::<serde_json::Map<_, _>>().into()
}

fn ids(hooks: &[Hook]) -> Vec<String> {
    let ids = hooks.iter().map(|hook| hook.header("idempotency-key").to_owned());
    let mut ids: Vec<String> = ids.filter(|id| !id.starts_with("trouble.")).collect();
    ids.sort();
    ids
}

/// What becomes of the snapshot of the join table between an end and the next start.
#[derive(Clone, Copy, PartialEq)]
enum Snapshots {
    /// None is made while the daemon runs.
    Seldom,
    /// One is made every few seconds, and some records come after the last.
    Often,
    /// One is made every few seconds, and then broken.
    Broken,
}

/// Breaks the snapshots in a state directory (one may be whole and not named yet); how many there were.
fn break_snapshots(state: &Path) -> usize {
    let files = fs::read_dir(state).unwrap().map(|entry| entry.unwrap().path());
    let snapshots = files.filter(|path| path.extension().is_some_and(|kind| kind == "snapshot"));
    let broken = snapshots.map(|snapshot| {
        let mut bytes = fs::read(&snapshot).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&snapshot, bytes).unwrap();
    });
    broken.count()
}

/// How many records a daemon that starts reads into the join only.
fn records_rebuilt(watch: &Watch) -> u64 {
    watch.says("the join is rebuilt");
    let log = watch.log();
    let line = log.lines().find(|line| line.contains("the join is rebuilt")).expect("it is said");
    let words = line.split_whitespace();
    words.filter_map(|word| word.strip_prefix("records=")?.parse::<u64>().ok()).sum()
}

/// Ends the daemon by `signal` at all of [`ENDS`] and compares with one that is left in peace.
#[track_caller]
fn check(name: &str, signal: &str, snapshots: Snapshots) {
    let (Some(stage), Some(mail)) = (Stage::set(name), servers::mail()) else { return };
    let (data, hooks, calm_hooks) = (Dataset::recent(), Hooks::start(), Hooks::start());
    let notifiers = |url: &str, to: &str| format!("[notifier.ops.webhook]\nurl = '{url}'\n{}", email(&mail, to));
    let rest = rules(&stage.name, "['oncall', 'ops']") + &notifiers(&hooks.url, "['oncall@example.test']");
    let every = if snapshots == Snapshots::Seldom { "1h" } else { "3s" };
    let head = stage.head().replace("[state]\n", &format!("[state]\nsnapshot_every = '{every}'\n"));
    let config = write(&stage.folder.path().join("modelwatch.toml"), &(head + &rest));
    let calm = stage.head().replace("/state'", "/calm'")
        + &rules(&stage.name, "['ops']")
        + &format!("[notifier.ops.webhook]\nurl = '{}'\n", calm_hooks.url);
    let calm = write(&stage.folder.path().join("calm.toml"), &calm);

    let (mut begin, mut produced, mut broken, mut rebuilt) = (0, 0, 0, 0);
    for end in ENDS {
        let watch = Watch::start(&config);
        if begin > 0 && snapshots == Snapshots::Often {
            rebuilt += records_rebuilt(&watch);
        }
        let middle = i64::midpoint(begin, end);
        produced += stage.produce(data.between(begin, middle));
        watch.has_committed(produced);
        if snapshots != Snapshots::Seldom {
            watch.says("the join is saved");
        }
        produced += stage.produce(data.between(middle, end));
        begin = end;
        watch.has_committed(produced);
        let code = watch.end(signal);
        assert_eq!(code, if signal == "TERM" { Some(0) } else { None });
        let state = stage.folder.path().join("state");
        if snapshots == Snapshots::Broken {
            broken += break_snapshots(&state);
        }
    }
    let watch = Watch::start(&config);
    match snapshots {
        Snapshots::Often => watch.says("the join is read from its snapshot"),
        Snapshots::Broken => watch.says("The snapshot of the join is damaged or missing"),
        Snapshots::Seldom if signal == "TERM" => watch.says("the join is read from its snapshot"),
        Snapshots::Seldom => {}
    }
    assert!(snapshots != Snapshots::Broken || broken > 0);
    assert!(snapshots != Snapshots::Often || rebuilt > 0, "the checkpoints were never ahead of the snapshots");
    let calm = Watch::start(&calm);
    let (disturbed, expected) = (outcome(&watch, produced), outcome(&calm, produced));
    assert_eq!(disturbed, expected);
    assert_eq!(expected["counts"]["join"]["labels"], data.labels());
    assert_eq!(expected["counts"]["join"]["orphan_labels"], 0);

    let (heard, calm_heard) = (ids(&hooks.heard()), ids(&calm_hooks.heard()));
    assert_eq!(calm_heard.len(), 2);
    // Killed after an answer and before it was noted, it sends again, by the same id.
    let once = |ids: &[String]| ids.iter().cloned().collect::<BTreeSet<_>>();
    assert_eq!(once(&heard), once(&calm_heard));
    let mails = || mails(&mail, "oncall", &stage.name).filter(|mails| mails.len() >= 2);
    let told = eventually("two mails", mails);
    let mail_ids: Vec<String> = told.iter().map(|mail| header(mail, "message-id").to_owned()).collect();
    assert_eq!(once(&mail_ids).len(), 2, "{mail_ids:?}");
    if signal == "TERM" {
        assert_eq!((heard.len(), mail_ids.len()), (2, 2), "an end in order repeats nothing");
    }
    let state = |name: &str| transitions(&stage.folder.path().join(name));
    assert_eq!(state("state"), state("calm"));
    assert_eq!((watch.end("TERM"), calm.end("INT")), (Some(0), Some(0)));
}

#[test]
fn ends_in_order_change_nothing() {
    check("sigterm", "TERM", Snapshots::Seldom);
}

#[test]
fn sudden_ends_change_nothing() {
    check("sigkill", "KILL", Snapshots::Seldom);
}

#[test]
fn sudden_ends_change_nothing_where_the_join_is_saved_all_the_time() {
    check("sigkill-often", "KILL", Snapshots::Often);
}

#[test]
fn a_broken_snapshot_changes_nothing() {
    check("sigkill-broken", "KILL", Snapshots::Broken);
}

/// The state of a running daemon is lost, and it finds out again what it knew.
#[test]
fn a_damaged_state_file_is_computed_anew_from_the_topics_and_told() {
    let Some(stage) = Stage::set("damaged") else { return };
    let (data, hooks) = (Dataset::recent(), Hooks::start());
    let rest = rules(&stage.name, "['ops']") + &format!("[notifier.ops.webhook]\nurl = '{}'\n", hooks.url);
    let config = stage.configure(&rest);
    let watch = Watch::start(&config);
    let produced = stage.produce(data.between(0, 2_400));
    let firing = hooks.wait_for(1)[0].clone();
    watch.has_committed(produced);
    let before = outcome(&watch, produced);
    assert_eq!(watch.end("KILL"), None);
    let file = stage.folder.path().join("state/modelwatch.db");
    fs::write(&file, "no database at all").unwrap();
    // From its log alone SQLite would restore it.
    fs::remove_file(file.with_extension("db-wal")).unwrap();
    // Where it begins the first time does not matter: this is not the first time.
    let text = fs::read_to_string(&config).unwrap().replace("start = 'earliest'", "start = 'latest'");
    fs::write(&config, text).unwrap();
    let watch = Watch::start(&config);
    let after = outcome(&watch, produced);
    assert_eq!(after["counts"], before["counts"]);
    assert_eq!(after["models"], before["models"]);
    let heard = hooks.wait_for(3);
    let kinds: Vec<Value> = heard[1..].iter().map(|hook| hook.json()["kind"].clone()).collect();
    assert!(kinds.contains(&"trouble".into()), "{kinds:?}");
    let again = heard[1..].iter().find(|hook| hook.json()["kind"] == "alert").expect("told again");
    assert_eq!(again.header("idempotency-key"), firing.header("idempotency-key"), "it is the same incident");
    assert_eq!(watch.end("TERM"), Some(0));
}

#[test]
fn a_second_instance_on_the_same_state_is_refused() {
    let Some(stage) = Stage::set("second") else { return };
    let config =
        stage.configure(&(rules("second", "['ops']") + "[notifier.ops.webhook]\nurl = 'http://127.0.0.1:9/'\n"));
    let first = Watch::start(&config);
    let second = modelwatch(&["run"]).arg(&config).output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    let told = String::from_utf8_lossy(&second.stderr);
    assert!(told.contains("is in use by another modelwatch; give each instance its own `state.directory`"), "{told}");
    assert_eq!(first.end("TERM"), Some(0));
}
