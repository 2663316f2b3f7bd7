//! Lines of bounded length.

use std::io::{self, BufRead, BufReader, Read};

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'l> {
    /// All of it.
    Whole(&'l [u8]),
    /// It is longer than allowed and was skipped.
    TooLong,
}

/// Reads lines, never holding more than the longest allowed one.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
    max_bytes: usize,
    number: i64,
    bytes_read: u64,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(reader: R, max_bytes: usize) -> Lines<R> {
        Lines {
            reader: BufReader::with_capacity(1 << 16, reader),
            line: Vec::new(),
            max_bytes,
            number: 0,
            bytes_read: 0,
        }
    }

    /// How many lines were read.
    pub(super) fn number(&self) -> i64 {
        self.number
    }

    /// How many bytes were read.
    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// The next line; `None` at the end. The last line need not be ended.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let mut length = 0;
        loop {
            let chunk = match self.reader.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                chunk => chunk?,
            };
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let text = &chunk[..end.unwrap_or(chunk.len())];
            let taken = text.len() + usize::from(end.is_some());
            length += taken;
            let room = self.max_bytes.saturating_add(1).saturating_sub(self.line.len());
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            self.reader.consume(taken);
            self.bytes_read += taken as u64;
            if end.is_some() || taken == 0 {
                break;
            }
        }
        if length == 0 {
            return Ok(None);
        }
        self.number += 1;
        let text = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        Ok(Some(if text.len() > self.max_bytes { Line::TooLong } else { Line::Whole(text) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let mut lines = Lines::new(text.as_bytes(), 3);
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push(match line {
                Line::Whole(text) => String::from_utf8(text.to_vec()).unwrap(),
                Line::TooLong => "too long".to_owned(),
            });
        }
        assert_eq!(found, expected);
        assert_eq!(lines.bytes_read(), text.len() as u64);
        assert!(lines.line.capacity() < 64);
    }

    #[test]
    fn lines() {
        check("", &[]);
        check("a\nb", &["a", "b"]);
        check("a\r\n\nabc\n", &["a", "", "abc"]);
        check("abcd\nabc\nabcdefgh", &["too long", "abc", "too long"]);
        check(&format!("{}\nx\n", "a".repeat(200_000)), &["too long", "x"]);
    }
}
