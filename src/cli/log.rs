//! Logs: plain lines for people, JSON on request, priorities for journald.

use std::fmt;
use std::io::IsTerminal;
use std::os::unix::fs::MetadataExt;

use clap::{Args, ValueEnum};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// How logs are written.
#[derive(Args, Debug)]
pub struct Options {
    /// Least level that is logged (error, warn, info, debug, trace), or a filter such as `modelwatch=debug,warn`.
    #[arg(long, global = true, env = "MODELWATCH_LOG", value_name = "LEVEL", help_heading = "Logging")]
    log_level: Option<String>,
    /// Form of the log lines.
    #[arg(long, global = true, value_enum, default_value_t = Form::Auto, value_name = "FORM", help_heading = "Logging")]
    log_format: Form,
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Priorities under journald, plain lines elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
}

impl Options {
    /// Starts logging to the standard error. The daemon logs what it does; the other commands only what is wrong.
    pub fn start(&self, daemon: bool) {
        let usual = if daemon { "info" } else { "error" };
        let filter =
            EnvFilter::try_new(self.log_level.as_deref().unwrap_or(usual)).unwrap_or_else(|_| EnvFilter::new(usual));
        let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
        match self.log_format {
            Form::Json => lines.json().flatten_event(true).init(),
            Form::Auto if under_journald() => lines.event_format(Journal).init(),
            Form::Auto => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        }
    }
}

/// Whether the standard error is the journal's, as systemd tells in `JOURNAL_STREAM`.
fn under_journald() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    std::fs::metadata("/proc/self/fd/2").is_ok_and(|own| stream == format!("{}:{}", own.dev(), own.ino()))
}

/// Lines with a priority in front, as `sd-daemon(3)` has it; journald adds the time itself.
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        write!(writer, "<{priority}>")?;
        context.format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

/// Says why the program ends.
#[expect(clippy::print_stderr, reason = "the last word is for the person at the terminal, whatever the log level")]
pub fn fatal(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}
