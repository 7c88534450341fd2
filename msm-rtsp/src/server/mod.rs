//! The server's side: one [`Connection`] for each TCP connection, one [`Session`] for each RTSP session, and the choice
//! among the transports that a client offers. What we ask of clients is numbered by [`Asks`].

mod announce;
mod asks;
mod connection;
mod negotiate;
mod players;
mod redirect;
mod session;

pub use announce::Announce;
pub use asks::{Asks, MOST_ASKED};
pub use connection::{Asked, Connection, PUBLIC, ServerConfig, ServerEvent};
pub use negotiate::{Offer, Srtp, negotiate};
pub use players::{reads_announcements, takes_early_feedback};
pub use redirect::Redirect;
pub use session::{Session, SessionId, State};
