//! The script: what happens when, in seconds since the traffic began.

use std::time::Duration;

/// The delivery times go wrong.
const ETA_BREAKS: f64 = 30.0;
/// The fraud scores go wrong.
const FRAUD_BREAKS: f64 = 38.0;
/// Both are repaired.
const REPAIRED: f64 = 65.0;
/// Recovery is over well before this.
const LIMIT: f64 = 150.0;
/// How long the screen reckons with until everything is resolved.
const EXPECTED: f64 = 105.0;

/// The script at a pace; 1 for people, more for tests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Script {
    pub(super) pace: f64,
}

impl Script {
    fn at(self, since: Duration) -> f64 {
        since.as_secs_f64() * self.pace
    }

    fn when(self, seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds / self.pace)
    }

    pub(super) fn eta_is_broken(self, since: Duration) -> bool {
        (ETA_BREAKS..REPAIRED).contains(&self.at(since))
    }

    pub(super) fn fraud_is_broken(self, since: Duration) -> bool {
        (FRAUD_BREAKS..REPAIRED).contains(&self.at(since))
    }

    /// When the incident that `rule` is to find begins.
    pub(super) fn begin(self, rule: &str) -> Duration {
        self.when(if rule == "eta-rmse" { ETA_BREAKS } else { FRAUD_BREAKS })
    }

    pub(super) fn repaired(self) -> Duration {
        self.when(REPAIRED)
    }

    pub(super) fn expected(self) -> Duration {
        self.when(EXPECTED)
    }

    pub(super) fn is_over(self, since: Duration) -> bool {
        self.at(since) >= LIMIT
    }

    pub(super) fn phase(self, since: Duration) -> &'static str {
        match self.at(since) {
            at if at < ETA_BREAKS => "all is well; learning what is normal",
            at if at < FRAUD_BREAKS => "INCIDENT: eta is minutes off in region=eu",
            at if at < REPAIRED => "INCIDENT: eta off in region=eu; fraud blind in channel=app",
            _ => "repaired; the evidence of the incident fades",
        }
    }
}

/// `text` with every duration in seconds (`"8s"`) divided by `pace`.
pub(super) fn at_pace(text: &str, pace: f64) -> String {
    let scaled = |quoted: &str| {
        let seconds: f64 = quoted.strip_suffix('s')?.parse().ok()?;
        Some(format!("{}ms", (seconds * 1_000.0 / pace).round()))
    };
    let parts = text.split('"').map(|part| scaled(part).filter(|_| pace != 1.0).unwrap_or_else(|| part.to_owned()));
    parts.collect::<Vec<_>>().join("\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_divides_durations_and_nothing_else() {
        let text = "tick = \"1s\"\nhalf_life = \"8s\" # 30s\ntopic = \"labels\"\nlabel = \"s\"";
        assert_eq!(at_pace(text, 1.0), text);
        assert_eq!(
            at_pace(text, 4.0),
            "tick = \"250ms\"\nhalf_life = \"2000ms\" # 30s\ntopic = \"labels\"\nlabel = \"s\""
        );
    }

    #[test]
    fn the_incident_begins_and_ends() {
        let script = Script { pace: 2.0 };
        let broken = |seconds| {
            let since = Duration::from_secs_f64(seconds);
            (script.eta_is_broken(since), script.fraud_is_broken(since))
        };
        assert_eq!(broken(14.9), (false, false));
        assert_eq!(broken(15.1), (true, false));
        assert_eq!(broken(32.4), (true, true));
        assert_eq!(broken(32.6), (false, false));
        assert_eq!(script.begin("eta-rmse"), Duration::from_secs(15));
    }
}
