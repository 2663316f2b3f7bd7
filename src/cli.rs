//! The commands, one file each, and their arguments.

pub mod check;
pub mod demo;
pub mod log;
pub mod replay;
pub mod run;
pub mod state;
pub mod test_notify;

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Config, Defaults};

/// Watches machine-learning models in production.
///
/// Reads predictions and their labels (which may come late) from Kafka, joins them, keeps decayed indicators (RMSE, F1,
/// ROC AUC, label delay, ...) for every model and segment, and sends mail or webhooks when one crosses its threshold.
///
/// Begin with `modelwatch demo`: it needs nothing and shows everything in two minutes.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How logs are written.
    #[command(flatten)]
    pub log: log::Options,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show it all with an in-process Kafka: two models, late labels, an incident, the mail.
    ///
    /// Nothing to install, nothing to configure. Ends by itself after about two minutes. The mails and the
    /// configuration it ran with are left in a directory, ready to be edited into your own.
    Demo(demo::Options),
    /// Run the daemon.
    ///
    /// SIGHUP reloads the configuration: it is validated first, and a bad file changes nothing. SIGTERM ends in order.
    /// Exits with 78 if the configuration has mistakes.
    Run(ConfigFile),
    /// Validate a configuration without touching the network; all mistakes at once.
    ///
    /// Exits with 78 if the configuration has mistakes, 66 if it cannot be read.
    Check(ConfigFile),
    /// Run the same engine over recorded events and print what it would have told.
    ///
    /// Sends nothing unless `--notify` is given, and leaves the state of the daemon alone.
    Replay(replay::Options),
    /// Show what the state file holds: positions, open incidents, owed notices, dead letters.
    ///
    /// Also while the daemon runs. `resend` and `drop` decide about a dead letter.
    State(state::Options),
    /// Send a real test notice to every recipient of a notifier, and say what the server answered.
    TestNotify(test_notify::Options),
}

/// The configuration file.
#[derive(Args, Debug)]
pub struct ConfigFile {
    /// The configuration (TOML).
    pub config: PathBuf,
}

/// Loads a configuration; on failure, prints why and gives the exit code.
///
/// # Errors
///
/// The exit code: 78 for mistakes, 66 for a file that cannot be read.
#[expect(clippy::print_stderr, reason = "mistakes are for the person at the terminal, before there is a log")]
pub fn load(path: &Path) -> Result<Config, u8> {
    match config::load(path, &Defaults::from_environment()) {
        Ok((config, warnings)) => {
            eprint!("{warnings}");
            Ok(config)
        }
        Err(config::Error::Invalid(report)) => {
            eprint!("{report}");
            Err(check::BAD_CONFIGURATION)
        }
        Err(error @ config::Error::Unreadable { .. }) => {
            eprintln!("error: {error}");
            Err(check::UNREADABLE)
        }
    }
}
