//! A mesh cluster whose server is GStreamer's, with an SVID and no idea of mesh hops.

use crate::hop::{ENCODER, capture, contains, identity, tshark};
use crate::lab::{Lab, Place, SERVER};
use crate::media::programme;
use crate::need::{Peer, have};
use crate::process::Process;
use crate::proxy::{Proxy, forwarding, url};
use crate::publish::recorded;
use crate::readers::{FFMPEG_UDP, GST_TCP};
use crate::servers;
use msm_auth::identity::UnixTime;
use msm_auth::identity::ephemeral::{Ephemeral, EphemeralCa};
use msm_auth::identity::id::TrustDomain;
use std::fs;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);

/// The server, which asks who comes for an SVID and a password, and the proxy in front of it.
fn pair<'lab>(lab: &'lab Lab, options: &[&str]) -> (Process, Proxy<'lab>) {
    let domain = TrustDomain::parse("peers.example").unwrap();
    let authority = EphemeralCa::new(Ephemeral::ForTests, domain, UnixTime::now()).unwrap();
    identity(lab, &authority, "server");
    let both =
        ["key", "svid"].map(|part| fs::read_to_string(lab.file(&format!("server-{part}.pem"))).unwrap());
    fs::write(lab.file("server.pem"), both.concat()).unwrap();
    let bundle = lab.file("server-bundle.pem").display().to_string();
    let tls = ["--auth", "digest", "--tls", "server.pem", "--client-ca", &bundle];
    let server = servers::gstreamer(lab, &[options, &tls[..]].concat());
    let cluster = "hop: mesh, fallback: rtsps, peers: [\"spiffe://peers.example/proxy/server\"], \
                   auth: {user: alice, password: secret}";
    let config = identity(lab, &authority, "near") + &forwarding(&format!("rtsp://{SERVER}:8554"), cluster);
    (server, Proxy::start(lab, &config))
}

#[test]
fn gstreamer_s_server_is_read_from_over_mutual_tls() {
    if !have(&[Peer::Ffmpeg, Peer::Gstreamer, Peer::GstServer, Peer::GstTls, Peer::Tshark]) {
        return;
    }
    let lab = Lab::new();
    let (server, near) = pair(&lab, &[]);
    let hop = capture(&lab, "up0");
    let readings = [FFMPEG_UDP, GST_TCP].map(|reader| reader.begin(&lab, &url("test")));
    for reading in readings {
        reading.done();
    }
    near.print_losses();
    assert_eq!(servers::count(&server, "play"), 1, "one upstream session");
    assert_eq!(near.metric("msm_hop_openings_total", &["hop=\"rtsps\""]), 1.0);
    assert!(near.log().contains("551"), "{}", near.log());
    hop.interrupt(LIMIT);
    assert!(!contains(&lab, "up0", ENCODER), "the link shows what it carries");
    assert!(!contains(&lab, "up0", b"RTSP/1.0"), "the signalling can be read");
    assert!(tshark(&lab, "up0", "tcp", &["tcp.len"]).len() > 100, "nothing was captured");
    assert!(tshark(&lab, "up0", "udp", &["udp.dstport"]).is_empty(), "media goes in the connection");
}

#[test]
fn gstreamer_s_server_is_published_to_over_mutual_tls() {
    if !have(&[Peer::Ffmpeg, Peer::Gstreamer, Peer::GstServer, Peer::GstTls]) {
        return;
    }
    let lab = Lab::new();
    let (mut server, near) = pair(&lab, &["--record"]);
    let file = programme(&lab);
    let mut command = lab.command(Place::Client, "ffmpeg");
    command.args(["-v", "warning", "-nostdin", "-re", "-i"]).arg(file).args(["-t", "10", "-c", "copy"]);
    command.args(["-f", "rtsp", "-rtsp_transport", "udp", &url("test")]);
    let _publisher = lab.start("ffmpeg-publisher", command);
    server.until(LIMIT, "decoded frames of both tracks", |server| {
        let (video, audio) = recorded(server);
        video >= 100 && audio >= 200
    });
    assert_eq!(near.metric("msm_hop_openings_total", &["hop=\"rtsps\""]), 1.0);
}
