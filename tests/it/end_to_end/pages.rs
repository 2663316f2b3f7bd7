//! What Prometheus and systemd are told.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use modelwatch::metrics;

use super::{Dataset, Event, Stage, rules};
use crate::process::{Hooks, Watch, eventually, fed};
use crate::servers::program;

/// A name from foreign data.
const HOSTILE: &str = "eta \"quoted\" \\back\nline{a=\"b\"} 1";

#[test]
fn prometheus_reads_the_metrics_whatever_the_names_are() {
    let Some(stage) = Stage::set("pages") else { return };
    let (data, hooks) = (Dataset::recent(), Hooks::start());
    let head = stage.head().replace("[model.eta]", "[model.'eta*']").replace("model = 'eta'", "model = 'eta*'");
    let rest = rules("pages", "['ops']").replace("model = 'eta'", "model = 'eta*'");
    let config = stage.configure("");
    super::write(&config, &format!("{head}{rest}[notifier.ops.webhook]\nurl = '{}'\n", hooks.url));
    let watch = Watch::start(&config);
    let foreign = |event: &Event| {
        let mut value: serde_json::Value = serde_json::from_str(&event.value).unwrap();
        if value["model"] == "eta" {
            value["model"] = HOSTILE.into();
            value["region"] = HOSTILE.into();
        }
        Event { value: value.to_string(), ..event.clone() }
    };
    let mut events: Vec<Event> = data.between(0, 2_400).map(foreign).collect();
    events.push(Event { value: "{".to_owned(), ..events[0].clone() });
    let count = stage.produce(&events);
    hooks.wait_for(1);
    watch.has_committed(count);

    assert_eq!(watch.page("/live").0, 200);
    // The events are an hour old, but they came just now: that is no backlog.
    assert_eq!(watch.page("/ready"), (200, "ready\n".to_owned()));
    assert_eq!(watch.page("/nowhere").0, 404);
    let status = watch.status();
    let model = status["models"].as_array().unwrap().iter().find(|model| model["name"] == HOSTILE).expect("the model");
    let rmse = model["readings"].as_array().unwrap().iter().filter(|reading| reading["indicator"] == "rmse");
    assert_eq!(rmse.count(), 2, "the whole and the region");
    assert_eq!(status["rejected"]["malformed"]["count"], 1);

    let text = eventually("a notice is counted", || {
        Some(watch.page("/metrics").1).filter(|text| text.contains(metrics::NOTICES.name))
    });
    for metric in metrics::ALL.iter().filter(|metric| metric.name != metrics::GAPS.name) {
        let is_of = |line: &str| line.strip_prefix(metric.name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        assert!(text.lines().any(is_of), "{} is not exported:\n{text}", metric.name);
        assert!(text.contains(&format!("# HELP {} ", metric.name)), "{}", metric.name);
    }
    if let Some(mut promtool) = program("promtool") {
        let checked = fed(promtool.args(["check", "metrics"]), text.as_bytes());
        let told = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(checked.status.success() && told.is_empty(), "{told}\n{text}");
    }
    assert_eq!(watch.end("TERM"), Some(0));
}

#[test]
fn systemd_hears_of_every_step() {
    let Some(stage) = Stage::set("systemd") else { return };
    let config = stage.configure(&(rules("r", "['ops']") + "[notifier.ops.webhook]\nurl = 'http://127.0.0.1:9/'\n"));
    let path = stage.folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let told = |what: &str| {
        let mut seen = Vec::new();
        eventually(&format!("{what} from the daemon"), || {
            let mut datagram = [0; 4_096];
            let length = socket.recv(&mut datagram).ok()?;
            seen.push(String::from_utf8_lossy(&datagram[..length]).into_owned());
            seen.last()?.lines().any(|line| line.starts_with(what)).then(|| seen.concat())
        })
    };
    // A ping is due every half of it.
    let environment = [("NOTIFY_SOCKET", path.to_str().unwrap()), ("WATCHDOG_USEC", "1000000")];
    let watch = Watch::start_with(&config, &environment);
    assert!(!told("READY=1").contains("RELOADING"));
    told("WATCHDOG=1");
    told("WATCHDOG=1");
    told("STATUS=");
    watch.signal("HUP");
    assert!(told("RELOADING=1").contains("MONOTONIC_USEC="), "systemd wants the time with it");
    told("READY=1");
    told("WATCHDOG=1");
    let ended = std::thread::spawn(move || watch.end("TERM"));
    told("STOPPING=1");
    assert_eq!(ended.join().unwrap(), Some(0));
}
