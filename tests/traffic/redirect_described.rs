//! Servers that answer DESCRIBE by sending us elsewhere: where that is followed, and where it is not.

use std::net::TcpListener;

use crate::common::server::{Asked, Server};
use crate::common::{TestMesh, VIDEO, reader_port};

/// A mesh in front of these endpoints, with a password for them.
fn in_front_of(endpoints: &[String], cluster: &str) -> TestMesh {
    let endpoints: Vec<_> = endpoints.iter().map(|url| format!("\"{url}\"")).collect();
    TestMesh::from_yaml(&format!(
        "workers: 2\nlisteners:\n  - {{name: test, address: \"127.0.0.1:0\", ports: {}}}\n\
         routes:\n  - {{name: all, match: {{url: \"/{{path...}}\"}}, backends: [{{cluster: back}}]}}\n\
         clusters:\n  back: {{transport: tcp, endpoints: [{}], auth: {{user: viewer, password: secret}}{cluster}}}\n",
        reader_port(),
        endpoints.join(", ")
    ))
}

fn url(server: &Server) -> String {
    format!("rtsp://{}", server.address)
}

/// Has the stream, for those who give their name.
fn private(asked: &Asked) -> (u16, String, String) {
    if asked.method != "OPTIONS" && asked.header("authorization").is_none() {
        return (401, "WWW-Authenticate: Basic realm=\"x\"\r\n".into(), String::new());
    }
    open(asked)
}

/// Has the stream.
fn open(asked: &Asked) -> (u16, String, String) {
    let session = format!("Session: s{};timeout=60\r\n", asked.connection);
    match asked.method.as_str() {
        "DESCRIBE" => (200, "Content-Type: application/sdp\r\n".into(), VIDEO.into()),
        "SETUP" => {
            (200, format!("{session}Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n"), String::new())
        }
        _ => (200, session, String::new()),
    }
}

/// Sends whoever wants a stream elsewhere.
fn away(to: String) -> Server {
    Server::start(move |asked| match asked.method.as_str() {
        "DESCRIBE" => (302, format!("Location: {to}\r\n"), String::new()),
        _ => (200, String::new(), String::new()),
    })
}

/// Why a stream is not had.
fn refused(mesh: &TestMesh) -> String {
    match mesh.block_on(mesh.mesh.open(&mesh.url("cam"))) {
        Ok(_) => panic!("it is had"),
        Err(error) => error.to_string(),
    }
}

fn sessions(mesh: &TestMesh) -> Vec<u32> {
    mesh.block_on(mesh.mesh.status()).endpoints.iter().map(|endpoint| endpoint.sessions).collect()
}

#[test]
fn another_endpoint_is_asked_for_the_same_stream_and_has_the_session() {
    let has = Server::start(private);
    // Whatever it is called there by the one that sends us.
    let sends = away(format!("{}/secret", url(&has)));
    let mesh = in_front_of(&[url(&sends), url(&has)], "");
    // Whoever is first, the second one has them.
    for path in ["one", "two"] {
        assert_eq!(mesh.connect().ask("DESCRIBE", &mesh.url(path), &[], b"").status, 200);
    }
    assert_eq!(sessions(&mesh), [0, 2], "it counts where it is");
    let asked = has.asked("DESCRIBE");
    assert!(!asked.iter().any(|asked| asked.uri.ends_with("/secret")), "{asked:?}");
    assert!(asked.iter().any(|asked| asked.header("authorization").is_some()));
    assert!(!sends.asked("DESCRIBE").is_empty());
}

#[test]
fn nobody_else_is_asked_and_the_next_endpoint_has_it() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let named = format!("rtsp://{}", other.local_addr().unwrap());
    let sends = away(format!("{named}/cam"));
    let alone = in_front_of(&[url(&sends)], "");
    let why = refused(&alone);
    for part in [&url(&sends), &named, "302", "cluster `back`", "on_redirect: follow"] {
        assert!(why.contains(part), "{why}");
    }
    assert_eq!(alone.connect().ask("DESCRIBE", &alone.url("cam"), &[], b"").status, 502);
    let has = Server::start(private);
    let both = in_front_of(&[url(&sends), url(&has)], "");
    for path in ["one", "two", "three"] {
        assert_eq!(both.connect().ask("DESCRIBE", &both.url(path), &[], b"").status, 200);
    }
    assert!(other.accept().is_err(), "who is no endpoint of the cluster was connected to");
}

