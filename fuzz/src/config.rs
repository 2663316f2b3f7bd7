//! Configurations of foreign text: never a panic, every problem has a place inside of the text and can be shown, and
//! what passes can be built and told of.

use modelwatch::alert::{Change, Transition};
use modelwatch::clock::Timestamp;
use modelwatch::config::{self, Config, Defaults};
use modelwatch::decode::json::Json;
use modelwatch::notification::{Receiver, Rendering, notices, render};
use modelwatch::pipeline::Pipeline;
use modelwatch::rule::Rule;

use super::notice;

/// Checks one text.
pub fn check(data: &[u8]) -> bool {
    let text = String::from_utf8_lossy(data);
    let (config, report) = match config::parse("file.toml", &text, &Defaults::default()) {
        Ok((config, warnings)) => (Some(config), warnings),
        Err(report) => (None, report),
    };
    assert_eq!(config.is_none(), report.errors() > 0, "a reason, or a configuration");
    for problem in report.problems() {
        let span = &problem.span;
        assert!(span.start <= span.end && span.end <= text.len(), "{span:?} of {}: {}", text.len(), problem.message);
        assert!(!problem.message.is_empty());
    }
    let shown = report.to_string();
    assert!(!shown.chars().any(|c| c.is_control() && c != '\n'), "{shown:?}");
    if let Some(config) = &config {
        build(config);
    }
    config.is_some()
}

fn build(config: &Config) {
    let pipeline = Pipeline::new(config.pipeline.clone(), &[7; 16]);
    assert_eq!(pipeline.tick(), config.pipeline.tick);
    for topic in [&config.mapping.predictions_topic, &config.mapping.labels_topic] {
        let _decoder = Json::new(&config.mapping, config.mapping.roles(topic));
    }
    let options = Rendering {
        zone: config.notices.time_zone.clone(),
        status_page: config.notices.link.clone(),
        instance: config.notices.instance.clone().unwrap_or_default(),
    };
    let transitions: Vec<Transition> = config.pipeline.rules.iter().map(fired).collect();
    for notice in notices(&transitions) {
        for notifier in notice.notify() {
            let receiver = Receiver { notifier: notifier.clone(), recipient: "a@example.org".to_owned() };
            notice::check_message(&render(&notice, &receiver, Timestamp::from_secs(90), &options));
        }
    }
}

fn fired(rule: &Rule) -> Transition {
    Transition {
        rule: rule.name.clone(),
        model: rule.model.clone(),
        segment: None,
        severity: rule.severity,
        change: Change::Fired,
        at: Timestamp::from_secs(60),
        since: Timestamp::from_secs(0),
        hold: rule.hold,
        incident: Some("0123456789ab".to_owned()),
        sequence: 1,
        evidence: Vec::new(),
        worst: Vec::new(),
        runbook: rule.runbook.clone(),
        summary: rule.summary.clone(),
        notify: rule.notify.clone(),
    }
}
