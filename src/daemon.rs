//! The daemon: builds the edges, owns the threads, reloads, and ends in order. The only place that knows everything.
//!
//! Threads: one reads the source, one is the [`engine`], one a notifier delivers; the runtime serves pages and sends.
//! Order of the end: the source stops, the engine seals and commits what it has, notices that are due are delivered
//! until a deadline, what is left stays in the outbox.

mod backlog;
pub mod couriers;
pub mod delivery;
pub mod engine;
pub mod intake;
pub mod notices;
mod pace;
mod positions;
pub mod restart;
pub mod snapshots;
pub mod status;
pub mod systemd;
pub mod trouble;
mod waiting;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::runtime::Handle;
use tracing::{error, info, warn};

use crate::clock::Clock;
use crate::config::Config;
use crate::failpoint::reach;
use crate::notification::{Rendering, Trouble};
use crate::notifier;
use crate::source::kafka::Kafka;
use crate::source::{Partition, Source};
use crate::state::{Lock, State};
use crate::web;
use couriers::{Couriers, CurrentBell};
use delivery::Notifiers;
use engine::{Engine, Input, NextReload, Parts, Reload};
use intake::Intake;
use snapshots::Snapshots;
use status::Published;
use trouble::Troubles;

/// Batches between the source and the engine; each holds at most about a megabyte.
const BATCHES_WAITING: usize = 8;
/// How long one poll of the source may block.
const POLL_WAIT: Duration = Duration::from_millis(100);
/// How long the end waits for notices that are due.
const FAREWELL: Duration = Duration::from_secs(10);
/// How long the end waits for attempts in flight after that.
const IN_FLIGHT: Duration = Duration::from_secs(15);
/// How long the end waits for a source that does not close.
const CLOSE_WAIT: Duration = Duration::from_secs(10);

/// A running daemon.
pub struct Daemon {
    config: Config,
    clock: Arc<dyn Clock>,
    published: Published,
    stopping: Arc<AtomicBool>,
    engine: JoinHandle<()>,
    next_reload: NextReload,
    couriers: Couriers,
    /// Kept until the last courier has ended: nobody else may send what is owed here.
    lock: Arc<Lock>,
    /// For more connections to the outbox.
    state_directory: std::path::PathBuf,
    web: Option<SocketAddr>,
}

impl Daemon {
    /// Starts everything. Returns once the state is open and the pages are served; the source may still be waited for.
    ///
    /// # Errors
    ///
    /// If a secret, the state directory or the listening address cannot be used.
    pub async fn start(config: Config, clock: Arc<dyn Clock>, metrics: PrometheusHandle) -> anyhow::Result<Daemon> {
        let notifiers = build_notifiers(&config, &clock)?;
        let state = State::open(&config.state_directory, clock.now())?;
        let mut troubles = Troubles::new(state.troubles_told(clock.now().minus(trouble::AGAIN_AFTER))?);
        if let Some(aside) = &state.set_aside {
            troubles.note(Trouble::state_damaged(&aside.display().to_string(), clock.now()), clock.now());
        }
        let published = Published::default();
        published.beat();
        published.reloaded(true);
        let mut outbox = state.outbox()?;
        let web = match config.web.listen {
            Some(address) => {
                let pages = web::Pages { published: published.clone(), metrics, outbox: state.outbox()? };
                Some(
                    web::serve(address, pages)
                        .await
                        .with_context(|| format!("cannot listen on {address} (`web.listen`)"))?,
                )
            }
            None => None,
        };
        let dead = outbox.bury_unknown(&notifiers.keys().map(String::as_str).collect::<Vec<_>>(), clock.now())?;
        if dead > 0 {
            error!(dead, "notices are owed to notifiers that are no longer configured: dead letters");
        }
        let mut couriers = Couriers::new(Handle::current());
        couriers.replace(&config, &notifiers, &clock, || state.outbox())?;
        let lock = state.lock();
        let stopping = Arc::new(AtomicBool::new(false));
        let next_reload = NextReload::default();
        let beginning = Beginning {
            config: config.clone(),
            state,
            notifiers,
            troubles,
            clock: Arc::clone(&clock),
            published: published.clone(),
            bell: Arc::clone(&couriers.bell),
            stopping: Arc::clone(&stopping),
            next_reload: Arc::clone(&next_reload),
        };
        let engine = std::thread::Builder::new().name("engine".to_owned()).spawn(move || {
            let stopping = Arc::clone(&beginning.stopping);
            match beginning.run() {
                Ok(()) => {}
                Err(problem) if stopping.load(Ordering::SeqCst) => info!("{problem:#}"),
                Err(problem) => error!("{problem:#}"),
            }
        })?;
        let state_directory = config.state_directory.clone();
        Ok(Daemon { config, clock, published, stopping, engine, next_reload, couriers, lock, state_directory, web })
    }

