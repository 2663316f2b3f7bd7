//! Mail against a scripted SMTP server.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use modelwatch::alert::{Change, Transition};
use modelwatch::clock::SystemClock;
use modelwatch::notifier::{Notifier, SendError, build};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::sample::{message, transition};

/// What the server does at a verb instead of the usual; `CONNECT` is the greeting, `END` the end of the message.
#[derive(Clone, Copy)]
enum Act {
    Say(&'static str),
    Drop,
    Hang,
}

type Script = HashMap<&'static str, Act>;

/// Everything that the client sent.
type Heard = Arc<Mutex<String>>;

async fn server(script: Script) -> (u16, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let heard = Heard::default();
    let log = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(session(stream, script.clone(), Arc::clone(&log)));
        }
    });
    (port, heard)
}

async fn session(mut stream: TcpStream, script: Script, heard: Heard) -> Option<()> {
    let (reader, mut writer) = stream.split();
    let mut lines = BufReader::new(reader).lines();
    answer(&mut writer, &script, "CONNECT", "220 mail").await?;
    let mut in_message = false;
    while let Ok(Some(line)) = lines.next_line().await {
        heard.lock().expect("lock").push_str(&format!("{line}\n"));
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_owned();
        if in_message {
            in_message = line != ".";
            if line == "." {
                answer(&mut writer, &script, "END", "250 2.0.0 queued as 7F3A").await?;
            }
            continue;
        }
        in_message = verb == "DATA" && !script.contains_key("DATA");
        let usual = match verb.as_str() {
            "EHLO" => "250-mail\r\n250 AUTH PLAIN LOGIN",
            "DATA" => "354 go on",
            "AUTH" => "235 welcome",
            "QUIT" => "221 bye",
            _ => "250 ok",
        };
        answer(&mut writer, &script, &verb, usual).await?;
    }
    Some(())
}

/// `None` ends the session.
async fn answer(writer: &mut (impl AsyncWriteExt + Unpin), script: &Script, verb: &str, usual: &str) -> Option<()> {
    match script.get(verb) {
        None => writer.write_all(format!("{usual}\r\n").as_bytes()).await.ok(),
        Some(Act::Say(reply)) => writer.write_all(format!("{reply}\r\n").as_bytes()).await.ok(),
        Some(Act::Drop) => None,
        Some(Act::Hang) => std::future::pending().await,
    }
}

fn notifier(options: &str) -> Box<dyn Notifier> {
    let text = format!(
        "[notifier.ops.email]\nfrom = 'Watch <watch@a.example>'\nto = ['Ops Team <ops@b.example>', 'x@c.example']\n{options}"
    );
    build("ops", &super::config(&text), Arc::new(SystemClock)).expect("it builds")
}

