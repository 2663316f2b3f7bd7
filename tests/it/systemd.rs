//! The unit that we ship: systemd understands every line of it, and it stays hardened.

use crate::servers::program;
use std::fs;
use std::path::Path;
use std::process::Output;

/// The worst exposure that we accept, in tenths: 10 is "unsafe", 0 is unreachable.
const EXPOSURE_TENTHS_MAX: &str = "--threshold=15";

fn shipped(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd").join(name)).unwrap()
}

/// The unit with a drop-in below it, as systemd would read them, and with the program that was just built.
fn unit(drop_in: Option<&str>) -> String {
    let unit = shipped("modelwatch.service").replace("/usr/bin/modelwatch", env!("CARGO_BIN_EXE_modelwatch"));
    unit + &drop_in.map(shipped).unwrap_or_default()
}

/// Runs `systemd-analyze` on the unit; `None` where there is none.
#[track_caller]
fn analyze(arguments: &[&str], unit: &str) -> Option<Output> {
    let mut analyze = program("systemd-analyze")?;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("modelwatch.service");
    fs::write(&path, unit).unwrap();
    Some(analyze.args(arguments).arg(path).output().unwrap())
}

#[track_caller]
fn check_verifies(unit: &str) {
    let Some(output) = analyze(&["verify", "--man=no"], unit) else { return };
    // An unknown key is only a remark to it, and its exit code stays 0.
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[track_caller]
fn check_hardened(unit: &str) {
    let Some(output) = analyze(&["security", "--offline=true", EXPOSURE_TENTHS_MAX], unit) else { return };
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
    assert!(report.contains("Overall exposure level"), "{report}");
}

#[test]
fn unit_verifies() {
    check_verifies(&unit(None));
}

#[test]
fn unit_is_hardened() {
    check_hardened(&unit(None));
}

#[test]
fn unit_with_ip_allow_verifies_and_is_hardened() {
    check_verifies(&unit(Some("ip-allow.conf")));
    check_hardened(&unit(Some("ip-allow.conf")));
}

#[test]
fn unit_with_notify_reload_verifies() {
    let Some(mut version) = program("systemd-analyze") else { return };
    let output = version.arg("--version").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let version: u32 = text.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("`systemd NNN ...`");
    if version >= 253 {
        check_verifies(&unit(Some("notify-reload.conf")));
    } else {
        // Older ones do not know the type: that is why it is a drop-in.
        let output = analyze(&["verify", "--man=no"], &unit(Some("notify-reload.conf"))).expect("found above");
        assert!(String::from_utf8_lossy(&output.stderr).contains("notify-reload"));
    }
}
