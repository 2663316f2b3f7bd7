//! `replay`: the same records give the same output, byte for byte, however they come.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::end_to_end::{Dataset, Event, Stage, mapping, rules, topics, write};
use crate::process::{fed, modelwatch, stdout};

/// A notifier that nothing is sent to.
const NOBODY: &str = "[notifier.ops.webhook]\nurl = 'http://127.0.0.1:9/'\n";

/// A configuration and inputs in a folder.
struct Files(TempDir);

impl Files {
    fn new() -> Files {
        let files = Files(tempfile::tempdir().unwrap());
        files.write(
            "modelwatch.toml",
            // Nobody listens there: a file is replayed without a broker.
            &format!(
                "[source.kafka]\nbrokers = ['127.0.0.1:9']\n{}{}{NOBODY}",
                mapping("t"),
                rules("eta-rmse", "['ops']")
            ),
        );
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        write(&self.path(name), text);
    }

    /// What `replay` prints; arguments with a dot are files.
    #[track_caller]
    fn replay(&self, arguments: &[&str], input: &str) -> String {
        let mut command = modelwatch(&["replay"]);
        command.arg(self.path("modelwatch.toml"));
        for argument in arguments {
            if argument.contains('.') {
                command.arg(self.path(argument))
            } else {
                command.arg(argument)
            };
        }
        stdout(fed(&mut command, input.as_bytes()))
    }
}

fn lines<'e>(events: impl IntoIterator<Item = &'e Event>) -> String {
    events.into_iter().map(|event| event.value.clone() + "\n").collect()
}

/// As `kcat -C -J` prints them.
fn envelopes<'e>(events: impl IntoIterator<Item = &'e Event>) -> String {
    let (predictions, labels) = topics("t");
    let mut offsets = BTreeMap::new();
    let envelope = |event: &Event| {
        let topic = if event.is_label { &labels } else { &predictions };
        let offset = offsets.entry((event.is_label, event.partition)).and_modify(|next| *next += 1).or_insert(0);
        json!({
            "topic": topic, "partition": event.partition, "offset": *offset, "tstype": "create", "ts": event.at_millis,
            "broker": 1, "key": event.id, "payload": event.value,
        })
        .to_string()
            + "\n"
    };
    events.into_iter().map(envelope).collect()
}

/// The same events with all times between them so many times as long.
fn stretched(data: &Dataset, factor: i64) -> Vec<Event> {
    let begin = data.begin * 1_000;
    let stretch = |event: &Event| {
        let at_millis = begin + (event.at_millis - begin) * factor;
        let mut value: Value = serde_json::from_str(&event.value).unwrap();
        value["time"] = at_millis.into();
        Event { at_millis, value: value.to_string(), ..event.clone() }
    };
    data.events.iter().map(stretch).collect()
}

/// Takes from the partitions as `next` says (a partition and how many), keeping each one's order.
fn interleaved(events: &[Event], mut next: impl FnMut(usize) -> (usize, usize)) -> Vec<&Event> {
    let mut queues: BTreeMap<(bool, i32), std::collections::VecDeque<&Event>> = BTreeMap::new();
    for event in events {
        queues.entry((event.is_label, event.partition)).or_default().push_back(event);
    }
    let mut queues: Vec<_> = queues.into_values().collect();
    let mut taken = Vec::new();
    while !queues.is_empty() {
        let (queue, count) = next(queues.len());
        let count = count.min(queues[queue].len());
        taken.extend(queues[queue].drain(..count));
        queues.retain(|queue| !queue.is_empty());
    }
    taken
}

/// Small random numbers (G. Marsaglia, "Xorshift RNGs", 2003).
fn xorshift(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % below as u64).unwrap()
    }
}

fn summary(output: &str) -> Value {
    serde_json::from_str(output.lines().last().unwrap()).unwrap()
}

