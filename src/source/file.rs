//! Files of JSON lines, for `replay`: plain lines, or the envelopes that `kcat -C -J` prints.

mod envelope;
mod lines;

use std::collections::HashMap;
use std::fs::File as Handle;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use self::envelope::Envelope;
use self::lines::{Line, Lines};
use super::{Batch, Cause, Error, Gap, Partition, PartitionIndex, Polled, Source};

/// What the lines of an input are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Form {
    /// Each line is the value of a record of this topic. One partition; the offset is the number of the line, from 1.
    /// The partition's number is the input's place in the list, so that two files of one topic stay apart.
    Plain {
        /// The topic.
        topic: String,
    },
    /// Each line is an envelope of `kcat -C -J`, which names topic, partition, offset, timestamp, key and headers.
    Kcat,
}

/// One input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// The file; `None` for the standard input, which is copied to a temporary file first if it must be read twice.
    pub path: Option<PathBuf>,
    /// What its lines are.
    pub form: Form,
}

/// How files are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The headers that the mapping reads, in its order.
    pub headers: Vec<String>,
    /// Most records of one batch; at least 1 is taken.
    pub batch_records: usize,
    /// Longest line that is looked at, in bytes; longer ones are skipped and reported.
    pub max_line_bytes: usize,
}

impl Default for Options {
    fn default() -> Options {
        Options { headers: Vec::new(), batch_records: 1_000, max_line_bytes: 16 << 20 }
    }
}

/// Most bytes of one batch, unless a single record is longer.
const BATCH_BYTES: usize = 1 << 20;

/// Several files, read side by side: always the one of which the smallest share is read, so that predictions and labels
/// that lie in different files come roughly together.
#[derive(Debug)]
pub struct File {
    partitions: Vec<Partition>,
    index: HashMap<Partition, PartitionIndex>,
    inputs: Vec<Reader>,
    options: Options,
}

#[derive(Debug)]
struct Reader {
    name: String,
    form: Form,
    lines: Lines<Box<dyn Bytes>>,
    /// `None` as long as it is unknown (standard input).
    total_bytes: Option<u64>,
    partitions: Vec<PartitionIndex>,
    finished: bool,
}

trait Bytes: Read + Send + std::fmt::Debug {}
impl<T: Read + Send + std::fmt::Debug> Bytes for T {}

impl File {
    /// Opens the inputs. Envelopes are read through once, because the partitions must be known before the first record.
    ///
    /// # Errors
    ///
    /// If a file cannot be read, or if not one line of a file of envelopes is an envelope.
    pub fn open(inputs: &[Input], options: Options) -> Result<File, Error> {
        let mut file = File { partitions: Vec::new(), index: HashMap::new(), inputs: Vec::new(), options };
        for (number, input) in inputs.iter().enumerate() {
            let name =
                input.path.as_ref().map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
            let reader =
                file.reader(number, input, &name).map_err(|error| Error(format!("cannot read {name}: {error}")))?;
            if reader.partitions.is_empty() && reader.total_bytes != Some(0) {
                return Err(Error(format!(
                    "{name} holds no line as `kcat -C -J` prints them: is it a file of plain lines?"
                )));
            }
            file.inputs.push(reader);
        }
        Ok(file)
    }

    fn reader(&mut self, number: usize, input: &Input, name: &str) -> io::Result<Reader> {
        let mut handle = match (&input.path, &input.form) {
            (Some(path), _) => Some(Handle::open(path)?),
            (None, Form::Kcat) => Some(spool(&mut io::stdin().lock())?),
            (None, Form::Plain { .. }) => None,
        };
        let total_bytes = handle.as_ref().map(|handle| handle.metadata().map(|metadata| metadata.len())).transpose()?;
        let partitions = match (&input.form, &mut handle) {
            (Form::Kcat, Some(handle)) => self.scan(handle)?,
            (Form::Kcat, None) => Vec::new(),
            (Form::Plain { topic }, _) => {
                let number = i32::try_from(number).unwrap_or(i32::MAX);
                vec![self.partition(Partition { topic: topic.clone(), number })]
            }
        };
        let bytes: Box<dyn Bytes> = match handle {
            Some(handle) => Box::new(handle),
            None => Box::new(io::stdin()),
        };
        let lines = Lines::new(bytes, self.options.max_line_bytes);
        Ok(Reader { name: name.to_owned(), form: input.form.clone(), lines, total_bytes, partitions, finished: false })
    }

    /// The partitions that a file of envelopes names.
    fn scan(&mut self, handle: &mut Handle) -> io::Result<Vec<PartitionIndex>> {
        let mut found = Vec::new();
        let mut lines = Lines::new(&mut *handle, self.options.max_line_bytes);
        while let Some(line) = lines.next()? {
            let Line::Whole(text) = line else { continue };
            let Some(envelope) = Envelope::parse(text) else { continue };
            let index = self.partition(envelope.partition());
            if !found.contains(&index) {
                found.push(index);
            }
        }
        handle.seek(SeekFrom::Start(0))?;
        Ok(found)
    }

