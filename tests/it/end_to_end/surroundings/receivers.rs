//! Receivers that are gone for long, or hang.

use super::super::state_file::StateFile;
use super::Scene;
use crate::faults::{Act, smtp, webhook};
use crate::process::{Watch, eventually};

#[test]
fn a_mail_server_that_is_gone_is_tried_again_by_a_clock_that_survives_a_restart() {
    let Some(mut scene) = Scene::set("gone") else { return };
    let config = scene.configure("", "");
    scene.smtp.script.always(smtp::At::Connect, Act::Drop);
    scene.produce_until(0, 2_400);
    let mut due = None;
    for attempt in 1..=4 {
        let watch = Watch::start(&config);
        watch.has_committed(scene.produced);
        scene.hooks.wait_for(1);
        let row = || StateFile::read(&scene.state()).rows.into_values().find(|row| row.state == "pending");
        let tried = eventually("an attempt", || row().filter(|row| row.attempts == attempt));
        assert_eq!(watch.end(if attempt % 2 == 0 { "KILL" } else { "TERM" }), (attempt % 2 != 0).then_some(0));
        // The next life keeps to the time that this one has set.
        if let Some(due) = due.replace(tried.due_in) {
            assert!(tried.due_in > due, "waits grow: {due} s, then {} s", tried.due_in);
        }
        let before = scene.smtp.script.reached();
        let watch = Watch::start(&config);
        watch.has_committed(scene.produced);
        let kept = row().unwrap();
        assert_eq!((kept.attempts, scene.smtp.script.reached()), (attempt, before), "its time has not come: {kept:?}");
        assert_eq!(watch.end("TERM"), Some(0));
        StateFile::read(&scene.state()).hasten(&scene.state());
    }
    scene.smtp.script.resume();
    scene.produce_until(2_400, 9_999);
    let watch = Watch::start(&config);
    scene.ends_as_in_peace(watch, &scene.state());
}

#[test]
fn a_webhook_that_hangs_holds_nobody_else_back() {
    let Some(mut scene) = Scene::set("hangs") else { return };
    let watch = Watch::start(&scene.configure("", "timeout = '2s'\n"));
    scene.hooks.script.always(webhook::At::Body, Act::Hang);
    scene.produce_until(0, 9_999);
    let mails = || Some(scene.smtp.taken().len()).filter(|mails| *mails == 2);
    eventually("firing and resolved by mail", mails);
    scene.hooks.script.wait_until_reached();
    watch.says("to be tried again");
    assert!(watch.log().contains("timed out"), "{}", watch.log());
    assert_eq!(watch.status()["outbox"]["pending"], 2, "both webhooks are still owed");
    watch.has_committed(scene.produced);
    assert_eq!(watch.page("/ready").0, 200);
    assert_eq!(watch.end("TERM"), Some(0));
}

#[test]
fn an_end_waits_for_a_mail_in_flight_but_not_for_ever() {
    for (option, noted) in [("timeout = '1s'\n", "to be tried again"), ("", "a notice is still in flight")] {
        let Some(mut scene) = Scene::set(&format!("flight{}", option.len())) else { return };
        let config = scene.configure(option, "");
        let watch = Watch::start(&config);
        scene.smtp.script.once(smtp::At::Data, Act::Hang);
        scene.produce_until(0, 2_400);
        scene.smtp.script.wait_until_reached();
        let begun = std::time::Instant::now();
        watch.signal("TERM");
        watch.says(noted);
        assert_eq!(watch.end("TERM"), Some(0));
        assert!(begun.elapsed().as_secs() < 40, "systemd waits for 45 s: {:?}", begun.elapsed());
        StateFile::read(&scene.state()).hasten(&scene.state());
        scene.produce_until(2_400, 9_999);
        scene.ends_as_in_peace(Watch::start(&config), &scene.state());
    }
}
