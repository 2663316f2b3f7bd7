//! A mail server that takes every mail, or fails where it is told to.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::{Gone, Script, Taken};

/// Where a session can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// Ahead of the greeting.
    Connect,
    Ehlo,
    Mail,
    Rcpt,
    Data,
    /// The mail is whole; the answer is not yet given.
    End,
    /// The answer is given.
    Answered,
    Quit,
}

/// A mail server on loopback, without TLS or login.
pub(crate) struct Smtp {
    /// As `host:port`.
    pub(crate) address: String,
    pub(crate) script: Arc<Script<At>>,
    taken: Arc<Mutex<Vec<Taken>>>,
}

impl Smtp {
    pub(crate) fn start() -> Smtp {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let smtp = Smtp { address, script: Arc::new(Script::new()), taken: Arc::default() };
        let (script, taken) = (Arc::clone(&smtp.script), Arc::clone(&smtp.taken));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (script, taken) = (Arc::clone(&script), Arc::clone(&taken));
                std::thread::spawn(move || drop(session(&stream, &script, &taken)));
            }
        });
        smtp
    }

    /// `[notifier.oncall]` for these addresses.
    pub(crate) fn notifier(&self, to: &str, options: &str) -> String {
        format!(
            "[notifier.oncall.email]\nserver = '{}'\ntls = 'none'\nfrom = 'modelwatch@example.test'\nto = {to}\n{options}",
            self.address
        )
    }

    /// All mails so far.
    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }
}

/// One session; `Err` at its end.
fn session(mut stream: &TcpStream, script: &Script<At>, taken: &Mutex<Vec<Taken>>) -> Result<(), Gone> {
    let mut reader = BufReader::new(stream);
    let mut to = String::new();
    say(stream, script, At::Connect, "220 mail.example.test")?;
    loop {
        let line = read_line(&mut reader)?;
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_uppercase();
        match verb.as_str() {
            "EHLO" => say(stream, script, At::Ehlo, "250 mail.example.test")?,
            "MAIL" => say(stream, script, At::Mail, "250 ok")?,
            "RCPT" => {
                to = line.split(['<', '>']).nth(1).unwrap_or_default().to_owned();
                say(stream, script, At::Rcpt, "250 ok")?;
            }
            "DATA" => match script.come(At::Data, stream)? {
                Some(answer) => write!(stream, "{answer}\r\n")?,
                None => {
                    write!(stream, "354 go on\r\n")?;
                    take_mail(stream, &mut reader, &to, script, taken)?;
                }
            },
            "QUIT" => {
                say(stream, script, At::Quit, "221 bye")?;
                return Ok(());
            }
            _ => write!(stream, "250 ok\r\n")?,
        }
    }
}

fn take_mail(
    mut stream: &TcpStream,
    reader: &mut impl BufRead,
    to: &str,
    script: &Script<At>,
    taken: &Mutex<Vec<Taken>>,
) -> Result<(), Gone> {
    let mut text = String::new();
    loop {
        match read_line(reader)? {
            line if line == "." => break,
            line => text.push_str(&(line + "\n")),
        }
    }
    let mail = Taken { to: to.to_owned(), id: message_id(&text), body: without_boundary(&text), answered: false };
    let answer = script.come(At::End, stream);
    // Refused, it is not taken.
    if let Ok(Some(answer)) = answer {
        return Ok(write!(stream, "{answer}\r\n")?);
    }
    // Also when the connection ends here: the server has it.
    let number = {
        let mut taken = taken.lock().unwrap();
        taken.push(mail);
        taken.len() - 1
    };
    answer?;
    write!(stream, "250 2.0.0 taken as {number}\r\n")?;
    taken.lock().unwrap()[number].answered = true;
    script.come(At::Answered, stream).map(drop)
}

fn say(mut stream: &TcpStream, script: &Script<At>, at: At, usual: &str) -> Result<(), Gone> {
    let answer = script.come(at, stream)?;
    Ok(write!(stream, "{}\r\n", answer.as_deref().unwrap_or(usual))?)
}

fn read_line(reader: &mut impl BufRead) -> Result<String, Gone> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line)? == 0 {
        return Err(Gone);
    }
    Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned())
}

fn message_id(text: &str) -> String {
    let value = text.lines().find_map(|line| line.strip_prefix("Message-ID: ")).unwrap_or_default();
    value.trim_matches(['<', '>']).split('@').next().unwrap_or_default().to_owned()
}

/// The text without the MIME boundary, which is another in every attempt.
fn without_boundary(text: &str) -> String {
    match text.split_once("boundary=\"").and_then(|(_, rest)| rest.split_once('"')) {
        Some((boundary, _)) => text.replace(boundary, "BOUNDARY"),
        None => text.to_owned(),
    }
}
