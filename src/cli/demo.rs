//! `demo`: the very daemon of `run` on an in-process Kafka, with two models, late labels, an incident and its mails.

mod broker;
mod chance;
mod screen;
mod script;
mod traffic;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::check::OK;
use crate::clock::{Clock, SystemClock};
use crate::config::{self, Defaults};
use crate::daemon::Daemon;
use crate::daemon::status::Status;
use crate::metrics;
use crate::notification::Message;
use crate::pipeline::ModelView;
use crate::state::{Outbox, State};
use broker::{Broker, Sending};
use screen::Screen;
use script::Script;
use traffic::Traffic;

const CONFIGURATION: &str = include_str!("demo/demo.toml");
/// The rules whose incidents the script plays.
const RULES: [&str; 2] = ["eta-rmse", "fraud-auc"];
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Exit code: ended by Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;
/// Exit code: the daemon did not tell what it should have.
const FAILED: u8 = 1;

/// How the demo is run.
#[derive(Args, Debug)]
pub struct Options {
    /// Where the mails, the configuration and the state are left; new or empty. A temporary directory by default.
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// Print the configuration that the demo runs with, and do nothing else.
    #[arg(long)]
    print_config: bool,
    /// How many times faster than for people.
    #[arg(long, value_name = "N", default_value_t = 1.0, hide = true)]
    pace: f64,
}

/// Runs the demo. Gives the exit code.
///
/// # Errors
///
/// If it cannot start, or if the engine ends by itself.
pub fn run(options: &Options) -> anyhow::Result<u8> {
    if options.print_config {
        let places = Places { brokers: "localhost:9092".to_owned(), listen: "127.0.0.1:9187".to_owned() };
        let directory = options.directory.clone().unwrap_or_else(|| PathBuf::from("modelwatch-demo"));
        write!(std::io::stdout(), "{}", places.fill(&directory, options.pace))?;
        return Ok(OK);
    }
    let directory = directory(options.directory.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(play(&directory, options.pace))
}

/// The directory, made if it is not there.
fn directory(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let Some(path) = given else {
        return Ok(tempfile::Builder::new().prefix("modelwatch-demo-").tempdir()?.keep());
    };
    std::fs::create_dir_all(path).with_context(|| format!("cannot make the directory {}", path.display()))?;
    let path = std::path::absolute(path)?;
    let empty = std::fs::read_dir(&path)?.next().is_none();
    anyhow::ensure!(empty, "the directory {} is not empty; give a new one", path.display());
    Ok(path)
}

/// What is known only when the demo starts.
struct Places {
    brokers: String,
    listen: String,
}

impl Places {
    /// The configuration with these places.
    fn fill(&self, directory: &Path, pace: f64) -> String {
        // JSON's way to quote is one of TOML's.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let path = |name: &str| quoted(&directory.join(name).to_string_lossy());
        let listen = &self.listen;
        script::at_pace(CONFIGURATION, pace)
            .replace("@BROKERS@", &quoted(&self.brokers))
            .replace("@MAILS@", &path("mails"))
            .replace("@STATE@", &path("state"))
            .replace("@LINK@", &quoted(&format!("http://{listen}/api/v1/status")))
            .replace("@LISTEN@", &quoted(listen))
    }
}

/// An address of this machine that nobody uses. Mails link to it, so it is chosen before the pages are served.
fn free_address() -> std::io::Result<String> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.to_string())
}

async fn play(directory: &Path, pace: f64) -> anyhow::Result<u8> {
    // The handler first: a signal during the start must not kill.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let broker = Broker::start()?;
    let text = Places { brokers: broker.addresses(), listen: free_address()? }.fill(directory, pace);
    let file = directory.join("modelwatch.toml");
    std::fs::write(&file, &text).with_context(|| format!("cannot write {}", file.display()))?;
    let (config, _) = config::parse(&file.display().to_string(), &text, &Defaults::default()).map_err(|report| {
        anyhow::anyhow!("the demo's own configuration has mistakes, please report this:\n{report}")
    })?;
    let script = Script { pace };
    let screen = Screen::new(script.expected(), config.pipeline.models.len());
    let (clock, state) = (Arc::new(SystemClock), config.state_directory.clone());
    let daemon = Daemon::start(config, clock, metrics::install()?).await?;
    let sending = Sending::start(&broker, Traffic::new(script, SystemClock.now()))?;
    let outbox = State::another_outbox(&state)?;
    let mut show =
        Show { script, began: Instant::now(), screen, mails: directory.join("mails"), outbox, told: Vec::new() };
    show.begin(&daemon, &file)?;
    let ended = show.watch(&daemon, &mut interrupt).await;
    show.screen.end();
    let (took, sent, status) = (show.began.elapsed(), sending.sent(), daemon.published().latest());
    tokio::task::block_in_place(|| {
        sending.stop();
        daemon.stop();
    });
    if ended? == Ending::Interrupted {
        show.screen.say(&format!("Interrupted. What there is so far is in {}.", directory.display()))?;
        return Ok(INTERRUPTED);
    }
    show.summarise(took, sent, &status, &file)?;
    Ok(if show.is_complete() { OK } else { FAILED })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Played,
    Interrupted,
}

