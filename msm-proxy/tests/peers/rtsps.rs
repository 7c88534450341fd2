//! RTSP over TLS, and users, with real peers.

use crate::lab::{DOWN, Lab, PROXY, Place, SERVER};
use crate::media::programme;
use crate::need::{Peer, have};
use crate::process::Process;
use crate::proxy::{Proxy, forwarding, url};
use crate::readers::{FFMPEG_TCP, FFMPEG_UDP, GST_TCP, GST_TLS};
use crate::servers;
use argon2::password_hash::CustomizedPasswordHasher;
use argon2::{Argon2, Params};
use std::fs;
use std::process::Command;
use std::time::Duration;

/// H(alice:site:secret) by MD5 and by SHA-256.
const ALICE: &str = "alice:site:838d8fedca485b63a387002c2c1e1ec9\n\
    alice:site:15d32ef3647ebb9d53c02aababdced76a4eb73296174d38d69d27bcb7fe75520\n";

/// The proxy with a plain listener, and one for TLS on port 8322.
fn start<'lab>(lab: &'lab Lab, users: Option<&str>, config: &str) -> Proxy<'lab> {
    certify(lab, PROXY);
    let asks = match users {
        None => "",
        Some(text) => {
            fs::write(lab.file("users"), text).unwrap();
            ", users: users"
        }
    };
    let listeners = format!(
        "listeners:\n  - {{name: apps, address: \"[::]:8554\", interface: {DOWN}{asks}}}\n  \
         - {{protocol: rtsps, tls: {{certificate: server.pem, key: server.key}}{asks}}}\n"
    );
    Proxy::with_listeners(lab, &listeners, config)
}

/// Makes `server.pem` and `server.key` for an address.
pub(crate) fn certify(lab: &Lab, address: &str) {
    self_signed(lab, "server", &format!("IP:{address}"));
}

/// Makes `{name}.pem` and `{name}.key` for this name, as OpenSSL writes names, and vouched for by nobody.
pub(crate) fn self_signed(lab: &Lab, name: &str, san: &str) {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
    openssl.args(["-subj", "/CN=test", "-addext", &format!("subjectAltName={san}"), "-days", "2"]);
    openssl.args(["-addext", "basicConstraints=critical,CA:FALSE"]);
    openssl.args(["-addext", "keyUsage=critical,digitalSignature"]);
    let file = |end: &str| lab.file(&format!("{name}.{end}"));
    openssl.arg("-keyout").arg(file("key")).arg("-out").arg(file("pem"));
    lab.run("openssl", openssl, Duration::from_secs(20)).success();
}

const LOCAL: &str = "routes: [{name: local, match: {url: \"/{path...}\"}}]\n";

fn at(user: &str, path: &str) -> String {
    format!("rtsps://{user}{PROXY}:8322/{path}")
}

/// Starts to publish, and waits until the proxy has it.
fn publish(lab: &Lab, proxy: &Proxy<'_>, url: &str) -> Process {
    let file = programme(lab);
    let mut command = lab.command(Place::Client, "ffmpeg");
    command.args(["-v", "warning", "-nostdin", "-re", "-i"]).arg(file).args(["-t", "15", "-c", "copy"]);
    command.args(["-f", "rtsp", "-rtsp_transport", "tcp", url]);
    let mut publisher = lab.start("ffmpeg-publisher", command);
    publisher.until(Duration::from_secs(15), "media at the proxy", |_| {
        proxy.metric("msm_packets_total", &["direction=\"rx\""]) > 50.0
    });
    publisher
}

#[test]
fn ffmpeg_publishes_and_players_read_over_tls() {
    if !have(&[Peer::Ffmpeg, Peer::Gstreamer, Peer::GstTls, Peer::Openssl]) {
        return;
    }
    let lab = Lab::new();
    let proxy = start(&lab, None, LOCAL);
    let _publisher = publish(&lab, &proxy, &at("", "live/cam"));
    // Asked for UDP, ffmpeg takes the connection all the same.
    let readings = [FFMPEG_TCP, FFMPEG_UDP, GST_TLS].map(|reader| reader.begin(&lab, &at("", "live/cam")));
    let plain = GST_TCP.begin(&lab, &format!("rtsp://{PROXY}:8554/live/cam"));
    for reading in readings {
        reading.done();
    }
    plain.done();
}

