//! When the join table is saved, and by whom: a thread of its own writes it while the flow goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::warn;

use crate::clock::Timestamp;
use crate::pipeline::Pipeline;
use crate::state::{Mark, Snapshot, snapshot};

/// The writing of snapshots.
#[derive(Debug)]
pub struct Snapshots {
    directory: PathBuf,
    every: Duration,
    /// When the last one was begun; `None` if the next one is due at once.
    begun_at: Option<Instant>,
    writing: Option<JoinHandle<std::io::Result<Snapshot>>>,
    stopping: Arc<AtomicBool>,
}

impl Snapshots {
    /// Into `directory`, once in `every`; the first one after that time. [`Duration::MAX`] is never.
    pub fn new(directory: &Path, every: Duration) -> Snapshots {
        let stopping = Arc::new(AtomicBool::new(false));
        Snapshots { directory: directory.to_owned(), every, begun_at: Some(Instant::now()), writing: None, stopping }
    }

    /// Another interval from now on, and a new one at once: the one before was filled under another configuration.
    pub(super) fn reload(&mut self, every: Duration) {
        self.every = every;
        self.renew();
    }

    /// The next one is due at once; one that is being written is given up.
    pub(super) fn renew(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.stopping = Arc::new(AtomicBool::new(false));
        self.writing = None;
        self.begun_at = None;
    }

    /// Whether it is time to begin one.
    pub(super) fn is_due(&self) -> bool {
        let is_time = self.begun_at.is_none_or(|begun_at| begun_at.elapsed() >= self.every);
        is_time && self.writing.is_none() && self.every < Duration::MAX
    }

    /// Begins to write the table as it is now. `marks` are the positions up to which it is filled.
    pub(super) fn begin(&mut self, pipeline: &Pipeline, marks: Vec<Mark>, now: Timestamp) {
        self.begun_at = Some(Instant::now());
        let (image, pending) = (pipeline.image(), pipeline.pending());
        let (directory, stopping) = (self.directory.clone(), Arc::clone(&self.stopping));
        let keep_writing = move || !stopping.load(Ordering::SeqCst);
        let write = move || snapshot::write(&directory, now, marks, pending, &image, keep_writing);
        match std::thread::Builder::new().name("snapshot".to_owned()).spawn(write) {
            Ok(thread) => self.writing = Some(thread),
            Err(problem) => warn!(%problem, "no snapshot of the join: the system gives no thread"),
        }
    }

    /// The snapshot that has become whole since the last call, if one has.
    pub(super) fn finished(&mut self) -> Option<Snapshot> {
        let thread = self.writing.take_if(|thread| thread.is_finished())?;
        match thread.join() {
            Ok(Ok(written)) => Some(written),
            Ok(Err(problem)) => {
                warn!(%problem, "the join cannot be saved; a restart reads more of the source");
                None
            }
            Err(_) => {
                warn!("the thread that saves the join ended by a panic: please report this");
                None
            }
        }
    }

    /// Writes the table as it is at the end, so that the next start has nothing to read again.
    pub(super) fn last(
        mut self,
        pipeline: &Pipeline,
        marks: Vec<Mark>,
        now: Timestamp,
        beat: impl Fn(),
    ) -> Option<Snapshot> {
        self.stopping.store(true, Ordering::SeqCst);
        if let Some(thread) = self.writing.take() {
            // What it has not finished is of no use any more.
            let _given_up = thread.join();
        }
        let keep_writing = || {
            beat();
            true
        };
        let image = pipeline.image();
        let written = snapshot::write(&self.directory, now, marks, pipeline.pending(), &image, keep_writing);
        written.inspect_err(|problem| warn!(%problem, "the join cannot be saved at the end")).ok()
    }
}
