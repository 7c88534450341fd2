//! Listeners that ask who is there.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use argon2::password_hash::CustomizedPasswordHasher;
use argon2::{Argon2, Params};
use msm_rtsp::auth::{Authenticator, Credentials};

use crate::common::tls::{Authority, connect};
use crate::common::{Answer, Line, Rtsp, TcpPublisher, TcpReader, TestMesh, VIDEO, log, reader_port, rtp};

/// H(alice:site:secret).
const MD5: &str = "alice:site:838d8fedca485b63a387002c2c1e1ec9\n";
/// The same of zelda.
const ZELDA: &str = "zelda:site:a73b1fb9eb9f63f55777ce017b00acad\n";
const SHA256: &str = "alice:site:15d32ef3647ebb9d53c02aababdced76a4eb73296174d38d69d27bcb7fe75520\n";

/// A line for bob, whose password takes as long to verify as `passes` over `kib` take.
fn bob(kib: u32, passes: u32) -> String {
    let params = Params::new(kib, passes, 1, Some(32)).unwrap();
    let hash = Argon2::default().hash_password_with_params(b"secret", b"saltsalt", params).unwrap();
    format!("bob:site:{hash}\n")
}

/// A mesh with one listener, without TLS or with it, and its users in `users`.
fn asking(authority: &Authority, is_tls: bool, users: &str, more: &str) -> TestMesh {
    std::fs::write(authority.file("users"), users).unwrap();
    authority.issue("server", "127.0.0.1");
    let protocol = if is_tls {
        format!("protocol: rtsps, tls: {}", authority.yaml("server", ""))
    } else {
        format!("ports: {}", reader_port())
    };
    let users = authority.file("users");
    TestMesh::from_yaml(&format!(
        "listeners:\n  - {{name: test, address: \"127.0.0.1:0\", users: \"{users}\", {protocol}}}\n{more}\n"
    ))
}

/// A client that knows a password.
struct Client<S> {
    rtsp: Rtsp<S>,
    auth: Authenticator,
}

/// Knows how to log in.
fn knowing(user: &str, password: &str) -> Authenticator {
    Authenticator::new(Some(Credentials { user: user.into(), password: password.into() }), 1)
}

impl<S: Read + Write> Client<S> {
    fn new(rtsp: Rtsp<S>, user: &str, password: &str) -> Self {
        Self { rtsp, auth: knowing(user, password) }
    }

    /// Asks, and again when it is asked who it is.
    fn ask(&mut self, method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let answer = self.once(method, url, headers, body);
        if answer.status != 401 {
            return answer;
        }
        match self.auth.handle_challenge(answer.challenges.iter().map(String::as_str)) {
            Ok(()) => self.once(method, url, headers, body),
            Err(_) => answer,
        }
    }

    fn once(&mut self, method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let authorization = self.auth.authorize(method, url);
        let mut headers = headers.to_vec();
        headers.extend(authorization.as_deref().map(|value| ("Authorization", value)));
        self.rtsp.ask(method, url, &headers, body)
    }

    /// Publishes one track, or says why not.
    fn publish(&mut self, url: &str) -> Result<(), Answer> {
        let sdp = [("Content-Type", "application/sdp")];
        let answer = self.ask("ANNOUNCE", url, &sdp, VIDEO.as_bytes());
        if answer.status != 200 {
            return Err(answer);
        }
        let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record")];
        let session = self.ask("SETUP", &format!("{url}/trackID=0"), &transport, b"").session();
        assert_eq!(self.ask("RECORD", url, &[("Session", &session)], b"").status, 200);
        Ok(())
    }

    /// Begins to read one track, or says why not.
    fn read(&mut self, url: &str) -> Result<(), Answer> {
        let transport = [("Transport", "RTP/AVP/TCP;unicast;interleaved=0-1")];
        let answer = self.ask("SETUP", &format!("{url}/trackID=0"), &transport, b"");
        if answer.status != 200 {
            return Err(answer);
        }
        assert_eq!(self.ask("PLAY", url, &[("Session", &answer.session())], b"").status, 200);
        Ok(())
    }
}

/// Twenty packets, `first` and those behind it, go from one to the other.
fn pass<P: Read + Write, R: Read + Write>(from: &mut Client<P>, to: &mut Client<R>, first: u16) {
    let mut line = Line::default();
    for number in first..first + 20 {
        let packet = rtp(number, u32::from(number) * 3000, 7, 0x65, 600);
        from.rtsp.frame(0, &packet);
        let received = loop {
            let (channel, received) = to.rtsp.next_frame();
            if channel == 0 {
                break received;
            }
        };
        line.check(&received, &packet);
    }
}

