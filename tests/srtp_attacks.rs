//! What SRTP on plain hops does not do, whoever asks for it: nothing in the clear, no number twice, no key elsewhere.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "what goes wrong here fails the test"
)]

mod common;
#[path = "common/keyed.rs"]
mod keyed;
#[path = "common/server.rs"]
mod server;
#[path = "common/tls.rs"]
mod tls;

use std::time::{Duration, Instant};

use common::VIDEO;
use keyed::{crypto, in_front_of, key, secure};
use server::Server;
use tls::{Authority, terminate};

/// A server that describes its stream as SRTP once, and in the clear to who comes again for want of media, cannot be
/// read from over UDP then: signalling is encrypted.
#[test]
fn what_was_srtp_does_not_come_in_the_clear_for_want_of_media() {
    let authority = Authority::new();
    let described = secure(&crypto(&key(1)));
    let server = Server::start(move |asked| {
        let session = "Session: 7;timeout=60\r\n".to_owned();
        match asked.method.as_str() {
            "DESCRIBE" => {
                let body = if asked.connection == 0 { described.clone() } else { VIDEO.to_owned() };
                (200, "Content-Type: application/sdp\r\n".to_owned(), body)
            }
            "SETUP" => {
                let transport = asked.header("Transport").unwrap_or_default();
                if transport.contains("TCP") {
                    return (461, String::new(), String::new());
                }
                (200, format!("{session}Transport: {transport};server_port=9-10\r\n"), String::new())
            }
            _ => (200, session, String::new()),
        }
    });
    let endpoint = format!("rtsps://{}", terminate(&authority, server.address));
    let front = in_front_of(&endpoint, &format!(", tls: {{ca: \"{}\"}}", authority.file("ca.pem")));
    let _reader = common::TcpReader::start(&front, "cam");
    let first = server.wait("SETUP", 1);
    assert!(first.header("Transport").unwrap().starts_with("RTP/SAVP;"), "{first:?}");
    server.wait("SETUP", 2);
    let deadline = Instant::now() + Duration::from_secs(10);
    while front.counter("msm_streams ") > 0.0 {
        assert!(Instant::now() < deadline, "the stream goes on: {:?}", server.asked("SETUP"));
        let plain = |asked: &&server::Asked| asked.header("Transport").unwrap().starts_with("RTP/AVP;");
        let asked = server.asked("SETUP");
        assert!(!asked.iter().any(|asked| plain(&asked)), "media was asked for in the clear: {asked:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
