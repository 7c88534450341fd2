//! SRTP on plain hops, between real sockets: keys by SDES and MIKEY on both sides, and what attackers and odd peers do.

use msm_auth::keying::key_mgmt;
use msm_auth::keying::sdes::Crypto;

use crate::common::keyed::{
    FRESH, SECURE_TCP, SUITE, attribute, client, crypto, header, in_front_of, key, keyed_server, mikey, open,
    played, protect, protect_rtcp, publishing, reason, receiver, recv, secure, sender, serving, told, udp,
    url,
};
use crate::common::tls::Authority;
use crate::common::{self, Line, Publisher, Reader, TestMesh, VIDEO, pair, rtp};

#[test]
fn a_player_takes_the_key_of_the_description() {
    let authority = Authority::new();
    let mesh = serving(&authority, ", srtp: true");
    let mut publisher = publishing(&authority, &mesh, "cam");
    let mut player = client(&authority, &mesh);
    let described = player.ask("DESCRIBE", &url(&mesh, "cam"), &[], b"");
    assert!(String::from_utf8_lossy(&described.body).contains("m=video 0 RTP/SAVP 96"), "{described:?}");
    let own = Crypto::read(&attribute(&described, "crypto")).unwrap().key;
    let same = key_mgmt::read_attribute(&attribute(&described, "key-mgmt")).unwrap();
    assert_eq!(own.key_and_salt(), same.key.key_and_salt(), "one key, told in two ways");
    // The plain profile is asked for, as ffmpeg does.
    let (media, reports) = pair();
    let transport = udp("AVP", &media);
    let answer =
        player.ask("SETUP", &format!("{}/trackID=0", url(&mesh, "cam")), &[("Transport", &transport)], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.header("transport").starts_with("RTP/SAVP"), "{answer:?}");
    assert!(!answer.header("transport").contains("ssrc"), "GStreamer would race with itself: {answer:?}");
    let to = (mesh.address.ip(), answer.ports("server_port").1);
    let session = answer.session();
    assert_eq!(player.ask("PLAY", &url(&mesh, "cam"), &[("Session", &session)], b"").status, 200);

    let (mut receiver, mut line) = (receiver(&own), Line::default());
    for number in 0..100u16 {
        let packet = rtp(number, u32::from(number) * 3000, 7, if number == 0 { 0x65 } else { 0x41 }, 1000);
        publisher.send(&packet);
        let wire = recv(&media);
        assert_eq!(wire.len(), packet.len() + SUITE.rtp_tag_len());
        assert_ne!(wire[12..packet.len()], packet[12..], "it is encrypted");
        let plain = open(&mut receiver, wire);
        assert_eq!(plain[8..12], same.streams[0].ssrc.to_be_bytes(), "the source that MIKEY names");
        line.check(&plain, &packet);
    }

    // Reports: under the key, in the clear, and forged. Only the first is heard.
    let source = same.streams[0].ssrc.to_be_bytes();
    let mut report = vec![0x81, 201, 0, 7, 0, 0, 0, 99];
    report.extend_from_slice(&source);
    report.extend_from_slice(&[0, 0, 0, 5]);
    report.resize(32, 0);
    let genuine = protect_rtcp(&mut sender(&own), &report);
    let mut forged = genuine.clone();
    *forged.last_mut().unwrap() ^= 1;
    for wire in [&report, &forged, &genuine, &genuine] {
        reports.send_to(wire, to).unwrap();
    }
    mesh.wait_counter("reason=\"srtp_replayed\"", 1.0);
    assert_eq!(reason(&mesh, "srtp_forged") + reason(&mesh, "srtp_unencrypted"), 2.0, "{}", mesh.metrics());
    mesh.wait_counter("msm_reader_lost_total", 5.0);
}

