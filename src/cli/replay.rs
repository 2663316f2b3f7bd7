//! `replay`: the daemon's own engine over recorded events, at full speed.
//!
//! The same records give the same output, byte for byte, whatever the interleaving of their partitions and the size of
//! batches: nothing of the run (times, speeds) is printed to the standard output.

mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::check::OK;
use crate::alert::Transition;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::Config;
use crate::daemon::delivery::{self, Notifiers};
use crate::daemon::intake::Intake;
use crate::daemon::{self, notices};
use crate::decode::Mapping;
use crate::pipeline::Pipeline;
use crate::source::file::{self, File, Form, Input};
use crate::source::kafka::{Kafka, Opening};
use crate::source::{Error, Partition, Polled, Source};
use report::Report;

const POLL_WAIT: Duration = Duration::from_millis(100);
/// Batches between reading and the core.
const BATCHES_WAITING: usize = 4;
/// The topic of lines that may be predictions, labels or both.
const MIXED: &str = "input";

/// What is replayed, and how.
#[derive(Args, Debug)]
pub struct Options {
    /// The configuration (TOML).
    config: PathBuf,
    /// Newline-delimited JSON, predictions and labels mixed; `-` is the standard input. May be repeated.
    #[arg(long, value_name = "FILE")]
    input: Vec<PathBuf>,
    /// Newline-delimited JSON with predictions only.
    #[arg(long, value_name = "FILE")]
    predictions: Vec<PathBuf>,
    /// Newline-delimited JSON with labels only.
    #[arg(long, value_name = "FILE")]
    labels: Vec<PathBuf>,
    /// The lines of `--input` are envelopes as `kcat -C -J` prints them, with topic, partition, offset, time and key.
    #[arg(long, requires = "input")]
    kcat: bool,
    /// Replay the configured topics, from this time on (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with_all = ["input", "predictions", "labels"])]
    from: Option<Timestamp>,
    /// Up to this time (RFC 3339); without it, up to now.
    #[arg(long, value_name = "TIME", value_parser = time, requires = "from")]
    to: Option<Timestamp>,
    /// Print JSON lines: one a transition, then one summary.
    #[arg(long)]
    json: bool,
    /// Really send the notices.
    #[arg(long)]
    notify: bool,
    /// Records taken in at once; changes nothing but speed.
    #[arg(long, value_name = "N", default_value_t = 1_000, hide = true)]
    batch_records: usize,
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse_rfc3339(text).ok_or_else(|| "write it as 2026-01-31T08:00:00Z".to_owned())
}

/// Replays. Gives the exit code.
///
/// # Errors
///
/// If the input cannot be read.
pub fn run(options: &Options) -> anyhow::Result<u8> {
    let config = match super::load(&options.config) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let (source, mapping) = open(options, &config)?;
    // No deployment, no secret: any key gives the same joins.
    let pipeline = Pipeline::new(config.pipeline.clone(), &[0; 16]);
    let mut intake = Intake::new(pipeline, mapping);
    let mut sender = options.notify.then(|| Sender::new(&config)).transpose()?;
    let mut report = Report::new(options.json, config.notices.time_zone.clone());
    let bar = progress_bar();
    let (inbox, brought) = sync_channel(BATCHES_WAITING);
    let reader = thread::spawn(move || read(source, &inbox));
    for Brought { polled, partitions, progress } in brought {
        let now = SystemClock.now();
        intake.expect_partitions(&partitions);
        intake.take(polled.batch.records(), |intake, decoded| intake.take_record(decoded, now));
        report.gaps(&polled.gaps);
        loop {
            let pipeline = &mut intake.pipeline;
            let transitions = if polled.finished { pipeline.finish() } else { pipeline.advance(Timestamp::MIN) };
            bar.suspend(|| report.transitions(&transitions));
            if let Some(sender) = &mut sender {
                sender.send(&transitions);
            }
            if !intake.pipeline.owes_seals() {
                break;
            }
        }
        if let Some((done, total)) = progress {
            bar.set_length(total.max(1));
            bar.set_position(done);
        }
    }
    reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    bar.finish_and_clear();
    report.summary(&intake);
    Ok(OK)
}

