//! Webhooks: the message's JSON by HTTP POST, signed.
//!
//! A receiver verifies `X-Modelwatch-Signature: v1=<hex>` as HMAC-SHA256 of `<X-Modelwatch-Timestamp>.<body>` with the
//! shared secret, refuses timestamps that are more than five minutes off, and drops a repeated `Idempotency-Key`.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Client, Response, StatusCode, Url};
use ring::hmac;

use super::{BuildError, Notifier, SendError, Sending, causes, load, words};
use crate::clock::{Clock, Timestamp};
use crate::notification::Message;

mod config;

pub use config::Config;

/// How much of the answer's text is kept, in bytes.
const ANSWER_MAX: usize = 200;
/// Longest wait that a receiver may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

/// Shortest part of the address or a header that is taken for a secret by itself, in bytes; words are shorter.
const TOKEN_MIN: usize = 9;
/// Shortest beginning of a secret that is hidden where an answer breaks off, in bytes.
const CUT_MIN: usize = 4;

/// A webhook notifier.
pub struct Webhook {
    name: String,
    client: Client,
    url: Url,
    headers: HeaderMap,
    secret: Option<hmac::Key>,
    clock: Arc<dyn Clock>,
}

impl Webhook {
    /// Reads the secrets and certificates.
    ///
    /// # Errors
    ///
    /// [`BuildError`] if one of them cannot be used.
    pub fn build(name: &str, config: &Config, clock: Arc<dyn Clock>) -> Result<Webhook, BuildError> {
        let mut headers = config.headers.clone();
        if let Some(authorization) = &config.authorization {
            let value = HeaderValue::from_str(&load(authorization, name)?);
            let mut value = value
                .map_err(|_| BuildError::new(name, authorization.option, "holds characters that no header may hold"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let secret = config.secret.as_ref().map(|secret| load(secret, name)).transpose()?;
        Ok(Webhook {
            name: name.to_owned(),
            client: client(name, config)?,
            url: config.url.clone(),
            headers,
            secret: secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes())),
            clock,
        })
    }

    async fn post(&self, message: &Message) -> Result<String, SendError> {
        let now = self.clock.now();
        let mut request = self
            .client
            .post(self.url.clone())
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("Idempotency-Key", &message.id)
            .header("X-Modelwatch-Timestamp", seconds(now).to_string());
        if let Some(secret) = &self.secret {
            request = request.header("X-Modelwatch-Signature", signature(secret, seconds(now), &message.json));
        }
        // The error would name the whole URL, which often is a secret itself.
        let failed = |error: reqwest::Error| SendError::retry(self.told(&causes(&error.without_url())));
        let response = request.body(message.json.clone()).send().await.map_err(failed)?;
        self.judge(response, now).await
    }

    async fn judge(&self, response: Response, now: Timestamp) -> Result<String, SendError> {
        let status = response.status();
        let after = response.headers().get(RETRY_AFTER).and_then(|value| retry_after(value.to_str().ok()?, now));
        let answer = words(&format!("{status}: {}", self.without_secrets(&beginning(response).await)));
        let answer = answer.trim_end_matches(": ").trim_end_matches(':').to_owned();
        match status {
            status if status.is_success() => Ok(answer),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
                Err(SendError::Retry { reason: self.told(&answer), after })
            }
            status if status.is_server_error() => Err(SendError::Retry { reason: self.told(&answer), after }),
            status if status.is_redirection() => {
                Err(SendError::refused(self.told(&format!("{answer} (redirects are not followed)"))))
            }
            _ => Err(SendError::refused(self.told(&answer))),
        }
    }

    /// Some servers repeat what they were asked: the path and query of the URL, or a header, which often are secrets. The
    /// text may be cut within one: then its beginning goes, too.
    fn without_secrets(&self, said: &str) -> String {
        let secrets = self.secrets();
        let mut said = secrets.iter().fold(said.to_owned(), |said, secret| said.replace(secret, "***"));
        let cut =
            |secret: &&str| (CUT_MIN..secret.len()).rev().find(|&n| secret.get(..n).is_some_and(|s| said.ends_with(s)));
        if let Some(cut) = secrets.iter().filter_map(cut).max() {
            said.truncate(said.len() - cut);
            said.push_str("***");
        }
        said
    }

