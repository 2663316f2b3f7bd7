//! Who is told what and when: what Alertmanager's acceptance tests cover and applies here, on the whole daemon, which is
//! killed after every step and after every attempt; what people get must not change by it.
//!
//! ```text
//! at 1m oncall down             refuses for now; `refuses`: for good; `loses`: takes it, and we never hear of it; `up`
//! at 5m crash                   killed, and down until `start`; `stop`: ended in order
//! want 7m mail oncall firing mae eta
//! want 7m..9m mail oncall resolved mae eta
//! ```

use modelwatch::pipeline::Options;
use modelwatch::rule::Rule;

use super::{daemon, grammar, mae, mae_above, with};
use crate::given::{self, secs};

/// Plays a line and compares the notices with what it wants.
#[track_caller]
fn check_with(options: &Options, next: Option<&Options>, text: &str) {
    daemon::check_mails(options, next, &grammar::read(text));
}

#[track_caller]
fn check(rule: Rule, text: &str) {
    check_with(&with(vec![rule]), None, text);
}

fn by_region() -> Rule {
    Rule { by: Some("region".to_owned()), ..mae() }
}

fn to(names: &[&str], rule: Rule) -> Rule {
    Rule { notify: names.iter().map(|name| (*name).to_owned()).collect(), ..rule }
}

#[test]
fn merge_what_a_rule_says_at_the_same_time_is_one_notice() {
    check(
        by_region(),
        "from 0s to 2m every 10s eta 5 err=9 region=eu
         from 0s to 2m every 10s eta 5 err=9 region=us
         from 30s to 3m every 10s eta 5 err=9 region=asia
         from 2m to 4m every 10s eta 5 err=0 region=eu
         from 2m to 4m every 10s eta 5 err=0 region=us
         until 5m
         want 10s mail oncall firing mae eta region=eu, region=us
         want 40s mail oncall firing mae eta region=asia
         want 2m30s mail oncall resolved mae eta region=eu, region=us",
    );
}

#[test]
fn repeat_while_it_lasts_and_no_longer() {
    check(
        Rule { repeat_every: Some(secs(300)), ..mae() },
        "from 0s to 12m every 1m eta 5 err=9
         from 12m to 14m every 1m eta 5 err=0
         until 30m
         want 10s mail oncall firing mae eta
         want 5m10s mail oncall repeat mae eta
         want 10m10s mail oncall repeat mae eta
         want 12m10s mail oncall resolved mae eta",
    );
}

#[test]
fn retry_until_it_is_taken_in_order_and_hold_back_nobody_else() {
    check(
        to(&["oncall", "ops"], mae()),
        "at 0s oncall down
         from 0s to 1m every 10s eta 5 err=9
         from 1m to 2m every 10s eta 5 err=0
         at 5m oncall up
         until 15m
         want 10s mail ops firing mae eta
         want 1m30s mail ops resolved mae eta
         want 5m..10m mail oncall firing mae eta
         want 5m..10m mail oncall resolved mae eta",
    );
}

#[test]
fn an_answer_that_is_lost_gives_the_same_notice_again_and_nothing_else() {
    check(
        mae(),
        "at 0s oncall loses
         from 0s to 1m every 10s eta 5 err=9
         from 1m to 2m every 10s eta 5 err=0
         at 3m oncall up
         until 15m
         want 10s mail oncall firing mae eta
         want 3m..8m mail oncall resolved mae eta",
    );
}

#[test]
fn resolved_is_told_once_and_a_new_incident_is_a_new_one() {
    check(
        Rule { hold: secs(20), recover_for: secs(30), ..mae() },
        "from 0s to 1m every 10s eta 5 err=9
         from 1m to 3m every 10s eta 5 err=0
         from 3m to 4m every 10s eta 5 err=9
         until 10m
         want 30s mail oncall firing mae eta
         want 2m mail oncall resolved mae eta
         want 3m30s mail oncall firing mae eta",
    );
}

#[test]
fn resolved_filter_the_end_goes_to_exactly_those_who_got_the_beginning() {
    check(
        to(&["oncall", "ops"], mae()),
        "at 0s oncall refuses
         from 0s to 1m every 10s eta 5 err=9
         at 40s oncall up
         from 1m to 2m every 10s eta 5 err=0
         from 2m to 3m every 10s eta 5 err=9
         until 4m
         want 10s mail ops firing mae eta
         want 10s mail ops undelivered
         want 1m30s mail ops resolved mae eta
         want 2m10s mail oncall firing mae eta
         want 2m10s mail ops firing mae eta",
    );
}

#[test]
fn an_end_behind_a_beginning_that_is_given_up_does_not_come_alone() {
    check(
        to(&["oncall", "ops"], mae()),
        "at 0s oncall down
         from 0s to 1m every 10s eta 5 err=9
         from 1m to 2m every 10s eta 5 err=0
         at 2h oncall up
         until 3h
         want 10s mail ops firing mae eta
         want 1m30s mail ops resolved mae eta
         want 1h..1h10m mail ops undelivered",
    );
}

