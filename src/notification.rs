//! Transitions → notices: group, address, render.
//!
//! [`notices`] groups the transitions of one step into what people are told; [`render`] turns one notice into the
//! [`Message`] of one recipient. Threads: a message's id is `<incident>.<sequence>.<hash of the recipient>`, so the
//! message that opens an incident (sequence 1) bears the id `<incident>.1.<hash>`, and every later one can name that
//! root without looking anything up. A group bears the id of its first incident and names the roots of the others.
//! No message may bear those ("phantom roots"), but mail readers thread by what is named, whether it exists or not
//! (J. Zawinski, "message threading", 1997), so the mails of all incidents of a group land in one thread.

use jiff::tz::TimeZone;
use siphasher::sip::SipHasher13;

use crate::alert::Transition;
use crate::clock::Timestamp;
use crate::rule::Severity;

mod body;
mod digest;
mod facts;
mod group;
mod payload;
mod subject;
mod trouble;
mod view;
mod words;

pub use group::{Notice, notices};
pub use trouble::{Telling, Trouble, TroubleKind};

use view::View;
use words::clean;

/// Most incidents that one message names, in its list and in its headers; the rest is counted.
const LISTED_MAX: usize = 20;
/// Longest foreign text in a body, in characters.
const TEXT_MAX: usize = 200;
/// Longest sentence of a rule or a server, in characters.
const SENTENCE_MAX: usize = 1_000;
/// Longest header value, in characters.
const HEADER_MAX: usize = 200;

/// A rendered notice for one recipient of one notifier; what the outbox stores. Nothing in it changes over retries.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Message {
    /// Unique and stable: left part of the Message-ID, value of `Idempotency-Key`. Only `[0-9a-z.-]`.
    pub id: String,
    /// The `id`s that open the threads of its incidents, its own left out, separated by spaces; `None` if that leaves
    /// none. There need not be a message of that id.
    pub thread: Option<String>,
    /// The incidents that it is about.
    #[serde(default)]
    pub incidents: Vec<String>,
    /// Name of the notifier.
    pub notifier: String,
    /// Address at that notifier: a mail address, or the webhook's name.
    pub recipient: String,
    /// Short enough for a phone's lock screen.
    pub subject: String,
    /// Plain text body.
    pub text: String,
    /// HTML body.
    pub html: String,
    /// Headers of the mail: `Date`, `Importance`, and for filters `X-Modelwatch-*`. Values hold no line breaks.
    pub headers: Vec<(String, String)>,
    /// JSON body for webhooks.
    pub json: String,
}

/// Who is told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Receiver {
    /// Name of the notifier.
    pub notifier: String,
    /// Address at that notifier.
    pub recipient: String,
}

/// What rendering depends on beside the notice.
#[derive(Clone, Debug)]
pub struct Rendering {
    /// Zone of the times in mails.
    pub zone: TimeZone,
    /// Address of our own status page.
    pub status_page: Option<String>,
    /// Which installation speaks, such as its host name.
    pub instance: String,
}

/// The message that tells `receiver` of `notice`. `now` is the message's date; relative times refer to it.
pub fn render(notice: &Notice<'_>, receiver: &Receiver, now: Timestamp, options: &Rendering) -> Message {
    let key = hash(receiver);
    let id = message_id(notice.first, &key);
    let view = View::of_notice(notice, now, options);
    let mut headers = vec![("Date".to_owned(), words::mail_date(now))];
    headers.extend(notice_headers(notice));
    Message {
        thread: thread(notice, &id, &key),
        incidents: notice.transitions().filter_map(|transition| transition.incident.clone()).collect(),
        json: payload::of_notice(notice, &id, now, options),
        ..compose(id, &view, receiver, headers)
    }
}

/// Tells `receiver` that `lost`, addressed to somebody else, was given up, and why.
pub fn delivery_failure(
    lost: &Message,
    reason: &str,
    receiver: &Receiver,
    now: Timestamp,
    options: &Rendering,
) -> Message {
    let id = format!("undelivered.{}.{}", lost.id, hash(receiver));
    let view = View::of_failure(lost, reason, now, options);
    let headers = system_headers("undelivered", now);
    let json = payload::of_failure(lost, reason, &id, now, options);
    Message { json, ..compose(id, &view, receiver, headers) }
}