/// A mail that was written, and how long after the beginning.
struct Told {
    rule: String,
    state: String,
    after: Duration,
}

/// What the person at the terminal sees.
struct Show {
    script: Script,
    began: Instant,
    screen: Screen,
    mails: PathBuf,
    outbox: Outbox,
    told: Vec<Told>,
}

impl Show {
    fn begin(&self, daemon: &Daemon, file: &Path) -> anyhow::Result<()> {
        let web = daemon.web().map_or_else(String::new, |address| format!("http://{address}"));
        let title = self.screen.bold("modelwatch demo: the daemon, two models, and a Kafka inside of this process");
        self.screen.say(&format!(
            "{title}\n\n  eta     tells how many minutes a delivery will take; watched: rmse above 4.5\n  \
             fraud   tells which payments are fraud; watched: roc_auc below 0.85\n\n\
             Labels come seconds after their predictions, some never. After half a minute\n\
             both models break, a bit later they are repaired. Seconds here are minutes and\n\
             hours in life. It ends by itself within two minutes, on Ctrl-C at once.\n\n  \
             metrics        {web}/metrics\n  status         {web}/api/v1/status\n  mails          {}\n  \
             configuration  {}\n",
            self.mails.display(),
            file.display()
        ))?;
        Ok(())
    }

    /// Shows what happens until all is told, or the time is over, or Ctrl-C.
    async fn watch(&mut self, daemon: &Daemon, interrupt: &mut Signal) -> anyhow::Result<Ending> {
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            tokio::select! {
                _ = interrupt.recv() => return Ok(Ending::Interrupted),
                _ = look.tick() => {}
            }
            anyhow::ensure!(!daemon.has_died(), "the engine ended by itself; `--log-level info` says why");
            let since = self.began.elapsed();
            for message in self.outbox.delivered()?.into_iter().skip(self.told.len()) {
                self.tell(&message, since)?;
            }
            self.screen.show(since, self.script.phase(since), &daemon.published().latest())?;
            if self.is_complete() || self.script.is_over(since) {
                return Ok(Ending::Played);
            }
        }
    }

    fn tell(&mut self, message: &Message, after: Duration) -> std::io::Result<()> {
        let header = |name: &str| message.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone());
        let (rule, state) = (header("X-Modelwatch-Rule"), header("X-Modelwatch-State"));
        self.told.push(Told { rule: rule.unwrap_or_default(), state: state.unwrap_or_default(), after });
        self.screen.mail(message, &self.mails.join(format!("{}.eml", message.id)).display().to_string())
    }

    fn after(&self, rule: &str, state: &str) -> Option<Duration> {
        self.told.iter().find(|told| told.rule == rule && told.state == state).map(|told| told.after)
    }

    fn is_complete(&self) -> bool {
        RULES.iter().all(|rule| self.after(rule, "firing").is_some() && self.after(rule, "resolved").is_some())
    }

    fn summarise(&self, took: Duration, sent: u64, status: &Status, file: &Path) -> std::io::Result<()> {
        let stories: Vec<String> = RULES.iter().map(|rule| self.story(rule)).collect();
        let join = &status.counts.join;
        let rejected: u64 = status.rejected.values().map(|rejected| rejected.count).sum();
        let file = file.display();
        self.screen.paragraph(&format!(
            "That was it: {} seconds, {sent} records. {} Of {} predictions and {} labels, {} were repetitions and \
             counted once; {rejected} records could not be read and were counted, too; {} Next: edit {file} (the \
             comments marked PRODUCTION say what to change), then `modelwatch check` and `modelwatch run` it.",
            took.as_secs(),
            stories.join(" "),
            join.predictions,
            join.labels,
            join.duplicate_predictions + join.duplicate_labels,
            joined(status),
        ))
    }

    fn story(&self, rule: &str) -> String {
        let seconds = |at: Duration, from: Duration| at.saturating_sub(from).as_secs_f64();
        let Some(fired) = self.after(rule, "firing") else { return format!("{rule} did not fire, which it should.") };
        let begin = seconds(fired, self.script.begin(rule));
        match self.after(rule, "resolved") {
            Some(resolved) => format!(
                "{rule} fired {begin:.0} s after its incident began and was resolved {:.0} s after the repair.",
                seconds(resolved, self.script.repaired())
            ),
            None => format!("{rule} fired {begin:.0} s after its incident began and was not resolved in time."),
        }
    }
}

/// How much found its label, model by model.
fn joined(status: &Status) -> String {
    let rate = |model: &ModelView| {
        let reading = model.readings.iter().find(|r| r.segment.is_none() && r.indicator == "match_rate")?;
        let percent = reading.value.ok()?.value * 100.0;
        Some(format!("{percent:.0} % of what {} answered", model.name))
    };
    let rates: Vec<String> = status.view.models.iter().filter_map(rate).collect();
    format!("lately {} found its label in time.", rates.join(" and "))
}
