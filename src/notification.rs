//! Transitions → notices: group, address, render.

/// A rendered notice for one recipient of one notifier; what the outbox stores. Nothing in it changes over retries.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Message {
    /// Unique and stable: left part of the Message-ID, value of `Idempotency-Key`. Only `[0-9a-z.-]`.
    pub id: String,
    /// `id` of the first message of the thread that this one answers; `None` if this is the first.
    pub thread: Option<String>,
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
    /// Headers for filters, names with their prefix (`X-Modelwatch-Rule`); values without line breaks.
    pub headers: Vec<(String, String)>,
    /// JSON body for webhooks.
    pub json: String,
}
