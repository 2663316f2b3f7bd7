//! Foreign requests to the pages: an answer, never a panic, and of the 5xx only the 503 of `/live` and `/ready`.
//!
//! Input: a digit for the state of the engine, then `METHOD PATH`, lines of `name: value`, an empty line, and a body.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use metrics_exporter_prometheus::PrometheusBuilder;
use modelwatch::clock::Timestamp;
use modelwatch::daemon::status::{Published, Status};
use modelwatch::state::State;
use modelwatch::web::{Pages, router};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);
/// More than any page has for the states below.
const MOST_BYTES: usize = 1 << 16;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().expect("a runtime"));

/// One for each state of the engine.
static ROUTERS: LazyLock<Vec<Router>> = LazyLock::new(|| statuses().into_iter().map(router_of).collect());

/// Nothing yet; up to date; behind; unable to save, with what foreign names do to it.
fn statuses() -> [Option<Status>; 4] {
    let fine = Status { at: NOW, healthy: true, ..Status::default() };
    let behind = Status { catching_up: Some(Duration::MAX), ..fine.clone() };
    let records = BTreeMap::from([("\u{0}\"\n<b>\u{202e}".to_owned(), u64::MAX)]);
    let sick = Status { healthy: false, records, at: Timestamp::MAX, ..fine.clone() };
    [None, Some(fine), Some(behind), Some(sick)]
}

fn router_of(status: Option<Status>) -> Router {
    let directory = tempfile::tempdir().expect("a directory");
    let outbox = State::open(directory.path(), NOW).and_then(|state| state.outbox()).expect("an outbox");
    let published = Published::default();
    if let Some(status) = status {
        published.publish(status);
    }
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    router(Pages { published, metrics, outbox })
}

/// Checks one request.
pub fn check(data: &[u8]) -> bool {
    let Some((state, request)) = data.split_first() else { return false };
    let Some(request) = parse(request) else { return false };
    let router = ROUTERS[usize::from(*state) % ROUTERS.len()].clone();
    let path = request.uri().path().to_owned();
    let (status, headers, body) = RUNTIME.block_on(async {
        let answer = router.oneshot(request).await.unwrap_or_else(|never| match never {});
        let (head, body) = answer.into_parts();
        (head.status, head.headers, axum::body::to_bytes(body, MOST_BYTES).await.expect("a short body"))
    });
    let may_be_down = ["/live", "/ready"].contains(&path.as_str());
    assert!(
        !status.is_server_error() || (status == StatusCode::SERVICE_UNAVAILABLE && may_be_down),
        "{status}: {path}"
    );
    if status == StatusCode::OK && path == "/api/v1/status" && !body.is_empty() {
        assert_eq!(headers["content-type"], "application/json");
        serde_json::from_slice::<serde_json::Value>(&body).expect("JSON");
    }
    status == StatusCode::OK
}

/// `None` for what no HTTP library would let through.
fn parse(request: &[u8]) -> Option<Request<Body>> {
    let mut lines = request.split(|byte| *byte == b'\n');
    let first = lines.next()?;
    let (method, path) = first.split_at(first.iter().position(|byte| *byte == b' ')?);
    let mut builder = Request::builder().method(method).uri(&path[1..]);
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        builder = builder.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    builder.body(Body::from(lines.collect::<Vec<_>>().join(&b'\n'))).ok()
}
