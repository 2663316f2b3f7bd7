//! Receivers that refuse: what can be mended is tried again, what cannot is a dead letter that others hear of.

use super::mails::{email, header, mails, webhook};
use super::{Dataset, Stage, rules, write};
use crate::process::{Hooks, Watch, eventually};
use crate::servers;

/// An `[notifier.NAME]` of its own.
fn named(name: &str, section: &str) -> String {
    section.replace("[notifier.oncall.", &format!("[notifier.{name}."))
}

#[test]
fn a_wrong_certificate_password_or_server_is_tried_again_until_it_is_mended() {
    let (Some(stage), Some(mail)) = (Stage::set("retry"), servers::mail()) else { return };
    let (data, hooks, rule) = (Dataset::recent(), Hooks::start(), stage.name.clone());
    let certificate = named("certificate", &email(&mail, "['oncall@example.test']"));
    let password = named("password", &email(&mail, "['ops@example.test']"));
    let rules = rules(&rule, "['certificate', 'password', 'ops']");
    let hook = webhook(&hooks, stage.folder.path());
    let wrong = write(&stage.folder.path().join("wrong"), "no password at all");
    let right = mail.password_file.display().to_string();
    stage.configure(
        &(rules.clone()
            + &certificate.replace(&mail.ca.display().to_string(), &stage.kafka.ca)
            + &password.replace(&right, &wrong.display().to_string())
            + &hook),
    );
    hooks.answer(503);
    let watch = Watch::start(&stage.folder.path().join("modelwatch.toml"));
    stage.produce(data.between(0, 2_400));
    let retries =
        |notifier: &str| watch.metric(&format!("modelwatch_notices_total{{notifier=\"{notifier}\",result=\"retry\"}}"));
    for notifier in ["certificate", "password", "ops"] {
        eventually(notifier, || retries(notifier).filter(|count| *count >= 1.0));
    }
    assert_eq!(watch.metric("modelwatch_outbox_pending"), Some(3.0));
    assert_eq!(watch.metric("modelwatch_outbox_dead"), Some(0.0));
    let log = watch.log();
    let said = |words: &str| log.lines().any(|line| line.contains("to be tried again") && line.contains(words));
    assert!(said("certificate") && said("535") && said("503"), "{log}");
    assert!(!log.contains("no password at all"), "a secret in the log");

    stage.configure(&(rules + &certificate + &password + &hook));
    hooks.answer(200);
    watch.signal("HUP");
    eventually("all is sent", || (watch.metric("modelwatch_outbox_pending") == Some(0.0)).then_some(()));
    for recipient in ["oncall", "ops"] {
        let told = eventually("a mail", || mails(&mail, recipient, &rule).filter(|mails| !mails.is_empty()));
        assert_eq!(told.len(), 1);
    }
    let heard = hooks.heard();
    assert!(heard.len() >= 2 && heard.iter().all(|hook| hook.body == heard[0].body), "the same over retries");
    assert!(heard.iter().all(|hook| hook.header("idempotency-key") == heard[0].header("idempotency-key")));
    assert_eq!(watch.end("TERM"), Some(0));
}

#[test]
fn an_unknown_recipient_is_a_dead_letter_that_the_others_hear_of() {
    let (Some(stage), Some(mail)) = (Stage::set("dead"), servers::mail()) else { return };
    let (data, hooks, rule) = (Dataset::recent(), Hooks::start(), stage.name.clone());
    let config = stage.configure(
        &(rules(&rule, "['oncall', 'ops']")
            + &email(&mail, "['nobody@example.test', 'ops@example.test']")
            + &webhook(&hooks, stage.folder.path())
            // In the body of the notice of failure, to find it by.
            + &format!("[notices]\ninstance = 'instance {rule}'\n")),
    );
    let watch = Watch::start(&config);
    stage.produce(data.between(0, 2_400));
    let heard = hooks.wait_for(2);
    let undelivered = heard.iter().find(|hook| hook.json()["kind"] == "undelivered").expect("the failure is told");
    assert_eq!(undelivered.json()["recipient"], "nobody@example.test");
    assert!(undelivered.json()["reason"].as_str().unwrap().contains("550"), "{}", undelivered.body);
    eventually("all is sent", || (watch.metric("modelwatch_outbox_pending") == Some(0.0)).then_some(()));
    assert_eq!(watch.metric("modelwatch_outbox_dead"), Some(1.0));
    assert_eq!(watch.metric("modelwatch_notices_total{notifier=\"oncall\",result=\"dead\"}"), Some(1.0));
    let told = eventually("two mails", || mails(&mail, "ops", &rule).filter(|mails| mails.len() >= 2));
    let states: Vec<&str> = told.iter().map(|mail| header(mail, "x-modelwatch-state")).collect();
    assert_eq!(states, ["firing", "undelivered"]);
    assert_eq!(watch.end("TERM"), Some(0));
    assert_eq!(hooks.heard().len(), 2);
}
