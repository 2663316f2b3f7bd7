//! What people get: golden mails, and both notifiers against scripted servers.

use modelwatch::notifier::Config;
use modelwatch::settings::{Problems, Table};

mod email;
mod golden;
mod sample;
mod tls;
mod webhook;

/// The configuration that `text` holds, which must be right.
#[track_caller]
fn config(text: &str) -> Config {
    let document = toml::de::DeTable::parse(text).expect("valid TOML");
    let problems = Problems::default();
    let mut root = Table::root(document.get_ref(), &problems);
    let (_, table) = root.named("notifier").pop().expect("a notifier");
    let config = Config::read(table);
    assert_eq!(problems.into_sorted(), []);
    config.expect("a configuration")
}
