//! What happens to topics on a real broker while load runs: made anew, gone, overtaken by retention, more partitions, a
//! stranger in the group. Every record that was produced is counted, or told as lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::Producer;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use super::{Event, Stage, topics, write};
use crate::process::{Hooks, Watch, eventually};

/// Topics and the group are looked at this often.
const REFRESH: &str = "[source.kafka.librdkafka]\n'topic.metadata.refresh.interval.ms' = '1000'\n";

/// A stage, a receiver of webhooks, and a way to change topics.
struct Scene {
    stage: Stage,
    hooks: Hooks,
    admin: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
    /// Ids that were given out.
    ids: AtomicI64,
}

impl Scene {
    fn set(name: &str) -> Option<Scene> {
        let stage = Stage::set(name)?;
        let admin = ClientConfig::new().set("bootstrap.servers", &stage.kafka.plaintext).create().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Some(Scene { stage, hooks: Hooks::start(), admin, runtime, ids: AtomicI64::new(0) })
    }

    fn predictions(&self) -> String {
        topics(&self.stage.name).0
    }

    fn start(&self) -> Watch {
        let rest = format!("{REFRESH}{}", self.notifier());
        Watch::start(&self.stage.configure(&rest))
    }

    fn notifier(&self) -> String {
        let url = &self.hooks.url;
        format!(
            "[notifier.ops.webhook]\nurl = '{url}'\n[rule.any]\nmodel = 'eta'\nindicator = 'rmse'\nabove = 1e9\nnotify = ['ops']\n"
        )
    }

    /// Writes predictions with new ids by turns into the first `partitions` partitions.
    fn predict(&self, count: i64, partitions: i32) -> u64 {
        let first = self.ids.fetch_add(count, Ordering::SeqCst);
        let now = jiff::Timestamp::now();
        let event = |number: i64| Event {
            is_label: false,
            partition: i32::try_from(number).unwrap() % partitions,
            at_millis: now.as_millisecond(),
            id: format!("p{number}"),
            value: json!({"id": format!("p{number}"), "model": "eta", "time": now.to_string(), "prediction": 1.0})
                .to_string(),
        };
        let events: Vec<Event> = (first..first + count).map(event).collect();
        self.stage.produce(&events)
    }

