//! What SRTP on plain hops does not do, whoever asks for it: nothing in the clear, no number twice, no key elsewhere.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use msm_auth::keying::key_mgmt;
use msm_auth::keying::sdes::Crypto;

use crate::common::keyed::{
    self, FRESH, attribute, client, crypto, header, in_front_of, key, keyed_server, mikey, protect,
    protect_rtcp, publishing, secure, sender, serving, serving_with, udp, url,
};
use crate::common::server::{self, Server};
use crate::common::tls::{Authority, terminate};
use crate::common::{self, VIDEO, log, pair, rtp};

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

#[test]
fn an_application_that_reads_is_not_given_the_keys_of_the_hop() {
    let server = keyed_server(secure(&crypto(&key(1))), keyed::SECURE_TCP, String::new());
    let front = in_front_of(&format!("rtsp://{}", server.address), ", transport: tcp");
    let reader = front.block_on(front.mesh.open(&front.url("cam"))).unwrap();
    let track = &reader.description().tracks[0];
    assert!(track.keying.is_empty(), "{track:?}");
}

/// Each session has a source of its own for its reports, whatever it was announced by: their numbers begin at 0.
#[test]
fn sessions_of_one_announcement_have_sources_of_their_own() {
    let authority = Authority::new();
    let mesh = serving(&authority, "");
    let mut rtsp = client(&authority, &mesh);
    let described = key_mgmt::write_attribute(&mikey(&key(1), 7), &FRESH).unwrap();
    let description = secure(&format!("a=key-mgmt:{}\r\n", described.as_str()));
    let base = url(&mesh, "cam");
    assert_eq!(rtsp.ask("ANNOUNCE", &base, &[], description.as_bytes()).status, 200);
    let sessions = [0, 2].map(|channel| {
        let transport = format!("RTP/SAVP/TCP;unicast;interleaved={channel}-{};mode=record", channel + 1);
        let answer = rtsp.ask("SETUP", &format!("{base}/trackID=0"), &[("Transport", &transport)], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        (channel, answer.session())
    });
    let reports = sessions.map(|(channel, session)| {
        assert_eq!(rtsp.ask("RECORD", &base, &[("Session", &session)], b"").status, 200);
        let mut right = sender(&key(1));
        for number in 0..20 {
            rtsp.frame(channel, &protect(&mut right, &rtp(number, 0, 7, 0x65, 700)));
        }
        let report = loop {
            let (from, frame) = rtsp.next_frame();
            if from == channel + 1 {
                break frame;
            }
        };
        assert_eq!(rtsp.ask("TEARDOWN", &base, &[("Session", &session)], b"").status, 200);
        report
    });
    assert_ne!(reports[0][4..8], reports[1][4..8], "one source under one key, and one number");
}

/// Plays the track at `cam` over UDP, with reports under the key that is answered.
fn player(
    authority: &Authority,
    mesh: &common::TestMesh,
) -> (UdpSocket, msm_auth::srtp::MasterKey, std::net::SocketAddr) {
    let mut rtsp = client(authority, mesh);
    let described = rtsp.ask("DESCRIBE", &url(mesh, "cam"), &[], b"");
    let own = Crypto::read(&attribute(&described, "crypto")).unwrap().key;
    let (media, reports) = pair();
    let track = format!("{}/trackID=0", url(mesh, "cam"));
    let answer = rtsp.ask("SETUP", &track, &[("Transport", &udp("SAVP", &media))], b"");
    let to = (mesh.address.ip(), answer.ports("server_port").1).into();
    let session = answer.session();
    assert_eq!(rtsp.ask("PLAY", &url(mesh, "cam"), &[("Session", &session)], b"").status, 200);
    // The connection ends here; the session lives by its reports.
    (reports, own, to)
}

#[test]
fn a_session_lives_by_genuine_reports_alone() {
    let authority = Authority::new();
    let mesh = serving_with(&authority, ", srtp: true", "limits: {session_timeout: 5s}");
    let mut publisher = publishing(&authority, &mesh, "cam");
    let (genuine, own, to) = player(&authority, &mesh);
    let (forged, _, _) = player(&authority, &mesh);
    mesh.wait_value("msm_sessions ", 3.0);
    let report = [0x80, 201, 0, 1, 0, 0, 0, 99];
    let mut reporter = sender(&own);
    let begun = Instant::now();
    let mut number = 0;
    while mesh.counter("msm_sessions ") > 2.0 {
        assert!(begun.elapsed() < Duration::from_secs(15), "forged reports keep a session alive");
        genuine.send_to(&protect_rtcp(&mut reporter, &report), to).unwrap();
        forged.send_to(&report, to).unwrap();
        publisher.send(&rtp(number, 0, 7, 0x65, 500));
        number += 1;
        std::thread::sleep(Duration::from_millis(250));
    }
    // The one that is left is that of the genuine reports.
    while begun.elapsed() < Duration::from_secs(11) {
        genuine.send_to(&protect_rtcp(&mut reporter, &report), to).unwrap();
        publisher.send(&rtp(number, 0, 7, 0x65, 500));
        number += 1;
        std::thread::sleep(Duration::from_millis(250));
    }
    assert!((mesh.counter("msm_sessions ") - 2.0).abs() < 0.1);
}

#[test]
fn a_track_that_is_refused_for_its_key_takes_no_channel() {
    let authority = Authority::new();
    let mesh = serving(&authority, "");
    let mut from = client(&authority, &mesh);
    let two = format!("{VIDEO}m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=1\r\n");
    let base = url(&mesh, "cam");
    assert_eq!(from.ask("ANNOUNCE", &base, &[], two.as_bytes()).status, 200);
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record")];
    let session = from.ask("SETUP", &format!("{base}/trackID=0"), &transport, b"").session();
    assert_eq!(from.ask("RECORD", &base, &[("Session", &session)], b"").status, 200);

    let mut rtsp = client(&authority, &mesh);
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
    let session = rtsp.ask("SETUP", &format!("{base}/trackID=0"), &transport, b"").session();
    let good = header(&key(1), 9);
    let mut ask = |key_mgmt: &str| {
        let headers = [
            ("Transport", "RTP/SAVP/TCP;unicast;interleaved=2-3"),
            ("Session", session.as_str()),
            ("KeyMgmt", key_mgmt),
        ];
        rtsp.ask("SETUP", &format!("{base}/trackID=1"), &headers, b"")
    };
    assert_eq!(ask("prot=mikey;data=\"AAAA\"").status, 463);
    let answer = ask(&good);
    assert_eq!((answer.status, answer.ports("interleaved")), (200, (2, 3)), "{answer:?}");
}

/// Whoever asks in the clear for more of a session that was begun within TLS is asked to begin one of its own.
#[test]
fn a_session_of_tls_has_no_track_in_the_clear() {
    let authority = Authority::new();
    let clear = common::reader_port();
    let mesh = serving_with(
        &authority,
        "",
        &format!("  - {{name: clear, address: \"127.0.0.1:0\", ports: {clear}}}"),
    );
    let two = format!("{VIDEO}m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=1\r\n");
    let (base, in_clear) = (url(&mesh, "cam"), format!("rtsp://{}/cam", mesh.addresses[1]));
    let mut from = client(&authority, &mesh);
    assert_eq!(from.ask("ANNOUNCE", &base, &[], two.as_bytes()).status, 200);
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record")];
    let session = from.ask("SETUP", &format!("{base}/trackID=0"), &transport, b"").session();
    assert_eq!(from.ask("RECORD", &base, &[("Session", &session)], b"").status, 200);

    let mut reader = client(&authority, &mesh);
    let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
    let session = reader.ask("SETUP", &format!("{base}/trackID=0"), &transport, b"").session();
    let (media, _) = pair();
    let mut other = common::Rtsp::connect(mesh.addresses[1]);
    // Whichever URL it names the session's presentation by.
    for presentation in [&base, &in_clear] {
        let (transport, track) = (udp("AVP", &media), format!("{presentation}/trackID=1"));
        let headers = [("Transport", transport.as_str()), ("Session", &session)];
        assert_eq!(other.ask("SETUP", &track, &headers, b"").status, 454, "{track}");
        assert_eq!(other.ask("PLAY", presentation, &[("Session", &session)], b"").status, 454);
        assert_eq!(other.ask("TEARDOWN", presentation, &[("Session", &session)], b"").status, 454);
    }
    assert_eq!(reader.ask("PLAY", &base, &[("Session", &session)], b"").status, 200);
}

/// A key as texts may have it: in base64 of its own, and in that of a message of MIKEY with it inside.
fn as_text(key: &msm_auth::srtp::MasterKey) -> Vec<String> {
    let alone = Crypto::new(1, key.clone()).unwrap().to_attribute().to_string();
    let mikey = key_mgmt::write_attribute(&mikey(key, 7), &FRESH).unwrap();
    // Some way behind what every message begins with, and before what it ends with.
    let inside = &mikey[mikey.len() - 40..mikey.len() - 8];
    vec![alone.split("inline:").nth(1).unwrap().to_owned(), inside.to_owned()]
}

#[test]
fn no_key_is_logged_or_shown() {
    log::keep_all();
    let authority = Authority::new();
    let mesh = serving(&authority, ", srtp: true");
    let mut keys = vec![key(41), key(42), key(43)];
    // A publisher by both ways, and one whose key cannot be used.
    let both = key_mgmt::write_attribute(&mikey(&keys[0], 7), &FRESH).unwrap();
    let described = secure(&format!("{}a=key-mgmt:{}\r\n", crypto(&keys[0]), both.as_str()));
    let mut rtsp = client(&authority, &mesh);
    let base = url(&mesh, "cam");
    let announced = rtsp.ask("ANNOUNCE", &base, &[], described.as_bytes());
    keys.push(keyed::told(&announced));
    let transport = [("Transport", "RTP/SAVP/TCP;unicast;interleaved=0-1;mode=record")];
    let session = rtsp.ask("SETUP", &format!("{base}/trackID=0"), &transport, b"").session();
    assert_eq!(rtsp.ask("RECORD", &base, &[("Session", &session)], b"").status, 200);
    let broken = crypto(&keys[1]).replace("_80 ", "_80 UNENCRYPTED_SRTP ");
    assert_eq!(rtsp.ask("ANNOUNCE", &url(&mesh, "x"), &[], secure(&broken).as_bytes()).status, 200);
    assert_eq!(rtsp.ask("SETUP", &format!("{}/trackID=0", url(&mesh, "x")), &transport, b"").status, 463);
    // A reader that takes our key, and tells its own; once in a way that cannot be read.
    let mut reader = client(&authority, &mesh);
    let described = reader.ask("DESCRIBE", &base, &[], b"");
    keys.push(Crypto::read(&attribute(&described, "crypto")).unwrap().key);
    let told = header(&keys[2], 9);
    for (value, status) in [(told.replace("data=\"", "data=\"!"), 463), (told, 200)] {
        let headers = [("Transport", "RTP/SAVP/TCP;unicast;interleaved=0-1"), ("KeyMgmt", &value)];
        let answer = reader.ask("SETUP", &format!("{base}/trackID=0"), &headers, b"");
        assert_eq!(answer.status, status, "{answer:?}");
    }
    // Some clients write into the URL who they are.
    let named = base.replace("://", "://carol:hunter22@");
    let headers =
        [("Transport", "RTP/SAVP/TCP;unicast;interleaved=4-5"), ("KeyMgmt", header(&keys[2], 9).as_str())]
            .map(|(name, value)| (name, value.to_owned()));
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(reader.ask("SETUP", &format!("{named}/trackID=0"), &headers, b"").status, 200);
    assert_eq!(reader.ask("DESCRIBE", &format!("{named}/none"), &[], b"").status, 404);
    // A server, read from in the clear.
    let server = keyed_server(secure(&crypto(&keys[1])), keyed::SECURE_TCP, String::new());
    let front = in_front_of(&format!("rtsp://{}", server.address), ", transport: tcp");
    assert_eq!(keyed::played(&front), 200);

    log::wait(&["SRTP keys came in the clear", &server.address.to_string()]);
    let shown = [log::text(), mesh.metrics(), front.metrics()].concat();
    assert!(shown.contains("suite"), "it is told what was agreed on");
    assert!(!shown.contains("hunter22"), "a password is shown");
    for text in keys.iter().flat_map(as_text) {
        assert!(!shown.contains(&text), "a key is shown: {text}");
    }
}

/// Nothing comes of a publisher that tells one key and uses another: whoever is called for that finds the stream's name.
#[test]
fn a_key_that_is_not_that_of_the_packets_is_told() {
    log::keep_all();
    let authority = Authority::new();
    let mesh = serving(&authority, "");
    let mut rtsp = client(&authority, &mesh);
    let base = url(&mesh, "wrong/key");
    assert_eq!(rtsp.ask("ANNOUNCE", &base, &[], secure(&crypto(&key(1))).as_bytes()).status, 200);
    let transport = [("Transport", "RTP/SAVP/TCP;unicast;interleaved=0-1;mode=record")];
    let session = rtsp.ask("SETUP", &format!("{base}/trackID=0"), &transport, b"").session();
    assert_eq!(rtsp.ask("RECORD", &base, &[("Session", &session)], b"").status, 200);
    let mut wrong = sender(&key(2));
    for number in 0..100 {
        rtsp.frame(0, &protect(&mut wrong, &rtp(number, 0, 7, 0x65, 100)));
    }
    mesh.wait_counter("reason=\"srtp_forged\"", 100.0);
    log::wait(&["WARN", "packets in a row cannot be opened", &base]);
    assert_eq!(
        log::text().lines().filter(|line| line.contains("in a row") && line.contains(&base)).count(),
        1
    );
}
