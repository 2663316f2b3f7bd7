//! The real program as a process, and what stands around it: Python, a deadline.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) use crate::faults::webhook::{Hook, Hooks};
use crate::servers::program;

/// Longest wait for anything; only a failing test waits so long.
const DEADLINE: Duration = Duration::from_secs(90);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Waits until `look` sees what is waited for.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "in vain for {}s: {what}", DEADLINE.as_secs());
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A command of the program, ready for more arguments.
pub(crate) fn modelwatch(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_modelwatch"));
    command.args(arguments).env_remove("NOTIFY_SOCKET").env_remove("WATCHDOG_USEC").stdin(Stdio::null());
    command
}

/// Runs a command to its end with `input` as its standard input.
#[track_caller]
pub(crate) fn fed(command: &mut Command, input: &[u8]) -> Output {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a process");
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().unwrap()
    })
}

/// Its standard output, if it ended well.
#[track_caller]
pub(crate) fn stdout(output: Output) -> String {
    assert!(output.status.success(), "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs Python; `None` where there is none.
#[track_caller]
pub(crate) fn python(arguments: &[&str], input: &[u8]) -> Option<String> {
    Some(stdout(fed(program("python3")?.args(arguments), input)))
}

/// A running daemon; it is killed when dropped.
pub(crate) struct Watch {
    child: Child,
    log: PathBuf,
}

impl Watch {
    /// Starts `run` and waits until its pages are served. The log goes to the configuration's `.log`.
    #[track_caller]
    pub(crate) fn start(config: &Path) -> Watch {
        let watch = Watch::start_with(config, &[]);
        eventually("the pages are served", || watch.log().contains("/api/v1/status").then_some(()));
        watch
    }

    pub(crate) fn start_with(config: &Path, environment: &[(&str, &str)]) -> Watch {
        let mut command = modelwatch(&["run"]);
        Watch::spawn(command.arg(config).envs(environment.iter().copied()), config)
    }

    /// Starts a command that becomes `run` with this configuration.
    pub(crate) fn spawn(command: &mut Command, config: &Path) -> Watch {
        let log = config.with_extension("log");
        Watch { child: command.stderr(File::create(&log).unwrap()).spawn().expect("a process"), log }
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// Status code and body of a page.
    #[track_caller]
    pub(crate) fn page(&self, path: &str) -> (u16, String) {
        let log = self.log();
        let (_, address) = log.split_once("status on http://").expect("the address in the log");
        get(address.split('/').next().unwrap(), path)
    }

    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&self.page("/api/v1/status").1).unwrap()
    }

    /// The value of a metric, named with its labels as it is exported.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.page("/metrics");
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }

    /// Waits for a line with these words in the log.
    #[track_caller]
    pub(crate) fn says(&self, words: &str) {
        eventually(&format!("{words:?} in the log:\n{}", self.log()), || self.log().contains(words).then_some(()));
    }

    /// Waits until so many records are counted.
    #[track_caller]
    pub(crate) fn has_committed(&self, records: u64) {
        let read = || -> Option<u64> {
            self.status()["positions"].as_array()?.iter().map(|place| place["next_offset"].as_u64()).sum()
        };
        eventually(&format!("{records} records are read"), || read().filter(|read| *read >= records));
    }

    #[track_caller]
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Sends a signal and waits for the end; gives the exit code, `None` if the signal killed it.
    #[track_caller]
    pub(crate) fn end(mut self, signal: &str) -> Option<i32> {
        self.signal(signal);
        self.exit_code()
    }

    /// The same, with what it has logged.
    #[track_caller]
    pub(crate) fn end_with_log(mut self, signal: &str) -> (Option<i32>, String) {
        self.signal(signal);
        (self.exit_code(), self.log())
    }

    #[track_caller]
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        eventually("the process ends", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
    }
}

fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}
