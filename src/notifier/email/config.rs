//! `[notifier.NAME.email]`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;

use crate::settings::{Placed, Secret, Table};

/// Who writes to whom, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The sender; its domain is that of the Message-IDs.
    pub from: Mailbox,
    /// Each gets a message of its own.
    pub to: Vec<Mailbox>,
    /// Where answers go, if not to the sender.
    pub reply_to: Option<Mailbox>,
    /// How mail leaves.
    pub way: Way,
}

/// How mail leaves.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    /// By SMTP.
    Server(Box<Server>),
    /// As files in a directory, for trials.
    Directory(PathBuf),
}

/// The SMTP server.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// Its name, which its certificate must bear.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is encrypted.
    pub tls: Tls,
    /// Certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// User name and password.
    pub login: Option<(String, Secret)>,
    /// What we call ourselves in EHLO; the machine's name if not given.
    pub hello_name: Option<String>,
    /// Longest wait for one step of the session; handing over the message itself may take five times as long.
    pub timeout: Duration,
}

/// How the connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// It begins in plain text and must change to TLS before anything is said (port 587).
    Starttls,
    /// TLS from the first byte (port 465).
    Implicit,
    /// Not at all (port 25).
    None,
}

const TLS: [(&str, Tls); 3] = [("starttls", Tls::Starttls), ("implicit", Tls::Implicit), ("none", Tls::None)];

/// Options that mean nothing when mail is written to a directory.
const SERVER_OPTIONS: [&str; 8] =
    ["server", "tls", "ca_file", "username", "password_file", "password_env", "hello_name", "timeout"];

impl Config {
    /// Reads the table; touches neither files nor network.
    pub fn read(mut table: Table<'_>) -> Option<Config> {
        let from =
            table.required_text("from", "\"modelwatch@example.org\"").and_then(|text| mailbox(&table, "from", &text));
        let to = recipients(&mut table);
        let reply_to = table.text("reply_to").and_then(|text| mailbox(&table, "reply_to", &text));
        let way = way(&mut table);
        table.finish();
        Some(Config { from: from?, to, reply_to, way: way? })
    }
}

fn mailbox(table: &Table<'_>, key: &str, text: &Placed<String>) -> Option<Mailbox> {
    match text.value.parse() {
        Ok(mailbox) => Some(mailbox),
        Err(_) => {
            let message = format!(
                "`{key}`: {:?} is no mail address; write \"ops@example.org\" or \"Ops <ops@example.org>\"",
                text.value
            );
            table.problem(text.span.clone(), message);
            None
        }
    }
}

fn recipients(table: &mut Table<'_>) -> Vec<Mailbox> {
    if !table.has("to") {
        table.missing("to", "[\"ops@example.org\"]");
    }
    let Some(texts) = table.texts("to") else { return Vec::new() };
    if texts.value.is_empty() {
        table.problem(texts.span, "`to` must name somebody: `to = [\"ops@example.org\"]`");
    }
    let mut to: Vec<Mailbox> = Vec::new();
    for text in &texts.value {
        let Some(mailbox) = mailbox(table, "to", text) else { continue };
        if to.iter().any(|other| other.email == mailbox.email) {
            table.problem(text.span.clone(), format!("`to` names `{}` twice", mailbox.email));
        }
        to.push(mailbox);
    }
    to
}

fn way(table: &mut Table<'_>) -> Option<Way> {
    let Some(directory) = table.text("directory") else {
        return server(table).map(|server| Way::Server(Box::new(server)));
    };
    for key in SERVER_OPTIONS {
        if let Some(given) = table.text(key) {
            table.problem(given.span, format!("with `directory` no mail is sent: leave out `{key}`, or `directory`"));
        }
    }
    Some(Way::Directory(directory.value.into()))
}

fn server(table: &mut Table<'_>) -> Option<Server> {
    let tls = if table.place("tls").is_some() { table.choice("tls", &TLS) } else { Some(Tls::Starttls) };
    let address = table.required_text("server", "\"mail.example.org:587\"");
    let address = address.and_then(|text| host_and_port(table, &text, tls));
    let ca_file = table.text("ca_file").map(|path| path.value.into());
    let login = login(table);
    let hello_name = hello_name(table);
    let timeout = table.duration("timeout").map_or(Duration::from_secs(60), |timeout| timeout.value);
    let (host, port) = address?;
    let tls = tls?;
    if tls == Tls::None && login.is_some() && !is_loopback(&host) {
        let message =
            "`username` with `tls = \"none\"` would send the password in plain text; use \"starttls\" or \"implicit\"";
        table.problem(table.span_of("username"), message);
    }
    Some(Server { host, port, tls, ca_file, login, hello_name, timeout })
}

