//! What real clients send, from their first request to their last, against the server's parts put together as a server
//! puts them together. Each conversation also runs with its bytes arriving one by one.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use msm_rtsp::framing::{Decoder, Item};
use msm_rtsp::limits::Limits;
use msm_rtsp::message::{Method, Request, Response, Version};
use msm_rtsp::server::{Connection, Offer, ServerConfig, ServerEvent, Session, Srtp, negotiate};
use msm_rtsp::transport::{Delivery, Lower, Mode};
use msm_rtsp::url::{MatchPolicy, RtspUrl, Target, match_control, match_track, presentation};

/// A server of one stream with tracks of its own naming, which takes publishers too.
struct Server {
    connection: Connection,
    tracks: usize,
    /// Control attributes that the client announced, and the URL it announced them for.
    announced: Option<(String, Vec<String>)>,
    sessions: BTreeMap<String, Session>,
    pipelines: BTreeMap<String, String>,
    frames: Vec<(u8, Vec<u8>)>,
}

impl Server {
    fn new(tracks: usize) -> Self {
        let config = ServerConfig {
            limits: Limits::default(),
            server: "msm".into(),
            pseudonym: "msm-1".into(),
            member: false,
        };
        Self {
            connection: Connection::new(config),
            tracks,
            announced: None,
            sessions: BTreeMap::new(),
            pipelines: BTreeMap::new(),
            frames: Vec::new(),
        }
    }

    /// Takes what arrived, `step` bytes at a time, and returns the answers.
    fn receive(&mut self, bytes: &[u8], step: usize) -> Vec<Response> {
        let now = Instant::now();
        let (mut buffer, mut answers) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(step) {
            buffer.extend_from_slice(piece);
            loop {
                let (taken, event) = self.connection.handle_input(now, &buffer);
                match event {
                    Some(ServerEvent::Request(asked, request)) => {
                        let response = self.answer(&request).unwrap_or_else(Response::new);
                        self.connection.respond(asked, response);
                    }
                    Some(ServerEvent::Frame { channel, payload }) => {
                        self.frames.push((channel, buffer[payload].to_vec()));
                    }
                    Some(ServerEvent::Response(_)) | None => {}
                }
                buffer.drain(..taken);
                if taken == 0 {
                    break;
                }
            }
        }
        assert_eq!(buffer, b"", "everything is understood");
        while let Some(text) = self.connection.poll_transmit() {
            match Decoder::new(Limits::default()).decode(now, &text) {
                Ok(Item::Response(response, length)) if length == text.len() => answers.push(*response),
                other => panic!("{other:?}"),
            }
        }
        answers
    }

    fn answer(&mut self, request: &Request) -> Result<Response, u16> {
        let id = match request.session() {
            Some(id) => Some(id.to_owned()),
            None => request.headers.get("Pipelined-Requests").and_then(|id| self.pipelines.get(id)).cloned(),
        };
        match &request.method {
            Method::Options => return Ok(Connection::options(request.version)),
            Method::Describe => {
                let base = presentation(&request.uri);
                RtspUrl::parse(&base).map_err(|_| 400_u16)?;
                return Ok(Response::new(200)
                    .with("Content-Base", format!("{base}/"))
                    .with_body("application/sdp", "v=0"));
            }
            Method::Announce => {
                let text = String::from_utf8(request.body.to_vec()).map_err(|_| 400_u16)?;
                let controls = text.lines().filter_map(|line| line.strip_prefix("a=control:"));
                let controls = controls.filter(|control| *control != "*").map(str::to_owned).collect();
                self.announced = Some((request.uri.clone(), controls));
                return Ok(Response::new(200));
            }
            Method::Setup => return self.setup(request, id),
            Method::GetParameter | Method::SetParameter if id.is_none() => return Ok(Response::new(200)),
            _ => {}
        }
        let id = id.ok_or(454_u16)?;
        let session = self.sessions.get_mut(&id).ok_or(454_u16)?;
        session.check(&request.method)?;
        let track = match_control(&request.uri, self.tracks).and_then(|(_, track)| track);
        session.check_target(&request.method, track)?;
        session.done(&request.method);
        let header = session.header();
        if request.method == Method::Teardown {
            self.sessions.remove(&id);
        }
        Ok(Response::new(200).with("Session", header))
    }

