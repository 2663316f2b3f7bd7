//! SIGHUP: a good file is swapped in, a bad one changes nothing.

use std::fs;

use super::{Dataset, Stage, rules};
use crate::process::{Hooks, Watch, eventually};

const RELOADED: &str = "modelwatch_config_last_reload_successful";

#[test]
fn a_bad_file_changes_nothing_and_a_good_one_ends_what_it_leaves_out() {
    let Some(stage) = Stage::set("reload") else { return };
    let (data, hooks) = (Dataset::recent(), Hooks::start());
    let notifier = format!("[notifier.ops.webhook]\nurl = '{}'\n", hooks.url);
    let both = rules("stays", "['ops']") + &rules("leaves", "['ops']") + &notifier;
    let config = stage.configure(&both);
    let watch = Watch::start(&config);
    assert_eq!(watch.metric(RELOADED), Some(1.0), "what it started with");
    stage.produce(data.between(0, 2_400));
    hooks.wait_for(2);
    let before = watch.status()["alerts"].clone();

    for (bad, words) in [
        (both.replace("above = 4.0", "abov = 4.0"), "did you mean `above`"),
        (both.clone() + "[engine]\ntick = '1s'\n", "engine"),
        (format!("{both}secret_file = '/nowhere/secret'\n"), "/nowhere/secret"),
    ] {
        fs::write(&config, stage.head() + &bad).unwrap();
        watch.signal("HUP");
        watch.says(words);
        eventually("it is told", || (watch.metric(RELOADED) == Some(0.0)).then_some(()));
        // Good again, so that the next failure is one.
        fs::write(&config, stage.head() + &both).unwrap();
        watch.signal("HUP");
        eventually("it is mended", || (watch.metric(RELOADED) == Some(1.0)).then_some(()));
    }
    assert_eq!(watch.status()["alerts"], before);
    assert_eq!(hooks.heard().len(), 2, "nobody was told anything");

    // Another threshold, by which it is well as soon as that has lasted; and one rule less.
    let other = rules("stays", "['ops']").replace("above = 4.0", "above = 40.0").replace("clear = 3.5", "clear = 35.0");
    fs::write(&config, stage.head() + &other + &notifier).unwrap();
    watch.signal("HUP");
    let ended = hooks.wait_for(3)[2].json();
    assert_eq!((&ended["rule"], &ended["alerts"][0]["reason"]), (&"leaves".into(), &"rule_removed".into()));
    assert_ne!(ended["state"], "resolved", "nothing was measured");
    stage.produce(data.between(2_400, 2_700));
    let resolved = hooks.wait_for(4)[3].json();
    assert_eq!((&resolved["rule"], &resolved["state"]), (&"stays".into(), &"resolved".into()));
    assert_eq!(watch.end("TERM"), Some(0));
    assert_eq!(hooks.heard().len(), 4);
}