    /// What no answer may show, the longest first; also the tokens within, for an answer may quote in its own way.
    fn secrets(&self) -> Vec<&str> {
        let authorization = self.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (path, query) = (self.url.path(), self.url.query().unwrap_or_default());
        let tokens = path.split('/').chain(query.split(['&', '='])).chain(authorization.split(' '));
        let mut secrets: Vec<&str> = tokens.filter(|token| token.len() >= TOKEN_MIN).collect();
        secrets.extend([path, query, authorization].into_iter().filter(|whole| whole.len() > 1));
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets
    }

    /// `what`, with the part of the URL that may be seen.
    fn told(&self, what: &str) -> String {
        format!("{what} ({})", self.url.origin().ascii_serialization())
    }
}

impl Notifier for Webhook {
    fn recipients(&self) -> Vec<String> {
        vec![self.name.clone()]
    }

    fn send<'a>(&'a self, message: &'a Message) -> Sending<'a> {
        Box::pin(self.post(message))
    }
}

fn client(name: &str, config: &Config) -> Result<Client, BuildError> {
    // Fails if one is installed already, and then that one is used.
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut builder = Client::builder()
        .timeout(config.timeout)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("modelwatch/", env!("CARGO_PKG_VERSION")));
    if let Some(path) = &config.ca_file {
        let pem = super::read_text(name, "ca_file", path)?;
        let certificates =
            Certificate::from_pem_bundle(pem.as_bytes()).ok().filter(|certificates| !certificates.is_empty());
        let wrong = || BuildError::new(name, "ca_file", format!("{} holds no certificate in PEM form", path.display()));
        builder = builder.tls_certs_only(certificates.ok_or_else(wrong)?);
    } else if config.url.scheme() == "http" {
        // Without TLS there is no need to ask for the system's certificates, which a small system may lack.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| BuildError::new(name, "url", causes(&error)))
}

fn seconds(now: Timestamp) -> i64 {
    now.as_micros().div_euclid(1_000_000)
}

/// `v1=` and the lower-case hex digits of HMAC-SHA256(secret, `<seconds>.<body>`).
fn signature(secret: &hmac::Key, seconds: i64, body: &str) -> String {
    let tag = hmac::sign(secret, format!("{seconds}.{body}").as_bytes());
    tag.as_ref().iter().fold("v1=".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// What `Retry-After` asks for: seconds, or an instant. At most an hour, `None` if it is neither.
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let asked = match value.trim().parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = jiff::fmt::rfc2822::parse(value.trim()).ok()?.timestamp();
            Timestamp::from_micros(until.as_microsecond()).since(now)
        }
    };
    Some(asked.min(RETRY_AFTER_MAX))
}

/// The first bytes of the answer; empty if it has none. An answer that breaks off is still an answer.
async fn beginning(mut response: Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_MAX {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend(chunk.iter().take(ANSWER_MAX - bytes.len())),
            Ok(None) | Err(_) => break,
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_of_a_known_pair() {
        // python3: hmac.new(b"key", b'1700000000.{"a":1}', "sha256").hexdigest()
        let expected = "v1=a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03";
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"key");
        assert_eq!(signature(&key, 1_700_000_000, "{\"a\":1}"), expected);
    }

    #[test]
    fn retry_after_in_both_forms() {
        let now = Timestamp::from_secs(784_111_777);
        for (value, expected) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("86400", Some(3_600)),
            ("99999999999999999999", None),
            ("soon", None),
            ("-5", None),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("Sun, 06 Nov 2044 08:00:00 GMT", Some(3_600)),
        ] {
            assert_eq!(retry_after(value, now), expected.map(Duration::from_secs), "{value}");
        }
    }
}
