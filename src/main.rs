//! modelwatch: arguments → command → exit code.

use std::process::ExitCode;

use clap::Parser;
use modelwatch::cli::{self, Arguments, Command};

fn main() -> ExitCode {
    let Arguments { command, log } = Arguments::parse();
    log.start(matches!(command, Command::Run(_)));
    let result = match command {
        Command::Demo(options) => cli::demo::run(&options),
        Command::Run(file) => cli::run::run(&file.config),
        Command::Check(file) => {
            cli::check::run(&file.config, &mut std::io::stdout(), &mut std::io::stderr()).map_err(Into::into)
        }
        Command::Replay(options) => cli::replay::run(&options),
        Command::State(options) => cli::state::run(&options),
        Command::TestNotify(options) => cli::test_notify::run(&options),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            cli::log::fatal(&error);
            ExitCode::FAILURE
        }
    }
}