#[test]
fn whoever_gets_the_repetition_gets_the_end() {
    check(
        to(&["oncall", "ops"], Rule { repeat_every: Some(secs(120)), ..mae() }),
        "at 0s oncall refuses
         from 0s to 3m every 10s eta 5 err=9
         at 1m oncall up
         from 3m to 4m every 10s eta 5 err=0
         until 5m
         want 10s mail ops firing mae eta
         want 10s mail ops undelivered
         want 2m10s mail oncall repeat mae eta
         want 2m10s mail ops repeat mae eta
         want 3m30s mail oncall resolved mae eta
         want 3m30s mail ops resolved mae eta",
    );
    // Also if both are found out about at once.
    check(
        to(&["oncall", "ops"], Rule { repeat_every: Some(secs(120)), ..mae() }),
        "at 0s oncall refuses
         from 0s to 3m every 10s eta 5 err=9
         at 1m oncall up
         at 1m crash
         from 3m to 4m every 10s eta 5 err=0
         at 5m start
         until 6m
         want 10s mail ops firing mae eta
         want 10s mail ops undelivered
         want 5m mail oncall repeat mae eta
         want 5m mail oncall resolved mae eta
         want 5m mail ops repeat mae eta
         want 5m mail ops resolved mae eta",
    );
}

#[test]
fn cold_start_what_is_wrong_now_is_told() {
    check(
        mae(),
        "at 0s crash
         from 0s to 1m every 10s eta 5 err=9
         at 1m start
         from 1m to 2m every 10s eta 5 err=0
         until 3m
         want 1m mail oncall firing mae eta
         want 1m30s mail oncall resolved mae eta",
    );
}

#[test]
fn after_downtime_one_digest_says_what_is_left() {
    check(
        by_region(),
        "from 0s to 1m every 10s eta 5 err=9 region=asia
         at 1m crash
         from 1m to 20m every 10s eta 5 err=9 region=eu
         from 1m to 20m every 10s eta 5 err=0 region=asia
         from 5m to 6m every 10s eta 5 err=9 region=us
         from 6m to 20m every 10s eta 5 err=0 region=us
         at 20m start
         from 20m to 22m every 10s eta 5 err=0 region=eu
         until 23m
         want 10s mail oncall firing mae eta region=asia
         want 20m10s mail oncall caught_up [CAUGHT UP] 1 still true, 2 over
         want 20m30s mail oncall resolved mae eta region=eu",
    );
}

#[test]
fn no_data_is_told_and_never_resolves() {
    check(
        Rule { no_data_after: Some(secs(120)), ..mae() },
        "from 0s to 1m every 10s eta 5 err=9
         at 10m crash
         at 20m start
         from 30m to 31m every 10s eta 5 err=0
         until 32m
         want 10s mail oncall firing mae eta
         want 3m mail oncall no_data mae eta
         want 30m10s mail oncall data_back mae eta
         want 30m10s mail oncall resolved mae eta",
    );
}

#[test]
fn for_and_recover_for_go_on_while_the_daemon_is_down() {
    check(
        Rule { hold: secs(120), recover_for: secs(120), ..mae() },
        "from 0s to 1m every 10s eta 5 err=9
         at 1m crash
         from 1m to 2m every 10s eta 5 err=9
         at 2m start
         from 2m to 3m every 10s eta 5 err=9
         from 3m to 4m every 10s eta 5 err=0
         at 4m stop
         from 4m to 5m every 10s eta 5 err=0
         at 5m start
         from 5m to 6m every 10s eta 5 err=0
         until 7m
         want 2m10s mail oncall firing mae eta
         want 5m30s mail oncall resolved mae eta",
    );
}

#[test]
fn reload_of_the_same_tells_nobody_anything() {
    check(
        Rule { repeat_every: Some(secs(120)), ..mae() },
        "from 0s to 3m every 10s eta 5 err=9
         at 35s reload
         at 2m5s reload
         from 3m to 4m every 10s eta 5 err=0
         at 3m25s reload
         until 5m
         want 10s mail oncall firing mae eta
         want 2m10s mail oncall repeat mae eta
         want 3m30s mail oncall resolved mae eta",
    );
}

#[test]
fn reload_of_a_changed_threshold_keeps_the_incident() {
    let changed = with(vec![Rule { conditions: vec![mae_above(8.5, 8.0)], ..mae() }]);
    check_with(
        &with(vec![mae()]),
        Some(&changed),
        "from 0s to 3m every 10s eta 5 err=9
         at 1m reload
         from 3m to 4m every 10s eta 5 err=7.5
         until 5m
         want 10s mail oncall firing mae eta
         want 3m20s mail oncall resolved mae eta",
    );
}

#[test]
fn reload_that_removes_the_rule_says_so_to_those_who_were_told() {
    let removed = with(vec![to(&["night"], given::rule("other", "eta", vec![mae_above(100.0, 100.0)]))]);
    check_with(
        &with(vec![to(&["day", "ops"], mae())]),
        Some(&removed),
        "at 0s ops refuses
         from 0s to 1m every 10s eta 5 err=9
         at 40s ops up
         at 1m reload
         until 3m
         want 10s mail day firing mae eta
         want 10s mail day undelivered
         want 10s mail night undelivered
         want 1m mail day ended mae eta",
    );
}

#[test]
fn reload_that_names_others_ends_the_incident_to_those_who_were_told() {
    let changed = with(vec![to(&["night"], mae())]);
    check_with(
        &with(vec![to(&["day"], mae())]),
        Some(&changed),
        "from 0s to 1m every 10s eta 5 err=9
         at 40s reload
         from 1m to 2m every 10s eta 5 err=0
         from 2m to 3m every 10s eta 5 err=9
         until 4m
         want 10s mail day firing mae eta
         want 1m30s mail day resolved mae eta
         want 2m10s mail night firing mae eta",
    );
}