#[test]
fn interleaving_and_batch_size_change_not_one_byte() {
    let files = Files::new();
    let config = std::fs::read_to_string(files.path("modelwatch.toml")).unwrap();
    let slower = [("label_timeout = '30m'", "label_timeout = '3h'"), ("half_life = '5m'", "half_life = '30m'")];
    files.write("modelwatch.toml", &slower.iter().fold(config, |text, (old, new)| text.replace(old, new)));
    let data = Dataset::fixed();
    // Ten hours: a partition that is read alone runs that far ahead of the others.
    let events = stretched(&data, 6);
    let mut turn = 0;
    let chunks = interleaved(&events, |partitions| {
        turn += 1;
        (turn % partitions, 300)
    });
    let mut orders = vec![events.iter().collect(), interleaved(&events, |_| (0, usize::MAX)), chunks];
    for seed in [1, 2, 3] {
        let mut random = xorshift(seed);
        orders.push(interleaved(&events, |partitions| (random(partitions), 1 + random(50))));
    }
    let (mut text_seen, mut json_seen): (Option<String>, Option<String>) = (None, None);
    for (number, order) in orders.iter().enumerate() {
        files.write("input.kcat", &envelopes(order.iter().copied()));
        for batch in ["1", "7", "1000"] {
            let arguments = ["--json", "--kcat", "--input", "input.kcat", "--batch-records", batch];
            let json = files.replay(&arguments, "");
            // The other form is made from the same, so once for each order is enough.
            let text = if batch == "7" { Some(files.replay(&arguments[1..], "")) } else { None };
            let first = json_seen.get_or_insert_with(|| json.clone());
            assert!(*first == json, "order {number}, batches of {batch}: {json} is not {first}");
            if let Some(text) = text {
                let first = text_seen.get_or_insert_with(|| text.clone());
                assert!(*first == text, "order {number}, batches of {batch}: {text} is not {first}");
            }
        }
    }
    let (text, json) = (text_seen.unwrap(), json_seen.unwrap());
    assert!(text.contains("firing") && text.contains("resolved"), "{text}");
    let counts = &summary(&json)["counts"];
    assert_eq!(counts["join"]["labels"], data.labels());
    // A label is counted once no prediction of its own can come any more, which is `early_label_wait` later.
    let counted = events.last().unwrap().at_millis - 300_000;
    let labels = events.iter().filter(|event| event.is_label && event.at_millis < counted).count();
    assert_eq!(counts["join"]["matched_labels"], labels, "{counts:#}");
    assert_eq!(counts["join"]["orphan_labels"], 0);
    assert_eq!(counts["late_events"], 0);
}

#[test]
fn one_file_two_files_and_standard_input_give_the_same() {
    let (files, data) = (Files::new(), Dataset::fixed());
    let (labels, predictions): (Vec<&Event>, Vec<&Event>) = data.events.iter().partition(|event| event.is_label);
    files.write("all.jsonl", &lines(&data.events));
    files.write("predictions.jsonl", &lines(predictions));
    files.write("labels.jsonl", &lines(labels));
    files.write("all.kcat", &envelopes(&data.events));
    let expected = files.replay(&["--input", "all.jsonl"], "");
    assert!(expected.contains("firing") && expected.contains("resolved"), "{expected}");
    for arguments in [
        &["--predictions", "predictions.jsonl", "--labels", "labels.jsonl"][..],
        &["--input", "predictions.jsonl", "--input", "labels.jsonl"],
        &["--kcat", "--input", "all.kcat"],
    ] {
        assert_eq!(files.replay(arguments, ""), expected, "{arguments:?}");
    }
    assert_eq!(files.replay(&["--input", "-"], &lines(&data.events)), expected);
    assert_eq!(files.replay(&["--kcat", "--input", "-"], &envelopes(&data.events)), expected);
}

#[test]
fn indicators_and_transitions_are_those_of_scikit_learn() {
    let (files, data) = (Files::new(), Dataset::fixed());
    files.write("all.jsonl", &lines(&data.events));
    let output = files.replay(&["--json", "--input", "all.jsonl"], "");
    let told: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (change, state) in [("firing", "firing"), ("resolved", "resolved")] {
        let expected = &data.expected[state];
        let [transition] = told.iter().filter(|line| line["change"] == change).collect::<Vec<_>>()[..] else {
            panic!("{output}")
        };
        let at: jiff::Timestamp = transition["at"].as_str().unwrap().parse().unwrap();
        assert_eq!(at.as_second() - data.begin, expected["at"].as_i64().unwrap());
        assert_close("rmse", &transition["evidence"][0]["value"], &expected["rmse"]);
    }
    let summary = summary(&output);
    for model in ["eta", "fraud"] {
        for (indicator, expected) in data.expected["last"][model].as_object().unwrap() {
            let is_it = |reading: &&Value| {
                reading["model"] == model && reading["indicator"] == *indicator && reading["segment"].is_null()
            };
            let reading = summary["readings"].as_array().unwrap().iter().find(is_it).expect(indicator);
            match reading["bracket"].as_array() {
                Some(bracket) => {
                    let [low, high] = [0, 1].map(|end| bracket[end].as_f64().unwrap());
                    let exact = expected.as_f64().unwrap();
                    assert!(low <= exact && exact <= high && high - low < 0.02, "{indicator}: {reading} {exact}");
                }
                None => assert_close(indicator, &reading["value"], expected),
            }
        }
    }
}