/// What one poll of the source brought.
struct Brought {
    polled: Polled,
    /// The source's partitions as of then.
    partitions: Arc<[Partition]>,
    /// How much is done, of how much.
    progress: Option<(u64, u64)>,
}

/// Reads the source to its end, on a thread of its own: a quarter of the time of a replay is reading.
fn read(mut source: Box<dyn Source>, inbox: &SyncSender<Brought>) -> Result<(), Error> {
    let mut partitions: Arc<[Partition]> = Arc::from(source.partitions());
    loop {
        let polled = source.poll(POLL_WAIT)?;
        if partitions.len() != source.partitions().len() {
            partitions = Arc::from(source.partitions());
        }
        let finished = polled.finished;
        let brought = Brought { polled, partitions: Arc::clone(&partitions), progress: source.progress() };
        if inbox.send(brought).is_err() || finished {
            return Ok(());
        }
    }
}

fn open(options: &Options, config: &Config) -> anyhow::Result<(Box<dyn Source>, Mapping)> {
    let mut mapping = config.mapping.clone();
    if let Some(from) = options.from {
        let to = options.to.unwrap_or_else(|| SystemClock.now());
        let headers = mapping.headers.clone();
        let topics = daemon::topics(config);
        let resume = |_: &Partition| None;
        let opening = Opening {
            topics: &topics,
            headers: &headers,
            resume: &resume,
            anchor: &|_| None,
            range: Some((from, to)),
            until: None,
        };
        return Ok((Box::new(Kafka::open(&config.source, &opening, &|| true)?), mapping));
    }
    let plain = |path: &PathBuf, topic: &str| Input {
        path: (path.as_os_str() != "-").then(|| path.clone()),
        form: if options.kcat { Form::Kcat } else { Form::Plain { topic: topic.to_owned() } },
    };
    if !options.kcat {
        if !options.input.is_empty() {
            mapping.predictions_topic = MIXED.to_owned();
            mapping.labels_topic = MIXED.to_owned();
            anyhow::ensure!(
                options.predictions.is_empty() && options.labels.is_empty(),
                "give either `--input` or `--predictions` and `--labels`"
            );
        } else if mapping.predictions_topic == mapping.labels_topic {
            mapping.labels_topic.push_str(" (labels)");
        }
    }
    let mut inputs: Vec<Input> = options.input.iter().map(|path| plain(path, MIXED)).collect();
    inputs.extend(options.predictions.iter().map(|path| plain(path, &mapping.predictions_topic)));
    inputs.extend(options.labels.iter().map(|path| plain(path, &mapping.labels_topic)));
    anyhow::ensure!(
        !inputs.is_empty(),
        "nothing to replay: give `--input FILE`, `--predictions FILE --labels FILE`, or `--from TIME`"
    );
    let reading = file::Options {
        headers: mapping.headers.clone(),
        batch_records: options.batch_records,
        ..file::Options::default()
    };
    Ok((Box::new(File::open(&inputs, reading)?), mapping))
}

fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {percent}% {elapsed} elapsed, {eta} to go");
    ProgressBar::new(1).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Sends notices at once, for `--notify`.
struct Sender {
    notifiers: Notifiers,
    rendering: crate::notification::Rendering,
    runtime: tokio::runtime::Runtime,
    told: notices::Beginnings,
}

impl Sender {
    fn new(config: &Config) -> anyhow::Result<Sender> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
        Ok(Sender {
            notifiers: daemon::build_notifiers(config, &clock)?,
            rendering: daemon::rendering(config),
            runtime,
            told: notices::Beginnings::new(),
        })
    }

    fn send(&mut self, transitions: &[Transition]) {
        let receivers = delivery::receivers(&self.notifiers);
        let told = |incident: &str| self.told.get(incident).map(|known| notices::all_told(known));
        let (messages, beginnings) = notices::owed(transitions, &receivers, told, SystemClock.now(), &self.rendering);
        self.told.extend(beginnings);
        for message in messages {
            let Some(notifier) = self.notifiers.get(&message.notifier) else { continue };
            if let Err(problem) = self.runtime.block_on(notifier.send(&message)) {
                tracing::error!(recipient = message.recipient, %problem, "notice not sent");
            }
        }
    }
}
