//! CPU time of this thread: what other programs take of the machine does not count.

use std::time::Duration;

/// CPU time of this thread so far.
pub(crate) fn time() -> Duration {
    // The kernel brings the account up to date when the thread offers to make room, else every 4 ms.
    std::thread::yield_now();
    let account = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    Duration::from_nanos(account.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("nanoseconds"))
}

/// CPU time that `work` takes.
pub(crate) fn of<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = time();
    let done = work();
    (time() - begun, done)
}
