//! After downtime: notices are held back while the daemon catches up, then one digest says what is still true.

use super::mails::{email, header, mails, webhook};
use super::{Dataset, Stage, rules};
use crate::process::{Hooks, Watch, eventually};
use crate::servers;

/// The dataset breaks at some time and is mended later; the first half of the breach, or all of it, is hours old.
#[track_caller]
fn check(name: &str, until: i64, subject: &str, states: &[&str]) {
    let (Some(stage), Some(mail)) = (Stage::set(name), servers::mail()) else { return };
    let (data, hooks, rule) = (Dataset::recent(), Hooks::start(), stage.name.clone());
    let config = stage.configure(
        &(rules(&rule, "['oncall', 'ops']")
            + &email(&mail, "['oncall@example.test']")
            + &webhook(&hooks, stage.folder.path())
            + &format!("[notices]\ninstance = 'instance {rule}'\n")),
    );
    stage.produce_backlog(data.between(0, until));
    let watch = Watch::start(&config);
    watch.says("catching up");
    watch.says("caught up");
    eventually("ready", || (watch.page("/ready").0 == 200).then_some(()));
    let told = eventually("the digest", || mails(&mail, "oncall", &rule).filter(|mails| !mails.is_empty()));
    assert_eq!(told.len(), 1, "no storm");
    assert_eq!(header(&told[0], "subject"), subject);
    assert_eq!(header(&told[0], "x-modelwatch-state"), "caught_up");
    let digest = hooks.wait_for(1)[0].json();
    assert_eq!(digest["kind"], "caught_up");
    let held: Vec<&str> =
        digest["notices"].as_array().unwrap().iter().map(|notice| notice["state"].as_str().unwrap()).collect();
    assert_eq!(held, states);
    assert_eq!(watch.end("TERM"), Some(0));
    assert_eq!(hooks.heard().len(), 1);
}

#[test]
fn a_breach_that_lasts_is_told_once_when_we_have_caught_up() {
    check("backlog-lasts", 2_400, "[CAUGHT UP] 1 still true, 0 over", &["firing"]);
}

#[test]
fn a_breach_that_came_and_went_meanwhile_is_a_line_in_the_digest() {
    check("backlog-over", 7_000, "[CAUGHT UP] 0 still true, 1 over", &["firing", "resolved"]);
}
