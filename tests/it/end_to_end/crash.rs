//! The crash matrix: the daemon is killed at every point of its own and at every step of every receiver, and started
//! again. The outcome is that of a run in peace; the receivers' ledger shows nothing lost, and nothing twice but what was
//! taken when its answer could not be noted.
//!
//! `MODELWATCH_CASE=words` runs the cases with these words in their names.

mod cases;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

use serde_json::Value;

use modelwatch::clock::{Clock, SystemClock};
use modelwatch::failpoint;

use super::restart::{outcome, transitions};
use super::state_file::{Row, StateFile};
use super::{Dataset, Stage, rules, write};
use crate::faults::smtp::Smtp;
use crate::faults::{Act, Taken, ledger};
use crate::process::{Hooks, Watch, eventually, modelwatch};
use cases::{Case, Fault, News, Then};

/// Cases that run at the same time.
const AT_ONCE: usize = 2;
/// Events are written in slices of so many seconds: small batches, so that a crash finds the daemon in the midst of them.
const SLICE_SECS: i64 = 600;
/// How many people and machines are told.
const RECEIVERS: usize = 3;

/// Topics that are filled once, and what a run in peace makes of them.
struct Ground {
    stage: Stage,
    records: u64,
    calm: Calm,
}

/// What a run in peace leaves.
struct Calm {
    outcome: Value,
    transitions: Option<String>,
    owed: BTreeSet<String>,
    told: BTreeSet<(String, String, String)>,
}

impl Ground {
    /// `None` without a broker.
    #[track_caller]
    fn prepare(news: News) -> Option<Ground> {
        let stage = Stage::set(&format!("crash-{news:?}").to_lowercase())?;
        let (data, now) = (Dataset::recent(), SystemClock.now().as_micros() / 1_000);
        let mut records = 0;
        for begin in (0..9_999).step_by(usize::try_from(SLICE_SECS).unwrap()) {
            let slice = data.between(begin, begin + SLICE_SECS);
            records += match news {
                News::Old => stage.produce_backlog(slice),
                // Not old before the last case has ended.
                News::Fresh => stage.produce_at(slice, |_| now + 3_000_000),
            };
        }
        let calm = Calm { outcome: Value::Null, transitions: None, owed: BTreeSet::new(), told: BTreeSet::new() };
        let mut ground = Ground { stage, records, calm };
        let scene = Scene::set(&ground, "calm");
        let watch = Watch::start(&scene.config);
        ground.calm.outcome = outcome(&watch, records);
        ground.wait_for_digests(news, &scene);
        assert_eq!(watch.end("TERM"), Some(0));
        ground.calm.transitions = transitions(&scene.state);
        let StateFile { rows, told, .. } = StateFile::read(&scene.state);
        assert_eq!(told.len(), RECEIVERS, "of one beginning");
        ground.calm.told = told;
        ground.calm.owed = rows.keys().filter(|id| !Row::is_digest(id)).cloned().collect();
        assert_eq!(ground.calm.owed.len(), 2 * RECEIVERS, "firing and resolved: {rows:#?}");
        Some(ground)
    }

    /// Digests are told once the source is known to be at its end.
    #[track_caller]
    fn wait_for_digests(&self, news: News, scene: &Scene) {
        if news == News::Old {
            eventually("the digests", || (scene.taken().len() >= RECEIVERS).then_some(()));
        }
    }
}

/// The receivers and files of one case.
struct Scene {
    config: PathBuf,
    state: PathBuf,
    group: String,
    smtp: Smtp,
    hooks: Hooks,
}

impl Scene {
    fn set(ground: &Ground, name: &str) -> Scene {
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let (smtp, hooks) = (Smtp::start(), Hooks::start());
        let folder = ground.stage.folder.path().join(&name);
        fs::create_dir(&folder).unwrap();
        let group = format!("{}-{name}", ground.stage.name);
        let head = ground.stage.head().replace("/state'", &format!("/{name}/state'"));
        let text = head.replace("start = 'earliest'", &format!("start = 'earliest'\ngroup_id = '{group}'"));
        let text = text.replace("[state]\n", "[state]\nsnapshot_every = '1s'\n")
            // A few records a fetch, and no fetch ahead.
            + "[source.kafka.librdkafka]\n'fetch.message.max.bytes' = '1000'\n'queued.min.messages' = '1'\n"
            + &rules("crash", "['oncall', 'ops']")
            + &smtp.notifier("['oncall@example.test', 'ops@example.test']", "")
            + &format!("[notifier.ops.webhook]\nurl = '{}'\n", hooks.url);
        Scene { config: write(&folder.join("modelwatch.toml"), &text), state: folder.join("state"), group, smtp, hooks }
    }

