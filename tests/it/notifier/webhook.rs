//! Webhooks against a scripted HTTP server.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use modelwatch::alert::Change;
use modelwatch::clock::{Clock, Timestamp};
use modelwatch::notifier::{SendError, build};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::sample::{EIGHT, message, transition};

#[derive(Debug)]
struct Fixed;

impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        EIGHT
    }
}

/// Answers one request with `reply` (hangs if it is empty); gives the request.
async fn server(reply: String) -> (u16, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a client");
        let mut request = String::new();
        let mut buffer = [0; 65_536];
        while !is_complete(&request) {
            let count = stream.read(&mut buffer).await.expect("bytes");
            request.push_str(std::str::from_utf8(&buffer[..count]).expect("text"));
        }
        if reply.is_empty() {
            std::future::pending::<()>().await;
        }
        stream.write_all(reply.as_bytes()).await.expect("written");
        request
    });
    (port, task)
}

fn is_complete(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length = header(head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    body.len() >= length
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(found, _)| found.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

async fn post(port: u16, options: &str) -> Result<String, SendError> {
    let text =
        format!("[notifier.hook.webhook]\nurl = 'http://127.0.0.1:{port}/services/T0PSECRET?key=T0PSECRET'\n{options}");
    let notifier = build("hook", &super::config(&text), Arc::new(Fixed)).expect("it builds");
    assert_eq!(notifier.recipients(), ["hook"]);
    notifier.send(&message(&[transition(Change::Fired)], "hook")).await
}

async fn answer(reply: &str) -> Result<String, SendError> {
    let (port, _task) = server(format!("HTTP/1.1 {reply}")).await;
    let answer = post(port, "timeout = '5s'").await;
    assert!(!format!("{answer:?}").contains("T0PSECRET"), "{answer:?}");
    answer
}

/// HMAC-SHA256 as Python's standard library computes it.
fn python_hmac(key: &str, text: &str) -> String {
    let program =
        "import sys,hmac; print(hmac.new(sys.argv[1].encode(), sys.stdin.buffer.read(), 'sha256').hexdigest())";
    let mut child = Command::new("python3")
        .args(["-c", program, key])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    std::io::Write::write_all(&mut child.stdin.take().expect("stdin"), text.as_bytes()).expect("written");
    String::from_utf8(child.wait_with_output().expect("output").stdout).expect("text").trim().to_owned()
}

#[tokio::test]
async fn a_post_is_signed_and_bears_its_key() {
    let secrets = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = secrets.path().join(name);
        std::fs::write(&path, text).expect("written");
        path
    };
    let options = format!(
        "secret_file = {:?}\nauthorization_file = {:?}\nheaders = {{ X-Team = 'ml' }}",
        file("secret", "s3cret\n"),
        file("authorization", "Bearer t0ken\n"),
    );
    let (port, task) = server("HTTP/1.1 202 Accepted\r\nContent-Length: 6\r\n\r\nqueued".to_owned()).await;
    assert_eq!(post(port, &options).await, Ok("202 Accepted: queued".to_owned()));
    let request = task.await.expect("a request");
    let (head, body) = request.split_once("\r\n\r\n").expect("head and body");
    let expected = message(&[transition(Change::Fired)], "hook");
    assert_eq!(body, expected.json);
    assert!(head.starts_with("POST /services/T0PSECRET?key=T0PSECRET HTTP/1.1\r\n"), "{head}");
    assert_eq!(header(head, "content-type"), Some("application/json"));
    assert_eq!(header(head, "idempotency-key"), Some(expected.id.as_str()));
    assert_eq!(header(head, "x-modelwatch-timestamp"), Some("1769842800"));
    assert_eq!(header(head, "authorization"), Some("Bearer t0ken"));
    assert_eq!(header(head, "x-team"), Some("ml"));
    let signature = format!("v1={}", python_hmac("s3cret", &format!("1769842800.{body}")));
    assert_eq!(header(head, "x-modelwatch-signature"), Some(signature.as_str()));
}

#[tokio::test]
async fn passing_trouble_is_tried_again_when_the_receiver_says() {
    for (reply, expected) in [
        ("408 Request Timeout\r\n\r\n", None),
        ("425 Too Early\r\n\r\n", None),
        ("429 Too Many Requests\r\nRetry-After: 7\r\n\r\nslow down", Some(7)),
        ("503 Service Unavailable\r\nRetry-After: Sat, 31 Jan 2026 07:02:00 GMT\r\n\r\n", Some(120)),
        ("503 Service Unavailable\r\nRetry-After: 86400\r\n\r\n", Some(3_600)),
        ("500 Internal Server Error\r\n\r\noops", None),
    ] {
        let answer = answer(reply).await;
        let Err(SendError::Retry { after, reason }) = &answer else { panic!("{reply}: {answer:?}") };
        assert_eq!(*after, expected.map(Duration::from_secs), "{reply}");
        assert!(reason.contains("(http://127.0.0.1:") && reason.starts_with(&reply[..3]), "{reason}");
    }
}

#[tokio::test]
async fn refusals_are_final_and_quote_the_receiver() {
    let body = format!("bad\r\n\u{1b}[31m field {}", "x".repeat(1_000));
    for status in [
        "400 Bad Request",
        "401 Unauthorized",
        "404 Not Found",
        "410 Gone",
        "302 Found\r\nLocation: http://127.0.0.1:1/",
    ] {
        let answer = answer(&format!("{status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
        let Err(SendError::Refused { reason }) = &answer else { panic!("{status}: {answer:?}") };
        assert!(reason.contains(&status[..3]) && reason.contains("bad [31m field xxx"), "{reason}");
        assert!(reason.len() < 300 && !reason.contains(char::is_control), "{reason}");
    }
}

#[tokio::test]
async fn the_network_is_tried_again_without_naming_the_address() {
    let (hanging, _task) = server(String::new()).await;
    for (port, options) in [(1, ""), (hanging, "timeout = '100ms'")] {
        let answer = post(port, options).await;
        let Err(SendError::Retry { reason, after: None }) = &answer else { panic!("{answer:?}") };
        assert!(!reason.contains("T0PSECRET"), "{reason}");
        assert!(reason.contains("refused") || reason.contains("timed out"), "{reason}");
    }
}

#[tokio::test]
async fn a_secret_is_hidden_however_it_is_quoted_and_where_the_answer_breaks_off() {
    for body in [
        "no \\/services\\/T0PSECRET".to_owned(),
        "no key: T0PSECRET".to_owned(),
        format!("{} /services/T0PSECRET", "x".repeat(184)),
        format!("{} key=T0PSECRET", "x".repeat(189)),
    ] {
        let answer = answer(&format!("404 Not Found\r\nContent-Length: {}\r\n\r\n{body}", body.len())).await;
        let Err(SendError::Refused { reason }) = &answer else { panic!("{answer:?}") };
        assert!(reason.contains("*** (http://") && !reason.contains("T0P"), "{reason}");
    }
}