    /// Writes labels without an end into the other topic while `fault` is done; gives how many.
    fn under_load<T>(&self, fault: impl FnOnce() -> T) -> (T, u64) {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let load = scope.spawn(|| {
                let mut produced = 0;
                while !over.load(Ordering::SeqCst) {
                    let now = jiff::Timestamp::now();
                    let event = |number: i32| Event {
                        is_label: true,
                        partition: number % 2,
                        at_millis: now.as_millisecond(),
                        id: format!("l{number}"),
                        value: json!({"id": format!("l{produced}-{number}"), "time": now.to_string(), "label": 1.0})
                            .to_string(),
                    };
                    produced += self.stage.produce(&(0..20).map(event).collect::<Vec<Event>>());
                    std::thread::sleep(Duration::from_millis(50));
                }
                produced
            });
            let done = fault();
            over.store(true, Ordering::SeqCst);
            (done, load.join().unwrap())
        })
    }

    fn delete(&self) {
        let topic = self.predictions();
        let deleted = self.runtime.block_on(self.admin.delete_topics(&[&topic], &AdminOptions::new())).unwrap();
        deleted.into_iter().for_each(|topic| drop(topic.unwrap()));
    }

    fn create(&self) {
        let topic = self.predictions();
        eventually("the topic is made", || {
            let topic = NewTopic::new(&topic, 4, TopicReplication::Fixed(1));
            let made = self.runtime.block_on(self.admin.create_topics(&[topic], &AdminOptions::new())).unwrap();
            made.into_iter().all(|topic| topic.is_ok()).then_some(())
        });
    }

    /// Deletes the records of all partitions of the predictions before this offset.
    fn retain_from(&self, offset: i64) {
        let mut before = TopicPartitionList::new();
        for partition in 0..4 {
            before.add_partition_offset(&self.predictions(), partition, Offset::Offset(offset)).unwrap();
        }
        self.runtime.block_on(self.admin.delete_records(&before, &AdminOptions::new())).unwrap();
    }

    /// Waits until so many different predictions and labels were counted.
    #[track_caller]
    fn counts(&self, watch: &Watch, predictions: u64, labels: u64) {
        let mut last = Value::Null;
        let counted = || {
            let join = watch.status()["counts"]["join"].clone();
            let number = |name: &str| join[name].as_u64().unwrap_or(0);
            let found = (
                number("predictions") - number("duplicate_predictions"),
                number("labels") - number("duplicate_labels"),
            );
            last = join.clone();
            (found.0 >= predictions && found.1 >= labels).then_some(found)
        };
        let found = eventually(&format!("{predictions} predictions and {labels} labels are counted"), counted);
        assert_eq!(found, (predictions, labels), "{last}");
    }

    /// What was told of trouble, as (kind, place, what).
    fn told(&self) -> Vec<(String, String, String)> {
        let heard: BTreeMap<String, Value> =
            self.hooks.heard().iter().map(|hook| (hook.header("idempotency-key").to_owned(), hook.json())).collect();
        let places = |notice: &Value| -> Vec<(String, String, String)> {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let kind = text(&notice["trouble"]);
            let places = notice["places"].as_array().unwrap().iter();
            places.map(|place| (kind.clone(), text(&place["place"]), text(&place["what"]))).collect()
        };
        heard.values().filter(|notice| notice["kind"] == "trouble").flat_map(places).collect()
    }

    /// Waits until all partitions of the predictions were told, of this kind and no other; gives what was said.
    #[track_caller]
    fn is_told(&self, kind: &str) -> Vec<String> {
        let all = || Some(self.told()).filter(|told| told.iter().filter(|(found, ..)| found == kind).count() >= 4);
        let mut told = eventually(&format!("{kind} is told of four partitions"), all);
        told.sort();
        let topic = self.predictions();
        let places: Vec<String> = told.iter().map(|(kind, place, _)| format!("{kind} {place}")).collect();
        assert_eq!(places, [0, 1, 2, 3].map(|number| format!("{kind} {topic}/{number}")));
        told.into_iter().map(|(.., what)| what).collect()
    }
}

/// The number of records that a notice says are lost.
#[track_caller]
fn lost(what: &[String]) -> u64 {
    let number = |what: &String| what.split("about ").nth(1)?.split(' ').next()?.parse::<u64>().ok();
    what.iter().map(|what| number(what).unwrap_or_else(|| panic!("how many? {what}"))).sum()
}

#[test]
fn a_topic_made_anew_while_running_is_read_from_its_beginning() {
    let Some(scene) = Scene::set("anew") else { return };
    let watch = scene.start();
    let former = scene.predict(400, 4);
    scene.counts(&watch, former, 0);
    // More than in the former one, at once: offsets alone cannot tell.
    let (new, labels) = scene.under_load(|| {
        scene.delete();
        scene.create();
        scene.predict(1_000, 4)
    });
    scene.counts(&watch, former + new, labels);
    scene.is_told("topic_recreated");
    let more = scene.predict(100, 4);
    scene.counts(&watch, former + new + more, labels);
    assert_eq!(watch.end("TERM"), Some(0));
}

#[test]
fn a_topic_made_anew_while_down_is_read_from_its_beginning() {
    for (name, new) in [("anew-longer", 1_000), ("anew-shorter", 100)] {
        let Some(scene) = Scene::set(name) else { return };
        let watch = scene.start();
        let former = scene.predict(400, 4);
        scene.counts(&watch, former, 0);
        watch.has_committed(former);
        assert_eq!(watch.end("TERM"), Some(0));
        scene.delete();
        scene.create();
        let (new, labels) = scene.under_load(|| scene.predict(new, 4));
        let watch = scene.start();
        scene.counts(&watch, former + new, labels);
        scene.is_told("topic_recreated");
        assert_eq!(watch.end("TERM"), Some(0));
        // It is known now, and not told again.
        let watch = scene.start();
        scene.counts(&watch, former + new, labels);
        scene.is_told("topic_recreated");
        assert_eq!(watch.end("TERM"), Some(0));
    }
}

