//! Whom a route serves, over the wire: callers at a plain listener are anonymous.

use crate::common::{TestMesh, VIDEO};

/// A closed route above one for everybody.
const ROUTES: &str = r#"workers: 2
routes:
  - {name: news, match: {url: "/news/{feed}"}, allow: ["spiffe://studio.example/ns/edit/*"]}
  - {name: desk, match: {url: "/desk", from: ["spiffe://studio.example/*"]}, allow: ["spiffe://studio.example/*"]}
  - {name: all}
"#;

const UDP: (&str, &str) = ("Transport", "RTP/AVP;unicast;client_port=40000-40001");
const RECORD: (&str, &str) = ("Transport", "RTP/AVP;unicast;client_port=40000-40001;mode=record");
const SDP: (&str, &str) = ("Content-Type", "application/sdp");

#[test]
fn anonymous_callers_are_refused_at_each_request_that_chooses_a_route() {
    let mesh = TestMesh::start(ROUTES);
    let (closed, open) = (mesh.url("news/eu"), mesh.url("sport"));
    // The application itself is no caller.
    let publisher = mesh.block_on(mesh.mesh.publish(&closed, VIDEO)).unwrap();
    let other = mesh.block_on(mesh.mesh.publish(&open, VIDEO)).unwrap();
    let reader = mesh.block_on(mesh.mesh.open(&closed)).unwrap();

    let mut client = mesh.connect();
    assert_eq!(client.ask("DESCRIBE", &open, &[], b"").status, 200);
    assert_eq!(client.ask("DESCRIBE", &closed, &[], b"").status, 403);
    assert_eq!(client.ask("SETUP", &format!("{closed}/trackID=0"), &[UDP], b"").status, 403);
    assert_eq!(client.ask("ANNOUNCE", &mesh.url("news/us"), &[SDP], VIDEO.as_bytes()).status, 403);
    // Nothing was announced, so there is nothing to set up either.
    assert_eq!(
        client.ask("SETUP", &format!("{}/trackID=0", mesh.url("news/us")), &[RECORD], b"").status,
        455
    );
    assert_eq!(client.ask("ANNOUNCE", &mesh.url("free"), &[SDP], VIDEO.as_bytes()).status, 200);
    // A route for others is as good as none: the next one counts.
    assert_eq!(client.ask("DESCRIBE", &mesh.url("desk"), &[], b"").status, 404);
    assert!(mesh.counter("msm_authorization_total{decision=\"deny\",route=\"news\"}") >= 3.0);
    assert!(mesh.counter("msm_authorization_total{decision=\"allow\",route=\"all\"}") >= 2.0);
    assert_eq!(publisher.readers(), 1, "the application's own");
    drop((reader, other));
}

#[test]
fn no_spelling_of_a_closed_url_leads_around_its_route() {
    let mesh = TestMesh::start(ROUTES);
    let _publisher = mesh.block_on(mesh.mesh.publish(&mesh.url("news/eu"), VIDEO)).unwrap();
    let mut client = mesh.connect();
    for path in [
        "news/eu/",
        "news/eu//",
        "news/eu///",
        "/news/eu",
        "news//eu",
        "n%65ws/eu",
        "news%2Feu",
        "news/%65u",
        "news/eu/?",
        "news/eu?",
        "news/eu/%20",
        "NEWS/eu",
        "news/eu/trackID=0",
        "news/eu//trackID=0",
        "news/eu/#x",
    ] {
        let status = client.ask("DESCRIBE", &mesh.url(path), &[], b"").status;
        assert!(matches!(status, 400 | 403 | 404), "{path} is answered {status}");
        let status = client.ask("SETUP", &format!("{}/trackID=0", mesh.url(path)), &[UDP], b"").status;
        assert!(matches!(status, 400 | 403 | 404), "SETUP of {path} is answered {status}");
    }
    assert_eq!(client.ask("DESCRIBE", "rtsp://another.host/news/eu", &[], b"").status, 403);
}
