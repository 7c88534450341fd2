//! What the documents name is there: files, tests, targets of make, keys of the configuration, metrics; and every metric is in a document.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what goes wrong here fails the test"
)]

mod keys;
mod metrics;
mod names;
mod paths;
mod text;