    /// What all receivers took.
    fn taken(&self) -> Vec<Taken> {
        self.smtp.taken().into_iter().chain(self.hooks.taken()).collect()
    }

    /// What the reader of a failure wants to see.
    fn evidence(&self) -> String {
        let rows: String =
            StateFile::read(&self.state).rows.iter().map(|(id, row)| format!("  {id}: {row:?}\n")).collect();
        format!("the receivers' ledger:\n{}the outbox:\n{rows}", ledger(&self.taken()))
    }

    /// Starts the daemon so that it dies at the last of these points.
    fn start_to_die(&self, points: &str) -> Watch {
        let run = modelwatch(&["run"]);
        let mut command = Command::new("sh");
        // No core file: the death is meant.
        command.args(["-c", "ulimit -c 0; exec \"$@\"", "sh"]).arg(run.get_program()).arg("run").arg(&self.config);
        command.env(failpoint::VARIABLE, points).env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC");
        Watch::spawn(&mut command, &self.config)
    }

    /// The first lives: until the fault, and what follows from it. Gives what each death leaves.
    #[track_caller]
    fn live_until_killed(&self, case: &Case) -> Vec<Death> {
        match &case.fault {
            Fault::Points(lives) => {
                return lives.iter().map(|points| self.die_at(points)).collect();
            }
            Fault::Mail(at, act) => self.smtp.script.once(*at, act.clone()),
            Fault::Hook(at, act) => self.hooks.script.once(*at, act.clone()),
        }
        let watch = Watch::start(&self.config);
        match &case.fault {
            Fault::Mail(..) => self.smtp.script.wait_until_reached(),
            _ => self.hooks.script.wait_until_reached(),
        }
        match case.then {
            Then::Killed => {}
            Then::Retried(_) => watch.says("to be tried again"),
            Then::Refused => watch.says("a dead letter"),
            Then::Sent => eventually("all is sent", || (self.taken().len() == 2 * RECEIVERS).then_some(())),
        }
        assert_eq!(watch.end("KILL"), None);
        vec![self.death()]
    }

    #[track_caller]
    fn die_at(&self, points: &str) -> Death {
        let mut watch = self.start_to_die(points);
        let last = points.split(',').next_back().unwrap();
        assert_eq!(watch.exit_code(), None, "it was killed");
        assert!(watch.log().contains(&format!("failpoint {last} reached")), "not reached");
        self.death()
    }

    #[track_caller]
    fn death(&self) -> Death {
        let (taken, file) = (self.taken(), StateFile::read(&self.state));
        let told = taken.iter().find(|notice| !file.rows.contains_key(&notice.id));
        assert_eq!(told, None, "told and not durable");
        Death { taken, file }
    }
}

/// What a death leaves.
struct Death {
    taken: Vec<Taken>,
    file: StateFile,
}

impl Death {
    /// Whether a notice was taken, but not noted as such: its answer was lost.
    fn lost_answer(&self, id: &str) -> bool {
        let is_owed = self.file.rows.get(id).is_some_and(|row| row.state == "pending");
        is_owed && self.taken.iter().any(|notice| notice.id == id)
    }
}

/// Runs a case on its ground.
#[track_caller]
fn check(case: &Case, ground: &Ground) {
    let scene = Scene::set(ground, &case.name);
    let deaths = scene.live_until_killed(case);
    let file = &deaths.last().unwrap().file;
    if matches!(case.fault, Fault::Points(_)) {
        file.is_not_behind(&ground.stage.kafka.plaintext, &scene.group);
    }
    if let Then::Retried(wait) = case.then {
        file.owes_a_retry_in(wait);
    }
    // Nobody waits for the next attempt.
    file.hasten(&scene.state);

    let watch = Watch::start(&scene.config);
    let last = catch_unwind(AssertUnwindSafe(|| {
        let last = outcome(&watch, ground.records);
        ground.wait_for_digests(case.news, &scene);
        last
    }));
    let last = last.unwrap_or_else(|_| panic!("the last life does not come to its end; {}", scene.evidence()));
    assert_eq!(last, ground.calm.outcome);
    assert_eq!(watch.end("TERM"), Some(0));
    assert_eq!(transitions(&scene.state), ground.calm.transitions, "{}", scene.evidence());
    let problems = audit(case, ground, &deaths, &scene);
    assert!(problems.is_empty(), "{problems:#?}\n{}", scene.evidence());
}

