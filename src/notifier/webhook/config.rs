//! `[notifier.NAME.webhook]`.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::settings::{Placed, Secret, Table};

/// Where to post, and how to prove who posts.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The address; `http` or `https`, without credentials.
    pub url: Url,
    /// Key of the signature.
    pub secret: Option<Secret>,
    /// Value of the header `Authorization`.
    pub authorization: Option<Secret>,
    /// More headers.
    pub headers: HeaderMap,
    /// Longest wait for the whole exchange.
    pub timeout: Duration,
    /// Certificates to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// Headers that are ours to set.
const RESERVED: [&str; 7] = [
    "authorization",
    "content-length",
    "content-type",
    "host",
    "idempotency-key",
    "x-modelwatch-signature",
    "x-modelwatch-timestamp",
];

impl Config {
    /// Reads the table; touches neither files nor network.
    pub fn read(mut table: Table<'_>) -> Option<Config> {
        let url =
            table.required_text("url", "\"https://hooks.example.org/modelwatch\"").and_then(|text| url(&table, &text));
        let secret = Secret::read(&mut table, "secret_file", "secret_env");
        let authorization = Secret::read(&mut table, "authorization_file", "authorization_env");
        let headers = table.table("headers").map_or_else(HeaderMap::new, headers);
        let timeout = table.duration("timeout").map_or(Duration::from_secs(30), |timeout| timeout.value);
        let ca_file = table.text("ca_file").map(|path| path.value.into());
        table.finish();
        Some(Config { url: url?, secret, authorization, headers, timeout, ca_file })
    }
}

/// The messages do not repeat the address: it may hold a secret.
fn url(table: &Table<'_>, text: &Placed<String>) -> Option<Url> {
    let problem = |message: &str| table.problem(text.span.clone(), message);
    let url = match Url::parse(&text.value) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => url,
        _ => {
            problem("`url` must be an address such as \"https://hooks.example.org/modelwatch\"");
            return None;
        }
    };
    if !url.username().is_empty() || url.password().is_some() {
        problem(
            "`url` must not hold a user name or password: write the header's value (`Basic ...`, `Bearer ...`) to a file and name it in `authorization_file`",
        );
        return None;
    }
    Some(url)
}

fn headers(mut table: Table<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in table.each_text() {
        let parsed = (HeaderName::from_bytes(name.value.as_bytes()), HeaderValue::from_str(&value.value));
        match parsed {
            (Ok(known), _) if RESERVED.contains(&known.as_str()) => {
                let hint = if known == "authorization" { ": use `authorization_file`" } else { "" };
                table.problem(name.span, format!("`{}` is not free to be set here{hint}", name.value));
            }
            (Ok(name), Ok(value)) => drop(headers.insert(name, value)),
            (Err(_), _) => table.problem(name.span, format!("`{}` is no name of a header", name.value)),
            (_, Err(_)) => {
                table.problem(value.span, format!("`{}`: no header may hold control characters", name.value))
            }
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use crate::notifier::tests::check_problems;

    #[track_caller]
    fn check(options: &str, expected: &[&str]) {
        check_problems(&format!("[notifier.ops.webhook]\n{options}"), expected);
    }

    #[test]
    fn every_mistake_is_told_and_no_address_repeated() {
        let address = "`url` must be an address such as \"https://hooks.example.org/modelwatch\"";
        check("url = 'https://a.example/x'\nsecret_file = '/s'\nheaders = { X-Team = 'ml' }", &[]);
        check("url = 'ftp://a.example/'", &[address]);
        check("url = 'hooks'", &[address]);
        check(
            "",
            &["notifier `ops.webhook` needs `url`, for example `url = \"https://hooks.example.org/modelwatch\"`"],
        );
        check(
            "url = 'https://u:p@a.example/'",
            &[
                "`url` must not hold a user name or password: write the header's value (`Basic ...`, `Bearer ...`) to a file and name it in `authorization_file`",
            ],
        );
        check(
            "url = 'https://a.example/'\nsecret_file = 'a'\nsecret_env = 'b'",
            &["give either `secret_file` or `secret_env`, not both"],
        );
        check(
            "url = 'https://a.example/'\nheaders = { Authorization = 'x', 'a b' = 'x', c = \"x\\ny\", Host = 'x' }",
            &[
                "`Authorization` is not free to be set here: use `authorization_file`",
                "`a b` is no name of a header",
                "`c`: no header may hold control characters",
                "`Host` is not free to be set here",
            ],
        );
    }
}