#[test]
fn retention_that_overtakes_is_told_with_what_is_lost() {
    let Some(scene) = Scene::set("retention") else { return };
    let watch = scene.start();
    let read = scene.predict(400, 4);
    scene.counts(&watch, read, 0);
    watch.has_committed(read);
    // Stopped for as long as retention takes; it wakes up with its old client.
    watch.signal("STOP");
    let (unread, labels) = scene.under_load(|| {
        // Answers the fetch that is under way; there is no other until it wakes up.
        let first = scene.predict(4, 4);
        std::thread::sleep(Duration::from_millis(500));
        let unread = scene.predict(1_000, 4);
        scene.retain_from(200);
        first + unread
    });
    watch.signal("CONT");
    let what = eventually("it is told", || Some(scene.told()).filter(|told| told.len() >= 4));
    let what: Vec<String> = what.into_iter().map(|(.., what)| what).collect();
    let gone = lost(&what);
    scene.counts(&watch, read + unread - gone, labels);
    // What its client had fetched before it was stopped is not lost.
    assert!((1..=400).contains(&gone), "{what:?}");
    assert_eq!(watch.end("TERM"), Some(0));

    let Some(scene) = Scene::set("retention-down") else { return };
    let watch = scene.start();
    let read = scene.predict(400, 4);
    scene.counts(&watch, read, 0);
    watch.has_committed(read);
    assert_eq!(watch.end("TERM"), Some(0));
    let unread = scene.predict(1_000, 4);
    scene.retain_from(200);
    let (watch, labels) = scene.under_load(|| scene.start());
    let what = scene.is_told("records_lost");
    assert_eq!(lost(&what), 400, "100 to 199 of each partition: {what:?}");
    scene.counts(&watch, read + unread - 400, labels);
    let spans: Vec<Value> = scene.hooks.heard().iter().map(|hook| hook.json()["places"][0].clone()).collect();
    assert!(
        spans.iter().all(|place| place["missing_from"].is_string() && place["missing_to"].is_string()),
        "{spans:?}"
    );
    assert_eq!(watch.metric("modelwatch_troubles_total{kind=\"records_lost\"}"), Some(4.0));
    assert_eq!(watch.end("TERM"), Some(0));
}

#[test]
fn what_retention_had_taken_when_the_state_was_lost_is_told() {
    let Some(scene) = Scene::set("retention-lost") else { return };
    let watch = scene.start();
    let read = scene.predict(400, 4);
    scene.counts(&watch, read, 0);
    watch.has_committed(read);
    assert_eq!(watch.end("TERM"), Some(0));
    std::fs::write(scene.stage.folder.path().join("state/modelwatch.db"), "no database at all").unwrap();
    scene.retain_from(40);
    let watch = scene.start();
    let mut told = eventually("it is told", || Some(scene.told()).filter(|told| told.len() >= 5));
    told.sort();
    let missing = |number: i32| {
        let place = format!("{}/{number}", scene.predictions());
        ("join_incomplete".to_owned(), place, "models concerned: eta, fraud".to_owned())
    };
    assert_eq!(told[..4], [0, 1, 2, 3].map(missing));
    assert_eq!(told[4].0, "state_damaged");
    scene.counts(&watch, 4 * 60, 0);
    let heard = scene.hooks.heard().into_iter().map(|hook| hook.json());
    let of_join = heard.filter(|notice| notice["trouble"] == "join_incomplete");
    let spans: Vec<Value> =
        of_join.flat_map(|notice| notice["places"].as_array().cloned().unwrap_or_default()).collect();
    assert_eq!(spans.len(), 4, "{spans:?}");
    assert!(spans.iter().all(|at| at["missing_from"].is_string() && at["missing_to"].is_string()), "{spans:?}");
    assert_eq!(watch.end("TERM"), Some(0));
}