#[test]
fn digest_lets_users_publish_and_read_without_tls() {
    for (users, algorithm) in [(MD5, "MD5"), (SHA256, "SHA-256")] {
        let authority = Authority::new();
        let mesh = asking(&authority, false, users, "");
        let url = mesh.url("live");
        let mut publisher = Client::new(mesh.connect(), "alice", "secret");
        publisher.publish(&url).unwrap();
        let mut reader = Client::new(mesh.connect(), "alice", "secret");
        reader.read(&url).unwrap();
        pass(&mut publisher, &mut reader, 0);

        let mut stranger = mesh.connect();
        assert_eq!(stranger.ask("OPTIONS", &url, &[], b"").status, 200);
        for method in ["DESCRIBE", "SETUP", "ANNOUNCE", "PLAY", "TEARDOWN", "GET_PARAMETER"] {
            let answer = stranger.ask(method, &url, &[], b"");
            assert_eq!(answer.status, 401, "{method}: {answer:?}");
            assert_eq!(answer.challenges.len(), 1, "{answer:?}");
            assert!(answer.challenges[0].contains(&format!("algorithm={algorithm}")), "{answer:?}");
        }
        assert_eq!(mesh.counter("reason=\"unauthorized\""), 0.0, "to ask first is no failure");
        assert!(Client::new(mesh.connect(), "alice", "guess").read(&url).is_err());
        assert!(Client::new(mesh.connect(), "carol", "secret").publish(&url).is_err());
        assert_eq!(mesh.counter("reason=\"unauthorized\""), 2.0);
    }
}

#[test]
fn basic_is_for_tls_only() {
    let authority = Authority::new();
    let users = format!("{MD5}{}", bob(64, 1));
    let mesh = asking(&authority, false, &users, "");
    let answer = mesh.connect().ask("DESCRIBE", &mesh.url("live"), &[], b"");
    assert!(answer.challenges.iter().all(|value| value.starts_with("Digest")), "{answer:?}");
    // Ym9iOnNlY3JldA== is bob:secret.
    let basic = [("Authorization", "Basic Ym9iOnNlY3JldA==")];
    assert_eq!(mesh.connect().ask("DESCRIBE", &mesh.url("live"), &basic, b"").status, 401);
    drop(mesh);

    let mesh = asking(&authority, true, &bob(64, 1), "");
    let url = format!("rtsps://{}/live", mesh.address);
    let client = |password| Client::new(connect(mesh.address, authority.plain_client()), "bob", password);
    let mut publisher = client("secret");
    publisher.publish(&url).unwrap();
    let mut reader = client("secret");
    reader.read(&url).unwrap();
    pass(&mut publisher, &mut reader, 0);
    let refused = client("guess").read(&url).unwrap_err();
    assert_eq!(refused.challenges, ["Basic realm=\"site\", charset=\"UTF-8\""]);
}

#[test]
fn who_guesses_is_let_go() {
    let authority = Authority::new();
    let mesh = asking(&authority, false, MD5, "limits: {auth_failures: 3}");
    let mut guesser = mesh.connect();
    let guess = [(
        "Authorization",
        "Digest username=\"alice\", realm=\"site\", nonce=\"n\", uri=\"u\", response=\"r\"",
    )];
    for number in 1..=3 {
        let answer = guesser.ask("DESCRIBE", &mesh.url("live"), &guess, b"");
        assert_eq!((answer.status, answer.header("connection") == "close"), (401, number == 3), "{answer:?}");
    }
    assert!(guesser.is_closed());
    assert_eq!(mesh.counter("reason=\"unauthorized\""), 3.0);
}

/// Asks on a connection of its own, as somebody with this password would.
fn try_once(mesh: &TestMesh, user: &str, password: &str) -> Answer {
    Client::new(mesh.connect(), user, password).ask("DESCRIBE", &mesh.url("live"), &[], b"")
}

#[test]
fn who_guesses_from_connection_to_connection_is_locked_out_for_a_while() {
    log::keep_all();
    let authority = Authority::new();
    let limits = "workers: 2\nlimits: {auth_failures_per_peer: 4, auth_failures_window: 1h}";
    let mesh = asking(&authority, false, &format!("{MD5}{ZELDA}"), limits);
    let url = mesh.url("live");
    let mut publisher = Client::new(mesh.connect(), "alice", "secret");
    publisher.publish(&url).unwrap();
    for number in 0..4 {
        assert_eq!(try_once(&mesh, "zelda", "guess").status, 401, "guess {number}");
        // Who has an account wins nothing by it.
        if number < 3 {
            assert_eq!(try_once(&mesh, "alice", "secret").status, 200);
        }
    }
    let refused = try_once(&mesh, "alice", "secret");
    assert_eq!((refused.status, refused.challenges.len()), (503, 0), "{refused:?}");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((3000..=3600).contains(&wait), "{refused:?}");
    assert_eq!(
        try_once(&mesh, "zelda", "guess").status,
        503,
        "what is right and what is wrong looks the same"
    );
    assert_eq!(mesh.connect().ask("DESCRIBE", &url, &[], b"").status, 401, "to ask first is no attempt");
    // Whoever was there before goes on, as itself alone.
    assert_eq!(publisher.ask("DESCRIBE", &url, &[], b"").status, 200);
    let mut other = Client { rtsp: publisher.rtsp, auth: knowing("zelda", "secret") };
    assert_eq!(other.ask("DESCRIBE", &url, &[], b"").status, 503);
    assert_eq!(mesh.counter("reason=\"unauthorized\""), 4.0);
    assert_eq!(mesh.counter("reason=\"auth_failures_per_peer\""), 3.0);
    assert_eq!(log::count(&["none from there is looked at", "failures=4"]), 1);
}

