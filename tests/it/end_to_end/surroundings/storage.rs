//! The state directory: full, read-only from the start, broken while the daemon runs.

use super::super::state_file::StateFile;
use super::Scene;
use super::disk::Disk;
use crate::faults::{Act, smtp};
use crate::process::{Watch, eventually};

const FAILURES: &str = "modelwatch_commit_failures_total";

/// Waits until the daemon says everywhere that it cannot save its state.
#[track_caller]
fn says_that_nothing_is_saved(watch: &Watch) {
    watch.says("the state cannot be saved");
    eventually("not ready", || (watch.page("/ready") == (503, "the state cannot be saved\n".to_owned())).then_some(()));
    assert!(watch.metric(FAILURES).is_some_and(|failures| failures >= 1.0));
    assert_eq!(watch.status()["state_is_saved"], false);
    assert_eq!(watch.page("/live").0, 200);
}

#[test]
fn a_full_disk_holds_notices_back_until_there_is_room() {
    let Some(mut scene) = Scene::set("full") else { return };
    let Some(disk) = Disk::in_memory(&scene.state(), "size=4m") else { return };
    let watch = disk.start(&scene.configure("", ""));
    scene.produce_until(0, 2_000);
    watch.has_committed(scene.produced);
    assert_eq!(watch.metric(FAILURES), Some(0.0));
    disk.fill();
    scene.produce_until(2_000, 2_400);
    watch.has_committed(scene.produced);
    watch.says("firing");
    says_that_nothing_is_saved(&watch);
    // Records are read on, and decided on; but nobody is told, and Kafka shows no position that is not durable.
    assert_eq!(scene.taken(), []);
    let saved = StateFile::read(&disk.seen_from_outside());
    assert!(saved.rows.is_empty() && saved.next_offsets() < scene.produced, "{:?}", saved.rows);
    saved.is_not_behind(&scene.stage.kafka.plaintext, &scene.group("state"));

    disk.free();
    scene.hooks.wait_for(1);
    watch.says("the state is saved again");
    eventually("ready", || (watch.page("/ready").0 == 200).then_some(()));
    scene.produce_until(2_400, 9_999);
    scene.ends_as_in_peace(watch, &disk.seen_from_outside());
}

#[test]
fn an_answer_that_cannot_be_noted_is_not_asked_for_again() {
    let Some(mut scene) = Scene::set("unnoted") else { return };
    let Some(disk) = Disk::in_memory(&scene.state(), "size=4m") else { return };
    let watch = disk.start(&scene.configure("", ""));
    scene.smtp.script.once(smtp::At::End, Act::Hang);
    scene.produce_until(0, 2_400);
    scene.smtp.script.wait_until_reached();
    eventually("the others are told", || scene.hooks.taken().first().filter(|hook| hook.answered).map(drop));
    disk.fill();
    scene.smtp.script.resume();
    let failures = || watch.log().matches("the outbox cannot be read or written").count();
    eventually("it is tried to be noted again and again", || (failures() >= 2).then_some(()));
    disk.free();
    eventually("it is noted", || (watch.status()["outbox"]["pending"] == 0).then_some(()));
    scene.produce_until(2_400, 9_999);
    scene.ends_as_in_peace(watch, &disk.seen_from_outside());
}

#[test]
fn a_directory_that_is_read_only_is_a_clear_reason_not_to_start() {
    let Some(scene) = Scene::set("read-only") else { return };
    let Some(disk) = Disk::in_memory(&scene.state(), "ro") else { return };
    let done = disk.daemon(&scene.configure("", "")).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(1), "{said}");
    let expected = format!("state directory {}: Read-only file system", scene.state().display());
    assert!(said.contains(&expected), "{said}");
}

#[test]
fn a_disk_that_breaks_is_told_and_after_its_repair_all_goes_on() {
    let Some(mut scene) = Scene::set("breaks") else { return };
    let Some(disk) = Disk::real(&scene.state()) else { return };
    let config = scene.configure("", "");
    let watch = disk.start(&config);
    scene.produce_until(0, 2_000);
    watch.has_committed(scene.produced);
    // As the kernel does when the device fails: read-only from here on, whoever has files open.
    disk.shell("mount -o remount,abort \"$1\"");
    scene.produce_until(2_000, 2_400);
    watch.says("firing");
    says_that_nothing_is_saved(&watch);
    assert_eq!(scene.taken(), []);
    // It cannot save at its end either, which loses nothing: the records are read again.
    assert_eq!(watch.end("TERM"), Some(0));
    assert_eq!(scene.taken(), []);

    let image = scene.state().with_extension("image");
    disk.shell(&format!("umount \"$1\" && mount -o loop '{}' \"$1\"", image.display()));
    let watch = disk.start(&config);
    scene.produce_until(2_400, 9_999);
    scene.ends_as_in_peace(watch, &disk.seen_from_outside());
}
