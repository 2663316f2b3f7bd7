//! Signals at bad moments.

use std::time::Duration;

use super::super::Stage;
use super::super::outage::Broker;
use super::Scene;
use crate::process::Watch;

/// Longest rebuild of the join in these tests.
const REBUILD_MILLIS: u64 = 3_000;

#[test]
fn stopped_and_continued_it_goes_on() {
    let Some(mut scene) = Scene::set("stopped") else { return };
    let watch = Watch::start(&scene.configure("", ""));
    for (from, to) in [(0, 2_195), (2_195, 4_530), (4_530, 9_999)] {
        watch.signal("STOP");
        scene.produce_until(from, to);
        std::thread::sleep(Duration::from_secs(3));
        watch.signal("CONT");
        watch.has_committed(scene.produced);
    }
    assert_eq!(watch.page("/live").0, 200);
    scene.ends_as_in_peace(watch, &scene.state());
}

#[test]
fn stopped_while_the_broker_was_made_anew_it_goes_on() {
    let Some((broker, kafka)) = Broker::start() else { return };
    let mut scene = Scene::on(Stage::on(kafka, "stopped-outage"));
    let watch = Watch::start(&scene.configure("", ""));
    scene.produce_until(0, 2_195);
    watch.has_committed(scene.produced);
    watch.signal("STOP");
    broker.does("kill");
    broker.does("start");
    scene.produce_until(2_195, 9_999);
    watch.signal("CONT");
    scene.ends_as_in_peace(watch, &scene.state());
}

#[test]
fn it_ends_before_kafka_has_answered() {
    let Some(scene) = Scene::set("nobody") else { return };
    let config = scene.configure("", "");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace(&scene.stage.kafka.plaintext, "127.0.0.1:9")).unwrap();
    let watch = Watch::start(&config);
    assert_eq!(watch.page("/ready"), (503, "waiting for the source\n".to_owned()));
    watch.says("waiting for kafka");
    assert_eq!(watch.end("TERM"), Some(0));
}

/// Ends the daemon after ever longer lives, from the first moment on until it has rebuilt its join.
#[test]
fn it_ends_at_any_moment_of_its_start() {
    let Some(mut scene) = Scene::set("start") else { return };
    let config = scene.configure("", "");
    let watch = Watch::start(&config);
    scene.produce_until(0, 4_000);
    watch.has_committed(scene.produced);
    // An end in order would leave a snapshot, and nothing to rebuild.
    assert_eq!(watch.end("KILL"), None);
    scene.produce_until(4_000, 9_999);

    let (mut while_resuming, mut millis) = (0, 0);
    loop {
        let watch = Watch::start_with(&config, &[]);
        std::thread::sleep(Duration::from_millis(millis));
        let (code, log) = watch.end_with_log("TERM");
        // Before its first word nothing handles a signal yet.
        assert!(code == Some(0) || (code.is_none() && log.is_empty()), "{code:?} after {millis} ms:\n{log}");
        assert!(!log.contains(" ERROR "), "{log}");
        // The rebuild itself is a matter of milliseconds here.
        let phases = ["stopped while the join was rebuilt", "stopped while looking up where to go on"];
        while_resuming += u32::from(phases.iter().any(|phase| log.contains(phase)));
        if log.contains("the join is rebuilt") {
            break;
        }
        millis += 20;
        assert!(millis < REBUILD_MILLIS, "it never was rebuilt");
    }
    assert!(while_resuming > 0, "no end fell into the time in which it finds out where to go on");
    scene.ends_as_in_peace(Watch::start(&config), &scene.state());
}