    fn setup(&mut self, request: &Request, id: Option<String>) -> Result<Response, u16> {
        let offer = Offer { udp: true, tcp: true, multicast: true, srtp: Srtp::default() };
        let mut spec = negotiate(request.headers.get("Transport"), offer)?;
        let track = match (&self.announced, spec.mode) {
            (Some((base, controls)), Mode::Record) => {
                let controls: Vec<&str> = controls.iter().map(String::as_str).collect();
                let target =
                    match_track(&request.uri, base, &controls, MatchPolicy::default()).ok_or(404_u16)?;
                target.track(controls.len()).ok_or(459_u16)?
            }
            (None, Mode::Record) => return Err(455),
            (_, Mode::Play) => {
                let (base, track) = match_control(&request.uri, self.tracks).ok_or(404_u16)?;
                RtspUrl::parse(&base).map_err(|_| 400_u16)?;
                track.ok_or(459_u16)?
            }
        };
        let id = match id {
            Some(id) => id,
            None => {
                let session =
                    Session::new(self.sessions.len() as u128 + 1, Duration::from_secs(60), spec.mode);
                let id = session.id().to_owned();
                if let Some(pipeline) = request.headers.get("Pipelined-Requests") {
                    self.pipelines.insert(pipeline.to_owned(), id.clone());
                }
                self.sessions.insert(id.clone(), session);
                id
            }
        };
        let session = self.sessions.get_mut(&id).ok_or(454_u16)?;
        session.check(&Method::Setup)?;
        session.set_up(track, spec.mode)?;
        match (spec.lower, spec.delivery) {
            (Lower::Udp, Delivery::Unicast) => spec.server_port = Some((8000, 8001)),
            (Lower::Udp, Delivery::Multicast) => {
                spec.destination = "239.1.1.1".parse().ok();
                spec.port = Some((5000, 5001));
            }
            (Lower::Tcp, _) => {}
        }
        let response = Response::new(200)
            .with("Session", session.header())
            .with("Transport", spec.write(request.version));
        Ok(if request.version == Version::V2_0 {
            response.with("Media-Properties", "No-Seeking")
        } else {
            response
        })
    }
}

/// What a client says, and the answers it must get: status, and a text that one of the headers has.
type Turn<'a> = (&'a str, &'a [(u16, &'a str)]);

