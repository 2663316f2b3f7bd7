//! The main job: a model breaks and is mended, and everybody is told of both, once, with the right numbers.

use std::path::Path;

use serde_json::Value;

use super::{Dataset, Stage, rules, write};
use crate::process::{Hook, Hooks, Watch, eventually, python};
use crate::servers::{self, Mail};

const SECRET: &str = "a secret of the webhook";
const VERIFY: &str = "import hashlib, hmac, sys
key, seconds = sys.argv[1:]
print(hmac.new(key.encode(), seconds.encode() + b'.' + sys.stdin.buffer.read(), hashlib.sha256).hexdigest())";

/// `[notifier.oncall]`: both recipients by the real server.
pub(super) fn email(mail: &Mail, to: &str) -> String {
    let Mail { server, user, password_file, ca, .. } = mail;
    format!(
        "[notifier.oncall.email]\nserver = '{server}'\ntls = 'starttls'\nca_file = '{}'\nusername = '{user}'\n\
         password_file = '{}'\nfrom = 'modelwatch@example.test'\nto = {to}\n",
        ca.display(),
        password_file.display()
    )
}

pub(super) fn webhook(hooks: &Hooks, folder: &Path) -> String {
    let secret = write(&folder.join("secret"), &format!("{SECRET}\n"));
    format!("[notifier.ops.webhook]\nurl = '{}'\nsecret_file = '{}'\n", hooks.url, secret.display())
}

/// The mails of a rule in a recipient's Maildir, firing before resolved.
pub(super) fn mails(mail: &Mail, recipient: &str, rule: &str) -> Option<Vec<Value>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/reference/mails.py");
    let folder = mail.maildir.join(recipient);
    let found = python(&[script.to_str()?, folder.to_str()?, rule], b"")?;
    Some(serde_json::from_str(&found).unwrap())
}

/// The only value of a header.
#[track_caller]
pub(super) fn header<'m>(mail: &'m Value, name: &str) -> &'m str {
    let values = mail["headers"][name].as_array().unwrap_or_else(|| panic!("no {name} in {mail:#}"));
    assert_eq!(values.len(), 1, "{name}: {values:?}");
    values[0].as_str().unwrap()
}

#[track_caller]
fn assert_close(value: &Value, expected: &Value) {
    let (value, expected) = (value.as_f64().expect("a number"), expected.as_f64().expect("a number"));
    assert!((value - expected).abs() <= 1e-9 * expected.abs(), "{value} is not {expected}");
}

#[track_caller]
fn check_signature(hook: &Hook) {
    let seconds = hook.header("x-modelwatch-timestamp");
    let Some(expected) = python(&["-c", VERIFY, SECRET, seconds], hook.body.as_bytes()) else { return };
    assert_eq!(hook.header("x-modelwatch-signature"), format!("v1={}", expected.trim()));
}

/// The webhook says what scikit-learn says.
#[track_caller]
fn check_hook(hook: &Hook, state: &str, data: &Dataset, expected: &Value) {
    check_signature(hook);
    let json = hook.json();
    assert_eq!(json["state"], state);
    assert_eq!(json["alerts_total"], 1);
    assert_eq!(hook.header("idempotency-key"), json["id"]);
    let at: jiff::Timestamp = json["at"].as_str().unwrap().parse().unwrap();
    assert_eq!(at.as_second() - data.begin, expected["at"].as_i64().unwrap());
    let alert = &json["alerts"][0];
    let condition = &alert["conditions"][0];
    assert_close(&condition["value"], &expected["rmse"]);
    assert_close(&condition["effective_samples"], &expected["effective_samples"]);
    for worst in alert["worst"].as_array().unwrap() {
        let region = &expected["regions"][worst["value"].as_str().unwrap()];
        assert_close(&worst["reading"], &region["rmse"]);
        assert_close(&worst["effective_samples"], &region["effective_samples"]);
    }
    if state == "firing" {
        assert_eq!(alert["worst"][0]["value"], "eu", "the worst first: {json:#}");
    }
}

