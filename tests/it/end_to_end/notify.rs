//! `test-notify` on real receivers.

use super::mails::{email, mails, webhook};
use super::{Stage, rules, write};
use crate::process::{Hooks, eventually, modelwatch};
use crate::servers;

#[test]
fn a_test_notice_reaches_everybody_or_says_why_not() {
    let (Some(stage), Some(mail)) = (Stage::set("notify"), servers::mail()) else { return };
    let (hooks, name) = (Hooks::start(), stage.name.clone());
    let notifiers = rules("r", "['oncall', 'ops']")
        + &email(&mail, "['oncall@example.test', 'nobody@example.test', 'busy@example.test']")
        + &webhook(&hooks, stage.folder.path())
        + &format!("[notices]\ninstance = 'instance {name}'\n");
    let config = stage.configure(&notifiers);
    let run = |notifier: &str| {
        let done = modelwatch(&["test-notify"]).arg(&config).arg(notifier).output().unwrap();
        (
            done.status.code(),
            String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr),
        )
    };
    let (code, said) = run("oncall");
    assert_eq!(code, Some(1), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    for (line, words) in lines.iter().zip([
        ["oncall@example.test: accepted", "250"],
        ["nobody@example.test: refused", "550"],
        ["busy@example.test: not now", "450"],
    ]) {
        assert!(words.iter().all(|word| line.contains(word)), "{said}");
    }
    assert_eq!(lines.len(), 3, "{said}");
    let told = eventually("a mail", || mails(&mail, "oncall", &name).filter(|mails| !mails.is_empty()));
    assert_eq!(told.len(), 1);

    let (code, said) = run("ops");
    assert_eq!((code, said.as_str()), (Some(0), "ops: accepted (200 OK)\n"));
    let heard = hooks.heard();
    assert_eq!(heard.len(), 1);
    assert_eq!(heard[0].json()["kind"], "test");
    hooks.answer(410);
    let (code, said) = run("ops");
    assert!(code == Some(1) && said.starts_with("ops: refused (410"), "{said}");

    let (code, said) = run("onc");
    assert!(code == Some(1) && said.contains("there is no notifier `onc`"), "{said}");
    write(&config, &(stage.head() + &notifiers.replace("ca_file = '", "ca_file = '/nowhere")));
    let (code, said) = run("oncall");
    assert!(code == Some(1) && said.contains("`ca_file`: /nowhere"), "{said}");
}
