//! One connection against what clients send, good and bad.

use super::*;

fn connection() -> Connection {
    Connection::new(ServerConfig {
        limits: Limits::default(),
        server: "msm".into(),
        pseudonym: "msm-1".into(),
        member: false,
    })
}

fn feed(connection: &mut Connection, bytes: &[u8]) -> (Vec<ServerEvent>, String) {
    let (mut rest, mut events) = (bytes, Vec::new());
    loop {
        let (taken, event) = connection.handle_input(Instant::now(), rest);
        events.extend(event);
        if taken == 0 {
            break;
        }
        rest = &rest[taken..];
    }
    let mut sent = String::new();
    while let Some(bytes) = connection.poll_transmit() {
        sent += &String::from_utf8(bytes).unwrap();
    }
    (events, sent)
}

#[test]
fn refusals_name_what_is_wrong() {
    for (request, status) in [
        ("OPTIONS * RTSP/1.0\r\n\r\n", "400"),
        ("OPTIONS * RTSP/1.0\r\nCSeq: x1\r\n\r\n", "400"),
        ("FLY * RTSP/1.0\r\nCSeq: 1\r\n\r\n", "501"),
        ("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nCSeq: 2\r\n\r\n", "400"),
        ("OPTIONS * RTSP/1.0\r\nCSeq: 4294967296\r\n\r\n", "400"),
        ("PLAY_NOTIFY * RTSP/2.0\r\nCSeq: 1\r\n\r\n", "501"),
        ("RECORD * RTSP/2.0\r\nCSeq: 1\r\n\r\n", "505"),
        ("ANNOUNCE * RTSP/2.0\r\nCSeq: 1\r\n\r\n", "505"),
        ("PLAY rtsp://h/ RTSP/2.0\r\nCSeq: 1\r\nRequire: play.basic, x\r\n\r\n", "551"),
        ("PLAY rtsp://h/ RTSP/1.0\r\nCSeq: 1\r\nProxy-Require: x\r\n\r\n", "551"),
        ("PLAY rtsp://h/ RTSP/1.0\r\nCSeq: 1\r\nRequire: x.y\r\n\r\n", "551"),
        ("PLAY rtsp://h/ RTSP/1.0\r\nCSeq: 1\r\nVia: RTSP/1.0 other, RTSP/1.0 msm-1\r\n\r\n", "502"),
    ] {
        let (events, sent) = feed(&mut connection(), request.as_bytes());
        assert!(events.is_empty() && sent.split(' ').nth(1) == Some(status), "{request:?}: {sent}");
    }
}