#[test]
fn who_is_locked_out_is_let_in_when_the_window_is_over() {
    let authority = Authority::new();
    let limits = "limits: {auth_failures_per_peer: 2, auth_failures_window: 1s}";
    let mesh = asking(&authority, false, MD5, limits);
    let until = |status, password| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while try_once(&mesh, "alice", password).status != status {
            assert!(Instant::now() < deadline, "never {status}");
        }
    };
    until(503, "guess");
    // What is tried meanwhile does not put it off. 404 comes from behind the login.
    until(404, "secret");
}

#[test]
fn who_is_locked_out_and_goes_on_trying_is_let_go() {
    let authority = Authority::new();
    let limits = "limits: {auth_failures: 3, auth_failures_per_peer: 1, auth_failures_window: 1h}";
    let mesh = asking(&authority, true, &bob(64, 1), limits);
    let url = format!("rtsps://{}/live", mesh.address);
    let basic = [("Authorization", "Basic Ym9iOmd1ZXNz")];
    let mut guesser = connect(mesh.address, authority.plain_client());
    let statuses = [0; 3].map(|_| guesser.ask("DESCRIBE", &url, &basic, b"").status);
    assert_eq!(statuses, [401, 503, 503]);
    assert!(guesser.is_closed());
    let right = [("Authorization", "Basic Ym9iOnNlY3JldA==")];
    let mut late = connect(mesh.address, authority.plain_client());
    let answer = late.ask("DESCRIBE", &url, &right, b"");
    assert_eq!((answer.status, answer.header("retry-after").len()), (503, 4), "{answer:?}");
}

#[test]
fn a_user_who_was_removed_is_out_at_once() {
    let authority = Authority::new();
    let mesh = asking(&authority, false, MD5, "");
    let url = mesh.url("live");
    let mut client = Client::new(mesh.connect(), "alice", "secret");
    client.publish(&url).unwrap();
    assert_eq!(client.ask("DESCRIBE", &url, &[], b"").status, 200);
    std::fs::write(authority.file("users"), MD5.replace("alice", "zelda")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while client.once("DESCRIBE", &url, &[], b"").status == 200 {
        assert!(Instant::now() < deadline, "the file was not read again");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn media_goes_on_while_a_password_is_verified() {
    let authority = Authority::new();
    let mesh = asking(&authority, true, &format!("{MD5}{}", bob(128 * 1024, 4)), "workers: 1");
    let url = format!("rtsps://{}/live", mesh.address);
    let alice = || Client::new(connect(mesh.address, authority.plain_client()), "alice", "secret");
    let mut publisher = alice();
    publisher.publish(&url).unwrap();
    let mut reader = alice();
    reader.read(&url).unwrap();
    let verified = Arc::new(AtomicBool::new(false));
    let (done, bob) = (Arc::clone(&verified), connect(mesh.address, authority.plain_client()));
    let path = url.clone();
    let login = std::thread::spawn(move || {
        let mut bob = bob;
        let basic = [("Authorization", "Basic Ym9iOnNlY3JldA==")];
        let status = bob.ask("DESCRIBE", &path, &basic, b"").status;
        done.store(true, Ordering::Release);
        status
    });
    let mut passed = 0;
    while !verified.load(Ordering::Acquire) && passed < 1000 {
        pass(&mut publisher, &mut reader, 20 * passed);
        passed += 1;
    }
    assert_eq!(login.join().unwrap(), 200);
    assert!(passed >= 5, "only {passed} rounds of 20 packets while the password was verified");
}

#[test]
fn our_own_hop_logs_in_over_tls() {
    let authority = Authority::new();
    let back = asking(&authority, true, SHA256, "");
    let front = TestMesh::from_yaml(&format!(
        "listeners:\n  - {{name: front, address: \"127.0.0.1:0\", ports: {}}}\n\
         routes:\n  - {{name: all, match: {{url: \"/{{path...}}\"}}, backends: [{{cluster: back}}]}}\n\
         clusters:\n  back:\n    endpoints: [\"rtsps://{}\"]\n    tls: {{ca: \"{}\"}}\n    \
         auth: {{user: alice, password: secret}}\n",
        reader_port(),
        back.address,
        authority.file("ca.pem")
    ));
    let mut publisher = TcpPublisher::start(&front, "live");
    let mut reader = TcpReader::start(&front, "live");
    let packet = rtp(1, 3000, 7, 0x65, 900);
    publisher.send(&packet);
    Line::default().check(&reader.recv(), &packet);
    assert_eq!(back.counter("reason=\"unauthorized\""), 0.0);
}