#[test]
fn servers_that_are_trusted_with_it_choose_anybody_who_gets_no_password() {
    let (closed, has) = (Server::start(private), Server::start(open));
    let follow = ", failover: {on_redirect: follow}";
    for (to, is_had) in [(&closed, false), (&has, true)] {
        let sends = away(format!("{}/elsewhere", url(to)));
        let mesh = in_front_of(&[url(&sends)], follow);
        let answer = mesh.connect().ask("DESCRIBE", &mesh.url("cam"), &[], b"");
        assert_eq!(answer.status, if is_had { 200 } else { 502 });
        let asked = to.asked("DESCRIBE");
        assert!(asked[0].uri.ends_with("/elsewhere"), "{asked:?}");
        assert!(asked.iter().all(|asked| asked.header("authorization").is_none()), "{asked:?}");
    }
}

#[test]
fn an_endpoint_that_takes_no_sessions_is_not_gone_to_for_being_named() {
    let has = Server::start(private);
    let sends = away(format!("{}/cam", url(&has)));
    let endpoints = [url(&sends), url(&has)].map(|url| format!("{{url: \"{url}\", weight: W}}"));
    let endpoints = endpoints.join(", ").replacen('W', "1", 1).replacen('W', "0", 1);
    let mesh = TestMesh::from_yaml(&format!(
        "listeners:\n  - {{name: test, address: \"127.0.0.1:0\", ports: {}}}\n\
         routes:\n  - {{name: all, match: {{url: \"/{{path...}}\"}}, backends: [{{cluster: back}}]}}\n\
         clusters:\n  back: {{endpoints: [{endpoints}], failover: {{on_redirect: follow}}}}\n",
        reader_port(),
    ));
    let why = refused(&mesh);
    assert!(why.contains("takes no session now") && why.contains(&url(&has)), "{why}");
    assert!(has.asked("OPTIONS").is_empty());
}

#[test]
fn a_server_may_name_another_of_its_streams_and_is_not_followed_for_ever() {
    let (real, loops) = (Server::start(renamed), Server::start(turns));
    let mesh = in_front_of(&[url(&real)], "");
    assert_eq!(mesh.connect().ask("DESCRIBE", &mesh.url("cam"), &[], b"").status, 200);
    assert_eq!(real.asked("DESCRIBE").len(), 2);
    let mesh = in_front_of(&[url(&loops)], "");
    let why = refused(&mesh);
    assert!(why.contains("after 5 others"), "{why}");
    assert_eq!(loops.asked("DESCRIBE").len(), 6);
}

/// Has the stream by another name.
fn renamed(asked: &Asked) -> (u16, String, String) {
    if asked.method == "DESCRIBE" && asked.uri.ends_with("/cam") {
        return (301, format!("Location: {}/main\r\n", asked.uri.trim_end_matches("/cam")), String::new());
    }
    match asked.method.as_str() {
        "OPTIONS" => (200, String::new(), String::new()),
        _ => open(asked),
    }
}

/// Names another one each time.
fn turns(asked: &Asked) -> (u16, String, String) {
    match asked.method.as_str() {
        "DESCRIBE" => (302, format!("Location: {}x\r\n", asked.uri), String::new()),
        _ => (200, String::new(), String::new()),
    }
}

#[test]
fn tls_is_not_left_for_a_connection_in_the_clear() {
    let authority = crate::common::tls::Authority::new();
    let has = Server::start(open);
    let sends = away(format!("{}/cam", url(&has)));
    let within = crate::common::tls::terminate(&authority, sends.address);
    let trust = format!(", tls: {{ca: \"{}\"}}, failover: {{on_redirect: follow}}", authority.file("ca.pem"));
    // As a stranger, and as an endpoint of the cluster.
    for endpoints in [vec![format!("rtsps://{within}")], vec![format!("rtsps://{within}"), url(&has)]] {
        let mesh = in_front_of(&endpoints, &trust);
        if endpoints.len() == 1 {
            let why = refused(&mesh);
            assert!(why.contains("`rtsps`") && why.contains(&url(&has)), "{why}");
        } else {
            let answers =
                ["one", "two"].map(|path| mesh.connect().ask("DESCRIBE", &mesh.url(path), &[], b"").status);
            assert_eq!(answers, [200, 200], "the next endpoint is asked by itself");
        }
        assert!(endpoints.len() > 1 || has.asked("OPTIONS").is_empty());
    }
}
