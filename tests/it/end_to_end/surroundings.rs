//! Broken surroundings: disks, receivers, signals. The daemon stays up or says why it ends, tells what it can, and goes on
//! exactly afterwards.

mod disk;
mod receivers;
mod signals;
mod storage;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::restart::{outcome, transitions};
use super::state_file::copied;
use super::{Dataset, Stage, rules, write};
use crate::faults::smtp::Smtp;
use crate::faults::{Taken, ledger};
use crate::process::{Hooks, Watch};

/// Topics, receivers, and a daemon's configuration.
struct Scene {
    stage: Stage,
    data: Dataset,
    smtp: Smtp,
    hooks: Hooks,
    /// Records so far.
    produced: u64,
}

impl Scene {
    /// `None` without a broker.
    #[track_caller]
    fn set(name: &str) -> Option<Scene> {
        Some(Scene::on(Stage::set(name)?))
    }

    fn on(stage: Stage) -> Scene {
        Scene { stage, data: Dataset::recent(), smtp: Smtp::start(), hooks: Hooks::start(), produced: 0 }
    }

    /// The usual configuration. Each notifier takes one more option.
    fn configure(&self, mail_option: &str, hook_option: &str) -> PathBuf {
        let text = self.text("state", &self.smtp, &self.hooks, mail_option) + hook_option;
        write(&self.stage.folder.path().join("modelwatch.toml"), &text)
    }

    fn text(&self, state: &str, smtp: &Smtp, hooks: &Hooks, mail_option: &str) -> String {
        let group = format!("start = 'earliest'\ngroup_id = '{}'", self.group(state));
        self.stage.head().replace("/state'", &format!("/{state}'")).replace("start = 'earliest'", &group)
            + &rules("broken", "['oncall', 'ops']")
            + &smtp.notifier("['oncall@example.test']", mail_option)
            + &format!("[notifier.ops.webhook]\nurl = '{}'\n", hooks.url)
    }

    fn group(&self, state: &str) -> String {
        format!("{}-{state}", self.stage.name)
    }

    fn state(&self) -> PathBuf {
        self.stage.folder.path().join("state")
    }

    /// Writes the events up to this second.
    fn produce_until(&mut self, from: i64, to: i64) {
        self.produced += self.stage.produce(self.data.between(from, to));
    }

    fn taken(&self) -> Vec<Taken> {
        self.smtp.taken().into_iter().chain(self.hooks.taken()).collect()
    }

    /// Ends the daemon, whose state lies in `state`, after everything is read: nothing differs from a run in peace, and
    /// nobody was told twice.
    #[track_caller]
    fn ends_as_in_peace(&self, watch: Watch, state: &Path) {
        let (smtp, hooks) = (Smtp::start(), Hooks::start());
        let calm = write(&self.stage.folder.path().join("calm.toml"), &self.text("calm", &smtp, &hooks, ""));
        let calm = Watch::start(&calm);
        assert_eq!(outcome(&watch, self.produced), outcome(&calm, self.produced));
        assert_eq!((watch.end("TERM"), calm.end("TERM")), (Some(0), Some(0)));
        assert_eq!(transitions(copied(state).path()), transitions(&self.stage.folder.path().join("calm")));
        let ids = |taken: &[Taken]| taken.iter().map(|notice| notice.id.clone()).collect::<BTreeSet<_>>();
        let (told, told_in_peace) = (self.taken(), [smtp.taken(), hooks.taken()].concat());
        assert_eq!(ids(&told), ids(&told_in_peace), "{}", ledger(&told));
        assert_eq!(told.len(), told_in_peace.len(), "told twice:\n{}", ledger(&told));
    }
}
