//! What happens in which case.

use std::time::Duration;

use modelwatch::failpoint;

use super::Act;
use crate::faults::{smtp, webhook};

/// How old the records are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Fresh,
    /// Notices are held back for a digest.
    Old,
}

/// What goes wrong.
pub(super) enum Fault {
    /// The daemon dies at the last of these points, in each of so many lives.
    Points(Vec<String>),
    Mail(smtp::At, Act),
    Hook(webhook::At, Act),
}

/// What the daemon makes of the fault before it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// Nothing: it is killed within the fault.
    Killed,
    /// Another attempt, no sooner than after this.
    Retried(Duration),
    /// A dead letter, that the others are told of.
    Refused,
    /// It has got its answer.
    Sent,
}

/// One case of the matrix.
pub(super) struct Case {
    pub(super) name: String,
    pub(super) news: News,
    pub(super) fault: Fault,
    pub(super) then: Then,
}

/// The first retry comes after 15 s, give or take a fifth.
const SOON: Then = Then::Retried(Duration::from_secs(12));

/// Points, each after so many decisions: none is the first commit of all, one the beginning of the incident, two its end
/// or what comes before. `digest` and what is held need old news.
const POINTS: &[(&str, News, &[usize])] = &[
    ("decided", News::Fresh, &[0, 1]),
    ("commit.before", News::Fresh, &[0, 1, 2]),
    ("commit.half", News::Fresh, &[0, 1, 2]),
    ("commit.written", News::Fresh, &[0, 1, 2]),
    ("commit.after", News::Fresh, &[0, 1, 2]),
    ("attempt.before", News::Fresh, &[1, 2]),
    ("attempt.answered", News::Fresh, &[1, 2]),
    ("attempt.after", News::Fresh, &[1, 2]),
    ("offsets.before", News::Fresh, &[0, 1, 2]),
    ("offsets.after", News::Fresh, &[0, 1, 2]),
    ("snapshot.half", News::Fresh, &[0, 2]),
    ("snapshot.before_rename", News::Fresh, &[0, 2]),
    ("snapshot.after_rename", News::Fresh, &[0, 2]),
    ("snapshot.named", News::Fresh, &[0, 2]),
    ("commit.before", News::Old, &[1, 2]),
    ("commit.after", News::Old, &[1, 2]),
    ("digest.before", News::Old, &[2]),
    ("digest.after", News::Old, &[2]),
    ("attempt.answered", News::Old, &[2]),
];

/// Points of several lives, the later ones while the daemon goes on from what the earlier ones left.
const LIVES: &[&[&str]] = &[
    &["commit.after", "commit.after", "decided,commit.written"],
    &["decided,commit.after", "commit.before", "decided,commit.half"],
    &["decided,attempt.answered", "attempt.answered", "attempt.answered"],
    &["decided,commit.written", "offsets.before", "decided,attempt.before", "attempt.after"],
];

/// What follows from a "not now", a "no", and a lost connection at each step of a mail. Each hangs as well.
const MAIL: &[(smtp::At, Option<Then>, Option<Then>, Then)] = &[
    (smtp::At::Connect, Some(SOON), Some(SOON), SOON),
    (smtp::At::Ehlo, Some(SOON), Some(SOON), SOON),
    (smtp::At::Mail, Some(SOON), Some(Then::Refused), SOON),
    (smtp::At::Rcpt, Some(SOON), Some(Then::Refused), SOON),
    (smtp::At::Data, Some(SOON), Some(Then::Refused), SOON),
    (smtp::At::End, Some(SOON), Some(Then::Refused), SOON),
    (smtp::At::Answered, None, None, Then::Sent),
    (smtp::At::Quit, Some(Then::Sent), Some(Then::Sent), Then::Sent),
];

/// The steps of a webhook, and what follows from a lost connection. Each hangs as well.
const HOOK: &[(webhook::At, Then)] = &[
    (webhook::At::Connect, SOON),
    (webhook::At::Headers, SOON),
    (webhook::At::Body, SOON),
    (webhook::At::Answered, Then::Sent),
];

/// What a webhook may be told, without the body.
const ANSWERS: &[(&str, Then)] = &[
    ("408 Request Timeout", SOON),
    ("425 Too Early", SOON),
    ("429 Too Many Requests\r\nRetry-After: 1800", Then::Retried(Duration::from_secs(1_790))),
    ("500 Internal Server Error", SOON),
    ("503 Service Unavailable\r\nRetry-After: 600", Then::Retried(Duration::from_secs(590))),
    ("302 Found\r\nLocation: http://127.0.0.1:9/", Then::Refused),
    ("400 Bad Request", Then::Refused),
    ("410 Gone", Then::Refused),
];

/// The whole matrix.
pub(super) fn all() -> Vec<Case> {
    let mut all = Vec::new();
    let mut add = |name: String, news, fault, then| all.push(Case { name, news, fault, then });
    for (point, news, depths) in POINTS {
        for depth in *depths {
            let path = "decided,".repeat(*depth) + point;
            add(format!("point {news:?} {path}"), *news, Fault::Points(vec![path]), Then::Killed);
        }
    }
    for lives in LIVES {
        let points = lives.iter().map(|points| (*points).to_owned()).collect();
        add(format!("lives {}", lives.join("; ")), News::Fresh, Fault::Points(points), Then::Killed);
    }
    for (at, not_now, no, lost) in MAIL {
        let said = [("421 not now", *not_now), ("521 no", *no)];
        let said = said.into_iter().filter_map(|(answer, then)| Some((Act::Say(answer.to_owned()), then?)));
        for (act, then) in said.chain([(Act::Drop, *lost), (Act::Hang, Then::Killed)]) {
            add(format!("mail {at:?} {act:?}"), News::Fresh, Fault::Mail(*at, act), then);
        }
    }
    for (at, lost) in HOOK {
        for (act, then) in [(Act::Drop, *lost), (Act::Hang, Then::Killed)] {
            add(format!("webhook {at:?} {act:?}"), News::Fresh, Fault::Hook(*at, act), then);
        }
    }
    let in_an_hour = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(50);
    let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&in_an_hour).unwrap();
    let dated = format!("429 Too Many Requests\r\nRetry-After: {date}");
    let dated = [(dated.as_str(), Then::Retried(Duration::from_secs(2_400)))];
    for (head, then) in ANSWERS.iter().chain(&dated) {
        // The end of the answer never comes: only its beginning is wanted.
        let answer = format!("{head}\r\nContent-Length: 100000000\r\n\r\n{}", "x".repeat(100_000));
        let name = format!("webhook answers {}", head.replace("\r\n", ", "));
        add(name, News::Fresh, Fault::Hook(webhook::At::Body, Act::Say(answer)), *then);
    }
    all
}

#[test]
fn no_point_is_left_out() {
    let left_out = failpoint::POINTS.iter().filter(|point| !POINTS.iter().any(|(known, ..)| known == *point));
    let left_out: Vec<&&str> = left_out.collect();
    assert!(left_out.is_empty(), "{left_out:?}");
}