#[test]
fn partitions_that_are_added_are_read_whole() {
    let Some(scene) = Scene::set("grown") else { return };
    let watch = scene.start();
    let before = scene.predict(100, 4);
    let (after, labels) = scene.under_load(|| {
        let topic = scene.predictions();
        let more = NewPartitions::new(&topic, 7);
        scene.runtime.block_on(scene.admin.create_partitions(&[more], &AdminOptions::new())).unwrap();
        // Leaders are elected before they can be written to.
        let metadata = || {
            let metadata = scene.stage.producer.client().fetch_metadata(Some(&topic), Duration::from_secs(5)).unwrap();
            let partitions = metadata.topics()[0].partitions();
            (partitions.len() == 7 && partitions.iter().all(|partition| partition.leader() >= 0)).then_some(())
        };
        eventually("there are seven partitions", metadata);
        scene.predict(700, 7)
    });
    scene.counts(&watch, before + after, labels);
    assert_eq!(scene.told(), []);
    assert_eq!(watch.end("TERM"), Some(0));
}

#[test]
fn a_topic_that_is_gone_is_told_holds_nobody_back_and_comes_back() {
    let Some(scene) = Scene::set("topic-gone") else { return };
    let watch = scene.start();
    let former = scene.predict(400, 4);
    scene.counts(&watch, former, 0);
    watch.has_committed(former);
    let ((), labels) = scene.under_load(|| {
        scene.delete();
        scene.is_told("topic_vanished");
    });
    assert_eq!(watch.end("TERM"), Some(0));
    // It starts without it, too.
    let watch = scene.start();
    scene.counts(&watch, former, labels);
    scene.create();
    let new = scene.predict(1_000, 4);
    scene.counts(&watch, former + new, labels);
    eventually("it is told that it was made anew", || {
        (scene.told().iter().filter(|(kind, ..)| kind == "topic_recreated").count() == 4).then_some(())
    });
    assert_eq!(watch.end("TERM"), Some(0));
}

#[test]
fn strangers_in_the_group_are_told() {
    let Some(scene) = Scene::set("stranger") else { return };
    let group = |name: &str| format!("group_id = '{name}'\n");
    let config = |file: &str, state: &str, group: &str| {
        let head = scene.stage.head().replace("/state'", &format!("/{state}'"));
        let head = head.replace("start = 'earliest'\n", &format!("start = 'earliest'\n{group}"));
        write(&scene.stage.folder.path().join(file), &format!("{head}{REFRESH}{}", scene.notifier()))
    };
    let told = |evidence: &str| {
        let found =
            || scene.told().into_iter().find(|(kind, _, what)| kind == "foreign_consumer" && what.contains(evidence));
        eventually(evidence, found);
    };
    scene.predict(400, 4);
    let first = Watch::start(&config("first.toml", "first", &group(&format!("{}-a", scene.stage.name))));
    let second = Watch::start(&config("second.toml", "second", &group(&format!("{}-a", scene.stage.name))));
    told("another modelwatch");
    assert_eq!((first.end("TERM"), second.end("TERM")), (Some(0), Some(0)));

    let watch = Watch::start(&config("third.toml", "third", &group(&format!("{}-b", scene.stage.name))));
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &scene.stage.kafka.plaintext).set("group.id", format!("{}-b", scene.stage.name));
    client.set("enable.auto.commit", "false");
    let subscriber: BaseConsumer = client.create().unwrap();
    subscriber.subscribe(&[&scene.predictions()]).unwrap();
    let poll = || {
        drop(subscriber.poll(Duration::from_millis(50)));
        scene.predict(4, 4);
        scene.told().into_iter().find(|(.., what)| what.contains("our offsets are refused"))
    };
    eventually("our offsets are refused", poll);
    assert_eq!(watch.end("TERM"), Some(0));
}