/// Tells `receiver` what is left of the notices that were `held` back for it while the daemon caught up; `None` if none
/// were. The threads of the incidents go on from here.
pub fn digest(held: &[Message], receiver: &Receiver, now: Timestamp, options: &Rendering) -> Option<Message> {
    let last = held.last()?;
    let sorted = digest::sort(held);
    let id = format!("caught-up.{}.{}", now.as_micros().unsigned_abs(), hash(receiver));
    let view = View::of_digest(&sorted, now, options);
    let json = payload::of_digest(held, &id, now, options);
    let thread = held.iter().filter_map(|message| message.thread.clone().or(Some(message.id.clone())));
    let mut roots: Vec<String> = thread.flat_map(|ids| ids.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
    roots.sort();
    roots.dedup();
    roots.truncate(LISTED_MAX);
    debug_assert_eq!(last.recipient, receiver.recipient);
    let mut incidents: Vec<String> = held.iter().flat_map(|message| message.incidents.clone()).collect();
    incidents.sort();
    incidents.dedup();
    let message = compose(id, &view, receiver, system_headers("caught_up", now));
    Some(Message { json, thread: Some(roots.join(" ")), incidents, ..message })
}

/// Whether a message says that something is wrong with its incidents: then their end is owed.
pub fn is_trouble(message: &Message) -> bool {
    digest::is_trouble(message) || digest::state(message) == "caught_up"
}

/// Whether a message is of [`delivery_failure`]: its own failure is not told in turn.
pub fn is_delivery_failure(message: &Message) -> bool {
    message.id.starts_with("undelivered.")
}

/// Tells `receiver` of troubles of one kind; `None` if there are none. Every instant and first place give another id.
pub fn trouble_notice(
    tellings: &[Telling],
    receiver: &Receiver,
    now: Timestamp,
    options: &Rendering,
) -> Option<Message> {
    let first = &tellings.first()?.trouble;
    debug_assert!(tellings.iter().all(|telling| telling.trouble.kind == first.kind));
    let kind = first.kind.name().replace('_', "-");
    let place = hash_of(first.place.as_bytes());
    let id = format!("trouble.{kind}.{}.{place}.{}", now.as_micros().unsigned_abs(), hash(receiver));
    let view = View::of_trouble(first.kind, tellings, now, options);
    let json = payload::of_trouble(first.kind, tellings, &id, now, options);
    let mut headers = system_headers("trouble", now);
    headers.push(("X-Modelwatch-Trouble".to_owned(), first.kind.name().to_owned()));
    Some(Message { json, ..compose(id, &view, receiver, headers) })
}

/// What `test-notify` sends: proves that `receiver` can be reached. Every instant gives another id.
pub fn test_notice(receiver: &Receiver, now: Timestamp, options: &Rendering) -> Message {
    let id = format!("test.{}.{}", now.as_micros().unsigned_abs(), hash(receiver));
    let view = View::of_test(receiver, now, options);
    let json = payload::of_test(&id, now, options);
    Message { json, ..compose(id, &view, receiver, system_headers("test", now)) }
}

fn compose(id: String, view: &View, receiver: &Receiver, headers: Vec<(String, String)>) -> Message {
    let body = body::render(view);
    Message {
        id,
        thread: None,
        incidents: Vec::new(),
        notifier: receiver.notifier.clone(),
        recipient: receiver.recipient.clone(),
        subject: view.subject.clone(),
        text: body.text,
        html: body.html,
        headers,
        json: String::new(),
    }
}

/// Twelve hex digits that tell recipients apart without naming them to each other.
fn hash(receiver: &Receiver) -> String {
    hash_of(&[receiver.notifier.as_bytes(), b"\0", receiver.recipient.as_bytes()].concat())
}

fn hash_of(bytes: &[u8]) -> String {
    // The keys are fixed: the id must be the same in every process, and guards against nothing but accident.
    format!("{:012x}", SipHasher13::new_with_keys(0, 0).hash(bytes) >> 16)
}

fn message_id(transition: &Transition, key: &str) -> String {
    format!("{}.{}.{key}", incident_id(transition), transition.sequence)
}

fn incident_id(transition: &Transition) -> String {
    let incident = transition.incident.clone().unwrap_or_else(|| {
        // Nobody is told of a transition without an incident; should it happen, the id is still unique and stable.
        format!("{}-{}-{}", transition.rule, transition.model, transition.at.as_micros())
    });
    let safe = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c.to_ascii_lowercase() } else { '-' };
    // Longer ids would not fit into one line of a mail's header.
    let safe: String = incident.chars().take(120).map(safe).collect();
    // Mail forbids dots at the ends of an id and two in a row; nothing but dots is no id either.
    let parts: Vec<&str> = safe.split('.').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join(".") }
}

fn thread(notice: &Notice<'_>, id: &str, key: &str) -> Option<String> {
    let roots = notice.transitions().take(LISTED_MAX).map(|transition| format!("{}.1.{key}", incident_id(transition)));
    let roots: Vec<String> = roots.filter(|root| root != id).collect();
    (!roots.is_empty()).then(|| roots.join(" "))
}

fn notice_headers(notice: &Notice<'_>) -> Vec<(String, String)> {
    let each = |of: &dyn Fn(&Transition) -> Option<String>| {
        let mut values: Vec<String> = notice.transitions().filter_map(of).collect();
        values.sort();
        values.dedup();
        values.truncate(LISTED_MAX);
        values.join(", ")
    };
    let importance =
        (notice.is_trouble() && notice.severity() == Severity::Critical).then(|| ("Importance", "high".to_owned()));
    let ours = [
        ("X-Modelwatch-Severity", notice.severity().name().to_owned()),
        ("X-Modelwatch-State", view::state(notice.first.change).name.to_owned()),
        ("X-Modelwatch-Rule", notice.first.rule.clone()),
        ("X-Modelwatch-Model", each(&|transition| Some(transition.model.clone()))),
        (
            "X-Modelwatch-Segment",
            each(&|transition| transition.segment.as_ref().map(|(name, value)| format!("{name}={value}"))),
        ),
        ("X-Modelwatch-Incident", each(&|transition| transition.incident.clone())),
    ];
    let full = importance.into_iter().chain(ours).filter(|(_, value)| !value.is_empty());
    full.map(|(name, value)| (name.to_owned(), clean(&value, HEADER_MAX))).collect()
}

fn system_headers(state: &str, now: Timestamp) -> Vec<(String, String)> {
    vec![("Date".to_owned(), words::mail_date(now)), ("X-Modelwatch-State".to_owned(), state.to_owned())]
}
