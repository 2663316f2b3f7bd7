//! Snapshots of the join table of foreign bytes: refused, or the core goes on from them without a panic.
//!
//! Input: the parts of an image, each after its length in two bytes. The same bytes are also read as a whole file.

use modelwatch::clock::Timestamp;
use modelwatch::pipeline::Pipeline;
use modelwatch::state::snapshot::Reader;

use super::given::Given;
use super::state;

/// Checks one image and one file.
pub fn check(data: &[u8]) -> bool {
    read_file(data);
    let mut given = Given::new(data);
    let mut pipeline = Pipeline::new(state::options(10), &[7; 16]);
    pipeline.expect_partitions(2);
    let Ok(reading) = pipeline.read_image(next_part(&mut given)) else { return false };
    let mut whole = true;
    while !given.is_empty() && whole {
        whole = pipeline.read_part(&reading, next_part(&mut given)).is_ok();
    }
    if !whole {
        pipeline.forget_join();
        assert_eq!(pipeline.pending(), (0, 0));
    }
    state::live(&mut pipeline);
    let again: usize = pipeline.image().parts().map(|part| part.len()).sum();
    assert!(again <= 50 * data.len() + 100_000, "{} bytes became {again}", data.len());
    whole
}

/// The parts of an image after so many events; a seed.
pub fn seed(events: i64) -> Vec<u8> {
    let parts: Vec<Vec<u8>> = state::lived(events).image().parts().collect();
    let length = |part: &[u8]| u16::try_from(part.len()).expect("a short seed").to_be_bytes();
    parts.iter().flat_map(|part| [length(part).as_slice(), part].concat()).collect()
}

fn next_part<'a>(given: &mut Given<'a>) -> &'a [u8] {
    let length = u16::from_be_bytes(given.bytes());
    given.take(usize::from(length))
}

fn read_file(data: &[u8]) {
    let directory = tempfile::tempdir().expect("a directory");
    std::fs::write(directory.path().join("file"), data).expect("a file");
    let Ok(mut reader) = Reader::open(directory.path(), "file") else { return };
    assert!(reader.marks.iter().all(|mark| mark.frontier.newest <= Timestamp::MAX));
    while let Ok(Some(part)) = reader.next_part() {
        assert!(part.len() <= data.len());
    }
}
