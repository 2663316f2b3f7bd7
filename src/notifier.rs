//! Ways out: the trait of a notifier and the list of kinds.

use crate::notification::Message;

/// Why a message could not be handed over, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Worth another try: the network, a 4xx of SMTP, a 408, 425, 429 or 5xx of HTTP.
    #[error("{reason}")]
    Retry {
        /// What happened, in the receiver's words where it spoke. Holds no secret and no URL with credentials.
        reason: String,
        /// The receiver asked to wait that long.
        after: Option<std::time::Duration>,
    },
    /// The receiver will never take it.
    #[error("{reason}")]
    Refused {
        /// What happened, in the receiver's words where it spoke. Holds no secret and no URL with credentials.
        reason: String,
    },
}

/// One configured way out. Retries, backoff and bookkeeping are not its business.
pub trait Notifier: Send + Sync {
    /// Addresses that each get their own row, attempt and retries.
    fn recipients(&self) -> Vec<String>;
    /// Hands one message over and returns the receiver's answer.
    fn send<'a>(
        &'a self,
        message: &'a Message,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<String, SendError>> + Send + 'a>>;
}
