//! The real program on real servers: from Kafka to the mail.

mod backlog;
mod crash;
mod dataset;
mod delivery;
mod mails;
mod notify;
mod outage;
mod pages;
mod reload;
mod restart;
mod state_file;
mod surroundings;
mod topics;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::id;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tempfile::TempDir;

use modelwatch::clock::{Clock, SystemClock};

use crate::servers::{self, Kafka};
pub(crate) use dataset::{Dataset, Event};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Topics of a test of its own, and a folder for its files.
pub(crate) struct Stage {
    pub(crate) kafka: Kafka,
    pub(crate) name: String,
    pub(crate) folder: TempDir,
    producer: BaseProducer,
}

impl Stage {
    /// `None` without a broker.
    #[track_caller]
    pub(crate) fn set(name: &str) -> Option<Stage> {
        Some(Stage::on(servers::kafka()?, name))
    }

    /// On a broker of the test's own.
    pub(crate) fn on(kafka: Kafka, name: &str) -> Stage {
        // A name of this run: the broker may have served earlier ones.
        let name = format!("{name}-{}", id());
        let client = ClientConfig::new().set("bootstrap.servers", &kafka.plaintext).clone();
        let admin: AdminClient<_> = client.create().unwrap();
        let (predictions, labels) = topics(&name);
        let topics = [(&predictions, 4), (&labels, 2)]
            .map(|(topic, count)| NewTopic::new(topic, count, TopicReplication::Fixed(1)));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let made = runtime.block_on(admin.create_topics(&topics, &AdminOptions::new())).unwrap();
        made.into_iter().for_each(|topic| drop(topic.unwrap()));
        Stage { kafka, name, folder: tempfile::tempdir().unwrap(), producer: client.create().unwrap() }
    }

    /// Writes events to their partitions as if they happened now (their own times are in the values), and waits until
    /// the broker has them.
    pub(crate) fn produce<'e>(&self, events: impl IntoIterator<Item = &'e Event>) -> u64 {
        let now = SystemClock.now().as_micros() / 1_000;
        self.produce_at(events, |_| now)
    }

    /// Writes events to their partitions as if they were recorded at their own times: a backlog.
    pub(crate) fn produce_backlog<'e>(&self, events: impl IntoIterator<Item = &'e Event>) -> u64 {
        self.produce_at(events, |event| event.at_millis)
    }

    pub(crate) fn produce_at<'e>(
        &self,
        events: impl IntoIterator<Item = &'e Event>,
        recorded_millis: impl Fn(&Event) -> i64,
    ) -> u64 {
        let (predictions, labels) = topics(&self.name);
        let mut count = 0;
        for event in events {
            let topic = if event.is_label { &labels } else { &predictions };
            let record = BaseRecord::to(topic).key(&event.id).payload(&event.value);
            self.producer.send(record.partition(event.partition).timestamp(recorded_millis(event))).unwrap();
            self.producer.poll(Duration::ZERO);
            count += 1;
        }
        self.producer.flush(TIMEOUT).unwrap();
        count
    }

    /// The head of a configuration: everything but rules and notifiers.
    pub(crate) fn head(&self) -> String {
        let state = self.folder.path().join("state");
        format!(
            "[source.kafka]\nbrokers = ['{}']\nstart = 'earliest'\n{}[state]\ndirectory = '{}'\n[web]\nlisten = '127.0.0.1:0'\n",
            self.kafka.plaintext,
            mapping(&self.name),
            state.display(),
        )
    }

    /// Writes a configuration of the head and `rest`; gives its path.
    pub(crate) fn configure(&self, rest: &str) -> PathBuf {
        write(&self.folder.path().join("modelwatch.toml"), &(self.head() + rest))
    }
}

pub(crate) fn write(path: &Path, text: &str) -> PathBuf {
    fs::write(path, text).unwrap();
    path.to_owned()
}

pub(crate) fn topics(name: &str) -> (String, String) {
    (format!("{name}.predictions"), format!("{name}.labels"))
}

/// Where the events of the dataset lie, how they are joined, and its models.
pub(crate) fn mapping(name: &str) -> String {
    let (predictions, labels) = topics(name);
    format!(
        "[predictions]
topic = '{predictions}'
[predictions.fields]
id = '/id'
model = '/model'
time = '/time'
prediction = '/prediction'
score = '/score'
[labels]
topic = '{labels}'
[labels.fields]
id = '/id'
time = '/time'
label = '/label'
[engine]
idle_after = '10m'
[model.eta]
task = 'regression'
label_timeout = '30m'
segments = {{ region = '/region' }}
smoothing = {{ half_life = '5m' }}
indicators = ['rmse', 'mae', 'r2', 'bias', 'match_rate', 'label_delay']
[model.fraud]
task = 'binary'
label_timeout = '30m'
smoothing = {{ half_life = '5m' }}
indicators = ['f1', 'precision', 'recall', 'accuracy', 'brier', 'log_loss', 'roc_auc', 'positive_rate']
"
    )
}

/// The rule that the dataset breaks, and one that it does not.
pub(crate) fn rules(name: &str, notify: &str) -> String {
    format!(
        "[rule.{name}]
model = 'eta'
indicator = 'rmse'
above = 4.0
clear = 3.5
for = '1m'
recover_for = '1m'
min_samples = 50
severity = 'critical'
notify = {notify}
[rule.{name}-fraud]
model = 'fraud'
indicator = 'roc_auc'
below = 0.6
min_samples = 50
notify = {notify}
"
    )
}
