//! Two links between two proxies, each of which loses packets by itself, and one of which ends for two seconds. What players get of
//! it is judged by ffmpeg; nftables drops, and counts by link.

use crate::hop::{identity, start_far};
use crate::lab::{Lab, Place, SERVER};
use crate::need::{Peer, have};
use crate::protection::{publish, wait};
use crate::proxy::{BINARY, Proxy, apps, url};
use crate::readers::{Frames, no_damage};
use msm_auth::identity::UnixTime;
use msm_auth::identity::ephemeral::{Ephemeral, EphemeralCa};
use msm_auth::identity::id::TrustDomain;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(40);
/// Of a thousand datagrams.
const LOSS: u32 = 50;
/// The near proxy's addresses on the two links, and the interfaces at both ends of each.
const LINKS: [(&str, &str, &str); 2] = [("10.71.0.2", "srv0", "up0"), ("10.73.0.2", "srv1", "up1")];

/// A second link, which what the near proxy sends from its address there takes.
fn second_link(lab: &Lab) {
    let (server, proxy) = (lab.namespace(Place::Server), lab.namespace(Place::Proxy));
    let script = format!(
        "ip link add srv1 netns {server} type veth peer name up1 netns {proxy}
         ip -n {server} addr add 10.73.0.1/24 dev srv1; ip -n {server} link set srv1 up
         ip -n {proxy} addr add 10.73.0.2/24 dev up1; ip -n {proxy} link set up1 up
         ip -n {proxy} route add default via 10.73.0.1 dev up1 table 73
         ip -n {proxy} rule add from 10.73.0.2 table 73
         for n in all default up0 up1; do ip netns exec {proxy} sh -c \"echo 0 >/proc/sys/net/ipv4/conf/$n/rp_filter\"; done
         for n in {server}/srv0 {server}/srv1 {proxy}/up0 {proxy}/up1; do
           ip -n ${{n%/*}} link set dev ${{n#*/}} gso_max_segs 1; done"
    );
    let status = Command::new("sh").args(["-euc", &script]).status().unwrap();
    assert!(status.success(), "{status}: {script}");
}

/// From now on each link loses that share of its datagrams by itself, each way, and what is `cut` everything.
fn lose(lab: &Lab, cut: Option<usize>) {
    for (place, end) in [(Place::Server, 0), (Place::Proxy, 1)] {
        let mut rules = String::from("table inet links\ndelete table inet links\ntable inet links {\n");
        let mut chain = String::new();
        for (number, (_, server, proxy)) in LINKS.iter().enumerate() {
            let interface = [server, proxy][end];
            rules += &format!("  counter lost{number} {{ }}\n");
            chain += &if cut == Some(number) {
                format!("    iifname {interface} counter name lost{number} drop\n")
            } else {
                let random = format!("meta l4proto udp numgen random mod 1000 < {LOSS}");
                format!("    iifname {interface} {random} counter name lost{number} drop\n")
            };
        }
        rules += &format!("  chain input {{\n    type filter hook input priority 0\n{chain}  }}\n}}\n");
        let file = lab.file("links.nft");
        std::fs::write(&file, rules).unwrap();
        let mut command = lab.command(place, "nft");
        command.arg("-f").arg(&file);
        lab.run("nft", command, LIMIT).success();
    }
}

/// What the near proxy says of its hop: of the one that carries a stream, as each of its workers may have one.
fn hop(lab: &Lab) -> serde_json::Value {
    let status = lab.http_at(Place::Proxy, 18_000, "/status").expect("the proxy serves /status");
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let hops = status["hops"].as_array().unwrap();
    let carries =
        |hop: &&serde_json::Value| hop["protection"].as_array().is_some_and(|flows| !flows.is_empty());
    hops.iter().find(carries).or(hops.first()).cloned().unwrap_or_default()
}

#[test]
fn two_lossy_links_of_which_one_ends_for_two_seconds_cost_nothing() {
    if !have(&[Peer::Ffmpeg, Peer::Nftables]) {
        return;
    }
    let lab = Lab::alone();
    second_link(&lab);
    let domain = TrustDomain::parse("peers.example").unwrap();
    let authority = EphemeralCa::new(Ephemeral::ForTests, domain, UnixTime::now()).unwrap();
    let _far = start_far(&lab, Path::new(BINARY), &identity(&lab, &authority, "far"));
    let from = LINKS.map(|(address, ..)| address).join(", ");
    let config = format!(
        "{}routes:\n  - {{name: all, match: {{url: \"/{{path...}}\"}}, backends: [{{cluster: far}}], \
         protection: {{latency: 100ms, paths: {{from: [{from}]}}}}}}\n\
         clusters:\n  far: {{endpoints: [\"rtsp://{SERVER}:8050\"], hop: mesh, peers: [\"spiffe://peers.example/proxy/far\"]}}\n",
        identity(&lab, &authority, "near")
    );
    let near = Proxy::of(&lab, Path::new(BINARY), &apps(), &config);
    let _publisher = publish(&lab);
    let both = || {
        let paths = hop(&lab)["paths"].clone();
        let up: Vec<_> = paths.as_array()?.iter().filter(|path| path["up"] == true).collect();
        (up.len() == 2).then(|| up.into_iter().cloned().collect::<Vec<_>>())
    };
    let read = |name: &str, seconds: &str| {
        let mut command = lab.command(Place::Client, "ffmpeg");
        command.args(["-v", "level+warning", "-nostdin", "-rtsp_transport", "udp", "-i", &url("cam")]);
        command.args(["-t", seconds, "-vsync", "passthrough", "-f", "framecrc", &format!("{name}.frames")]);
        lab.start(name, command)
    };
    let _first = read("first", "60");
    let up = wait("two paths", both);
    assert_eq!(up[0]["from"], LINKS[0].0, "{up:?}");
    assert_eq!(up[1]["from"], LINKS[1].0, "{up:?}");
    lose(&lab, None);
    let judged = read("judged", "10");
    sleep(Duration::from_secs(2));
    // One link ends as a whole, the signalling with it, and comes back.
    lose(&lab, Some(0));
    sleep(Duration::from_secs(2));
    lose(&lab, None);
    let finished = judged.finish(LIMIT).success();
    let after = hop(&lab);
    println!("{after:#}");
    near.print_losses();
    no_damage("judged", &finished.err);
    assert!(Frames::read(&lab.file("judged.frames")).video >= 25 * 9);
    let flow = &after["protection"][0];
    assert_eq!(flow["unrecovered"], 0, "{flow:#}");
    assert!(flow["recovered_by_path"].as_u64().unwrap() > 300, "{flow:#}");
    let by_path: Vec<_> =
        flow["paths"].as_array().unwrap().iter().map(|path| path["lost"].as_u64().unwrap()).collect();
    assert!(by_path.len() == 2 && by_path.iter().all(|lost| *lost > 50), "{flow:#}");
    assert_eq!(near.metric("msm_hop_fallbacks_total", &[]), 0.0);
    wait("both paths again", both);
}
