//! Reading and publishing from inside the application.

pub(crate) mod burst;
pub(crate) mod frames;
pub(crate) mod options;
pub(crate) mod packet;
pub(crate) mod publisher;
pub(crate) mod reader;
mod sink;
pub(crate) mod stats;