#[track_caller]
fn check_mail(mail: &Value, rule: &str, state: &str, subject: &str) {
    assert_eq!(mail["defects"], serde_json::json!([]));
    assert_eq!(mail["parts"], serde_json::json!(["multipart/alternative", "text/plain", "text/html"]));
    assert_eq!(header(mail, "subject"), subject);
    assert_eq!(header(mail, "auto-submitted"), "auto-generated");
    assert_eq!(header(mail, "x-modelwatch-state"), state);
    assert_eq!(header(mail, "x-modelwatch-rule"), rule);
    assert_eq!(header(mail, "x-modelwatch-model"), "eta");
    assert_eq!(header(mail, "x-modelwatch-severity"), "critical");
    for part in ["text", "html"] {
        let body = mail[part].as_str().unwrap();
        assert!(body.contains("region=eu") || state == "resolved", "{body}");
        assert!(body.contains(header(mail, "x-modelwatch-incident")), "{body}");
    }
}

/// A number as people read it: four significant digits.
fn printed(number: &Value) -> String {
    format!("{:.3}", number.as_f64().unwrap())
}

#[test]
fn everybody_is_told_once_that_the_model_broke_and_once_that_it_is_well_again() {
    let (Some(stage), Some(mail)) = (Stage::set("mails"), servers::mail()) else { return };
    let (data, hooks, rule) = (Dataset::recent(), Hooks::start(), stage.name.clone());
    let config = stage.configure(
        &(rules(&rule, "['oncall', 'ops']")
            + &email(&mail, "['oncall@example.test', 'Ops <ops@example.test>']")
            + &webhook(&hooks, stage.folder.path())),
    );
    let watch = Watch::start(&config);
    stage.produce(data.between(0, 2_400));
    let firing = hooks.wait_for(1);
    check_hook(&firing[0], "firing", &data, &data.expected["firing"]);
    stage.produce(data.between(2_400, 9_999));
    let heard = hooks.wait_for(2);
    check_hook(&heard[1], "resolved", &data, &data.expected["resolved"]);
    assert_eq!(heard[0].json()["alerts"][0]["incident"], heard[1].json()["alerts"][0]["incident"]);
    eventually("all is sent", || (watch.status()["outbox"]["pending"] == 0).then_some(()));

    let mut ids = Vec::new();
    for recipient in ["oncall", "ops"] {
        // Postfix takes a mail first and delivers it then.
        let told = eventually("two mails", || mails(&mail, recipient, &rule).filter(|mails| mails.len() >= 2));
        let [firing, resolved] = &told[..] else { panic!("{} mails", told.len()) };
        let value = |state: &str| printed(&data.expected[state]["rmse"]);
        check_mail(firing, &rule, "firing", &format!("[FIRING critical] eta rmse {} > 4", value("firing")));
        check_mail(resolved, &rule, "resolved", &format!("[RESOLVED] eta rmse {} <= 4", value("resolved")));
        assert!(!firing["headers"].as_object().unwrap().contains_key("in-reply-to"));
        assert_eq!(header(resolved, "in-reply-to"), header(firing, "message-id"));
        assert_eq!(header(resolved, "references"), header(firing, "message-id"));
        ids.extend([firing, resolved].map(|mail| header(mail, "message-id").to_owned()));
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 4, "each mail has an id of its own: {ids:?}");

    // "Resolved" comes before the last events are read.
    let join = eventually("all is counted", || {
        let join = watch.status()["counts"]["join"].clone();
        (join["labels"] == data.labels() && join["predictions"] == 3_000).then_some(join)
    });
    assert_eq!(join["orphan_labels"], 0);
    assert_eq!(watch.metric("modelwatch_notices_total{notifier=\"oncall\",result=\"sent\"}"), Some(4.0));
    assert_eq!(watch.end("TERM"), Some(0));
    assert_eq!(hooks.heard().len(), 2, "no webhook beside those two");
}
