//! One integration binary: a second one would be linked a second time.

mod ingest;