/// Lines are ended and sessions filled in; `\n\n` ends a request.
fn converse(tracks: usize, turns: &[Turn<'_>]) -> Server {
    let mut whole = Server::new(tracks);
    for step in [1, 7, usize::MAX] {
        let mut server = Server::new(tracks);
        let mut session = String::new();
        for (said, expected) in turns {
            let (text, body) = said.split_once("\n\n").unwrap_or((said, ""));
            let head = |text: &str| text.replace("{session}", &session).replace('\n', "\r\n") + "\r\n\r\n";
            let mut bytes = head(text).into_bytes();
            // Further requests of a pipeline, or a body.
            if text.contains("Content-Length") {
                bytes.extend_from_slice(body.as_bytes());
            } else {
                body.split("\n\n")
                    .filter(|more| !more.is_empty())
                    .for_each(|more| bytes.extend(head(more).into_bytes()));
            }
            let answers = server.receive(&bytes, step);
            assert_eq!(answers.len(), expected.len(), "{said}: {answers:?}");
            for (answer, (status, shown)) in answers.iter().zip(*expected) {
                assert_eq!(answer.status, *status, "{said}: {answer:?}");
                let lines: Vec<String> =
                    answer.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
                assert!(lines.iter().any(|line| line.contains(shown)), "{said}: no {shown:?} in {lines:?}");
                if let Some(header) = answer.headers.get("Session") {
                    session = header.split(';').next().unwrap().to_owned();
                }
            }
        }
        whole = server;
    }
    whole
}

#[test]
fn ffmpeg_reads_over_udp() {
    let server = converse(
        2,
        &[
            (
                "OPTIONS rtsp://h:8554/cam RTSP/1.0\nCSeq: 1\nUser-Agent: Lavf61.7.100",
                &[(200, "GET_PARAMETER")],
            ),
            (
                "DESCRIBE rtsp://h:8554/cam RTSP/1.0\nAccept: application/sdp\nCSeq: 2\nUser-Agent: Lavf61.7.100",
                &[(200, "Content-Base: rtsp://h:8554/cam/")],
            ),
            (
                "SETUP rtsp://h:8554/cam/trackID=0 RTSP/1.0\nTransport: RTP/AVP/UDP;unicast;client_port=19796-19797\nx-Dynamic-Rate: 0\nCSeq: 3",
                &[(200, "Transport: RTP/AVP;unicast;client_port=19796-19797;server_port=8000-8001")],
            ),
            (
                "SETUP rtsp://h:8554/cam/trackID=1 RTSP/1.0\nTransport: RTP/AVP/UDP;unicast;client_port=19798-19799\nx-Dynamic-Rate: 0\nCSeq: 4\nSession: {session}",
                &[(200, "client_port=19798-19799")],
            ),
            (
                "PLAY rtsp://h:8554/cam/ RTSP/1.0\nRange: npt=0.000-\nCSeq: 5\nSession: {session}",
                &[(200, ";timeout=60")],
            ),
            ("GET_PARAMETER rtsp://h:8554/cam/ RTSP/1.0\nCSeq: 6\nSession: {session}", &[(200, "CSeq: 6")]),
            ("TEARDOWN rtsp://h:8554/cam/ RTSP/1.0\nCSeq: 7\nSession: {session}", &[(200, "CSeq: 7")]),
            ("PLAY rtsp://h:8554/cam/ RTSP/1.0\nCSeq: 8\nSession: {session}", &[(454, "CSeq: 8")]),
        ],
    );
    assert!(server.sessions.is_empty());
}

#[test]
fn ffmpeg_reads_a_url_with_a_query_over_multicast_and_tcp() {
    converse(
        2,
        &[(
            "SETUP rtsp://h/cam?token=a/b/trackID=0 RTSP/1.0\nTransport: RTP/AVP/UDP;multicast\nCSeq: 1",
            &[(200, "Transport: RTP/AVP;multicast;destination=239.1.1.1;port=5000-5001")],
        )],
    );
    converse(
        2,
        &[
            (
                "SETUP rtsp://h/cam?token=1/trackID=1 RTSP/1.0\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\nCSeq: 1",
                &[(200, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1")],
            ),
            (
                "PLAY rtsp://h/cam?token=1/ RTSP/1.0\nRange: npt=0.000-\nCSeq: 2\nSession: {session}",
                &[(200, "CSeq: 2")],
            ),
        ],
    );
    // MPEG-TS has one track, which needs no name.
    converse(
        1,
        &[(
            "SETUP rtsp://h/ts/ RTSP/1.0\nTransport: RTP/AVP/UDP;unicast;client_port=2-3\nCSeq: 1",
            &[(200, "")],
        )],
    );
}

#[test]
fn ffmpeg_publishes_over_tcp() {
    let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=No Name\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
        a=rtpmap:96 H264/90000\r\na=control:streamid=0\r\nm=audio 0 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\na=control:streamid=1\r\n";
    let announce = format!(
        "ANNOUNCE rtsp://h:8554/live/x RTSP/1.0\nContent-Type: application/sdp\nCSeq: 2\nUser-Agent: Lavf61.7.100\nContent-Length: {}\n\n{sdp}",
        sdp.len()
    );
    let mut server = converse(
        2,
        &[
            (
                "OPTIONS rtsp://h:8554/live/x RTSP/1.0\nCSeq: 1\nUser-Agent: Lavf61.7.100",
                &[(200, "ANNOUNCE")],
            ),
            (&announce, &[(200, "CSeq: 2")]),
            (
                "SETUP rtsp://h:8554/live/x/streamid=0 RTSP/1.0\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record\nCSeq: 3",
                &[(200, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record")],
            ),
            (
                "SETUP rtsp://h:8554/live/x/streamid=1 RTSP/1.0\nTransport: RTP/AVP/TCP;unicast;interleaved=2-3;mode=record\nCSeq: 4\nSession: {session}",
                &[(200, "interleaved=2-3")],
            ),
            ("PLAY rtsp://h:8554/live/x RTSP/1.0\nCSeq: 5\nSession: {session}", &[(455, "CSeq: 5")]),
            (
                "RECORD rtsp://h:8554/live/x RTSP/1.0\nRange: npt=0.000-\nCSeq: 6\nSession: {session}",
                &[(200, "CSeq: 6")],
            ),
        ],
    );
    let answers = server.receive(b"$\x00\x00\x0c\x80\xe0\0\x01\0\0\0\x02\0\0\0\x03$\x01\x00\x00", 5);
    assert!(answers.is_empty());
    assert_eq!((server.frames[0].0, server.frames[0].1.len(), server.frames[1].0), (0, 12, 1));
}

#[test]
fn other_publishers_name_their_tracks_otherwise() {
    for (controls, uris) in [
        // GStreamer's rtspclientsink.
        (["stream=0", "stream=1"], ["rtsp://h/live/stream=0", "rtsp://h/live/stream=1"]),
        // live555's DarwinInjector counts from one.
        (["trackID=1", "trackID=2"], ["rtsp://h/live/trackID=1", "rtsp://h/live/trackID=2"]),
        (["rtsp://10.0.0.1/live/a", "rtsp://10.0.0.1/live/b"], ["rtsp://10.0.0.1/live/a", "rtsp://h/live/b"]),
    ] {
        let sdp = controls.map(|control| format!("m=video 0 RTP/AVP 96\r\na=control:{control}\r\n")).concat();
        let announce =
            format!("ANNOUNCE rtsp://h/live RTSP/1.0\nCSeq: 1\nContent-Length: {}\n\n{sdp}", sdp.len());
        let setup = |index: usize| {
            let transport = "RTP/AVP;unicast;client_port=5000-5001;mode=\"RECORD\"";
            let session = if index == 0 { "" } else { "\nSession: {session}" };
            format!("SETUP {} RTSP/1.0\nCSeq: 2\nTransport: {transport}{session}", uris[index])
        };
        let server = converse(
            0,
            &[
                (&announce, &[(200, "")]),
                (&setup(0), &[(200, "mode=record")]),
                (&setup(1), &[(200, "mode=record")]),
            ],
        );
        assert_eq!(server.sessions.values().next().unwrap().tracks(), [0, 1], "{controls:?}");
    }
    converse(
        2,
        &[(
            "SETUP rtsp://h/live/stream=0 RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=receive",
            &[(455, "CSeq: 1")],
        )],
    );
}

#[test]
fn gstreamer_reads_with_rtsp_1_and_changes_to_tcp() {
    converse(
        2,
        &[
            (
                "OPTIONS rtsp://h:8554/cam?q=1 RTSP/1.0\nCSeq: 1\nUser-Agent: GStreamer/1.26.2",
                &[(200, "Public: ")],
            ),
            (
                "DESCRIBE rtsp://h:8554/cam?q=1 RTSP/1.0\nCSeq: 2\nUser-Agent: GStreamer/1.26.2\nAccept: application/sdp",
                &[(200, "Content-Base: rtsp://h:8554/cam?q=1/")],
            ),
            (
                "SETUP rtsp://h:8554/cam/trackID=0?q=1 RTSP/1.0\nCSeq: 3\nTransport: RTP/AVPF;unicast;client_port=38034-38035",
                &[(200, "Transport: RTP/AVPF;unicast;client_port=38034-38035;server_port=8000-8001")],
            ),
            ("TEARDOWN rtsp://h:8554/cam?q=1/ RTSP/1.0\nCSeq: 4\nSession: {session}", &[(200, "")]),
            // After five seconds without a packet.
            (
                "SETUP rtsp://h:8554/cam/trackID=0?q=1 RTSP/1.0\nCSeq: 5\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1",
                &[(200, "interleaved=0-1")],
            ),
            (
                "SETUP rtsp://h:8554/cam/trackID=1?q=1 RTSP/1.0\nCSeq: 6\nTransport: RTP/AVP/TCP;unicast;interleaved=2-3\nSession: {session}",
                &[(200, "interleaved=2-3")],
            ),
            (
                "PLAY rtsp://h:8554/cam/?q=1 RTSP/1.0\nCSeq: 7\nRange: npt=0-\nSession: {session}",
                &[(200, "")],
            ),
            ("PAUSE rtsp://h:8554/cam/?q=1 RTSP/1.0\nCSeq: 8\nSession: {session}", &[(200, "")]),
            (
                "PLAY rtsp://h:8554/cam/?q=1 RTSP/1.0\nCSeq: 9\nRange: npt=now-\nSession: {session}",
                &[(200, "")],
            ),
        ],
    );
    // No plain profile at all.
    converse(
        1,
        &[(
            "SETUP rtsp://h/cam RTSP/1.0\nCSeq: 1\nTransport: RTP/SAVPF;unicast;client_port=38034-38035",
            &[(461, "")],
        )],
    );
}

#[test]
fn gstreamer_reads_with_rtsp_2() {
    let server = converse(
        2,
        &[
            (
                "OPTIONS rtsp://h:8554/cam RTSP/2.0\nCSeq: 1\nUser-Agent: GStreamer/1.26.2",
                &[(200, "Public: OPTIONS, DESCRIBE, SETUP, PLAY")],
            ),
            (
                "DESCRIBE rtsp://h:8554/cam RTSP/2.0\nCSeq: 2\nUser-Agent: GStreamer/1.26.2\nAccept: application/sdp",
                &[(200, "")],
            ),
            // All SETUPs go out before any answer is read: only the pipeline's number says that they are one session.
            (
                "SETUP rtsp://h:8554/cam/trackID=0 RTSP/2.0\nCSeq: 3\nPipelined-Requests: 1804289383\nAccept-Ranges: npt, clock, smpte, clock\nTransport: RTP/AVP;unicast;client_port=5000-5001\n\n\
          SETUP rtsp://h:8554/cam/trackID=1 RTSP/2.0\nCSeq: 4\nPipelined-Requests: 1804289383\nAccept-Ranges: npt, clock, smpte, clock\nTransport: RTP/AVP;unicast;client_port=5002-5003",
                &[
                    (200, "client_port=5000-5001;server_port=8000-8001"),
                    (200, "client_port=5002-5003;server_port=8000-8001"),
                ],
            ),
            (
                "PLAY rtsp://h:8554/cam/ RTSP/2.0\nCSeq: 5\nRange: npt=0-\nSeek-Style: CoRAP\nSession: {session}",
                &[(200, "CSeq: 5")],
            ),
            ("GET_PARAMETER rtsp://h:8554/cam/ RTSP/2.0\nCSeq: 6\nSession: {session}", &[(200, "")]),
        ],
    );
    assert_eq!(server.sessions.len(), 1);
    assert_eq!(server.sessions.values().next().unwrap().tracks(), [0, 1]);
}

#[test]
fn vlc_and_live555_read() {
    let agent = "User-Agent: LibVLC/3.0.21 (LIVE555 Streaming Media v2016.11.28)";
    let with_agent = |text: &str| format!("{text}\n{agent}");
    converse(
        2,
        &[
            (&with_agent("OPTIONS rtsp://h:8554/cam RTSP/1.0\nCSeq: 2"), &[(200, "CSeq: 2")]),
            (
                &with_agent("DESCRIBE rtsp://h:8554/cam RTSP/1.0\nCSeq: 3\nAccept: application/sdp"),
                &[(200, "")],
            ),
            (
                &with_agent(
                    "SETUP rtsp://h:8554/cam/trackID=0 RTSP/1.0\nCSeq: 4\nTransport: RTP/AVP;unicast;client_port=50270-50271",
                ),
                &[(200, "server_port=8000-8001")],
            ),
            (
                &with_agent(
                    "SETUP rtsp://h:8554/cam/trackID=1 RTSP/1.0\nCSeq: 5\nTransport: RTP/AVP;unicast;client_port=50272-50273\nSession: {session}",
                ),
                &[(200, "")],
            ),
            (
                &with_agent(
                    "PLAY rtsp://h:8554/cam/ RTSP/1.0\nCSeq: 6\nSession: {session}\nRange: npt=0.000-",
                ),
                &[(200, "")],
            ),
            (
                &with_agent("GET_PARAMETER rtsp://h:8554/cam/ RTSP/1.0\nCSeq: 7\nSession: {session}"),
                &[(200, "")],
            ),
            // openRTSP ends its tracks one by one where it was started with one medium only.
            (&with_agent("TEARDOWN rtsp://h:8554/cam/ RTSP/1.0\nCSeq: 8\nSession: {session}"), &[(200, "")]),
            // live555's proxy asks servers to take its stream: nothing of RTSP.
            (
                &with_agent("REGISTER rtsp://h:8554/cam RTSP/1.0\nCSeq: 9\nTransport: reuse_connection=0"),
                &[(501, "Public: ")],
            ),
        ],
    );
}

#[test]
fn refusals_have_the_status_of_the_rfc() {
    let udp = "Transport: RTP/AVP;unicast;client_port=2-3";
    for (tracks, request, status) in [
        (2, "SETUP rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 1".to_string(), 461),
        (2, "SETUP rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 1\nTransport:".into(), 461),
        (2, "SETUP rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 1\nTransport: ;;=,\"".into(), 461),
        (2, "SETUP rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 1\nTransport: RAW/RAW/UDP;unicast;client_port=2".into(), 461),
        (2, "SETUP rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP;unicast;client_port=70000-70001".into(), 461),
        (2, format!("SETUP rtsp://h/cam/trackID=2 RTSP/1.0\nCSeq: 1\n{udp}"), 404),
        (2, format!("SETUP rtsp://h/cam RTSP/1.0\nCSeq: 1\n{udp}"), 459),
        (2, format!("SETUP rtsp://h/../cam/trackID=0 RTSP/1.0\nCSeq: 1\n{udp}"), 400),
        (2, format!("SETUP http://h/cam/trackID=0 RTSP/1.0\nCSeq: 1\n{udp}"), 400),
        (2, format!("SETUP rtsp://h/cam/%2e%2e/trackID=0 RTSP/1.0\nCSeq: 1\n{udp}"), 400),
        (2, format!("SETUP rtsp://h/cam/trackID=0 RTSP/1.0\nCSeq: 1\n{udp}\nSession: 0123456789abcdef"), 454),
        (2, "PLAY rtsp://h/cam RTSP/1.0\nCSeq: 1".into(), 454),
        (2, "PLAY rtsp://h/cam RTSP/1.0\nCSeq: 1\nSession: 0123456789abcdef".into(), 454),
        (2, "DESCRIBE cam RTSP/1.0\nCSeq: 1".into(), 400),
        (2, "DESCRIBE rtsp://h/cam RTSP/1.0\nCSeq: 1\nRequire: www.onvif.org/ver20/backchannel".into(), 551),
        (2, "RECORD rtsp://h/cam RTSP/2.0\nCSeq: 1".into(), 505),
        (2, "GET_PARAMETER rtsp://h/cam RTSP/1.0\nCSeq: 1".into(), 200),
    ] {
        converse(tracks, &[(&request, &[(status, "")])]);
    }
    // A destination that the client names is not where anything goes.
    let server = converse(
        1,
        &[
            (
                "SETUP rtsp://h/cam RTSP/1.0\nCSeq: 1\nTransport: RTP/AVP;unicast;destination=203.0.113.7;client_port=2-3",
                &[(200, "Transport: RTP/AVP;unicast;client_port=2-3;server_port=8000-8001")],
            ),
            (
                "SETUP rtsp://h/cam RTSP/1.0\nCSeq: 2\nTransport: RTP/AVP;unicast;client_port=4-5\nSession: {session}",
                &[(455, "")],
            ),
            ("PLAY rtsp://h/cam RTSP/1.0\nCSeq: 3\nSession: {session}", &[(200, "")]),
            (
                "SETUP rtsp://h/cam RTSP/1.0\nCSeq: 4\nTransport: RTP/AVP;unicast;client_port=4-5\nSession: {session}",
                &[(455, "")],
            ),
            ("RECORD rtsp://h/cam RTSP/1.0\nCSeq: 5\nSession: {session}", &[(455, "")]),
        ],
    );
    assert_eq!(server.sessions.len(), 1);
    assert_eq!(Target::Aggregate.track(2), None);
}
