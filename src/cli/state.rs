//! `state`: what the state file holds, and what to do with dead letters.
#![expect(clippy::print_stdout, reason = "the answer is what the command is for")]

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Subcommand};

use super::check::OK;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::state::{Inspection, LoggedTrouble, Reached, Snapshot, Undelivered};

/// Troubles are shown as far back as this ...
const TROUBLES_SHOWN: std::time::Duration = std::time::Duration::from_secs(86_400);
/// ... but no more than so many.
const TROUBLES_MAX: usize = 50;

/// Which state, and what to do with it.
#[derive(Args, Debug)]
pub struct Options {
    /// The configuration (TOML).
    config: PathBuf,
    /// What to do; without it, the state is shown.
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a dead letter owed again; a running daemon delivers it within seconds.
    Resend {
        /// Id of the notice, as `state` shows it.
        id: String,
    },
    /// Forget a dead letter.
    Drop {
        /// Id of the notice, as `state` shows it.
        id: String,
    },
}

/// Shows the state, or changes a dead letter. Gives the exit code.
///
/// # Errors
///
/// If there is no state, or no such dead letter.
pub fn run(options: &Options) -> anyhow::Result<u8> {
    let config = match super::load(&options.config) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let directory = config.state_directory.display();
    let state = Inspection::open(&config.state_directory)?
        .with_context(|| format!("there is no state in {directory} (`state.directory`); has the daemon run?"))?;
    let (id, found) = match &options.action {
        None => {
            show(&state)?;
            return Ok(OK);
        }
        Some(Action::Resend { id }) => (id, state.resend(id, SystemClock.now())?),
        Some(Action::Drop { id }) => (id, state.forget(id)?),
    };
    anyhow::ensure!(found, "there is no dead letter `{id}`; `modelwatch state` without more shows them");
    println!("done");
    Ok(OK)
}

fn show(state: &Inspection) -> anyhow::Result<()> {
    let now = SystemClock.now();
    match state.checkpoint_at()? {
        Some(at) => println!("checkpoint of {at}, {} ago", whole_seconds(now.since(at))),
        None => println!("no checkpoint yet"),
    }
    match state.snapshot()? {
        Some(Snapshot { at, bytes, pending: (predictions, labels), .. }) => println!(
            "snapshot of the join of {at}, {} ago: {bytes} bytes, {predictions} predictions, {labels} labels",
            whole_seconds(now.since(at))
        ),
        None => println!("no snapshot of the join yet"),
    }
    println!("\nnext offsets");
    for Reached { partition, next, end } in state.positions()? {
        let lag = end.map_or_else(
            || "its end is not known".to_owned(),
            |end| format!("{} behind its end as last seen, {end}", (end - next).max(0)),
        );
        println!("  {}/{}: {next} ({lag})", partition.topic, partition.number);
    }
    println!("\nopen incidents");
    for incident in state.open_incidents()? {
        let segment = incident.segment.map(|(name, value)| format!(" {name}={value}")).unwrap_or_default();
        let (rule, place) = (&incident.rule, plain(&format!("{}{segment}", incident.model)));
        println!("  {} {rule}: {place}, {} since {}", incident.id, incident.change, incident.since);
    }
    let (dead, owed): (Vec<Undelivered>, Vec<Undelivered>) =
        state.undelivered()?.into_iter().partition(|notice| notice.dead);
    for (title, notices) in [("owed notices", owed), ("dead letters", dead)] {
        println!("\n{title}");
        for notice in notices {
            let Undelivered { id, notifier, recipient, attempts, .. } = &notice;
            let answer = plain(notice.answer.as_deref().unwrap_or("not tried yet"));
            let age = whole_seconds(now.since(notice.created));
            println!("  {id}\n    {notifier}, {recipient}: {attempts} attempts in {age}; {answer}");
        }
    }
    show_troubles(state, now)
}

fn show_troubles(state: &Inspection, now: Timestamp) -> anyhow::Result<()> {
    println!("\ntroubles of the last day");
    let (troubles, all) = state.troubles(now.minus(TROUBLES_SHOWN), TROUBLES_MAX)?;
    if all > troubles.len() {
        println!("  the last {} of {all}; the others are in the table `trouble_log`", troubles.len());
    }
    for LoggedTrouble { at, kind, place, what, told } in troubles {
        let (place, what) = (plain(&place), plain(&what));
        println!("  {at} {kind}, {place}: {what}{}", if told { "" } else { " (told before)" });
    }
    Ok(())
}

/// Foreign text cannot steer the terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn whole_seconds(span: std::time::Duration) -> humantime::FormattedDuration {
    humantime::format_duration(std::time::Duration::from_secs(span.as_secs()))
}
