//! The screen: on a terminal a few lines that are refreshed in place, elsewhere a plain line now and then.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anstyle::{AnsiColor, Color, Style};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::alert::State;
use crate::daemon::status::Status;
use crate::notification::Message;
use crate::pipeline::{AlertView, ModelView, ReadingView};

/// How often plain lines come.
const PLAIN_EVERY: Duration = Duration::from_secs(10);
/// Frames of mails are not wider.
const WIDTH: usize = 78;

/// Where the demo is shown.
pub(super) struct Screen {
    bars: MultiProgress,
    progress: ProgressBar,
    models: Vec<ProgressBar>,
    colour: bool,
    plain: Option<Plain>,
}

/// What was last written where nothing can be refreshed.
#[derive(Default)]
struct Plain {
    phase: &'static str,
    at: Option<Duration>,
}

impl Screen {
    pub(super) fn new(expected: Duration, models: usize) -> Screen {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stdout_with_hz(8));
        let style = |template: &str| {
            ProgressStyle::with_template(template)
                .unwrap_or_else(|_| ProgressStyle::default_bar())
                .progress_chars("=> ")
        };
        let length = u64::try_from(expected.as_millis()).unwrap_or(u64::MAX);
        let progress = bars.add(ProgressBar::new(length).with_style(style("[{bar:24}] {wide_msg}")));
        let models = (0..models).map(|_| bars.add(ProgressBar::new(1).with_style(style("  {wide_msg}")))).collect();
        let terminal = io::stdout().is_terminal() && !bars.is_hidden();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Screen { bars, progress, models, colour, plain: (!terminal).then(Plain::default) }
    }

    /// Lines that stay.
    pub(super) fn say(&self, text: &str) -> io::Result<()> {
        match &self.plain {
            None => self.bars.println(text),
            Some(_) => writeln!(io::stdout(), "{text}"),
        }
    }

    /// How things stand.
    pub(super) fn show(&mut self, since: Duration, phase: &'static str, status: &Status) -> io::Result<()> {
        let head = format!("{:>3} s  {}", since.as_secs(), self.phase(phase));
        let lines: Vec<String> = status.view.models.iter().map(|model| self.line(model, &status.view.alerts)).collect();
        let Some(plain) = &mut self.plain else {
            self.progress.set_position(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
            self.progress.set_message(head);
            for (bar, line) in self.models.iter().zip(lines) {
                bar.set_message(line);
            }
            return Ok(());
        };
        if plain.phase != phase || plain.at.is_none_or(|at| since - at >= PLAIN_EVERY) {
            *plain = Plain { phase, at: Some(since) };
            let lines = lines.iter().map(|line| format!("\n       {line}")).collect::<String>();
            writeln!(io::stdout(), "{head}{lines}")?;
        }
        Ok(())
    }

    /// A mail, framed.
    pub(super) fn mail(&self, message: &Message, path: &str) -> io::Result<()> {
        let colour = if message.subject.starts_with("[RESOLVED") { AnsiColor::Green } else { AnsiColor::Red };
        let rule = "-".repeat(WIDTH - 1);
        let bar = self.paint(Style::new().fg_color(Some(Color::Ansi(colour))), "|");
        let mut text = format!("+{rule}\n{bar} To:      {}\n", message.recipient);
        text.push_str(&format!("{bar} Subject: {}\n{bar}\n", self.paint(Style::new().bold(), &message.subject)));
        // What follows the signature's mark repeats ids for machines.
        let body = message.text.split("\n-- \n").next().unwrap_or_default();
        for line in body.trim_end().lines() {
            text.push_str(format!("{bar} {line}").trim_end());
            text.push('\n');
        }
        text.push_str(&format!("+{rule}\n  saved as {path}\n"));
        self.say(&text)
    }

    /// A paragraph, in lines that fit.
    pub(super) fn paragraph(&self, text: &str) -> io::Result<()> {
        let mut lines = vec![String::new()];
        for word in text.split_whitespace() {
            let line = lines.last().map_or(0, String::len);
            if line > 0 && line + word.len() >= WIDTH {
                lines.push(String::new());
            }
            let Some(line) = lines.last_mut() else { continue };
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        self.say(&lines.join("\n"))
    }

    /// Takes the refreshed lines away.
    pub(super) fn end(&self) {
        self.models.iter().chain([&self.progress]).for_each(ProgressBar::finish_and_clear);
    }

    pub(super) fn bold(&self, text: &str) -> String {
        self.paint(Style::new().bold(), text)
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    fn phase(&self, phase: &str) -> String {
        let red = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Red)));
        if phase.starts_with("INCIDENT") { self.paint(red, phase) } else { phase.to_owned() }
    }

    /// `eta    FIRING      rmse 6.61 min (asia 3.02, eu 8.84, us 2.98)  bias -4.01 min  ...`
    fn line(&self, model: &ModelView, alerts: &[AlertView]) -> String {
        let state = alerts.iter().find(|alert| alert.model == model.name).map(|alert| self.state(alert.state));
        let whole = model.readings.iter().filter(|reading| reading.segment.is_none());
        let values = whole.enumerate().map(|(index, reading)| {
            let segments = if index == 0 { segments(model, reading) } else { String::new() };
            format!("{} {}{segments}", reading.indicator, value(reading))
        });
        let values: Vec<String> = values.collect();
        format!("{:<6} {} {}", model.name, state.unwrap_or_default(), values.join("  "))
    }

    fn state(&self, state: State) -> String {
        let (name, colour) = match state {
            State::Insufficient => ("learning", None),
            State::Ok => ("ok", Some(AnsiColor::Green)),
            State::Pending { .. } => ("pending", Some(AnsiColor::Yellow)),
            State::Firing => ("FIRING", Some(AnsiColor::Red)),
            State::Recovering { .. } => ("recovering", Some(AnsiColor::Yellow)),
        };
        let name = format!("{name:<10}");
        colour.map_or(name.clone(), |colour| self.paint(Style::new().fg_color(Some(Color::Ansi(colour))), &name))
    }
}

/// ` (asia 3.02, eu 8.84)`: the headline indicator along the first dimension.
fn segments(model: &ModelView, headline: &ReadingView) -> String {
    let mut of = model.readings.iter().filter(|reading| reading.indicator == headline.indicator);
    let dimension = of.clone().find_map(|reading| reading.segment.as_ref().map(|(dimension, _)| dimension));
    let parts: Vec<String> = of
        .by_ref()
        .filter_map(|reading| {
            let (_, name) = reading.segment.as_ref().filter(|(own, _)| Some(own) == dimension)?;
            Some(format!("{name} {}", number(reading)))
        })
        .collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

fn value(reading: &ReadingView) -> String {
    let unit = if reading.unit.is_empty() { String::new() } else { format!(" {}", reading.unit) };
    number(reading) + &unit
}

fn number(reading: &ReadingView) -> String {
    reading.value.map_or_else(|_| "-".to_owned(), |estimate| format!("{:.2}", estimate.value))
}