    /// Where the pages are served.
    pub fn web(&self) -> Option<SocketAddr> {
        self.web
    }

    /// What the daemon shows of itself.
    pub fn published(&self) -> &Published {
        &self.published
    }

    /// Whether the engine or a courier has ended by itself, which none should.
    pub fn has_died(&self) -> bool {
        self.engine.is_finished() || self.couriers.any_died()
    }

    /// Swaps the configuration; state, timers and pending notices stay. Nothing changes if it fails.
    ///
    /// # Errors
    ///
    /// If the new configuration changes what only a restart can change, or names a secret that cannot be read.
    pub fn reload(&mut self, config: Config) -> anyhow::Result<()> {
        if let Some(what) = needs_restart(&self.config, &config) {
            anyhow::bail!("`{what}` can only change at a restart; nothing was changed");
        }
        let notifiers = build_notifiers(&config, &self.clock)?;
        let receivers = delivery::receivers(&notifiers);
        let reload = Reload {
            options: config.pipeline.clone(),
            mapping: config.mapping.clone(),
            idle_after: config.idle_after,
            trouble_receivers: trouble::receivers(&receivers, config.notices.trouble.as_deref()),
            receivers,
            rendering: rendering(&config),
            snapshot_every: config.snapshot_every,
        };
        self.couriers.replace(&config, &notifiers, &self.clock, || State::another_outbox(&self.state_directory))?;
        *self.next_reload.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(reload));
        self.config = config;
        Ok(())
    }

    /// Ends everything in order.
    pub fn stop(self) {
        self.stopping.store(true, Ordering::SeqCst);
        join(self.engine);
        self.couriers.bell.lock().unwrap_or_else(PoisonError::into_inner).ring();
        let deadline = Instant::now() + FAREWELL;
        while Instant::now() < deadline && something_is_due(&self.state_directory) {
            std::thread::sleep(Duration::from_millis(50));
        }
        self.couriers.stop(Instant::now() + IN_FLIGHT);
        drop(self.lock);
        info!("stopped");
    }
}

fn something_is_due(directory: &std::path::Path) -> bool {
    let due = State::another_outbox(directory).and_then(|outbox| outbox.first_attempts_due());
    due.unwrap_or(false)
}

fn join(thread: JoinHandle<()>) {
    let name = thread.thread().name().unwrap_or("unnamed").to_owned();
    if thread.join().is_err() {
        error!(thread = name, "a thread ended by a panic: please report this");
    }
}

/// The first section of which a change needs a restart.
fn needs_restart(old: &Config, new: &Config) -> Option<&'static str> {
    let topics = |config: &Config| (config.mapping.predictions_topic.clone(), config.mapping.labels_topic.clone());
    let changed = [
        ("source", old.source != new.source),
        ("topic", topics(old) != topics(new)),
        ("predictions.fields (its headers)", old.mapping.headers != new.mapping.headers),
        ("engine.tick", old.pipeline.tick != new.pipeline.tick),
        ("state.directory", old.state_directory != new.state_directory),
        ("web.listen", old.web != new.web),
    ];
    changed.iter().find(|(_, changed)| *changed).map(|(what, _)| *what)
}

/// All notifiers, ready to send.
///
/// # Errors
///
/// If a secret or certificate cannot be read; the message names all that cannot.
pub fn build_notifiers(config: &Config, clock: &Arc<dyn Clock>) -> anyhow::Result<Notifiers> {
    let built = config.notifiers.iter().map(|(name, kind)| (name, notifier::build(name, kind, Arc::clone(clock))));
    let (good, bad): (Vec<_>, Vec<_>) = built.partition(|(_, built)| built.is_ok());
    let problems: Vec<String> = bad.into_iter().filter_map(|(_, built)| built.err()).map(|e| e.to_string()).collect();
    anyhow::ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(good.into_iter().filter_map(|(name, built)| Some((name.clone(), Arc::from(built.ok()?)))).collect())
}