/// One user by Digest, on both listeners.
#[test]
fn ffmpeg_and_gstreamer_log_in_by_digest() {
    if !have(&[Peer::Ffmpeg, Peer::Gstreamer, Peer::GstTls, Peer::Openssl]) {
        return;
    }
    let lab = Lab::new();
    let proxy = start(&lab, Some(ALICE), LOCAL);
    let _publisher = publish(&lab, &proxy, &at("alice:secret@", "live/cam"));
    let plain = format!("rtsp://alice:secret@{PROXY}:8554/live/cam");
    let readings = [
        FFMPEG_TCP.begin(&lab, &at("alice:secret@", "live/cam")),
        FFMPEG_UDP.begin(&lab, &plain),
        GST_TLS.begin(&lab, &at("alice:secret@", "live/cam")),
        GST_TCP.begin(&lab, &plain),
    ];
    for reading in readings {
        reading.done();
    }
    assert_eq!(proxy.metric("msm_bad_input_total", &["reason=\"unauthorized\""]), 0.0);
    refused(&lab, &at("alice:guess@", "live/cam"));
    assert!(proxy.metric("msm_bad_input_total", &["reason=\"unauthorized\""]) >= 1.0);
    assert!(!proxy.log().contains("guess"), "passwords are not logged");
}

/// One user by Basic, whose password has an Argon2id hash.
#[test]
fn ffmpeg_and_gstreamer_log_in_by_basic_over_tls() {
    if !have(&[Peer::Ffmpeg, Peer::Gstreamer, Peer::GstTls, Peer::Openssl]) {
        return;
    }
    let lab = Lab::new();
    let params = Params::new(19 * 1024, 2, 1, Some(32)).unwrap();
    let hash = Argon2::default().hash_password_with_params(b"secret", b"saltsaltsalt", params).unwrap();
    let proxy = start(&lab, Some(&format!("bob:site:{hash}\n")), LOCAL);
    let _publisher = publish(&lab, &proxy, &at("bob:secret@", "live/cam"));
    let readings = [FFMPEG_TCP, GST_TLS].map(|reader| reader.begin(&lab, &at("bob:secret@", "live/cam")));
    for reading in readings {
        reading.done();
    }
    refused(&lab, &at("bob:guess@", "live/cam"));
    refused(&lab, &format!("rtsp://bob:secret@{PROXY}:8554/live/cam"));
}

/// ffmpeg is told 401 and says so.
fn refused(lab: &Lab, url: &str) {
    let mut command = lab.command(Place::Client, "ffprobe");
    command.args(["-v", "error", "-rtsp_transport", "tcp", url]);
    let finished = lab.run("ffprobe", command, Duration::from_secs(20));
    assert!(!finished.status.is_some_and(|status| status.success()), "{url} is served");
    assert!(finished.err.contains("401"), "{}", finished.err);
}

/// GStreamer's server speaks TLS, and the proxy checks its certificate; players know nothing of it.
#[test]
fn a_server_is_read_from_over_tls() {
    if !have(&[Peer::Ffmpeg, Peer::Gstreamer, Peer::GstServer, Peer::GstTls, Peer::Openssl]) {
        return;
    }
    let lab = Lab::new();
    certify(&lab, SERVER);
    let both = ["key", "pem"].map(|end| fs::read_to_string(lab.file(&format!("server.{end}"))).unwrap());
    fs::write(lab.file("both.pem"), both.concat()).unwrap();
    let server = servers::gstreamer(&lab, &["--auth", "digest", "--tls", "both.pem"]);
    let cluster = "tls: {ca: server.pem}, auth: {user: alice, password: secret}";
    let proxy = Proxy::start(&lab, &forwarding(&format!("rtsps://{SERVER}:8554"), cluster));
    let readings = [FFMPEG_UDP, GST_TCP].map(|reader| reader.begin(&lab, &url("test")));
    for reading in readings {
        reading.done();
    }
    assert_eq!(servers::count(&server, "play"), 1, "one upstream session");
    drop(proxy);

    // The same server, and nobody who vouches for it.
    certify(&lab, SERVER);
    let _proxy = Proxy::start(&lab, &forwarding(&format!("rtsps://{SERVER}:8554"), cluster));
    let mut command = lab.command(Place::Client, "ffprobe");
    command.args(["-v", "error", "-rtsp_transport", "tcp", &url("test")]);
    let finished = lab.run("ffprobe", command, Duration::from_secs(20));
    assert!(finished.err.contains("5XX"), "{}", finished.err);
}