#[test]
fn answers_repeat_number_and_version() {
    let mut connection = connection();
    let (events, _) = feed(&mut connection, b"OPTIONS * RTSP/2.0\r\nCSeq: 12\r\n\r\n$\x05\x00\x01x");
    let [ServerEvent::Request(asked, _), ServerEvent::Frame { channel: 5, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    connection.respond(*asked, Connection::options(Version::V2_0));
    let (_, sent) = feed(&mut connection, b"");
    assert!(sent.starts_with("RTSP/2.0 200 OK\r\nCSeq: 12\r\n"), "{sent}");
    assert!(sent.contains("Public: OPTIONS, DESCRIBE, SETUP"), "{sent}");
}

#[test]
fn features_are_named() {
    let mut connection = connection();
    let (events, _) = feed(
        &mut connection,
        b"OPTIONS * RTSP/2.0\r\nCSeq: 1\r\nRequire: play.basic\r\nSupported: play.basic, play.scale\r\n\r\n",
    );
    let [ServerEvent::Request(asked, _)] = &events[..] else { panic!("{events:?}") };
    connection.respond(*asked, Response::new(200).with("CSeq", "99"));
    let (_, sent) = feed(&mut connection, b"PLAY * RTSP/2.0\r\nCSeq: 2\r\nRequire: a,play.basic , b\r\n\r\n");
    let (first, second) = sent.split_once("\r\n\r\n").unwrap();
    assert!(first.contains("\r\nSupported: play.basic") && first.matches("CSeq").count() == 1, "{first}");
    assert!(second.contains("\r\nUnsupported: a, b\r\n") && !second.contains("\r\nSupported"), "{second}");
}

fn pipeline(methods: &[&str]) -> Vec<u8> {
    let requests = methods.iter().enumerate();
    requests
        .flat_map(|(cseq, method)| format!("{method} * RTSP/1.0\r\nCSeq: {cseq}\r\n\r\n").into_bytes())
        .collect()
}

fn statuses(sent: &str) -> Vec<(String, String)> {
    let value = |text: &str, key: &str| text.split(key).nth(1).map(|rest| rest[..3].trim().to_owned());
    let answers = sent.split("RTSP/1.0").skip(1);
    answers.map(|answer| (value(answer, "CSeq: ").unwrap_or_default(), answer[1..4].to_owned())).collect()
}

#[test]
fn answers_keep_the_order_of_requests() {
    let mut connection = connection();
    // The third is refused without anybody being asked, yet is answered third.
    let (events, sent) = feed(&mut connection, &pipeline(&["DESCRIBE", "SETUP", "FLY", "PLAY"]));
    let asked: Vec<Asked> = events
        .iter()
        .map(|event| match event {
            ServerEvent::Request(asked, _) => *asked,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((asked.len(), sent.as_str()), (3, ""));
    connection.respond(asked[2], Response::new(455));
    connection.respond(asked[2], Response::new(200));
    connection.respond(asked[1], Response::new(461));
    assert_eq!(connection.poll_transmit(), None);
    connection.respond(asked[0], Response::new(404));
    connection.respond(asked[0], Response::new(200));
    connection.respond(asked[2], Response::new(200));
    let (_, sent) = feed(&mut connection, b"");
    let expected = [("0", "404"), ("1", "461"), ("2", "501"), ("3", "455")];
    assert_eq!(statuses(&sent), expected.map(|(cseq, status)| (cseq.to_owned(), status.to_owned())));
}

#[test]
fn a_client_that_only_asks_is_left_waiting() {
    let mut connection = connection();
    let requests = pipeline(&["OPTIONS"; 40]);
    let (mut taken, mut asked, mut answered) = (0, VecDeque::new(), 0);
    while answered < 40 {
        let (more, event) = connection.handle_input(Instant::now(), &requests[taken..]);
        taken += more;
        if let Some(ServerEvent::Request(next, _)) = event {
            asked.push_back(next);
            assert!(asked.len() <= 16);
        } else {
            assert!(asked.len() == 16 || taken == requests.len(), "{}", asked.len());
            connection.respond(asked.pop_front().unwrap(), Connection::options(Version::V1_0));
            answered += usize::from(connection.poll_transmit().is_some());
        }
    }
    assert_eq!(taken, requests.len());
}

#[test]
fn what_came_before_garbage_is_answered_first() {
    let mut connection = connection();
    let bytes =
        [pipeline(&["DESCRIBE"]), b"OPTIONS * RTSP/1.0\r\nCSeq: 7\r\nContent-Length: +1\r\n\r\n".into()];
    let (events, sent) = feed(&mut connection, &bytes.concat());
    let [ServerEvent::Request(asked, _)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((sent.as_str(), connection.is_closing()), ("", None));
    connection.respond(*asked, Response::new(200));
    assert_eq!(connection.is_closing().map(MessageError::name), Some("bad_content_length"));
    let (_, sent) = feed(&mut connection, b"OPTIONS * RTSP/1.0\r\nCSeq: 8\r\n\r\n");
    let expected = [("0", "200"), ("7", "400")];
    assert_eq!(statuses(&sent), expected.map(|(cseq, status)| (cseq.to_owned(), status.to_owned())));
}

#[test]
fn a_client_that_drips_is_told_and_ended() {
    let mut connection = connection();
    let now = Instant::now();
    assert_eq!(connection.poll_timeout(), None);
    assert_eq!(connection.handle_input(now, b"OPTIONS"), (0, None));
    let due = connection.poll_timeout().unwrap();
    connection.handle_timeout(due - std::time::Duration::from_millis(1));
    assert_eq!(connection.is_closing(), None);
    connection.handle_timeout(due);
    assert_eq!(connection.is_closing(), Some(&MessageError::TooSlow));
    let sent = String::from_utf8(connection.poll_transmit().unwrap()).unwrap();
    assert!(sent.starts_with("RTSP/1.0 408 ") && sent.contains("Connection: close\r\n"), "{sent}");
    assert_eq!(connection.poll_timeout(), None);
}

#[test]
fn garbage_closes() {
    let mut connection = connection();
    let (events, sent) = feed(&mut connection, b"\x16\x03\x01\r\n\r\nOPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n");
    assert!(events.is_empty() && sent.starts_with("RTSP/1.0 400 "), "{sent}");
    assert_eq!(connection.is_closing().map(MessageError::name), Some("bad_start_line"));
}

#[test]
fn a_member_may_require_the_hop_and_is_answered_as_answers_come() {
    let describe =
        |cseq: u32| format!("DESCRIBE rtsp://b/one RTSP/1.0\r\nCSeq: {cseq}\r\nRequire: msm-hop-1\r\n\r\n");
    let now = Instant::now();
    let (_, event) = connection().handle_input(now, describe(1).as_bytes());
    assert_eq!(event, None, "a plain listener does not know the tag");
    let mut member = Connection::new(ServerConfig { member: true, ..connection().config });
    let mut asked = Vec::new();
    for cseq in 1..=3 {
        let (_, event) = member.handle_input(now, describe(cseq).as_bytes());
        let Some(ServerEvent::Request(request, _)) = event else { panic!("{event:?}") };
        asked.push(request);
    }
    for place in [2, 0, 1] {
        member.respond(asked[place], Response::new(200));
        let text = String::from_utf8(member.poll_transmit().unwrap()).unwrap();
        assert!(text.contains(&format!("CSeq: {}\r\n", place + 1)), "{text}");
        assert_eq!(member.poll_transmit(), None);
    }
    // A second answer is left out here, too.
    member.respond(asked[0], Response::new(200));
    assert_eq!(member.poll_transmit(), None);
}

#[test]
fn what_the_client_answers_comes_between_its_requests() {
    let mut connection = connection();
    let text = b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\nRTSP/1.0 501 Not Implemented\r\nCSeq: 1\r\n\r\n";
    let (events, sent) = feed(&mut connection, text);
    let [ServerEvent::Request(asked, _), ServerEvent::Response(answer)] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((answer.status, answer.cseq(), sent.as_str()), (501, Some(1), ""));
    connection.respond(*asked, Connection::options(Version::V1_0));
    assert!(feed(&mut connection, b"").1.contains("CSeq: 1\r\n"));
}