/// How notices are written.
pub fn rendering(config: &Config) -> Rendering {
    Rendering {
        zone: config.notices.time_zone.clone(),
        status_page: config.notices.link.clone(),
        instance: config.notices.instance.clone().unwrap_or_else(|| "modelwatch".to_owned()),
    }
}

/// What the engine's thread starts with.
struct Beginning {
    config: Config,
    state: State,
    notifiers: Notifiers,
    /// What the start has found so far.
    troubles: Troubles,
    clock: Arc<dyn Clock>,
    published: Published,
    bell: CurrentBell,
    stopping: Arc<AtomicBool>,
    next_reload: NextReload,
}

impl Beginning {
    /// Restores the core, waits for the source, then runs the engine until the end.
    fn run(self) -> anyhow::Result<()> {
        let Beginning { config, state, notifiers, troubles, clock, published, bell, stopping, next_reload } = self;
        let watchdog = systemd::Watchdog::from_environment();
        let beat = || {
            published.beat();
            watchdog.ping();
        };
        let keep_waiting = || {
            beat();
            !stopping.load(Ordering::SeqCst)
        };
        let mut intake =
            Intake::new(crate::pipeline::Pipeline::new(config.pipeline.clone(), state.key()), config.mapping.clone());
        let receivers = delivery::receivers(&notifiers);
        let trouble_receivers = trouble::receivers(&receivers, config.notices.trouble.as_deref());
        let waiting = waiting::Waiting {
            troubles: RefCell::new(troubles),
            brokers: config.source.brokers.join(", "),
            to: trouble_receivers.clone(),
            rendering: rendering(&config),
            outbox: || state.outbox(),
            bell: Arc::clone(&bell),
        };
        let restart = restart::Restart {
            config: &config,
            keep_waiting: &keep_waiting,
            clock: &*clock,
            troubles: &waiting.troubles,
            waits: &|since| waiting.goes_on(since, clock.now()),
        };
        let (source, transitions) = restart.resume(&state, &mut intake)?;
        let troubles = waiting.troubles.into_inner();
        let positions = source.positions();
        let parts = Parts {
            intake,
            state,
            snapshots: Snapshots::new(&config.state_directory, config.snapshot_every),
            idle_after: config.idle_after,
            trouble_receivers,
            receivers,
            troubles,
            rendering: rendering(&config),
            clock: Arc::clone(&clock),
            bell,
            published: published.clone(),
            next_reload,
        };
        let engine = Engine::new(parts, &positions, transitions);
        let (inbox, inputs) = sync_channel(BATCHES_WAITING);
        let reader = start_reader(source, inbox, published.clone(), Arc::clone(&stopping))?;
        engine.run(&inputs, beat);
        let deadline = Instant::now() + CLOSE_WAIT;
        while !reader.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        if reader.is_finished() {
            join(reader);
        } else {
            warn!("the source does not close; it is left behind");
        }
        Ok(())
    }
}

/// Reads the source and hands batches to the engine, until stopped. The last word is [`Input::Stop`].
fn start_reader(
    mut source: Kafka,
    inbox: SyncSender<Input>,
    published: Published,
    stopping: Arc<AtomicBool>,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("source".to_owned()).spawn(move || {
        let mut partitions: Arc<[Partition]> = Arc::from(source.partitions());
        while !stopping.load(Ordering::SeqCst) {
            let polled_at = Instant::now();
            let polled = match source.poll(POLL_WAIT) {
                Ok(polled) => polled,
                Err(problem) => {
                    error!(%problem, "the source cannot go on");
                    break;
                }
            };
            if partitions.len() != source.partitions().len() {
                partitions = Arc::from(source.partitions());
            }
            if inbox.send(Input::Polled(Box::new(polled), Arc::clone(&partitions), polled_at)).is_err() {
                return;
            }
            if let Some(positions) = published.take_positions() {
                reach("offsets.before");
                source.publish_positions(&positions);
                reach("offsets.after");
            }
        }
        // The engine commits before the source is closed, which may take its time.
        let _ended = inbox.send(Input::Stop);
    })
}

/// Names of the topics, without repetition.
pub fn topics(config: &Config) -> Vec<String> {
    let both = [&config.mapping.predictions_topic, &config.mapping.labels_topic];
    both.into_iter().cloned().collect::<BTreeSet<_>>().into_iter().collect()
}
