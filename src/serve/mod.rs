//! Listeners: connections, requests, sessions, and the readers and publishers that they become.

pub(crate) mod admission;
pub(crate) mod announce;
pub(crate) mod connection;
pub(crate) mod elsewhere;
mod first_asked;
pub(crate) mod group;
pub(crate) mod listener;
pub(crate) mod login;
pub(crate) mod migration;
pub(crate) mod multicast;
mod offered;
pub(crate) mod passwords;
pub(crate) mod publisher;
mod rate;
pub(crate) mod reader;
pub(crate) mod requests;
pub(crate) mod route_seats;
pub(crate) mod session;
pub(crate) mod succession;
