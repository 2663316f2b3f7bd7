//! `run`: the daemon on real Kafka, with its signals.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};

use super::check::OK;
use crate::clock::{SystemClock, Timestamp};
use crate::config::{self, Config, Defaults};
use crate::daemon::Daemon;
use crate::daemon::systemd::notify;
use crate::failpoint;
use crate::metrics;

/// How often systemd is told how things stand.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Runs the daemon until it is told to end. Gives the exit code.
///
/// # Errors
///
/// If it cannot start, or if its engine ends by itself.
pub fn run(path: &Path) -> anyhow::Result<u8> {
    failpoint::arm()?;
    let config = match super::load(path) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(path, config))?;
    Ok(OK)
}

async fn serve(path: &Path, config: Config) -> anyhow::Result<()> {
    // Handlers first: a signal during the start must not kill.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let handle = metrics::install()?;
    let mut daemon = Daemon::start(config, Arc::new(SystemClock), handle).await?;
    if let Some(address) = daemon.web() {
        info!("status on http://{address}/api/v1/status, metrics on http://{address}/metrics");
    }
    notify(&[NotifyState::Ready]);
    let mut tell = tokio::time::interval(TELL_EVERY);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => tokio::task::block_in_place(|| reload(path, &mut daemon)),
            _ = tell.tick() => {
                if daemon.has_died() {
                    notify(&[NotifyState::Stopping]);
                    tokio::task::block_in_place(|| daemon.stop());
                    anyhow::bail!("the engine ended by itself; the log says why");
                }
                notify(&[NotifyState::Status(&status(&daemon))]);
            }
        }
    }
    info!("stopping");
    notify(&[NotifyState::Stopping]);
    tokio::task::block_in_place(|| daemon.stop());
    Ok(())
}

fn reload(path: &Path, daemon: &mut Daemon) {
    let reloading = NotifyState::monotonic_usec_now().map(|now| [NotifyState::Reloading, now]);
    match reloading {
        Ok(states) => notify(&states),
        Err(_) => notify(&[NotifyState::Reloading]),
    }
    let reloaded = match config::load(path, &Defaults::from_environment()) {
        Ok((config, _)) => daemon.reload(config).map_err(|problem| format!("{problem:#}")),
        Err(problem) => Err(problem.to_string()),
    };
    daemon.published().reloaded(reloaded.is_ok());
    if let Err(problem) = reloaded {
        error!("the configuration was not reloaded, the old one goes on:\n{problem}");
    }
    notify(&[NotifyState::Ready]);
}

fn status(daemon: &Daemon) -> String {
    let status = daemon.published().latest();
    let firing = status.view.alerts.iter().filter(|alert| alert.incident.is_some()).count();
    let sealed = match status.view.sealed_until {
        Some(until) => format!("sealed until {until}"),
        None if status.at == Timestamp::default() => "waiting for the source".to_owned(),
        None => "no events yet".to_owned(),
    };
    format!("{} models, {firing} firing, {sealed}", status.view.models.len())
}
