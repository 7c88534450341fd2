//! What OpenSSL's `s_client` sees of the TLS side of a proxy's listeners: by Debian's release, and by today's in the sid
//! chroot, which knows the hybrid key exchange.

use crate::hop::identity;
use crate::lab::{Lab, PROXY, Place};
use crate::need::{Peer, have, workspace};
use crate::process::Process;
use crate::proxy::{LOCAL, Proxy};
use crate::rtsps::{certify, self_signed};
use msm_auth::identity::UnixTime;
use msm_auth::identity::ephemeral::{Ephemeral, EphemeralCa};
use msm_auth::identity::id::TrustDomain;
use std::fs;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);
const MESH: u16 = 8050;
const RTSPS: u16 = 8322;
/// The port of `openssl s_server`, which shows what a test would see if a listener did what it must not.
const CONTROL: u16 = 8323;

/// Which release of OpenSSL looks.
#[derive(Clone, Copy)]
enum Openssl {
    Host,
    Sid,
}

/// The options of a member: its SVID, whom it trusts, and the protocol of the hop.
const MEMBER: &[&str] =
    &["-cert", "near-svid.pem", "-key", "near-key.pem", "-CAfile", "far-bundle.pem", "-alpn", "msm/1"];

/// A proxy with a mesh listener, as `spiffe://peers.example/proxy/far`, and the files of another member, `near`.
fn start_mesh(lab: &Lab) -> Proxy<'_> {
    let domain = TrustDomain::parse("peers.example").unwrap();
    let authority = EphemeralCa::new(Ephemeral::ForTests, domain, UnixTime::now()).unwrap();
    identity(lab, &authority, "near");
    let config = identity(lab, &authority, "far")
        + "routes: [{name: out, match: {url: \"/{path...}\"}, allow: [\"spiffe://peers.example/proxy/near\"]}]\n";
    let listeners = format!("listeners: [{{name: mesh, address: \"{PROXY}:{MESH}\", protocol: mesh}}]\n");
    Proxy::with_listeners(lab, &listeners, &config)
}

/// A proxy with a listener for plain peers over TLS.
fn start_rtsps(lab: &Lab) -> Proxy<'_> {
    certify(lab, PROXY);
    let listeners = format!(
        "listeners: [{{address: \"[::]:{RTSPS}\", protocol: rtsps, tls: {{certificate: server.pem, key: server.key}}}}]\n"
    );
    Proxy::with_listeners(lab, &listeners, LOCAL)
}

/// `s_client` with a request typed into it. It stays until the other side closes.
fn ask(lab: &Lab, openssl: Openssl, name: &str, port: u16, options: &[&str]) -> Process {
    let require = if port == MESH { "Require: msm-hop-1\r\n" } else { "" };
    fs::write(lab.file("request"), format!("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n{require}\r\n")).unwrap();
    let mut command = lab.command(Place::Client, "bash");
    command.args(["-c", "exec \"$@\" <request", "bash"]);
    match openssl {
        Openssl::Host => command.arg("openssl"),
        Openssl::Sid => {
            command.env("MSM_WORK", lab.dir());
            command.arg(workspace().join("scripts/in-sid.sh")).arg("openssl")
        }
    };
    command.args(["s_client", "-connect", &format!("{PROXY}:{port}"), "-ign_eof", "-nocommands"]);
    lab.start(name, {
        command.args(options);
        command
    })
}

/// What `s_client` says of a connection whose request is answered 200.
fn answered(lab: &Lab, openssl: Openssl, name: &str, port: u16, options: &[&str]) -> String {
    let mut process = ask(lab, openssl, name, port, options);
    process.until(LIMIT, "answer", |process| process.out().contains("\r\n\r\n"));
    let out = process.out();
    assert!(out.contains("RTSP/1.0 200 "), "{out}");
    out
}

/// What `s_client` says of a connection that comes to nothing, and must, for a reason that it was told.
fn refused(lab: &Lab, name: &str, port: u16, options: &[&str], alert: &str) {
    let seen = ask(lab, Openssl::Host, name, port, options).finish(LIMIT);
    assert!(seen.status.is_some_and(|status| !status.success()), "{:?}\n{}", seen.status, seen.out);
    assert!(seen.err.contains(alert), "{}", seen.err);
    assert!(!seen.out.contains("RTSP/1.0"), "something is served: {}", seen.out);
}

/// The first certificate among what `s_client` says.
fn certificate(out: &str) -> String {
    const END: &str = "-----END CERTIFICATE-----";
    let begin = out.find("-----BEGIN CERTIFICATE-----").expect("a certificate");
    let end = begin + out[begin..].find(END).expect("its end") + END.len();
    out[begin..end].to_owned()
}

/// The names in a certificate, as OpenSSL writes them.
fn names(lab: &Lab, pem: &str) -> Vec<String> {
    fs::write(lab.file("seen.pem"), pem).unwrap();
    let mut command = Command::new("openssl");
    command.args(["x509", "-noout", "-ext", "subjectAltName", "-in"]).arg(lab.file("seen.pem"));
    let text = lab.run("x509", command, LIMIT).success().out;
    let (_, names) = text.split_once('\n').expect("a line for the extension, one for the names");
    names.trim().split(", ").map(str::to_owned).collect()
}

#[test]
fn a_mesh_listener_shows_its_svid_and_answers_whoever_shows_one() {
    if !have(&[Peer::Openssl]) {
        return;
    }
    let lab = Lab::new();
    let _proxy = start_mesh(&lab);
    let options = [MEMBER, &["-verify_return_error", "-msg"]].concat();
    let out = answered(&lab, Openssl::Host, "member", MESH, &options);
    for wanted in [
        "New, TLSv1.3, Cipher is TLS_AES_",
        ", CertificateRequest\n",
        "Server Temp Key: X25519, 253 bits\n",
        "ALPN protocol: msm/1\n",
        "Verify return code: 0 (ok)\n",
    ] {
        assert!(out.contains(wanted), "no {wanted:?} in\n{out}");
    }
    assert_eq!(names(&lab, &certificate(&out)), ["URI:spiffe://peers.example/proxy/far"]);
}