#[test]
fn a_player_tells_its_key_and_learns_ours() {
    let authority = Authority::new();
    for listener in ["", ", srtp: true"] {
        let mesh = serving(&authority, listener);
        let mut publisher = publishing(&authority, &mesh, "cam");
        let mut player = client(&authority, &mesh);
        let track = format!("{}/trackID=0", url(&mesh, "cam"));
        let (media, reports) = pair();
        let (transport, theirs) = (udp("SAVPF", &media), header(&key(1), 99));
        let headers = [("Transport", transport.as_str()), ("KeyMgmt", &theirs)];
        let answer = player.ask("SETUP", &track, &headers, b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        let ours = told(&answer);
        let session = answer.session();
        assert_eq!(player.ask("PLAY", &url(&mesh, "cam"), &[("Session", &session)], b"").status, 200);
        let packet = rtp(1, 0, 7, 0x65, 500);
        publisher.send(&packet);
        assert_eq!(open(&mut receiver(&ours), recv(&media))[12..], packet[12..]);
        // What it sends is under its own key, and under no other.
        let report = [0x80, 201, 0, 1, 0, 0, 0, 99];
        let to = (mesh.address.ip(), answer.ports("server_port").1);
        reports.send_to(&protect_rtcp(&mut sender(&ours), &report), to).unwrap();
        let genuine = protect_rtcp(&mut sender(&key(1)), &report);
        reports.send_to(&genuine, to).unwrap();
        reports.send_to(&genuine, to).unwrap();
        mesh.wait_counter("reason=\"srtp_replayed\"", 1.0);
        assert_eq!(reason(&mesh, "srtp_forged"), 1.0);
    }
}

#[test]
fn sessions_of_one_description_have_sources_of_their_own() {
    let authority = Authority::new();
    let mesh = serving(&authority, ", srtp: true");
    let mut publisher = publishing(&authority, &mesh, "cam");
    let mut player = client(&authority, &mesh);
    let described = player.ask("DESCRIBE", &url(&mesh, "cam"), &[], b"");
    let own = Crypto::read(&attribute(&described, "crypto")).unwrap().key;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        let (media, _) = pair();
        let track = format!("{}/trackID=0", url(&mesh, "cam"));
        let answer = player.ask("SETUP", &track, &[("Transport", &udp("SAVP", &media))], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        let session = answer.session();
        assert_eq!(player.ask("PLAY", &url(&mesh, "cam"), &[("Session", &session)], b"").status, 200);
        sockets.push(media);
    }
    publisher.send(&rtp(1, 0, 7, 0x65, 500));
    let mut sources: Vec<Vec<u8>> =
        sockets.iter().map(|media| open(&mut receiver(&own), recv(media))[8..12].to_vec()).collect();
    sources.sort();
    sources.dedup();
    assert_eq!(sources.len(), 3);
}

#[test]
fn a_publisher_s_packets_are_opened_and_nothing_else_comes_in() {
    let authority = Authority::new();
    let mesh = serving(&authority, "");
    let mut rtsp = client(&authority, &mesh);
    let description = secure(&crypto(&key(1)));
    let answer = rtsp.ask("ANNOUNCE", &url(&mesh, "cam"), &[], description.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    let (media, _reports) = pair();
    let transport = format!("{};mode=record", udp("SAVP", &media));
    let track = format!("{}/trackID=0", url(&mesh, "cam"));
    let answer = rtsp.ask("SETUP", &track, &[("Transport", &transport)], b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    let to = (mesh.address.ip(), answer.ports("server_port").0);
    let session = answer.session();
    assert_eq!(rtsp.ask("RECORD", &url(&mesh, "cam"), &[("Session", &session)], b"").status, 200);
    // A reader in TLS gets what was opened.
    let mut reader = common::TcpReader::over(client(&authority, &mesh), url(&mesh, "cam"));

    let (mut right, mut wrong, mut line) = (sender(&key(1)), sender(&key(2)), Line::default());
    for number in 0..50u16 {
        let packet = rtp(number, u32::from(number) * 3000, 7, if number == 0 { 0x65 } else { 0x41 }, 700);
        let wire = protect(&mut right, &packet);
        let mut flipped = wire.clone();
        flipped[20 + usize::from(number)] ^= 0x10;
        // The right one last: what comes before it must not take its place.
        for bad in [&packet, &protect(&mut wrong, &packet), &flipped, &wire[..wire.len() - 3].to_vec()] {
            media.send_to(bad, to).unwrap();
        }
        media.send_to(&wire, to).unwrap();
        media.send_to(&wire, to).unwrap();
        line.check(&reader.recv(), &packet);
    }
    mesh.wait_counter("reason=\"srtp_replayed\"", 50.0);
    mesh.wait_counter("reason=\"srtp_forged\"", 200.0);
    assert_eq!(reason(&mesh, "srtp_forged"), 200.0, "{}", mesh.metrics());
    media.send_to(&[0x80, 96, 0, 1], to).unwrap();
    mesh.wait_counter("reason=\"srtp_too_short\"", 1.0);
}

#[test]
fn a_publisher_by_mikey_is_told_the_keys_of_reports() {
    let authority = Authority::new();
    let mesh = serving(&authority, "");
    let mut rtsp = client(&authority, &mesh);
    let described = key_mgmt::write_attribute(&mikey(&key(1), 7), &FRESH).unwrap();
    let description = secure(&format!("a=key-mgmt:{}\r\n", described.as_str()));
    let announced = rtsp.ask("ANNOUNCE", &url(&mesh, "cam"), &[], description.as_bytes());
    assert_eq!(announced.status, 200, "{announced:?}");
    let ours = told(&announced);
    let track = format!("{}/trackID=0", url(&mesh, "cam"));
    let transport = [("Transport", "RTP/SAVP/TCP;unicast;interleaved=0-1;mode=record")];
    let answer = rtsp.ask("SETUP", &track, &transport, b"");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(told(&answer).key_and_salt(), ours.key_and_salt(), "the same that ANNOUNCE told");
    let session = answer.session();
    assert_eq!(rtsp.ask("RECORD", &url(&mesh, "cam"), &[("Session", &session)], b"").status, 200);
    let mut right = sender(&key(1));
    for number in 0..20 {
        rtsp.frame(0, &protect(&mut right, &rtp(number, 0, 7, 0x65, 700)));
    }
    // Its report comes as SRTCP under the key that was told, from the source that was named.
    let entries = key_mgmt::read_header(answer.header("keymgmt")).unwrap();
    let (channel, mut report) = rtsp.next_frame();
    assert_eq!(channel, 1);
    receiver(&ours).unprotect_rtcp(&mut report).unwrap();
    assert_eq!(report[4..8], entries[0].mikey.streams[0].ssrc.to_be_bytes());
}

#[test]
fn srtp_without_a_key_that_can_be_used_is_refused() {
    let authority = Authority::new();
    let mesh = serving(&authority, "");
    let _publisher = publishing(&authority, &mesh, "cam");
    let mut rtsp = client(&authority, &mesh);
    let track = format!("{}/trackID=0", url(&mesh, "cam"));
    let (media, _) = pair();
    let secured = udp("SAVP", &media);
    let mut ask = |transport: &str, key_mgmt: Option<&str>| {
        let mut headers = vec![("Transport", transport)];
        headers.extend(key_mgmt.map(|value| ("KeyMgmt", value)));
        rtsp.ask("SETUP", &track, &headers, b"").status
    };
    assert_eq!(ask(&secured, None), 461, "nobody told a key");
    let good = header(&key(1), 9);
    assert_eq!(ask(&udp("AVP", &media), Some(&good)), 461, "plain UDP beside TLS");
    for bad in
        ["prot=mikey", "prot=mikey;data=\"AAAA\"", "prot=mikey;data=\"!\"", "x", &good[..good.len() - 9]]
    {
        assert_eq!(ask(&secured, Some(bad)), 463, "{bad}");
    }
    let huge = format!("prot=mikey;data=\"{}\"", "A".repeat(7000));
    assert_eq!(ask(&secured, Some(&huge)), 463);
    // The connection has suffered nothing.
    assert_eq!(ask(&secured, Some(&good)), 200);

    // Announcements.
    for (attributes, wanted) in
        [("", 463), ("a=crypto:1 NO_SUCH_SUITE inline:AAAA\r\n", 463), ("a=key-mgmt:mikey AAAA\r\n", 463)]
    {
        let mut rtsp = client(&authority, &mesh);
        let base = url(&mesh, "other");
        let described = secure(attributes);
        assert_eq!(rtsp.ask("ANNOUNCE", &base, &[], described.as_bytes()).status, 200);
        let transport = [("Transport", "RTP/SAVP/TCP;unicast;interleaved=0-1;mode=record")];
        let answer = rtsp.ask("SETUP", &format!("{base}/trackID=0"), &transport, b"");
        assert_eq!(answer.status, wanted, "{attributes}: {answer:?}");
    }
}

#[test]
fn keys_are_not_taken_in_the_clear() {
    let mesh = TestMesh::start("");
    let mut rtsp = mesh.connect();
    let base = mesh.url("cam");
    assert_eq!(rtsp.ask("ANNOUNCE", &base, &[], secure(&crypto(&key(1))).as_bytes()).status, 200);
    for transport in
        ["RTP/SAVP/TCP;unicast;interleaved=0-1;mode=record", "RTP/AVP/TCP;interleaved=0-1;mode=record"]
    {
        let answer = rtsp.ask("SETUP", &format!("{base}/trackID=0"), &[("Transport", transport)], b"");
        assert_eq!(answer.status, 461, "{transport}: {answer:?}");
    }
    let _publisher = Publisher::start(&mesh, "plain");
    let (media, _) = pair();
    let (transport, told) = (udp("SAVP", &media), header(&key(1), 9));
    let headers = [("Transport", transport.as_str()), ("KeyMgmt", &told)];
    let answer = rtsp.ask("SETUP", &format!("{}/trackID=0", mesh.url("plain")), &headers, b"");
    assert_eq!(answer.status, 461, "{answer:?}");
}

#[test]
fn clusters_read_and_publish_srtp_over_udp() {
    let authority = Authority::new();
    let back = serving(&authority, ", srtp: true");
    let cluster = format!(", srtp: true, transport: udp, tls: {{ca: \"{}\"}}", authority.file("ca.pem"));
    let front = in_front_of(&format!("rtsps://{}", back.address), &cluster);
    let publisher = Publisher::start(&front, "cam");
    let mut beyond = common::TcpReader::over(client(&authority, &back), url(&back, "cam"));
    let reader = Reader::start(&front, "cam");
    let (mut first, mut second) = (Line::default(), Line::default());
    for number in 0..100u16 {
        let packet = rtp(number, u32::from(number) * 3000, 7, if number == 0 { 0x65 } else { 0x41 }, 1100);
        publisher.send(&packet);
        first.check(&beyond.recv(), &packet);
        second.check(&reader.recv(), &packet);
    }
    for mesh in [&front, &back] {
        let refused: f64 = ["srtp_forged", "srtp_replayed", "srtp_too_short", "send_srtp"]
            .map(|why| reason(mesh, why))
            .iter()
            .sum();
        assert_eq!(refused, 0.0, "{}", mesh.metrics());
    }
    // A cluster that wants SRTP takes nothing else.
    let plain = serving(&authority, "");
    let _publisher = publishing(&authority, &plain, "cam");
    let front = in_front_of(&format!("rtsps://{}", plain.address), &cluster);
    let mut rtsp = front.connect();
    let described = rtsp.ask("DESCRIBE", &front.url("cam"), &[], b"");
    assert_eq!(described.status, 200);
    let track = format!("{}/trackID=0", front.url("cam"));
    let set_up = rtsp.ask("SETUP", &track, &[("Transport", "RTP/AVP/TCP;interleaved=0-1")], b"");
    let played = rtsp.ask("PLAY", &front.url("cam"), &[("Session", &set_up.session())], b"");
    assert_eq!((set_up.status, played.status), (200, 502), "{played:?}");
}

#[test]
fn servers_by_sdes_and_by_mikey_are_read_from() {
    let described = key_mgmt::write_attribute(&mikey(&key(1), 7), &FRESH).unwrap();
    let by_mikey = secure(&format!("a=key-mgmt:{}\r\n", described.as_str()));
    let told = format!("KeyMgmt: {}\r\n", header(&key(2), 7));
    // The answer to SETUP counts before the description.
    let servers = [
        (secure(&crypto(&key(1))), String::new(), key(1), false),
        (by_mikey.clone(), String::new(), key(1), true),
        (by_mikey, told.clone(), key(2), true),
        (secure(""), told, key(2), true),
    ];
    for (description, more, key, tells) in servers {
        let server = keyed_server(description, SECURE_TCP, more);
        let front = in_front_of(&format!("rtsp://{}", server.address), ", transport: tcp");
        let mut reader = common::TcpReader::start(&front, "cam");
        let setup = server.wait("SETUP", 1);
        assert!(setup.header("Transport").unwrap().starts_with("RTP/SAVP/TCP"), "{setup:?}");
        assert_eq!(setup.header("KeyMgmt").is_some(), tells, "our own key: {setup:?}");
        let (mut right, mut line) = (sender(&key), Line::default());
        for number in 0..10 {
            let packet = rtp(number, 0, 7, 0x65, 600);
            server.frame(setup.connection, 0, &packet);
            server.frame(setup.connection, 0, &protect(&mut right, &packet));
            line.check(&reader.recv(), &packet);
        }
        assert_eq!(reason(&front, "srtp_forged"), 10.0);
    }
}

#[test]
fn servers_that_promise_srtp_and_do_not_keep_it_are_refused() {
    let good = || secure(&crypto(&key(1)));
    let servers = [
        (secure(""), SECURE_TCP, String::new()),
        (secure("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:short\r\n"), SECURE_TCP, String::new()),
        (good(), "RTP/AVP/TCP;unicast;interleaved=0-1", String::new()),
        (good(), SECURE_TCP, "KeyMgmt: prot=mikey;data=\"AAAA\"\r\n".to_owned()),
        (VIDEO.to_owned(), SECURE_TCP, String::new()),
    ];
    for (number, (description, transport, more)) in servers.into_iter().enumerate() {
        let server = keyed_server(description, transport, more);
        let front = in_front_of(&format!("rtsp://{}", server.address), ", transport: tcp");
        assert_eq!(played(&front), 502, "server {number}");
    }
}
