//! `modelwatch demo`: the real binary, faster than for people. It is also the daemon's shortest whole run.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::servers;

/// The whole show in less than half a minute.
const PACE: &str = "4";

fn modelwatch(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_modelwatch"));
    command.args(arguments);
    command
}

fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (text(&output.stdout), text(&output.stderr))
}

fn mails(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory.join("mails")).expect("mails");
    let mut mails: Vec<String> =
        entries.map(|entry| std::fs::read_to_string(entry.expect("a mail").path()).expect("UTF-8")).collect();
    mails.sort();
    mails
}

/// The value of a header, as the file has it.
fn header<'m>(mail: &'m str, name: &str) -> &'m str {
    let head = mail.split("\r\n\r\n").next().expect("a header");
    let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {name} in:\n{head}"))
}

#[test]
fn every_incident_is_told_once_and_resolved_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().to_str().expect("UTF-8");
    let output = modelwatch(&["demo", "--pace", PACE, "--directory", place]).output().expect("the demo");
    let (out, err) = text(&output);
    assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "{out}");

    let mails = mails(directory.path());
    let mut told: Vec<(&str, &str)> =
        mails.iter().map(|mail| (header(mail, "X-Modelwatch-Rule"), header(mail, "X-Modelwatch-State"))).collect();
    told.sort_unstable();
    let expected =
        [("eta-rmse", "firing"), ("eta-rmse", "resolved"), ("fraud-auc", "firing"), ("fraud-auc", "resolved")];
    assert_eq!(told, expected, "{out}");
    for mail in &mails {
        assert_eq!(header(mail, "To"), "oncall@example.org");
        assert_eq!(header(mail, "Auto-Submitted"), "auto-generated");
        assert!(out.contains(&format!("Subject: {}", header(mail, "Subject"))), "{out}");
    }
    assert!(out.contains("eta-rmse fired ") && out.contains("fraud-auc fired "), "{out}");
    assert!(out.contains("region=eu") && out.contains("channel=app"), "{out}");
    assert!(out.contains("That was it") && !out.contains('\u{1b}'), "{out}");

    let file = directory.path().join("modelwatch.toml");
    let checked = modelwatch(&["check", file.to_str().expect("UTF-8")]).output().expect("check");
    assert_eq!((checked.status.code(), text(&checked).1.as_str()), (Some(0), ""));
    an_independent_parser_reads(&directory.path().join("mails"));
}

/// Python's parser finds no defect, and both parts.
fn an_independent_parser_reads(mails: &Path) {
    const PROGRAM: &str = "
import email, email.policy, pathlib, sys
mails = [email.message_from_bytes(path.read_bytes(), policy=email.policy.default) for path in pathlib.Path(sys.argv[1]).glob('*.eml')]
assert len(mails) == 4, len(mails)
for mail in mails:
    assert not mail.defects, mail.defects
    assert mail.get_body(('plain',)).get_content().startswith(('FIRING', 'RESOLVED')), mail
    assert '<html' in mail.get_body(('html',)).get_content(), mail
    assert mail['X-Modelwatch-State'] != 'resolved' or mail['In-Reply-To'] in [other['Message-ID'] for other in mails]
";
    let Some(mut python) = servers::program("python3") else { return };
    let parsed = python.args(["-c", PROGRAM]).arg(mails).output().expect("python3");
    assert!(parsed.status.success(), "{}", text(&parsed).1);
}

#[test]
fn the_printed_configuration_is_whole() {
    let output = modelwatch(&["demo", "--print-config"]).output().expect("the demo");
    let (out, err) = text(&output);
    assert_eq!((output.status.code(), err.as_str()), (Some(0), ""));
    assert!(!out.contains("= @") && !out.contains("[@"), "{out}");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("own.toml");
    std::fs::write(&file, out).expect("a file");
    let checked = modelwatch(&["check", file.to_str().expect("UTF-8")]).output().expect("check");
    assert_eq!((checked.status.code(), text(&checked).1.as_str()), (Some(0), ""));
}

#[test]
fn a_directory_in_use_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("thesis.txt"), "mine").expect("a file");
    let place = directory.path().to_str().expect("UTF-8");
    let output = modelwatch(&["demo", "--directory", place]).output().expect("the demo");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).1.contains("is not empty; give a new one"), "{}", text(&output).1);
}

/// Ctrl-C ends it at once and in order.
#[test]
fn an_interrupt_ends_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let place = directory.path().to_str().expect("UTF-8");
    let mut demo = modelwatch(&["demo", "--directory", place]).stdout(Stdio::piped()).spawn().expect("the demo");
    let mut lines = BufReader::new(demo.stdout.take().expect("a pipe")).lines().map(|line| line.expect("UTF-8"));
    assert!(lines.any(|line| line.contains("all is well")), "it never began");
    let kill = Command::new("sh").args(["-c", "kill -INT \"$0\"", &demo.id().to_string()]).status().expect("sh");
    assert!(kill.success());
    let asked = std::time::Instant::now();
    assert!(lines.any(|line| line.starts_with("Interrupted.")), "it says nothing of its end");
    assert_eq!(demo.wait().expect("an end").code(), Some(130));
    assert!(asked.elapsed() < std::time::Duration::from_secs(8), "{:?}", asked.elapsed());
}