/// What is wrong with the ledger.
fn audit(case: &Case, ground: &Ground, deaths: &[Death], scene: &Scene) -> Vec<String> {
    let (StateFile { rows, told, .. }, all) = (StateFile::read(&scene.state), scene.taken());
    let mut taken: BTreeMap<&str, Vec<&Taken>> = BTreeMap::new();
    for notice in &all {
        taken.entry(&notice.id).or_default().push(notice);
    }
    let mut problems = Vec::new();
    let unknown = taken.keys().filter(|id| !rows.contains_key(**id));
    problems.extend(unknown.map(|id| format!("{id} was taken but never owed")));
    // Whoever never heard of the beginning is not owed the end.
    let is_owed = |id: &&String| {
        let beginning =
            id.split_once('.').zip(id.rsplit_once('.')).map(|(first, last)| format!("{}.1.{}", first.0, last.1));
        beginning.as_ref() == Some(*id) || beginning.and_then(|id| rows.get(&id)).is_none_or(|row| row.state != "dead")
    };
    let owed: Vec<&String> = ground.calm.owed.iter().filter(is_owed).collect();
    let lost = owed.iter().filter(|id| !rows.contains_key(**id));
    problems.extend(lost.map(|id| format!("{id} is lost")));
    for (id, row) in &rows {
        let taken = taken.get(id.as_str()).map(Vec::as_slice).unwrap_or_default();
        let most = 1 + deaths.iter().filter(|death| death.lost_answer(id)).count();
        let as_it_should = match row.state.as_str() {
            "sent" if row.is_in_a_digest() => taken.is_empty() && case.news == News::Old,
            "sent" => (1..=most).contains(&taken.len()) && taken.iter().any(|notice| notice.answered),
            "dead" => taken.is_empty() && case.then == Then::Refused,
            _ => false,
        };
        if !as_it_should {
            problems.push(format!("{id} is {} and was taken {} times, {most} at most", row.state, taken.len()));
        }
        if taken.iter().any(|notice| (&notice.body, &notice.to) != (&taken[0].body, &taken[0].to)) {
            problems.push(format!("{id} is not the same in every attempt"));
        }
    }
    if told != ground.calm.told {
        problems.push(format!("told of a beginning: {told:?}, not {:?}", ground.calm.told));
    }
    let count = |wanted: &dyn Fn(&str) -> bool| rows.keys().filter(|id| wanted(id)).count();
    let digests = if case.news == News::Old { RECEIVERS } else { 0 };
    let failures = if case.then == Then::Refused { RECEIVERS - 1 } else { 0 };
    let found = (count(&Row::is_digest), count(&|id| id.starts_with("undelivered.")));
    let alone = count(&|id| !owed.iter().any(|owed| *owed == id) && rows[id].state == "dead");
    if found != (digests, failures) || rows.len() != owed.len() + alone + digests + failures {
        problems.push(format!(
            "digests and failures owed: {found:?}, not {:?}; {} in all",
            (digests, failures),
            rows.len()
        ));
    }
    problems
}

#[test]
fn killed_at_any_point_it_goes_on_as_if_nothing_had_been() {
    let wanted = std::env::var("MODELWATCH_CASE").unwrap_or_default();
    let cases: Vec<Case> = cases::all().into_iter().filter(|case| case.name.contains(&wanted)).collect();
    assert!(!cases.is_empty(), "no case is called {wanted:?}");
    let (Some(fresh), Some(old)) = (Ground::prepare(News::Fresh), Ground::prepare(News::Old)) else { return };
    let (ahead, failures) = (Mutex::new(cases.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(case) = ahead.lock().unwrap().next() else { return };
                    let ground = if case.news == News::Old { &old } else { &fresh };
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(case, ground))) {
                        let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                        failures.lock().unwrap().push(format!("=== {}\n{said}", case.name));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} of {} cases:\n{}", failures.len(), cases.len(), failures.join("\n"));
}
