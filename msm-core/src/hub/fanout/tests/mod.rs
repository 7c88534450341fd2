//! The fan-out under virtual time, publisher and readers in one thread.

mod again;
mod early;
mod garbage;
mod late;
mod live;
mod moving;
mod rtcp;
mod source;
mod splice;
mod squeeze;
mod stage;