#[test]
fn a_mesh_listener_refuses_other_versions_and_who_is_no_member() {
    if !have(&[Peer::Openssl]) {
        return;
    }
    let lab = Lab::new();
    let proxy = start_mesh(&lab);
    self_signed(&lab, "stranger", "URI:spiffe://peers.example/proxy/near");
    let without = &["-alpn", "msm/1"];
    let stranger = &["-alpn", "msm/1", "-cert", "stranger.pem", "-key", "stranger.key"];
    let old = [MEMBER, &["-tls1_2"]].concat();
    for (name, options, alert, reason) in [
        ("nobody", &without[..], "alert certificate required", "tls_no_certificate"),
        ("stranger", stranger, "alert certificate unknown", "unknown_issuer"),
        ("old", &old, "alert protocol version", "tls_incompatible"),
    ] {
        refused(&lab, name, MESH, options, alert);
        let reason = format!("reason=\"{reason}\"");
        assert_eq!(proxy.metric("msm_bad_input_total", &[&reason]), 1.0, "{reason}\n{}", proxy.log());
    }
}

#[test]
fn an_rtsps_listener_shows_its_certificate_over_tls_1_3_and_1_2_alone() {
    if !have(&[Peer::Openssl]) {
        return;
    }
    let lab = Lab::new();
    let _proxy = start_rtsps(&lab);
    for (flag, version) in [("-tls1_3", "TLSv1.3"), ("-tls1_2", "TLSv1.2")] {
        let options = [flag, "-CAfile", "server.pem", "-verify_return_error", "-verify_ip", PROXY, "-msg"];
        let out = answered(&lab, Openssl::Host, &format!("rtsps{flag}"), RTSPS, &options);
        for wanted in [format!("New, {version}, Cipher is "), "Verify return code: 0 (ok)\n".to_owned()] {
            assert!(out.contains(&wanted), "no {wanted:?} in\n{out}");
        }
        assert!(!out.contains("CertificateRequest"), "nobody said that clients need one:\n{out}");
        assert_eq!(certificate(&out), fs::read_to_string(lab.file("server.pem")).unwrap().trim());
    }
    // Debian's OpenSSL does not speak it by itself. rustls misses what came with TLS 1.2 before it looks at the version.
    let old = ["-tls1_1", "-cipher", "ALL@SECLEVEL=0"];
    refused(&lab, "rtsps-old", RTSPS, &old, "alert handshake failure");
}

/// Without a session to resume there is no early data either (`RFC 8446 §2.3`).
#[test]
fn no_listener_lets_a_session_be_resumed() {
    if !have(&[Peer::Openssl]) {
        return;
    }
    let lab = Lab::new();
    // What can be resumed is known for TLS 1.2 when the handshake is done, and reconnecting tries it. For 1.3 a ticket comes
    // later, and is written to the file.
    let old = ["-tls1_2", "-reconnect"];
    let new = ["-tls1_3", "-sess_out", "session.pem"];
    let ticket = || fs::metadata(lab.file("session.pem")).is_ok_and(|file| file.len() > 0);
    {
        let _proxy = start_mesh(&lab);
        answered(&lab, Openssl::Host, "mesh", MESH, &[MEMBER, &new].concat());
        assert!(!ticket(), "a mesh listener sent one");
    }
    {
        let _proxy = start_rtsps(&lab);
        answered(&lab, Openssl::Host, "rtsps-new", RTSPS, &new);
        assert!(!ticket(), "an rtsps listener sent one");
        let out = answered(&lab, Openssl::Host, "rtsps-old", RTSPS, &old);
        assert_eq!((out.matches("New, TLSv1.2").count(), out.matches("Reused").count()), (6, 0), "{out}");
    }

    // Where sessions are resumed, the same options show it.
    let mut command = lab.command(Place::Proxy, "openssl");
    // A web server, as one that types would end with the end of its input.
    command.args(["s_server", "-www", "-accept", &CONTROL.to_string()]);
    command.args(["-cert", "server.pem", "-key", "server.key"]);
    let mut server = lab.start("s_server", command);
    server.until(LIMIT, "listener", |server| server.out().contains("ACCEPT"));
    ask(&lab, Openssl::Host, "control-new", CONTROL, &new).until(LIMIT, "a ticket", |_| ticket());
    let mut old = ask(&lab, Openssl::Host, "control-old", CONTROL, &old);
    old.until(LIMIT, "a session resumed", |seen| seen.out().matches("Reused, TLSv1.2").count() == 5);
}

#[test]
fn openssl_of_today_agrees_with_a_member_on_the_hybrid_key_exchange() {
    if !have(&[Peer::Openssl, Peer::SidOpenssl]) {
        return;
    }
    let lab = Lab::new();
    let _proxy = start_mesh(&lab);
    // Offered alone, and as one that it prefers by itself.
    for (name, groups) in [("alone", &["-groups", "X25519MLKEM768"][..]), ("preferred", &[])] {
        let out = answered(&lab, Openssl::Sid, name, MESH, &[MEMBER, groups].concat());
        for wanted in
            ["New, TLSv1.3, ", "Negotiated TLS1.3 group: X25519MLKEM768\n", "Verify return code: 0 (ok)\n"]
        {
            assert!(out.contains(wanted), "no {wanted:?} in\n{out}");
        }
    }
}
