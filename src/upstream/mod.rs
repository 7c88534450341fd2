//! Hops to upstream servers: streams pulled from them, and streams pushed to them.

pub(crate) mod connect;
pub(crate) mod link;
pub(crate) mod mend;
pub(crate) mod onward;
pub(crate) mod play;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod reach;
pub(crate) mod track;