    fn partition(&mut self, partition: Partition) -> PartitionIndex {
        if let Some(index) = self.index.get(&partition) {
            return *index;
        }
        let index = PartitionIndex::try_from(self.partitions.len()).unwrap_or(PartitionIndex::MAX);
        self.partitions.push(partition.clone());
        self.index.insert(partition, index);
        index
    }

    /// The unfinished input of which the smallest share is read.
    fn next_input(&self) -> Option<usize> {
        let unfinished = self.inputs.iter().enumerate().filter(|(_, input)| !input.finished);
        unfinished.min_by(|(_, a), (_, b)| a.share_read().total_cmp(&b.share_read())).map(|(number, _)| number)
    }

    /// Partitions that no unfinished input holds.
    fn at_end(&self) -> Vec<PartitionIndex> {
        let open = |index: &PartitionIndex| {
            self.inputs.iter().any(|input| !input.finished && input.partitions.contains(index))
        };
        let mut ended: Vec<PartitionIndex> = self.index.values().copied().filter(|index| !open(index)).collect();
        ended.sort_unstable();
        ended
    }
}

/// Copies a stream into an unnamed temporary file, so that it can be read twice.
fn spool(stream: &mut impl Read) -> io::Result<Handle> {
    let mut file = tempfile::tempfile()?;
    io::copy(stream, &mut file)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

impl Reader {
    #[expect(clippy::cast_precision_loss, reason = "only compares shares")]
    fn share_read(&self) -> f64 {
        self.total_bytes.map_or(0.0, |total| self.lines.bytes_read() as f64 / total.max(1) as f64)
    }

    /// Moves lines into `polled` until the batch is full or the file ends.
    fn read(
        &mut self,
        index: &HashMap<Partition, PartitionIndex>,
        options: &Options,
        polled: &mut Polled,
    ) -> io::Result<()> {
        while polled.batch.len() < options.batch_records.max(1) && polled.batch.bytes() < BATCH_BYTES {
            let number = self.lines.number() + 1;
            let Some(line) = self.lines.next()? else {
                self.finished = true;
                return Ok(());
            };
            if let Err(cause) = take(&self.form, &self.partitions, number, &line, (index, options), &mut polled.batch) {
                tracing::warn!(input = self.name, line = number, cause = cause.name(), "line is skipped");
                let partition = if self.form == Form::Kcat { None } else { self.partitions.first().copied() };
                polled.gaps.push(Gap { partition, from: number, to: number + 1, cause });
            }
        }
        Ok(())
    }
}

/// Appends one line to the batch; blank lines are no records.
fn take(
    form: &Form,
    partitions: &[PartitionIndex],
    number: i64,
    line: &Line<'_>,
    (index, options): (&HashMap<Partition, PartitionIndex>, &Options),
    batch: &mut Batch,
) -> Result<(), Cause> {
    let Line::Whole(text) = line else { return Err(Cause::Oversize) };
    if text.trim_ascii().is_empty() {
        return Ok(());
    }
    match form {
        Form::Plain { .. } => {
            let partition = partitions.first().copied().unwrap_or_default();
            batch.push((partition, number), None, None, Some(text), []);
        }
        Form::Kcat => {
            let envelope = Envelope::parse(text).ok_or(Cause::Malformed)?;
            // A file that grew after it was scanned may name a new partition, which must not come as a surprise.
            let partition = *index.get(&envelope.partition()).ok_or(Cause::Malformed)?;
            let headers = options.headers.iter().map(|name| envelope.header(name));
            batch.push((partition, envelope.offset), envelope.timestamp(), envelope.key(), envelope.payload(), headers);
        }
    }
    Ok(())
}

impl Source for File {
    fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    fn poll(&mut self, _wait: Duration) -> Result<Polled, Error> {
        let mut polled = Polled::default();
        if let Some(number) = self.next_input() {
            let File { inputs, index, options, .. } = self;
            let input = &mut inputs[number];
            input
                .read(index, options, &mut polled)
                .map_err(|error| Error(format!("cannot read {}: {error}", input.name)))?;
        }
        polled.at_end = self.at_end();
        polled.finished = self.inputs.iter().all(|input| input.finished);
        Ok(polled)
    }

    fn progress(&self) -> Option<(u64, u64)> {
        let done = self.inputs.iter().map(|input| input.lines.bytes_read()).sum();
        let total = self.inputs.iter().map(|input| input.total_bytes).sum::<Option<u64>>()?;
        Some((done, total))
    }
}

#[cfg(test)]
mod tests;
