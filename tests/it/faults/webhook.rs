//! A receiver of webhooks that takes everything, or fails where it is told to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::{Gone, Script, Taken};
use crate::process::eventually;

/// Where an exchange can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Connect,
    /// The headers are read, the body is not.
    Headers,
    /// All is read; the answer is not yet given.
    Body,
    /// The answer is given.
    Answered,
}

/// One webhook as it came over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Hook {
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub(crate) body: String,
    answered: bool,
}

impl Hook {
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(header, _)| header == name);
        &found.unwrap_or_else(|| panic!("no header {name} in {:?}", self.headers)).1
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// A receiver of webhooks on loopback.
pub(crate) struct Hooks {
    pub(crate) url: String,
    pub(crate) script: Arc<Script<At>>,
    heard: Arc<Mutex<Vec<Hook>>>,
    answer: Arc<AtomicU16>,
}

impl Hooks {
    pub(crate) fn start() -> Hooks {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (script, answer) = (Arc::new(Script::new()), Arc::new(AtomicU16::new(200)));
        let hooks = Hooks { url, script, heard: Arc::default(), answer };
        let exchange = (Arc::clone(&hooks.script), Arc::clone(&hooks.heard), Arc::clone(&hooks.answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, heard, answer) = exchange.clone();
                std::thread::spawn(move || {
                    let connected = script.come(At::Connect, &stream);
                    while connected.is_ok() && receive(&stream, &script, &heard, &answer).is_ok() {}
                });
            }
        });
        hooks
    }

    /// What it says from now on.
    pub(crate) fn answer(&self, code: u16) {
        self.answer.store(code, Ordering::SeqCst);
    }

    /// Everything so far, also what was refused.
    pub(crate) fn heard(&self) -> Vec<Hook> {
        self.heard.lock().unwrap().clone()
    }

    /// Everything so far, with what was refused by the script left out.
    pub(crate) fn taken(&self) -> Vec<Taken> {
        let taken = |hook: Hook| {
            let (to, id) = (self.url.clone(), hook.header("idempotency-key").to_owned());
            Taken { to, id, body: hook.body, answered: hook.answered }
        };
        self.heard().into_iter().map(taken).collect()
    }

    /// Waits until there are at least so many.
    #[track_caller]
    pub(crate) fn wait_for(&self, count: usize) -> Vec<Hook> {
        eventually(&format!("{count} webhooks"), || Some(self.heard()).filter(|heard| heard.len() >= count))
    }
}

/// One request; `Err` at the end of the connection.
fn receive(
    mut stream: &TcpStream,
    script: &Script<At>,
    heard: &Mutex<Vec<Hook>>,
    answer: &AtomicU16,
) -> Result<(), Gone> {
    let mut reader = BufReader::new(stream);
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(Gone);
        }
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_lowercase(), value.to_owned())),
            None if line.trim_end().is_empty() => break,
            None => {}
        }
    }
    if let Some(answer) = script.come(At::Headers, stream)? {
        return Ok(write!(stream, "HTTP/1.1 {answer}")?);
    }
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.ok_or(Gone)?];
    reader.read_exact(&mut body)?;
    let hook = Hook { headers, body: String::from_utf8(body).map_err(|_| Gone)?, answered: false };
    let said = script.come(At::Body, stream);
    // Refused, it is not taken.
    if let Ok(Some(answer)) = said {
        write!(stream, "HTTP/1.1 {answer}")?;
        // Whatever is left out of the answer, it has ended.
        return Err(Gone);
    }
    let number = {
        let mut heard = heard.lock().unwrap();
        heard.push(hook);
        heard.len() - 1
    };
    said?;
    let code = answer.load(Ordering::SeqCst);
    write!(stream, "HTTP/1.1 {code} As Told\r\nContent-Length: 0\r\n\r\n")?;
    heard.lock().unwrap()[number].answered = true;
    script.come(At::Answered, stream).map(drop)
}
