//! The client against servers' answers as they come.

use std::time::{Duration, Instant};

use super::*;
use crate::headers::MAX_SESSION_TIMEOUT;
use crate::sdp::SdpError;
use crate::url::ControlPolicy;

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
fn a_keep_alive_that_finds_no_session_is_the_end() {
    for (status, ends) in [(200, false), (454, true), (501, false), (404, false)] {
        let now = Instant::now();
        let mut client = client("rtsp://cam/one");
        client.setup(now, "rtsp://cam/one/track", &TransportSpec::udp((5000, 5001)), None).unwrap();
        text(&mut client);
        feed(&mut client, now, b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nSession: 42;timeout=8\r\n\r\n");
        client.start_keep_alive(now);
        client.handle_timeout(now + Duration::from_secs(4)).unwrap();
        text(&mut client);
        let events = feed(&mut client, now, format!("RTSP/1.0 {status} X\r\nCSeq: 2\r\n\r\n").as_bytes());
        assert_eq!(events.contains(&ClientEvent::Ended), ends, "{status}: {events:?}");
    }
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
    client.setup(now, "rtsp://cam/one/1", &TransportSpec::udp((5000, 5001)), None).unwrap();
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

/// A client whose session has been set up by an answer with this Session header.
fn with_session(now: Instant, session: &str) -> Client {
    let mut client = client("rtsp://cam/one");
    client.setup(now, "rtsp://cam/main/1", &TransportSpec::tcp((0, 1)), None).unwrap();
    let _ = text(&mut client);
    feed(&mut client, now, format!("RTSP/1.0 200 OK\r\nCSeq: 1\r\nSession: {session}\r\n\r\n").as_bytes());
    client
}

#[test]
fn a_timeout_without_end_is_kept_alive_daily() {
    let now = Instant::now();
    let mut client = with_session(now, "1;timeout=18446744073709551615");
    client.start_keep_alive(now);
    assert_eq!(client.poll_timeout(), Some(now + MAX_SESSION_TIMEOUT / 2));
}

#[test]
fn a_timeout_that_is_not_repeated_stays() {
    let now = Instant::now();
    for (session, keep_alive) in [("42", 10), ("42;timeout=8", 4), ("43", 30)] {
        let mut client = with_session(now, "42;timeout=20");
        client.setup(now, "rtsp://cam/main/2", &TransportSpec::tcp((2, 3)), None).unwrap();
        let answer = format!("RTSP/1.0 200 OK\r\nCSeq: 2\r\nSession: {session}\r\n\r\n");
        feed(&mut client, now, answer.as_bytes());
        client.start_keep_alive(now);
        assert_eq!(client.poll_timeout(), Some(now + Duration::from_secs(keep_alive)), "{session}");
    }
}

#[test]
fn a_session_is_kept_alive_and_asked_where_it_plays_until_it_is_torn_down() {
    let now = Instant::now();
    let mut client = with_session(now, "42;timeout=20");
    client.play(now, "rtsp://cam/main/", &[]).unwrap();
    let _ = text(&mut client);
    feed(&mut client, now, b"RTSP/1.0 200 OK\r\nCSeq: 2\r\n\r\n");
    client.start_keep_alive(now);
    client.handle_timeout(now + Duration::from_secs(10)).unwrap();
    let sent = text(&mut client);
    assert!(sent.starts_with("OPTIONS rtsp://cam/main/ RTSP/1.0\r\nCSeq: 3\r\n"), "{sent}");
    feed(&mut client, now, b"RTSP/1.0 200 OK\r\nCSeq: 3\r\n\r\n");
    client.parameter(now, false, "text/parameters", b"x\r\n".to_vec()).unwrap();
    let sent = text(&mut client);
    assert!(sent.starts_with("GET_PARAMETER rtsp://cam/main/ RTSP/1.0\r\nCSeq: 4\r\n"), "{sent}");
    feed(&mut client, now, b"RTSP/1.0 200 OK\r\nCSeq: 4\r\n\r\n");
    client.control(now, Method::Teardown, "rtsp://cam/main/").unwrap();
    let _ = text(&mut client);
    feed(&mut client, now, b"RTSP/1.0 200 OK\r\nCSeq: 5\r\nSession: 42\r\n\r\n");
    assert_eq!((client.session(), client.poll_timeout()), (None, None));
    client.parameter(now, false, "text/parameters", b"x\r\n".to_vec()).unwrap();
    let sent = text(&mut client);
    assert!(
        sent.starts_with("GET_PARAMETER rtsp://cam/one RTSP/1.0\r\n") && !sent.contains("Session"),
        "{sent}"
    );
}

#[test]
fn all_requests_with_a_nonce_that_ended_are_repeated() {
    let now = Instant::now();
    let mut client = client("rtsp://u:p@cam/one");
    let refusal = |cseq: u32, nonce: u32| {
        let challenge = format!("WWW-Authenticate: Digest realm=\"x\", nonce=\"n{nonce}\"");
        format!("RTSP/1.0 401 Unauthorized\r\nCSeq: {cseq}\r\n{challenge}\r\n\r\n").into_bytes()
    };
    client.setup(now, "rtsp://cam/one/1", &TransportSpec::tcp((0, 1)), None).unwrap();
    feed(&mut client, now, &refusal(1, 1));
    feed(&mut client, now, b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nSession: 42;timeout=20\r\n\r\n");
    client.start_keep_alive(now);
    let now = now + Duration::from_secs(10);
    client.handle_timeout(now).unwrap();
    client.control(now, Method::Pause, "rtsp://cam/one").unwrap();
    feed(&mut client, now, &refusal(3, 2));
    feed(&mut client, now, &refusal(4, 3));
    let last: Vec<String> = (0..6).map(|_| text(&mut client)).skip(4).collect();
    assert!(last[0].starts_with("OPTIONS") && last[1].starts_with("PAUSE"), "{last:?}");
    assert!(last.iter().all(|text| text.contains("nonce=\"n2\"")), "{last:?}");
    // A nonce that refuses what was first sent with it is not old.
    feed(&mut client, now, &refusal(5, 4));
    assert!(client.handle_input(now, &refusal(6, 5)).is_ok());
    let outcome = client.handle_input(now, &refusal(7, 6));
    assert_eq!(outcome.unwrap_err(), ClientError::Auth(AuthError::Refused));
}

#[test]
fn tracks_are_below_an_absolute_control_of_the_session() {
    let url = RtspUrl::parse("rtsp://cam/one").unwrap();
    for (session, track, expected) in [
        ("rtsp://cam/real/", "trackID=1", "rtsp://cam/real/trackID=1"),
        ("RTSP://cam/real", "trackID=1", "RTSP://cam/real/trackID=1"),
        ("rtsp://cam/real", "rtsp://cam/x/1", "rtsp://cam/x/1"),
        ("below", "trackID=1", "rtsp://cam/one/trackID=1"),
    ] {
        let sdp =
            format!("v=0\r\ns=x\r\na=control:{session}\r\nm=video 0 RTP/AVP 96\r\na=control:{track}\r\n");
        let response = Response::new(200).with_body("application/sdp", sdp.into_bytes());
        let got = described(&response, &url, ControlPolicy::default(), &Limits::default()).unwrap();
        assert_eq!(got.setup, [expected], "{session}");
    }
}

#[test]
fn only_requests_of_the_own_session_send_it_elsewhere_or_end_it() {
    let now = Instant::now();
    let mut client = with_session(now, "17;timeout=60");
    let answers = |client: &mut Client, request: &str| {
        let events = feed(client, now, request.as_bytes());
        (events, text(client))
    };
    for method in ["REDIRECT", "TEARDOWN"] {
        let other = format!(
            "{method} rtsp://cam/one RTSP/1.0\r\nCSeq: 3\r\nSession: 18\r\nLocation: rtsp://b/\r\n\r\n"
        );
        let (events, answer) = answers(&mut client, &other);
        assert!(events.is_empty() && answer.starts_with("RTSP/1.0 454 "), "{events:?} {answer}");
    }
    let own = "REDIRECT rtsp://cam/one RTSP/1.0\r\nCSeq: 4\r\nSession: 17\r\nLocation: rtsp://b/two\r\n\r\n";
    let (events, answer) = answers(&mut client, own);
    assert_eq!(events, [ClientEvent::Redirect(Some("rtsp://b/two".into()))]);
    assert!(answer.starts_with("RTSP/1.0 200 OK\r\nCSeq: 4\r\n"), "{answer}");
    let whole = "REDIRECT * RTSP/1.0\r\nCSeq: 5\r\nLocation: rtsp://b:8554\r\n\r\n";
    assert_eq!(answers(&mut client, whole).0, [ClientEvent::Redirect(Some("rtsp://b:8554".into()))]);
    assert!(client.session().is_some(), "the session goes on until it is torn down");
}