/// `host`, `host:port`, `[::1]:port`.
fn host_and_port(table: &Table<'_>, text: &Placed<String>, tls: Option<Tls>) -> Option<(String, u16)> {
    let default = match tls {
        Some(Tls::Starttls) | None => 587,
        Some(Tls::Implicit) => 465,
        Some(Tls::None) => 25,
    };
    let (host, port) = match text.value.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok().filter(|port| *port > 0)),
        _ => (text.value.as_str(), Some(default)),
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let valid = !bare.is_empty() && bare.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':'));
    // A colon in the host belongs in brackets: else `::1` would be read as host `:` and port 1.
    match port {
        Some(port) if valid && (bare != host || !bare.contains(':')) => Some((bare.to_owned(), port)),
        _ => {
            let message =
                format!("`server`: {:?} is no server; write \"mail.example.org:587\" or \"[::1]:25\"", text.value);
            table.problem(text.span.clone(), message);
            None
        }
    }
}

fn login(table: &mut Table<'_>) -> Option<(String, Secret)> {
    let username = table.text("username");
    let secret = Secret::read(table, "password_file", "password_env");
    match (username, secret) {
        (Some(username), Some(secret)) => Some((username.value, secret)),
        (Some(username), None) => {
            table.problem(username.span, "`username` needs `password_file` or `password_env`");
            None
        }
        (None, Some(_)) => {
            table.problem(table.span(), "has a password but no `username`");
            None
        }
        (None, None) => None,
    }
}

fn hello_name(table: &mut Table<'_>) -> Option<String> {
    let name = table.text("hello_name")?;
    if name.value.is_empty()
        || !name.value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '[' | ']' | ':'))
    {
        table.problem(name.span, "`hello_name` must be a host name, such as \"watch.example.org\"");
        return None;
    }
    Some(name.value)
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notifier::tests::{check_problems, read};

    const BASE: &str =
        "[notifier.ops.email]\nfrom = 'Watch <watch@a.example>'\nto = ['x@b.example', 'Y <y@b.example>']\n";

    #[track_caller]
    fn check(options: &str, expected: &[&str]) {
        check_problems(&format!("{BASE}{options}"), expected);
    }

    #[track_caller]
    fn check_address(options: &str, host: &str, port: u16) {
        let (config, problems) = read(&format!("{BASE}{options}"));
        assert_eq!(problems, Vec::<String>::new());
        let Some(crate::notifier::Config::Email(Config { way: Way::Server(server), .. })) = config else {
            panic!("{config:?}")
        };
        assert_eq!((server.host.as_str(), server.port), (host, port));
    }

    #[test]
    fn the_port_follows_from_tls() {
        check_address("server = 'mail'", "mail", 587);
        check_address("server = 'mail'\ntls = 'implicit'", "mail", 465);
        check_address("server = '[::1]'\ntls = 'none'", "::1", 25);
        check_address("server = '[::1]:2525'\ntls = 'none'", "::1", 2525);
        check_address("server = 'mail.example:26'", "mail.example", 26);
    }

    #[test]
    fn every_mistake_is_told() {
        check(
            "server = 'mail:x'",
            &["`server`: \"mail:x\" is no server; write \"mail.example.org:587\" or \"[::1]:25\""],
        );
        check("server = '::1'", &["`server`: \"::1\" is no server; write \"mail.example.org:587\" or \"[::1]:25\""]);
        check("server = 'm'\nusername = 'u'", &["`username` needs `password_file` or `password_env`"]);
        check("server = 'm'\npassword_env = 'P'", &["has a password but no `username`"]);
        check(
            "server = 'm'\nusername = 'u'\npassword_env = 'P'\npassword_file = 'p'",
            &["give either `password_file` or `password_env`, not both"],
        );
        check(
            "server = 'm'\ntls = 'none'\nusername = 'u'\npassword_env = 'P'",
            &[
                "`username` with `tls = \"none\"` would send the password in plain text; use \"starttls\" or \"implicit\"",
            ],
        );
        check("server = '127.0.0.1'\ntls = 'none'\nusername = 'u'\npassword_env = 'P'", &[]);
        check(
            "directory = '/x'\nserver = 'm'",
            &["with `directory` no mail is sent: leave out `server`, or `directory`"],
        );
        check("server = 'm'\nhello_name = 'a b'", &["`hello_name` must be a host name, such as \"watch.example.org\""]);
        check("", &["notifier `ops.email` needs `server`, for example `server = \"mail.example.org:587\"`"]);
        check("directory = '/x'\ntiemout = '1s'", &["unknown option `tiemout`, did you mean `timeout`?"]);
    }

    #[test]
    fn all_bad_addresses_are_told_at_once() {
        check_problems(
            "[notifier.ops.email]\nfrom = 'nobody'\nto = ['a@b.example', 'c', 'a@b.example', 'd@e\\nBcc: x@y']\ndirectory = '/x'",
            &[
                "`from`: \"nobody\" is no mail address; write \"ops@example.org\" or \"Ops <ops@example.org>\"",
                "`to`: \"c\" is no mail address; write \"ops@example.org\" or \"Ops <ops@example.org>\"",
                "`to` names `a@b.example` twice",
                "`to`: \"d@e\\\\nBcc: x@y\" is no mail address; write \"ops@example.org\" or \"Ops <ops@example.org>\"",
            ],
        );
    }
}
