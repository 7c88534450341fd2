//! Endpoints that come from DNS and from files.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use msm::{ClusterStatus, EndpointStatus};

use crate::common::{self, TestMesh, tls};

/// A mesh whose every stream is pulled from the cluster `back`.
fn in_front_of(cluster: &str) -> TestMesh {
    TestMesh::start(&format!(
        "workers: 2\nroutes: [{{name: all, match: {{url: \"/{{path...}}\"}}, backends: [{{cluster: back}}]}}]\n\
         clusters:\n  back: {cluster}\n"
    ))
}

fn cluster(mesh: &TestMesh) -> ClusterStatus {
    mesh.block_on(mesh.mesh.status()).clusters.remove(0)
}

/// The endpoints, each with its weight and zone.
fn endpoints(mesh: &TestMesh) -> Vec<String> {
    let shown = |one: &EndpointStatus| {
        assert_eq!(one.cluster, "back");
        format!("{} {} {}", one.url, one.weight, one.zone.as_deref().unwrap_or("-"))
    };
    mesh.block_on(mesh.mesh.status()).endpoints.iter().map(shown).collect()
}

fn wait_endpoints(mesh: &TestMesh, wanted: &[&str]) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while endpoints(mesh) != wanted {
        assert!(Instant::now() < deadline, "wanted {wanted:?}: {:?} {:?}", endpoints(mesh), cluster(mesh));
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn wait_problem(mesh: &TestMesh, wanted: Option<&str>) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let problem = cluster(mesh).problem;
        let is_wanted = match (&problem, wanted) {
            (Some(problem), Some(wanted)) => problem.contains(wanted),
            (problem, wanted) => problem.is_none() && wanted.is_none(),
        };
        if is_wanted {
            return;
        }
        assert!(Instant::now() < deadline, "wanted {wanted:?}, is {problem:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn describe(mesh: &TestMesh, path: &str) -> u16 {
    mesh.connect().ask("DESCRIBE", &mesh.url(path), &[], b"").status
}

#[test]
fn a_file_that_is_replaced_moves_endpoints_and_a_bad_one_is_reported_once() {
    let back = TestMesh::start("");
    let _publisher = common::Publisher::start(&back, "one");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("targets.json");
    let put = |text: &str| {
        fs::write(dir.path().join("new"), text).unwrap();
        fs::rename(dir.path().join("new"), &file).unwrap();
    };
    put(&format!(r#"[{{"targets": ["{}"], "labels": {{"zone": "a", "weight": "2"}}}}]"#, back.address));
    let mesh = in_front_of(&format!("{{files: [\"{}\"]}}", file.display()));
    // It has been read by the time the mesh is there.
    assert_eq!(describe(&mesh, "one"), 200);
    assert_eq!(endpoints(&mesh), [format!("rtsp://{} 2 a", back.address)]);
    assert_eq!(cluster(&mesh).discovery, "file");
    put(r#"[{"targets": ["127.0.0.9:9", "127.0.0.8:9"]}]"#);
    wait_endpoints(&mesh, &["rtsp://127.0.0.8:9 1 -", "rtsp://127.0.0.9:9 1 -"]);
    put("[{targets: [");
    wait_problem(&mesh, Some("targets.json: "));
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(endpoints(&mesh).len(), 2);
    assert_eq!(mesh.counter("msm_discovery_errors_total{cluster=\"back\",source=\"file\"}"), 1.0);
    put("- targets: ['127.0.0.7:9']\n");
    wait_endpoints(&mesh, &["rtsp://127.0.0.7:9 1 -"]);
    wait_problem(&mesh, None);
    put("[]");
    wait_endpoints(&mesh, &[]);
    assert_eq!(describe(&mesh, "two"), 503);
}

#[test]
fn a_configmap_is_swapped_by_its_symlink() {
    let dir = tempfile::tempdir().unwrap();
    for (version, port) in [("..v1", 1), ("..v2", 2)] {
        fs::create_dir(dir.path().join(version)).unwrap();
        let text = format!("- targets: ['127.0.0.1:{port}']\n  labels: {{zone: {}}}\n", &version[2..]);
        fs::write(dir.path().join(version).join("targets.yaml"), text).unwrap();
    }
    symlink("..v1", dir.path().join("..data")).unwrap();
    symlink("..data/targets.yaml", dir.path().join("targets.yaml")).unwrap();
    let mesh = in_front_of(&format!("{{files: [\"{}/*.yaml\"]}}", dir.path().display()));
    wait_endpoints(&mesh, &["rtsp://127.0.0.1:1 1 v1"]);
    symlink("..v2", dir.path().join("..tmp")).unwrap();
    fs::rename(dir.path().join("..tmp"), dir.path().join("..data")).unwrap();
    wait_endpoints(&mesh, &["rtsp://127.0.0.1:2 1 v2"]);
}

#[cfg(feature = "dns")]
mod by_dns {
    use super::*;
    use crate::common::dns::{A, AAAA, Data, NXDOMAIN, NameServer, Reply, SERVFAIL, SRV};

    fn named(server: &NameServer, more: &str) -> String {
        format!("{{dns: {{name: enc.test, servers: [\"{}\"]{more}}}}}", server.address)
    }

    #[test]
    fn addresses_are_asked_for_again_when_they_expire() {
        let back = TestMesh::start("");
        let _publisher = common::Publisher::start(&back, "one");
        let port = back.address.port();
        let server = NameServer::start();
        server.set_addresses("enc.test", 1, &["127.0.0.1", "::1"]);
        let mesh = in_front_of(&named(&server, &format!(", port: {port}")));
        assert_eq!(describe(&mesh, "one"), 200);
        let both = [format!("rtsp://127.0.0.1:{port} 1 -"), format!("rtsp://[::1]:{port} 1 -")];
        assert_eq!(endpoints(&mesh), both);
        let asked = Instant::now();
        server.wait_asked("enc.test", A, 2);
        assert!(asked.elapsed() >= Duration::from_secs(1), "asked again before it expired");
        server.set_addresses("enc.test", 1, &["127.0.0.3", "127.0.0.2"]);
        let next = [format!("rtsp://127.0.0.2:{port} 1 -"), format!("rtsp://127.0.0.3:{port} 1 -")];
        wait_endpoints(&mesh, &next.each_ref().map(String::as_str));
        // What expires late is not asked for meanwhile.
        server.set_addresses("enc.test", 3600, &["127.0.0.4"]);
        wait_endpoints(&mesh, &[&format!("rtsp://127.0.0.4:{port} 1 -")]);
        let asked = server.asked("enc.test", A);
        std::thread::sleep(Duration::from_millis(2500));
        assert_eq!(server.asked("enc.test", A), asked);
        assert_eq!(mesh.counter("msm_discovery_errors_total"), 0.0);
    }

    #[test]
    fn the_order_of_answers_changes_nothing() {
        let server = NameServer::start();
        server.set_addresses("enc.test", 1, &["127.0.0.1", "127.0.0.2", "127.0.0.3"]);
        let mesh = in_front_of(&named(&server, ""));
        let before = endpoints(&mesh);
        server.set_addresses("enc.test", 1, &["127.0.0.3", "127.0.0.1", "127.0.0.2"]);
        server.wait_asked("enc.test", AAAA, 3);
        assert_eq!(endpoints(&mesh), before);
        assert!(cluster(&mesh).changed_ago.unwrap() >= 2, "{:?}", cluster(&mesh));
    }

    #[test]
    fn the_last_good_answer_outlives_failures() {
        let server = NameServer::start();
        server.set_addresses("enc.test", 1, &["127.0.0.1"]);
        let mesh = in_front_of(&named(&server, ""));
        let before = endpoints(&mesh);
        assert_eq!(before, ["rtsp://127.0.0.1:554 1 -"]);
        for (code, shown) in [(SERVFAIL, "Server Failure"), (NXDOMAIN, "NXDOMAIN")] {
            server.set_code("enc.test", code);
            wait_problem(&mesh, Some(shown));
            assert_eq!(endpoints(&mesh), before);
        }
        assert!(mesh.counter("msm_discovery_errors_total{cluster=\"back\",source=\"dns\"}") >= 2.0);
        // An empty answer is no order to stop, either.
        server.set_addresses("enc.test", 1, &[]);
        wait_problem(&mesh, Some("no such records"));
        assert_eq!(endpoints(&mesh), before);
        server.set_addresses("enc.test", 1, &["127.0.0.2"]);
        wait_endpoints(&mesh, &["rtsp://127.0.0.2:554 1 -"]);
        wait_problem(&mesh, None);
    }

    #[test]
    fn one_kind_of_address_that_is_not_answered_takes_none_away() {
        let server = NameServer::start();
        server.set_addresses("enc.test", 1, &["127.0.0.1", "::1"]);
        let mesh = in_front_of(&named(&server, ""));
        let before = endpoints(&mesh);
        assert_eq!(before.len(), 2);
        server.set("enc.test", AAAA, Reply::Code(SERVFAIL));
        wait_problem(&mesh, Some("enc.test: "));
        assert_eq!(endpoints(&mesh), before);
        // That there are none of that kind any more is an answer.
        server.set("enc.test", AAAA, Reply::Records(1, Vec::new()));
        wait_endpoints(&mesh, &["rtsp://127.0.0.1:554 1 -"]);
        wait_problem(&mesh, None);
    }

    #[test]
    fn without_an_answer_there_is_no_endpoint_until_there_is_one() {
        let back = TestMesh::start("");
        let _publisher = common::Publisher::start(&back, "one");
        let server = NameServer::start();
        let mesh = in_front_of(&named(&server, &format!(", port: {}", back.address.port())));
        assert_eq!(describe(&mesh, "one"), 503);
        wait_problem(&mesh, Some("NXDOMAIN"));
        server.set_addresses("enc.test", 60, &["127.0.0.1"]);
        wait_endpoints(&mesh, &[&format!("rtsp://{} 1 -", back.address)]);
        assert_eq!(describe(&mesh, "one"), 200);
    }

    #[test]
    fn a_name_server_that_says_nothing_holds_no_start_up() {
        let server = NameServer::start();
        server.set("enc.test", A, Reply::Silence);
        server.set("enc.test", AAAA, Reply::Silence);
        let start = Instant::now();
        let mesh = in_front_of(&named(&server, ""));
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        assert_eq!(describe(&mesh, "one"), 503);
        drop(mesh);
        assert!(start.elapsed() < Duration::from_secs(6), "ends while it asks: {:?}", start.elapsed());
    }

    #[test]
    fn services_have_ports_weights_and_priorities() {
        let service = |priority, weight, port, target| Data::Service { priority, weight, port, target };
        let server = NameServer::start();
        let all = vec![
            service(20, 1, 9, "spare.test"),
            service(10, 3, 8554, "b.test"),
            service(10, 1, 8555, "a.test"),
        ];
        let services = all.clone();
        server.set("_rtsp._tcp.enc.test", SRV, Reply::Records(1, all));
        server.set_addresses("a.test", 60, &["127.0.0.1"]);
        server.set_addresses("b.test", 60, &["127.0.0.2"]);
        server.set_addresses("spare.test", 60, &["127.0.0.9"]);
        let mesh = in_front_of(&format!(
            "{{dns: {{name: _rtsp._tcp.enc.test, kind: srv, servers: [\"{}\"]}}}}",
            server.address
        ));
        let all = ["rtsp://127.0.0.1:8555 1 -", "rtsp://127.0.0.2:8554 3 -", "rtsp://127.0.0.9:9 1 -"];
        wait_endpoints(&mesh, &all);
        let priorities = |mesh: &TestMesh| -> Vec<u16> {
            mesh.block_on(mesh.mesh.status()).endpoints.iter().map(|endpoint| endpoint.priority).collect()
        };
        assert_eq!(priorities(&mesh), [10, 10, 20]);
        // A target whose addresses do not come keeps those that it had.
        server.set("_rtsp._tcp.enc.test", SRV, Reply::Records(1, services));
        server.set_addresses("a.test", 1, &["127.0.0.1"]);
        server.set_addresses("b.test", 1, &["127.0.0.3"]);
        wait_endpoints(&mesh, &[all[0], "rtsp://127.0.0.3:8554 3 -", all[2]]);
        server.set_code("a.test", SERVFAIL);
        server.set_addresses("b.test", 1, &["127.0.0.2"]);
        wait_endpoints(&mesh, &all);
        wait_problem(&mesh, Some("a.test: "));
        assert_eq!(endpoints(&mesh), all);
        // That it has none any more, where others have some, is an answer.
        server.set_code("a.test", NXDOMAIN);
        wait_endpoints(&mesh, &all[1..]);
        server.set_code("a.test", SERVFAIL);
        wait_problem(&mesh, Some("a.test: the name server answered"));
        assert_eq!(endpoints(&mesh), all[1..]);
        // Targets without an address are none.
        server.set(
            "_rtsp._tcp.enc.test",
            SRV,
            Reply::Records(1, vec![service(5, 1, 7, "new.test"), service(7, 0, 9, "spare.test")]),
        );
        wait_endpoints(&mesh, &["rtsp://127.0.0.9:9 1 -"]);
        wait_problem(&mesh, Some("new.test: the name does not exist"));
        server.set("_rtsp._tcp.enc.test", SRV, Reply::Code(SERVFAIL));
        wait_problem(&mesh, Some("_rtsp._tcp.enc.test: "));
        assert_eq!(endpoints(&mesh), ["rtsp://127.0.0.9:9 1 -"]);
    }

    #[test]
    fn the_next_priority_serves_where_the_first_cannot_be_reached() {
        let back = TestMesh::start("");
        let _publisher = common::Publisher::start(&back, "one");
        let service = |priority, port, target| Data::Service { priority, weight: 1, port, target };
        let server = NameServer::start();
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let all = vec![service(1, nobody, "first.test"), service(2, back.address.port(), "next.test")];
        server.set("_rtsp._tcp.enc.test", SRV, Reply::Records(60, all));
        server.set_addresses("first.test", 60, &["127.0.0.1"]);
        server.set_addresses("next.test", 60, &["127.0.0.1"]);
        let mesh = in_front_of(&format!(
            "{{dns: {{name: _rtsp._tcp.enc.test, kind: srv, servers: [\"{}\"]}}}}",
            server.address
        ));
        for _ in 0..3 {
            assert_eq!(describe(&mesh, "one"), 200);
        }
    }

    #[test]
    fn long_answers_come_by_tcp_and_too_many_are_cut() {
        let server = NameServer::start();
        let many: Vec<_> =
            (0..1200u32).map(|number| Data::Address((0x7f00_0001 + number).to_be_bytes().into())).collect();
        server.set("enc.test", A, Reply::Records(60, many));
        server.set("enc.test", AAAA, Reply::Records(60, Vec::new()));
        server.truncate();
        let mesh = in_front_of(&named(&server, ""));
        wait_problem(&mesh, Some("1200 endpoints were found"));
        assert_eq!(cluster(&mesh).endpoints, 1000);
        assert!(server.over_tcp() > 0);
        assert_eq!(mesh.counter("msm_endpoint_health"), 0.0, "too many for a label each");
        assert_eq!(mesh.counter("msm_endpoints{cluster=\"back\",state=\"unknown\"}"), 1000.0);
    }

    #[test]
    fn whoever_is_found_proves_to_have_the_name() {
        let authority = tls::Authority::new();
        authority.issue("server", "enc.test");
        let certificate = authority.yaml("server", "");
        let back = TestMesh::from_yaml(&format!(
            "listeners: [{{name: test, address: \"127.0.0.1:0\", protocol: rtsps, tls: {certificate}}}]\n"
        ));
        let port = back.address.port();
        let server = NameServer::start();
        server.set_addresses("enc.test", 60, &["127.0.0.1"]);
        server.set_addresses("other.test", 60, &["127.0.0.1"]);
        for (name, status) in [("enc.test", 404), ("other.test", 502)] {
            let mesh = in_front_of(&format!(
                "{{dns: {{name: {name}, servers: [\"{}\"], port: {port}, scheme: rtsps}}, tls: {{ca: \"{}\"}}}}",
                server.address,
                authority.file("ca.pem")
            ));
            assert_eq!(describe(&mesh, "nothing"), status, "{name}");
        }
    }
}
