//! `test-notify`: proves that a notifier reaches its recipients.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;

use super::check::OK;
use crate::clock::{Clock, SystemClock};
use crate::daemon;
use crate::notification::{self, Receiver};
use crate::notifier::{self, SendError};
use crate::settings::nearest;

/// Exit code: at least one recipient was not reached.
const NOT_REACHED: u8 = 1;

/// Whom to send a test notice.
#[derive(Args, Debug)]
pub struct Options {
    /// The configuration (TOML).
    config: PathBuf,
    /// Name of the notifier, as in `[notifier.NAME]`.
    notifier: String,
}

/// Sends the test notices. Gives the exit code.
///
/// # Errors
///
/// If there is no such notifier, or if it cannot be built.
pub fn run(options: &Options) -> anyhow::Result<u8> {
    let config = match super::load(&options.config) {
        Ok(config) => config,
        Err(code) => return Ok(code),
    };
    let name = &options.notifier;
    let kind = config.notifiers.get(name).with_context(|| {
        let known: Vec<&str> = config.notifiers.keys().map(String::as_str).collect();
        match nearest(name, &known) {
            Some(near) => format!("there is no notifier `{name}`; did you mean `{near}`?"),
            None => format!("there is no notifier `{name}`; the configuration has: {}", known.join(", ")),
        }
    })?;
    let built = notifier::build(name, kind, Arc::new(SystemClock))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rendering = daemon::rendering(&config);
    let mut code = OK;
    for recipient in built.recipients() {
        let receiver = Receiver { notifier: name.clone(), recipient };
        let message = notification::test_notice(&receiver, SystemClock.now(), &rendering);
        let sent = runtime.block_on(built.send(&message));
        if report(&receiver.recipient, sent).is_none() {
            code = NOT_REACHED;
        }
    }
    Ok(code)
}

#[expect(clippy::print_stdout, reason = "the answer is what the command is for")]
fn report(recipient: &str, sent: Result<String, SendError>) -> Option<()> {
    match sent {
        Ok(answer) => {
            println!("{recipient}: accepted ({answer})");
            Some(())
        }
        Err(SendError::Retry { reason, .. }) => {
            println!("{recipient}: not now ({reason}); the daemon would try again");
            None
        }
        Err(SendError::Refused { reason }) => {
            println!("{recipient}: refused ({reason}); the daemon would make it a dead letter");
            None
        }
    }
}
