//! Messages compared byte for byte with `tests/it/golden/`; `UPDATE_GOLDEN=1` writes them anew. Look at them then.

use std::path::PathBuf;

use modelwatch::alert::{Change, End, Evidence, Silence, Transition};
use modelwatch::notification::{Message, Telling, Trouble, delivery_failure, notices, test_notice, trouble_notice};
use modelwatch::rule::{Bound, Severity};

use super::sample::{EIGHT, evidence, in_region, message, minutes, receiver, rendering, transition};

const TO: &str = "ops@example.org";
const HOSTILE: &str = "<script>alert(1)</script>\"'&{{ 7*7 }}\r\nBcc: everybody@example.org\u{202e}";

#[track_caller]
fn check(name: &str, message: &Message) {
    let headers: String = message.headers.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    let thread = message.thread.as_deref().unwrap_or("-");
    let text =
        format!("Id: {}\nThread: {thread}\nSubject: {}\n{headers}\n{}", message.id, message.subject, message.text);
    for (ending, found) in [("txt", &text), ("html", &message.html), ("json", &message.json)] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/it/golden/{name}.{ending}"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&path, found).expect("golden file written");
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(*found == expected, "{} differs; found:\n{found}", path.display());
    }
    assert!(message.subject.chars().count() <= 70, "{}", message.subject);
    assert!(message.html.len() < 100_000, "{} bytes", message.html.len());
    assert!(message.id.chars().all(|c| matches!(c, '0'..='9' | 'a'..='z' | '.' | '-')), "{}", message.id);
    assert!(serde_json::from_str::<serde_json::Value>(&message.json).is_ok());
}

#[test]
fn firing() {
    check("firing", &message(&[transition(Change::Fired)], TO));
}

#[test]
fn firing_with_bracket_and_two_conditions() {
    let area = Evidence {
        indicator: "roc_auc",
        value: Ok(0.799_96),
        bracket: Some((0.7991, 0.8009)),
        bound: Bound::Below(0.8),
        clear: Bound::Below(0.85),
        ..evidence(0.0)
    };
    let delay = Evidence {
        indicator: "label_delay",
        unit: "s",
        bound: Bound::Above(600.0),
        clear: Bound::Above(600.0),
        n_eff: 3.25,
        ..evidence(1_234.5)
    };
    let transition = Transition {
        severity: Severity::Warning,
        segment: Some(("channel".to_owned(), "partner".to_owned())),
        evidence: vec![area, delay],
        ..transition(Change::Fired)
    };
    check("firing-two-conditions", &message(&[transition], TO));
}

#[test]
fn repeat() {
    let at = EIGHT.plus(minutes(10));
    check(
        "repeat",
        &message(&[Transition { since: at.minus(minutes(245)), sequence: 3, ..transition(Change::Repeated) }], TO),
    );
}

#[test]
fn resolved() {
    let transition = Transition { evidence: vec![evidence(3.4118)], sequence: 2, ..transition(Change::Resolved) };
    check("resolved", &message(&[transition], TO));
}

#[test]
fn no_data() {
    let silent = Evidence { value: Err("no samples".to_owned()), n_eff: 0.0, ..evidence(0.0) };
    let transition =
        Transition { evidence: vec![silent], worst: Vec::new(), ..transition(Change::NoData(Silence::Predictions)) };
    check("no-data", &message(&[transition], TO));
}

#[test]
fn labels_late() {
    check(
        "labels-late",
        &message(
            &[Transition {
                worst: Vec::new(),
                severity: Severity::Warning,
                ..transition(Change::NoData(Silence::Labels))
            }],
            TO,
        ),
    );
}

#[test]
fn data_back() {
    check("data-back", &message(&[Transition { sequence: 2, worst: Vec::new(), ..transition(Change::DataBack) }], TO));
}

#[test]
fn ended() {
    check(
        "ended",
        &message(&[Transition { sequence: 2, worst: Vec::new(), ..transition(Change::Ended(End::RuleRemoved)) }], TO),
    );
}

#[test]
fn group() {
    let transitions: Vec<Transition> = (1..=32).map(in_region).collect();
    let message = message(&transitions, TO);
    assert!(message.subject.ends_with("region=r32 +31 more"), "{}", message.subject);
    check("group", &message);
}

