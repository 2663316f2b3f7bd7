//! Receivers that can fail at every step: what they do instead of the usual, and what they have taken.

pub(crate) mod smtp;
pub(crate) mod webhook;

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use std::net::TcpStream;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use crate::process::eventually;

/// What a receiver does instead of the usual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// This answer.
    Say(String),
    /// Ends the connection.
    Drop,
    /// Nothing, until the client has gone or [`Script::resume`] is called; then the usual.
    Hang,
}

/// Where a receiver does what, and how often it did.
pub(crate) struct Script<At> {
    state: Mutex<State<At>>,
    resumed: Condvar,
}

struct State<At> {
    fault: Option<(At, Act)>,
    times_left: usize,
    reached: usize,
    hangs: bool,
}

impl<At: Copy + PartialEq + Debug> Script<At> {
    pub(crate) fn new() -> Script<At> {
        let state = State { fault: None, times_left: 0, reached: 0, hangs: true };
        Script { state: Mutex::new(state), resumed: Condvar::new() }
    }

    /// The next time that a client comes to `at`.
    pub(crate) fn once(&self, at: At, act: Act) {
        self.times(at, act, 1);
    }

    /// Whenever a client comes to `at`.
    pub(crate) fn always(&self, at: At, act: Act) {
        self.times(at, act, usize::MAX);
    }

    fn times(&self, at: At, act: Act, times: usize) {
        *self.state.lock().unwrap() = State { fault: Some((at, act)), times_left: times, reached: 0, hangs: true };
    }

    /// All goes its usual way from now on; whoever hangs goes on.
    pub(crate) fn resume(&self) {
        let mut state = self.state.lock().unwrap();
        (state.fault, state.hangs) = (None, false);
        self.resumed.notify_all();
    }

    /// How often the fault happened.
    pub(crate) fn reached(&self) -> usize {
        self.state.lock().unwrap().reached
    }

    #[track_caller]
    pub(crate) fn wait_until_reached(&self) {
        eventually("a client comes to where the fault is", || (self.reached() > 0).then_some(()));
    }

    /// A client has come to `at`. What is to be said instead of the usual, `Ok(None)` for the usual, `Err` for the end.
    fn come(&self, at: At, stream: &TcpStream) -> Result<Option<String>, Gone> {
        let mut state = self.state.lock().unwrap();
        let act = match &state.fault {
            Some((fault, act)) if *fault == at && state.times_left > 0 => act.clone(),
            _ => return Ok(None),
        };
        state.times_left -= 1;
        state.reached += 1;
        drop(state);
        match act {
            Act::Say(answer) => Ok(Some(answer)),
            Act::Drop => Err(Gone),
            Act::Hang => self.hang(stream),
        }
    }

    fn hang(&self, stream: &TcpStream) -> Result<Option<String>, Gone> {
        stream.set_nonblocking(true).map_err(|_| Gone)?;
        let mut state = self.state.lock().unwrap();
        while state.hangs {
            let read = stream.peek(&mut [0]);
            if !matches!(&read, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
                && !matches!(read, Ok(1..))
            {
                return Err(Gone);
            }
            state = self.resumed.wait_timeout(state, Duration::from_millis(20)).unwrap().0;
        }
        drop(state);
        stream.set_nonblocking(false).map_err(|_| Gone)?;
        Ok(None)
    }
}

/// The connection has ended.
#[derive(Debug)]
struct Gone;

impl From<std::io::Error> for Gone {
    fn from(_: std::io::Error) -> Gone {
        Gone
    }
}

/// One notice that a receiver took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// A mail address, or the address of a webhook.
    pub(crate) to: String,
    /// The left part of the Message-ID, or the Idempotency-Key.
    pub(crate) id: String,
    /// All of it that must be the same in every attempt.
    pub(crate) body: String,
    /// Whether the answer was given.
    pub(crate) answered: bool,
}

/// Who took what how often, for the reader of a failure.
pub(crate) fn ledger(taken: &[Taken]) -> String {
    let mut times: BTreeMap<(&str, &str), Vec<&Taken>> = BTreeMap::new();
    for notice in taken {
        times.entry((&notice.to, &notice.id)).or_default().push(notice);
    }
    let mut text = String::new();
    for ((to, id), taken) in times {
        let answers: Vec<&str> =
            taken.iter().map(|notice| if notice.answered { "answered" } else { "not answered" }).collect();
        let same = if taken.iter().all(|notice| notice.body == taken[0].body) { "" } else { ", DIFFERENT BODIES" };
        writeln!(text, "  {to} <- {id}: {}{same}", answers.join(", ")).unwrap();
    }
    text
}
