//! The fan-out under virtual time, publisher and readers in one thread.

mod again;
mod garbage;
mod late;
mod live;
mod moving;
mod rtcp;
mod splice;
mod squeeze;