#[test]
fn hostile_names() {
    let transition = Transition {
        model: HOSTILE.to_owned(),
        segment: Some(("region".to_owned(), format!("{HOSTILE}{}", "x".repeat(500)))),
        runbook: Some("javascript:alert(1)".to_owned()),
        ..transition(Change::Fired)
    };
    let message = message(&[transition], TO);
    check("hostile-names", &message);
    assert!(!message.html.contains("<script"));
    assert!(!message.html.contains("href=\"javascript"));
    let lines = message.headers.iter().map(|(_, value)| value).chain([&message.subject]);
    assert!(lines.into_iter().all(|line| !line.contains(|c: char| c.is_control() || c == '\u{202e}')));
}

#[test]
fn delivery_failures_and_tests() {
    let lost = message(&[transition(Change::Fired)], "gone@example.org");
    let failure = delivery_failure(
        &lost,
        "550 5.1.1 no such user <gone> (mail.example.org:587, while handing the message over)",
        &receiver(TO),
        EIGHT,
        &rendering(),
    );
    check("undelivered", &failure);
    check("test", &test_notice(&receiver(TO), EIGHT, &rendering()));
}

#[test]
fn troubles() {
    let lost = |partition: &str| {
        let span = Some((EIGHT.minus(minutes(400)), EIGHT.minus(minutes(20))));
        Trouble::records_lost(partition, (1_200, 5_400), span, EIGHT)
    };
    let told = |tellings: &[Telling]| trouble_notice(tellings, &receiver(TO), EIGHT.plus(minutes(1)), &rendering());
    let first = |trouble: Trouble| Telling { trouble, meanwhile: 0 };
    check("trouble", &told(&[first(lost("eta-predictions/3"))]).unwrap());
    let again = Trouble::client_renewed(&format!("records that are there do not come {HOSTILE}"), EIGHT);
    check("trouble-again", &told(&[Telling { trouble: again, meanwhile: 3 }]).unwrap());
    let everywhere: Vec<Telling> = (0..23).map(|number| first(lost(&format!("eta-predictions/{number}")))).collect();
    check("trouble-many-places", &told(&everywhere).unwrap());
    assert_eq!(told(&[]), None);
}

#[test]
fn nobody_is_told_of_what_has_no_consequence() {
    let quiet = [Change::Pending, Change::Calmed, Change::Recovering, Change::Relapsed].map(transition);
    assert_eq!(notices(&quiet), []);
    assert_eq!(notices(&[Transition { notify: Vec::new(), ..transition(Change::Fired) }]), []);
}

#[test]
fn a_group_is_one_rule_one_change_one_instant_and_the_same_notifiers() {
    let fired = || transition(Change::Fired);
    let different = [
        fired(),
        Transition { rule: "other".to_owned(), ..fired() },
        transition(Change::Resolved),
        Transition { at: EIGHT, ..fired() },
        Transition { notify: vec!["team".to_owned()], ..fired() },
    ];
    assert_eq!(notices(&different).len(), 5);
    assert_eq!(notices(&[different, [(); 5].map(|()| fired())].concat()).len(), 5);
}

#[test]
fn later_messages_find_the_thread_of_an_incident_that_fired_in_a_group() {
    let fired = message(&[in_region(1), in_region(2)], TO);
    let alone = |number| {
        message(&[Transition { sequence: 2, ..Transition { change: Change::Resolved, ..in_region(number) } }], TO)
    };
    // Region 2 is the worst: the group bears the id of its root, and names that of region 1.
    assert_eq!(alone(2).thread.as_deref(), Some(fired.id.as_str()));
    assert_eq!(alone(1).thread, fired.thread);
    assert_ne!(alone(1).id, alone(2).id);
    // Others have threads of their own.
    assert_ne!(message(&[in_region(1), in_region(2)], "other@example.org").id, fired.id);
}

#[test]
fn subjects_keep_what_matters_when_names_are_long() {
    let long = Transition {
        model: "fraud-detection-gradient-boosted-v3-production".to_owned(),
        segment: Some(("merchant_category".to_owned(), "online-gambling-and-lotteries".to_owned())),
        ..transition(Change::Fired)
    };
    let subject = message(&[long], TO).subject;
    assert_eq!(subject, "[FIRING critical] fraud-de… rmse 5.312 > 4 merchant_category=online-g…");
    assert_eq!(subject.chars().count(), 70);
}
