//! The client against servers' answers as they come.

use std::time::{Duration, Instant};

use super::*;
use crate::sdp::SdpError;

fn client(url: &str) -> Client {
    Client::new(ClientConfig::new(RtspUrl::parse(url).unwrap(), 7))
}

fn text(client: &mut Client) -> String {
    String::from_utf8(client.poll_transmit().expect("something to send")).unwrap()
}

fn feed(client: &mut Client, now: Instant, bytes: &[u8]) -> Vec<ClientEvent> {
    let (mut rest, mut events) = (bytes, Vec::new());
    loop {
        let (taken, event) = client.handle_input(now, rest).unwrap();
        events.extend(event);
        if taken == 0 {
            return events;
        }
        rest = &rest[taken..];
    }
}

#[test]
fn digest_is_answered_and_the_request_repeated() {
    let now = Instant::now();
    let mut client = client("rtsp://alice:secret@cam/one");
    client.describe(now).unwrap();
    let first = text(&mut client);
    assert!(first.starts_with("DESCRIBE rtsp://cam/one RTSP/1.0\r\nCSeq: 1\r\n"), "{first}");
    assert!(!first.contains("secret"));
    let challenge = b"RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\nWWW-Authenticate: Basic realm=\"mesh\"\r\n\
        WWW-Authenticate: Digest realm=\"mesh\", nonce=\"abc\"\r\n\r\n";
    assert!(feed(&mut client, now, challenge).is_empty());
    let second = text(&mut client);
    assert!(
        second.contains("CSeq: 2\r\n") && second.contains("Authorization: Digest username=\"alice\""),
        "{second}"
    );
    assert!(
        second.contains("uri=\"rtsp://cam/one\"") && second.contains("Accept: application/sdp"),
        "{second}"
    );
    let refused = client
        .handle_input(now, &String::from_utf8_lossy(challenge).replace("CSeq: 1", "CSeq: 2").into_bytes());
    assert_eq!(refused.unwrap_err(), ClientError::Auth(AuthError::Refused));
}

#[test]
fn frames_and_requests_of_the_server_come_between() {
    let now = Instant::now();
    let mut client = client("rtsp://cam/one");
    client.play(now, "rtsp://cam/one", &[("Range", "npt=0-")]).unwrap();
    assert!(text(&mut client).contains("Range: npt=0-\r\n"));
    assert_eq!(client.describe(now), Err(ClientError::Busy("PLAY".into())));
    let events = feed(
        &mut client,
        now,
        b"$\x00\x00\x02hiOPTIONS * RTSP/1.0\r\nCSeq: 77\r\n\r\nRTSP/1.0 200 OK\r\nCSeq: 9\r\n\r\nRTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n",
    );
    assert!(matches!(&events[0], ClientEvent::Frame { channel: 0, payload } if *payload == (4..6)));
    assert!(matches!(&events[1], ClientEvent::Answer(response) if response.status == 200));
    assert_eq!((events.len(), client.unexpected_answers), (2, 1));
    assert!(text(&mut client).starts_with("RTSP/1.0 200 OK\r\nCSeq: 77\r\n"));
}

#[test]
fn sessions_are_kept_alive_as_the_server_advertises() {
    let mut now = Instant::now();
    let mut client = client("rtsp://cam/one");
    client.options(now).unwrap();
    let _ = text(&mut client);
    feed(&mut client, now, b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: DESCRIBE, GET_PARAMETER\r\n\r\n");
    client.setup(now, "rtsp://cam/one/1", &TransportSpec::udp((5000, 5001))).unwrap();
    assert!(text(&mut client).contains("Transport: RTP/AVP;unicast;client_port=5000-5001\r\n"));
    feed(&mut client, now, b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nSession: 42;timeout=20\r\n\r\n");
    client.start_keep_alive(now);
    assert_eq!(client.poll_timeout(), Some(now + Duration::from_secs(10)));
    now += Duration::from_secs(10);
    client.handle_timeout(now).unwrap();
    let sent = text(&mut client);
    assert!(sent.starts_with("GET_PARAMETER rtsp://cam/one RTSP/1.0\r\nCSeq: 3\r\n"), "{sent}");
    assert!(sent.contains("Session: 42\r\n"), "{sent}");
    // No answer to a keep-alive is not the end; none to a command is.
    now += Duration::from_secs(10);
    client.handle_timeout(now).unwrap();
    client.control(now, Method::Pause, "rtsp://cam/one").unwrap();
    now += Duration::from_secs(10);
    assert_eq!(client.handle_timeout(now), Err(ClientError::Timeout("PAUSE".into())));
}

#[test]
fn controls_of_servers_become_setup_urls() {
    let url = RtspUrl::parse("rtsp://cam/one").unwrap();
    let sdp =
        b"v=0\r\ns=x\r\na=control:*\r\nm=video 0 RTP/AVP 96\r\na=control:stream=0\r\nm=audio 0 RTP/AVP 0\r\n";
    let response = |base: &str| {
        let response = Response::new(200).with_body("application/sdp", sdp.to_vec());
        if base.is_empty() { response } else { response.with("Content-Base", base) }
    };
    let get = |base| described(&response(base), &url, ControlPolicy::default(), &Limits::default()).unwrap();
    let plain = get("");
    assert_eq!(plain.setup, ["rtsp://cam/one/stream=0", "rtsp://cam/one"]);
    assert_eq!(plain.aggregate, "rtsp://cam/one");
    assert_eq!(get("rtsp://10.0.0.1/x/").setup[0], "rtsp://10.0.0.1/x/stream=0");
    assert_eq!(get("nonsense").setup[0], "rtsp://cam/one/stream=0");
}

#[test]
fn controls_that_would_ask_for_something_else_are_refused() {
    let url = RtspUrl::parse("rtsp://cam/one").unwrap();
    for (session, track) in [("*", "../other"), ("*", "a b"), ("*", "http://cam/one"), ("a/../../b", "0")] {
        let sdp =
            format!("v=0\r\ns=x\r\na=control:{session}\r\nm=video 0 RTP/AVP 96\r\na=control:{track}\r\n");
        let response = Response::new(200).with_body("application/sdp", sdp.into_bytes());
        let outcome = described(&response, &url, ControlPolicy::default(), &Limits::default());
        assert!(matches!(outcome, Err(SdpError::BadControl { .. })), "{session} {track}: {outcome:?}");
    }
}

use crate::url::ControlPolicy;
