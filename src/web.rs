//! Pages: `/metrics`, `/live`, `/ready`, `/api/v1/status`, from a read-only snapshot.

mod status;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json};
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::clock::Timestamp;
use crate::daemon::status::Published;
use crate::metrics::{OUTBOX_DEAD, OUTBOX_PENDING};
use crate::state::{Outbox, OutboxCounts};

/// An engine that was silent for longer is not alive.
const SILENT_FOR: Duration = Duration::from_secs(60);

/// What the pages are made from.
#[derive(Debug)]
pub struct Pages {
    /// The engine's snapshot.
    pub published: Published,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// For the counts of the outbox.
    pub outbox: Outbox,
}

struct Shared {
    published: Published,
    metrics: PrometheusHandle,
    /// SQLite connections cannot be shared; requests take turns.
    outbox: Mutex<Outbox>,
}

/// Serves the pages on `address` until the process ends; gives the address that was bound.
///
/// # Errors
///
/// If the address cannot be bound.
pub async fn serve(address: SocketAddr, pages: Pages) -> std::io::Result<SocketAddr> {
    let router = router(pages);
    let listener = tokio::net::TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    tokio::spawn(async move {
        if let Err(problem) = axum::serve(listener, router).await {
            tracing::error!(%problem, "pages are no longer served");
        }
    });
    Ok(bound)
}

/// The pages without a socket.
pub fn router(pages: Pages) -> Router {
    let Pages { published, metrics, outbox } = pages;
    let shared = Arc::new(Shared { published, metrics, outbox: Mutex::new(outbox) });
    Router::new()
        .route("/", get(index))
        .route("/metrics", get(metrics_page))
        .route("/live", get(live))
        .route("/ready", get(ready))
        .route("/api/v1/status", get(status_page))
        .with_state(shared)
}

async fn index() -> &'static str {
    "modelwatch\n\n/metrics         for Prometheus\n/live            200 while the engine runs\n/ready           200 \
     while it is up to date and can save its state\n/api/v1/status   everything it knows, as JSON\n"
}

async fn metrics_page(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let OutboxCounts { pending, dead } = shared.outbox();
    #[expect(clippy::cast_precision_loss, reason = "notices are few")]
    {
        metrics::gauge!(OUTBOX_PENDING.name).set(pending as f64);
        metrics::gauge!(OUTBOX_DEAD.name).set(dead as f64);
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], shared.metrics.render())
}

async fn live(State(shared): State<Arc<Shared>>) -> (StatusCode, &'static str) {
    if shared.published.silent_for().is_some_and(|silent| silent < SILENT_FOR) {
        (StatusCode::OK, "alive\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the engine does not answer\n")
    }
}

async fn ready(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    let status = shared.published.latest();
    let not_yet = match status.catching_up {
        _ if status.at == Timestamp::default() => "waiting for the source".to_owned(),
        _ if !status.healthy => "the state cannot be saved".to_owned(),
        Some(behind) => format!("catching up, {} minutes behind", behind.as_secs() / 60),
        None => return (StatusCode::OK, "ready\n".to_owned()),
    };
    (StatusCode::SERVICE_UNAVAILABLE, format!("{not_yet}\n"))
}

async fn status_page(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    Json(status::of(&shared.published.latest(), shared.outbox()))
}

impl Shared {
    fn outbox(&self) -> OutboxCounts {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner).counts().unwrap_or_default()
    }
}