async fn send(script: &[(&'static str, Act)], options: &str) -> (Result<String, SendError>, String) {
    let (port, heard) = server(script.iter().copied().collect()).await;
    let notifier = notifier(&format!("server = '127.0.0.1:{port}'\ntls = 'none'\n{options}"));
    let answer = notifier.send(&message(&[transition(Change::Fired)], "ops@b.example")).await;
    let heard = heard.lock().expect("lock").clone();
    (answer, heard)
}

#[track_caller]
fn assert_retry(answer: Result<String, SendError>, words: &str) {
    assert!(matches!(&answer, Err(SendError::Retry { reason, .. }) if reason.contains(words)), "{words}: {answer:?}");
}

#[track_caller]
fn assert_refused(answer: Result<String, SendError>, words: &str) {
    assert!(matches!(&answer, Err(SendError::Refused { reason }) if reason.contains(words)), "{words}: {answer:?}");
}

#[tokio::test]
async fn a_message_is_handed_over_to_one_recipient() {
    let (answer, heard) = send(&[], "hello_name = 'watch.a.example'").await;
    assert_eq!(answer, Ok("250 2.0.0 queued as 7F3A".to_owned()));
    let begin = "EHLO watch.a.example\nMAIL FROM:<watch@a.example>\nRCPT TO:<ops@b.example>\nDATA\n";
    assert!(heard.starts_with(begin), "{heard}");
    for line in [
        "From: Watch <watch@a.example>",
        "To: \"Ops Team\" <ops@b.example>",
        "Subject: [FIRING critical] eta rmse 5.312 > 4",
        "Message-ID: <eta-rmse-20260131t0710-7f3a.1.",
        "Date: Sat, 31 Jan 2026 07:12:00 +0000",
        "Auto-Submitted: auto-generated",
        "X-Auto-Response-Suppress: All",
        "Importance: high",
        "X-Modelwatch-Severity: critical",
        "X-Modelwatch-Rule: eta-rmse",
        "MIME-Version: 1.0",
        "Content-Type: multipart/alternative;",
    ] {
        assert!(heard.lines().any(|heard| heard.starts_with(line)), "{line} is not in\n{heard}");
    }
    let (text, html) = (heard.find("Content-Type: text/plain"), heard.find("Content-Type: text/html"));
    assert!(text.is_some() && text < html, "{text:?} {html:?}");
    assert!(!heard.contains("In-Reply-To"), "{heard}");
    assert!(heard.lines().all(|line| line.len() <= 998));
}

#[tokio::test]
async fn transient_replies_are_tried_again_at_every_verb() {
    for verb in ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "END"] {
        let (answer, _) = send(&[(verb, Act::Say("451 4.3.0 later, please"))], "").await;
        assert_retry(answer, "451 4.3.0 later, please");
    }
    assert_retry(send(&[("MAIL", Act::Say("421 shutting down"))], "").await.0, "421 shutting down");
}

#[tokio::test]
async fn only_a_refusal_of_the_message_is_final() {
    for verb in ["MAIL", "RCPT", "DATA", "END"] {
        let (answer, _) = send(&[(verb, Act::Say("550-5.1.1 no such user\r\n550 5.1.1 here"))], "").await;
        assert_refused(answer, "550 5.1.1 no such user here");
    }
    for verb in ["CONNECT", "EHLO"] {
        assert_retry(send(&[(verb, Act::Say("554 5.7.1 not you"))], "").await.0, "554 5.7.1 not you");
    }
}

#[tokio::test]
async fn lost_connections_and_silence_are_tried_again() {
    for verb in ["CONNECT", "EHLO", "RCPT", "DATA", "END"] {
        assert_retry(send(&[(verb, Act::Drop)], "").await.0, "127.0.0.1:");
    }
    for verb in ["CONNECT", "EHLO", "RCPT", "END"] {
        assert_retry(send(&[(verb, Act::Hang)], "timeout = '100ms'").await.0, "no answer within");
    }
    let closed = notifier("server = '127.0.0.1:1'\ntls = 'none'");
    assert_retry(closed.send(&message(&[transition(Change::Fired)], "ops@b.example")).await, "onnection refused");
}

#[tokio::test]
async fn a_message_that_was_taken_stays_taken_whatever_quit_does() {
    for act in [Act::Hang, Act::Drop, Act::Say("500 what?")] {
        assert_eq!(send(&[("QUIT", act)], "").await.0, Ok("250 2.0.0 queued as 7F3A".to_owned()));
    }
}

#[tokio::test]
async fn a_refused_login_is_tried_again_and_tells_no_secret() {
    let password = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(password.path(), "hunter2hunter2\n").expect("written");
    let options = format!("username = 'watch'\npassword_file = {:?}", password.path());
    let (answer, heard) = send(&[], &options).await;
    assert!(answer.is_ok(), "{answer:?}");
    // base64 of "\0watch\0hunter2hunter2"
    assert!(heard.contains("AUTH PLAIN AHdhdGNoAGh1bnRlcjJodW50ZXIy\n"), "{heard}");
    let replies = [
        "535 5.7.8 bad login",
        "500 what is AUTH PLAIN AHdhdGNoAGh1bnRlcjJodW50ZXIy",
        "535 hunter2hunter2 is wrong, and so is aHVudGVyMmh1bnRlcjI=",
    ];
    for reply in replies {
        let (answer, _) = send(&[("AUTH", Act::Say(reply))], &options).await;
        let said = format!("{answer:?}");
        assert!(["hunter2", "AHdhdGNo", "aHVudGVy"].iter().all(|secret| !said.contains(secret)), "{said}");
        assert_retry(answer, ", at the login)");
    }
    assert_retry(send(&[("MAIL", Act::Say("530 5.7.0 login first"))], "").await.0, "530 5.7.0 login first");
}

#[tokio::test]
async fn starttls_is_never_done_without() {
    let (port, heard) = server(Script::new()).await;
    let notifier = notifier(&format!("server = '127.0.0.1:{port}'"));
    assert_retry(
        notifier.send(&message(&[transition(Change::Fired)], "ops@b.example")).await,
        "STARTTLS is not supported",
    );
    assert!(!heard.lock().expect("lock").contains("MAIL"));
}

#[tokio::test]
async fn mail_in_a_directory_names_the_thread_and_survives_hostile_names() {
    let directory = tempfile::tempdir().expect("a directory");
    let mails = directory.path().join("mails");
    let notifier = notifier(&format!("directory = {mails:?}"));
    let transition = Transition {
        sequence: 2,
        model: "a\r\nBcc: evil@x.example\r\n\r\n<b>".to_owned(),
        rule: "Überwachung\r\nX: y".to_owned(),
        ..transition(Change::Resolved)
    };
    let mut message = message(&[transition], "gone@d.example");
    // Even if the renderer's cleaning failed.
    message.headers.push(("X-Raw".to_owned(), "a\r\nBcc: evil@x.example".to_owned()));
    message.subject.push_str("\r\nBcc: evil@x.example");
    for _ in 0..2 {
        notifier.send(&message).await.expect("written");
    }
    assert_eq!(std::fs::read_dir(&mails).expect("a directory").count(), 1, "another attempt replaces the file");
    let mail = std::fs::read_to_string(mails.join(format!("{}.eml", message.id))).expect("a mail");
    let (head, _) = mail.split_once("\r\n\r\n").expect("head and body");
    assert!(!head.lines().any(|line| line.starts_with("Bcc") || line.starts_with("X:")), "{head}");
    let root = message.thread.expect("a thread");
    assert!(head.contains(&format!("In-Reply-To: <{root}@a.example>\r\n")), "{head}");
    assert!(head.contains(&format!("References: <{root}@a.example>\r\n")), "{head}");
    assert!(head.contains("To: gone@d.example\r\n"), "{head}");
    assert!(head.is_ascii(), "{head}");
}

#[tokio::test]
async fn another_parser_finds_the_same_mail() {
    const PROGRAM: &str = "import email, email.policy, json, sys
mail = email.message_from_binary_file(open(sys.argv[1], 'rb'), policy=email.policy.default)
text, html = mail.iter_parts()
print(json.dumps([str(mail.defects), mail['subject'], mail['x-modelwatch-model'], text.get_content(), html.get_content()]))";
    let directory = tempfile::tempdir().expect("a directory");
    let notifier = notifier(&format!("directory = {:?}", directory.path()));
    let message =
        message(&[Transition { model: "Prüfung–模型".to_owned(), ..transition(Change::Fired) }], "ops@b.example");
    notifier.send(&message).await.expect("written");
    let path = directory.path().join(format!("{}.eml", message.id));
    let output = std::process::Command::new("python3").args(["-c", PROGRAM]).arg(&path).output().expect("python3");
    let found: Vec<String> = serde_json::from_slice(&output.stdout).expect("JSON");
    let text = message.text.replace("\r\n", "\n");
    assert_eq!(found, ["[]", &message.subject, "Prüfung–模型", &text, &message.html].map(ToOwned::to_owned));
    let mail = std::fs::read(path).expect("a mail");
    assert!(mail.split(|byte| *byte == b'\n').all(|line| line.len() <= 999), "a line is too long");
}

#[tokio::test]
async fn silence_at_the_end_of_a_message_is_given_more_time() {
    let started = std::time::Instant::now();
    assert_retry(send(&[("END", Act::Hang)], "timeout = '50ms'").await.0, "no answer within 250ms");
    assert!(started.elapsed() >= Duration::from_millis(250));
}