#[track_caller]
fn assert_close(what: &str, value: &Value, expected: &Value) {
    let (value, expected) = (value.as_f64().expect(what), expected.as_f64().expect(what));
    assert!((value - expected).abs() <= 1e-9 * expected.abs().max(1.0), "{what}: {value} is not {expected}");
}

#[test]
fn broken_lines_are_counted_by_reason() {
    let (files, data) = (Files::new(), Dataset::fixed());
    let bad = [
        "{\"id\":\"eta-0\",",
        "[1,2",
        "",
        "{\"id\":\"x\",\"model\":\"eta\",\"time\":1769846400000,\"prediction\":\"soon\",\"region\":\"eu\"}",
        "{\"id\":\"x\",\"model\":\"nobody\",\"time\":1769846400000,\"prediction\":1,\"region\":\"eu\"}",
        "{\"id\":\"x\",\"model\":\"eta\",\"time\":99999999999999,\"prediction\":1,\"region\":\"eu\"}",
        "{\"id\":\"x\",\"model\":\"eta\",\"time\":1769846400000,\"prediction\":1e999,\"region\":\"eu\"}",
        "{\"model\":\"eta\",\"time\":1769846400000,\"prediction\":1}",
    ];
    files.write("bad.jsonl", &(bad.join("\n") + "\n\u{0}\n" + &lines(&data.events)));
    let output = summary(&files.replay(&["--json", "--input", "bad.jsonl"], ""));
    let rejected = output["rejected"].as_object().unwrap();
    let total: u64 = rejected.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(total, bad.len() as u64, "the empty line is none, the zero byte is one: {rejected:?}");
    assert!(rejected.len() >= 4, "{rejected:?}");
    assert_eq!(output["counts"]["join"]["labels"], data.labels());
    let text = files.replay(&["--input", "bad.jsonl"], "");
    assert!(text.contains("rejected ("), "{text}");
}

#[test]
fn topics_give_the_same_as_their_file() {
    let Some(stage) = Stage::set("replay") else { return };
    let data = Dataset::fixed();
    let files = Files::new();
    stage.produce_backlog(&data.events);
    files.write("all.kcat", &envelopes(&data.events));
    files.write("part.kcat", &envelopes(data.between(1_000, 4_000)));
    let at = |seconds: i64| jiff::Timestamp::from_second(data.begin + seconds).unwrap().to_string();
    let rest = rules("eta-rmse", "['ops']") + NOBODY;
    let plain = stage.configure(&rest);
    let servers = &stage.kafka;
    let secure = stage.head().replace(&format!("'{}'", servers.plaintext), &format!("'{}'", servers.sasl_ssl))
        + &format!(
            "[source.kafka.librdkafka]\n'security.protocol' = 'sasl_ssl'\n'sasl.mechanism' = 'SCRAM-SHA-256'\n\
             'sasl.username' = '{}'\n'sasl.password' = '{}'\n'ssl.ca.location' = '{}'\n",
            servers.user, servers.password, servers.ca
        )
        + &rest;
    let secure = write(&stage.folder.path().join("secure.toml"), &secure);
    for (input, from, to) in [("all.kcat", 0, 9_999), ("part.kcat", 1_000, 4_000)] {
        let expected = files.replay(&["--json", "--kcat", "--input", input], "");
        for config in [&plain, &secure] {
            let mut replay = modelwatch(&["replay", "--json", "--from", &at(from), "--to", &at(to)]);
            assert_eq!(stdout(replay.arg(config).output().unwrap()), expected, "{input} {}", config.display());
        }
    }
}
