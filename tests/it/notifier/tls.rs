//! Certificates: `ca_file` is trusted, nothing else is. The peer is Python's `ssl`, with a certificate of `openssl`.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use modelwatch::alert::Change;
use modelwatch::clock::SystemClock;
use modelwatch::notifier::{SendError, build};

use super::sample::{message, transition};

/// Speaks just enough SMTP or HTTP for one session after the other.
const SERVER: &str = r#"
import socket, ssl, sys
mode, certificate, key = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
def talk(connection, encrypted):
    lines = connection.makefile("rwb", buffering=0)
    say = lambda text: lines.write(text.encode() + b"\r\n")
    if mode == "https":
        length = 0
        while (line := lines.readline().strip().lower()):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        while length > 0:
            length -= len(connection.recv(length))
        return say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")
    if encrypted == (mode == "implicit"):
        say("220 mail")
    while (line := lines.readline()):
        verb = line.split()[0].upper() if line.split() else b""
        if verb == b"EHLO":
            say("250 ok" if encrypted else "250-mail\r\n250 STARTTLS")
        elif verb == b"STARTTLS":
            say("220 go on")
            return talk(context.wrap_socket(connection, server_side=True), True)
        elif verb == b"DATA":
            say("354 go on")
            while lines.readline() != b".\r\n":
                pass
            say("250 queued, encrypted: %s" % encrypted)
        else:
            say("250 ok")
while True:
    connection, _ = listener.accept()
    try:
        if mode == "starttls":
            talk(connection, False)
        else:
            talk(context.wrap_socket(connection, server_side=True), True)
    except (OSError, ValueError):
        pass
    connection.close()
"#;

struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("ended");
    }
}

fn server(mode: &str, certificate: &Path, key: &Path) -> Server {
    let mut command = Command::new("python3");
    command.args(["-c", SERVER, mode]).arg(certificate).arg(key).stdout(Stdio::piped());
    let mut child = command.spawn().expect("python3");
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut line).expect("a line");
    Server { child, port: line.trim().parse().expect("a port") }
}

/// A certificate of its own for `localhost`, and its key.
fn certificate(directory: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
                     -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE";
    let mut command = Command::new("openssl");
    command.args(arguments.split_whitespace()).arg("-out").arg(&certificate).arg("-keyout").arg(&key);
    assert!(command.stderr(Stdio::null()).status().expect("openssl").success());
    (certificate, key)
}

async fn send(options: &str) -> Result<String, SendError> {
    let text = format!("[notifier.ops.{options}");
    let notifier = build("ops", &super::config(&text), Arc::new(SystemClock)).expect("it builds");
    notifier.send(&message(&[transition(Change::Fired)], "ops@b.example")).await
}

#[tokio::test]
async fn only_the_given_certificates_are_trusted() {
    let directory = tempfile::tempdir().expect("a directory");
    let (certificate, key) = certificate(directory.path());
    let (other, _) = {
        std::fs::create_dir(directory.path().join("other")).expect("a directory");
        self::certificate(&directory.path().join("other"))
    };
    for (mode, expected) in
        [("implicit", "250 queued, encrypted: True"), ("starttls", "250 queued, encrypted: True"), ("https", "200 OK")]
    {
        let server = server(mode, &certificate, &key);
        let options = match mode {
            "https" => format!("webhook]\nurl = 'https://localhost:{}/'", server.port),
            _ => format!(
                "email]\nfrom = 'a@b.example'\nto = ['ops@b.example']\nserver = 'localhost:{}'\ntls = '{mode}'",
                server.port
            ),
        };
        let trusted = send(&format!("{options}\nca_file = {certificate:?}")).await;
        assert_eq!(trusted, Ok(expected.to_owned()), "{mode}");
        let distrusted = send(&format!("{options}\nca_file = {other:?}")).await;
        assert!(
            matches!(&distrusted, Err(SendError::Retry { reason, .. }) if reason.contains("certificate")),
            "{mode}: {distrusted:?}"
        );
    }
}

#[test]
fn a_file_without_certificates_is_no_ca_file() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    for options in
        ["email]\nfrom = 'a@b.example'\nto = ['c@d.example']\nserver = 'mail'", "webhook]\nurl = 'https://localhost/'"]
    {
        let config = super::config(&format!("[notifier.ops.{options}\nca_file = {:?}", file.path()));
        let error = build("ops", &config, Arc::new(SystemClock)).err().expect("an error").to_string();
        assert!(
            error.starts_with("notifier `ops`, `ca_file`: ") && error.ends_with("holds no certificate in PEM form"),
            "{error}"
        );
    }
}
