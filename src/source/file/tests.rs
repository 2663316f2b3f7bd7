//! Files in, records out.

use std::path::Path;

use super::*;
use crate::clock::Timestamp;

const WAIT: Duration = Duration::ZERO;

fn plain(directory: &Path, name: &str, text: &str) -> Input {
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    Input { path: Some(path), form: Form::Plain { topic: name.to_owned() } }
}

fn kcat(directory: &Path, name: &str, text: &str) -> Input {
    Input { form: Form::Kcat, ..plain(directory, name, text) }
}

/// Everything a source delivers: records as `topic-partition@offset=value`, and the gaps.
fn drain(file: &mut File) -> (Vec<String>, Vec<Gap>) {
    let (mut records, mut gaps) = (Vec::new(), Vec::new());
    loop {
        let polled = file.poll(WAIT).unwrap();
        for record in polled.batch.records() {
            let Partition { topic, number } = &file.partitions()[record.partition as usize];
            let value = record.value.map_or("null".into(), String::from_utf8_lossy);
            records.push(format!("{topic}-{number}@{}={value}", record.offset));
        }
        gaps.extend(polled.gaps);
        if polled.finished {
            assert_eq!(polled.at_end.len(), file.partitions().len());
            return (records, gaps);
        }
    }
}

#[test]
fn plain_files_are_read_side_by_side() {
    let directory = tempfile::tempdir().unwrap();
    let inputs = [plain(directory.path(), "p", "1\n2\n\n4\n"), plain(directory.path(), "l", "a\nb")];
    for batch_records in [1, 2, 100] {
        let mut file = File::open(&inputs, Options { batch_records, ..Options::default() }).unwrap();
        let (mut records, gaps) = drain(&mut file);
        if batch_records == 1 {
            assert_eq!(records, ["p-0@1=1", "l-1@1=a", "p-0@2=2", "p-0@4=4", "l-1@2=b"]);
        }
        records.sort_unstable();
        assert_eq!(records, ["l-1@1=a", "l-1@2=b", "p-0@1=1", "p-0@2=2", "p-0@4=4"]);
        assert_eq!(gaps, []);
        assert_eq!(file.progress(), Some((10, 10)));
    }
}

#[test]
fn lines_that_are_too_long_are_reported() {
    let directory = tempfile::tempdir().unwrap();
    let inputs = [plain(directory.path(), "p", "1\nabcdef\n3\n")];
    let mut file = File::open(&inputs, Options { max_line_bytes: 5, ..Options::default() }).unwrap();
    let (records, gaps) = drain(&mut file);
    assert_eq!(records, ["p-0@1=1", "p-0@3=3"]);
    assert_eq!(gaps, [Gap { partition: Some(0), from: 2, to: 3, cause: Cause::Oversize }]);
}

#[test]
fn envelopes_name_their_partitions() {
    let directory = tempfile::tempdir().unwrap();
    let text = concat!(
        r#"{"topic":"t","partition":1,"offset":7,"tstype":"create","ts":1500,"broker":0,"headers":["a","1","b",null,"a","2"],"key":"k","payload":"{\"id\":1}"}"#,
        "\nno envelope\n",
        r#"{"topic":"t","partition":0,"offset":3,"tstype":"unknown","ts":-1,"broker":0,"key":null,"payload":null}"#,
    );
    let options = Options { headers: ["a", "b", "c"].map(str::to_owned).into(), ..Options::default() };
    let mut file = File::open(&[kcat(directory.path(), "f", text)], options.clone()).unwrap();
    assert_eq!(file.partitions().len(), 2);
    let polled = file.poll(WAIT).unwrap();
    let records: Vec<_> = polled.batch.records().collect();
    assert_eq!((records[0].partition, records[0].offset), (0, 7));
    assert_eq!((records[0].key, records[0].value), (Some(&b"k"[..]), Some(&br#"{"id":1}"#[..])));
    assert_eq!(records[0].timestamp, Some(Timestamp::from_millis(1500)));
    assert_eq!([0, 1, 2, 3].map(|index| records[0].headers.get(index)), [Some(&b"2"[..]), None, None, None]);
    assert_eq!((records[1].partition, records[1].key, records[1].value, records[1].timestamp), (1, None, None, None));
    assert_eq!(polled.gaps, [Gap { partition: None, from: 2, to: 3, cause: Cause::Malformed }]);
    let (again, _) = drain(&mut File::open(&[kcat(directory.path(), "f", text)], options).unwrap());
    assert_eq!(again, [r#"t-1@7={"id":1}"#, "t-0@3=null"]);
}

#[test]
fn what_cannot_be_read_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let refused = |input| File::open(&[input], Options::default()).unwrap_err().to_string();
    assert!(refused(kcat(directory.path(), "f", "1\n2\n")).ends_with("is it a file of plain lines?"));
    let missing = Input { path: Some(directory.path().join("none")), form: Form::Kcat };
    assert!(refused(missing).starts_with("cannot read "));
}

#[test]
fn an_empty_file_is_at_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let mut file =
        File::open(&[plain(directory.path(), "p", ""), kcat(directory.path(), "k", "")], Options::default()).unwrap();
    assert_eq!(drain(&mut file), (Vec::new(), Vec::new()));
}

#[test]
fn a_stream_is_copied_whole() {
    let mut copy = String::new();
    spool(&mut &b"a\nb"[..]).unwrap().read_to_string(&mut copy).unwrap();
    assert_eq!(copy, "a\nb");
}
