//! Which stream comes from where: routes, endpoints that fail or drain, readers that go over, shadows, redirects.
// What goes wrong here fails the test.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../common/mod.rs"]
mod common;

mod announce;
mod checks;
mod discovery;
mod drain_members;
mod failover;
mod failover_hops;
mod identical;
mod migrate;
mod mirror;
mod mirror_publish;
mod redirect;
mod redirect_described;
mod redirect_upstream;
mod routing;
