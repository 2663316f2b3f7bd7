//! A Kafka in this process, and a thread that fills it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};

use super::traffic::{Outgoing, Traffic};

const PARTITIONS: i32 = 4;
/// How often the traffic goes on.
const STEP: Duration = Duration::from_millis(20);
const FLUSH_WITHIN: Duration = Duration::from_secs(1);

/// librdkafka's mock cluster with the topics of the demo.
pub(super) struct Broker(MockCluster<'static, DefaultProducerContext>);

impl Broker {
    pub(super) fn start() -> anyhow::Result<Broker> {
        let cluster = MockCluster::new(1).context("the in-process Kafka does not start")?;
        for topic in ["predictions", "labels"] {
            cluster.create_topic(topic, PARTITIONS, 1)?;
        }
        Ok(Broker(cluster))
    }

    pub(super) fn addresses(&self) -> String {
        self.0.bootstrap_servers()
    }
}

/// The thread that sends.
pub(super) struct Sending {
    stopping: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Sending {
    pub(super) fn start(broker: &Broker, traffic: Traffic) -> anyhow::Result<Sending> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", broker.addresses()).set("linger.ms", "20").set("log_level", "0");
        let producer: BaseProducer = config.create()?;
        let (stopping, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stop, count) = (Arc::clone(&stopping), Arc::clone(&sent));
        let thread = std::thread::Builder::new().name("traffic".to_owned());
        let thread = thread.spawn(move || send(&producer, traffic, &stop, &count))?;
        Ok(Sending { stopping, sent, thread })
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) fn stop(self) {
        self.stopping.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            tracing::error!("the traffic ended by a panic: please report this");
        }
    }
}

fn send(producer: &BaseProducer, mut traffic: Traffic, stop: &AtomicBool, sent: &AtomicU64) {
    let began = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        for Outgoing { topic, key, value } in traffic.until(began.elapsed()) {
            match producer.send(BaseRecord::to(topic).key(&key).payload(&value)) {
                Ok(()) => _ = sent.fetch_add(1, Ordering::Relaxed),
                Err((problem, _)) => tracing::error!(%problem, "the demo cannot send"),
            }
        }
        producer.poll(Duration::ZERO);
        std::thread::sleep(STEP);
    }
    if let Err(problem) = producer.flush(FLUSH_WITHIN) {
        tracing::debug!(%problem, "the last records were not sent");
    }
}
