//! Protection between two proxies over a link that loses packets: nftables drops them, and so knows what was lost.
//!
//! The far proxy stands in the servers' namespace, the near one in its usual place; the hop is the link between them, and what
//! players get of it is judged by ffmpeg.

use crate::hop::identity;
use crate::lab::{Lab, PROXY, Place, SERVER};
use crate::need::{Peer, have};
use crate::process::{Finished, Process};
use crate::proxy::{BINARY, Proxy, apps, url};
use crate::readers::{Frames, no_damage};
use crate::rough::{Dropped, Rough};
use msm_auth::identity::UnixTime;
use msm_auth::identity::ephemeral::{Ephemeral, EphemeralCa};
use msm_auth::identity::id::TrustDomain;
use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(40);
/// Pictures of a second.
const PICTURES: usize = 25;
/// How long a judged reading takes.
const SECONDS: usize = 10;

/// The two proxies and the stream between them.
struct Stage<'lab> {
    lab: &'lab Lab,
    near: Proxy<'lab>,
    _far: Process,
    _publisher: Process,
}

impl<'lab> Stage<'lab> {
    /// `protection` is that of the routes at both ends.
    fn new(lab: &'lab Lab, protection: &str) -> Self {
        let domain = TrustDomain::parse("peers.example").unwrap();
        let authority = EphemeralCa::new(Ephemeral::ForTests, domain, UnixTime::now()).unwrap();
        let far = far(lab, &identity(lab, &authority, "far"), protection);
        let near = near(lab, &identity(lab, &authority, "near"), protection);
        let publisher = publish(lab);
        Self { lab, near, _far: far, _publisher: publisher }
    }

    /// Begins to read, for so long from the first picture on.
    fn read(&self, name: &str, seconds: usize) -> Process {
        let mut command = self.lab.command(Place::Client, "ffmpeg");
        command.args(["-v", "level+warning", "-nostdin", "-rtsp_transport", "udp", "-i", &url("cam")]);
        command.args(["-t", &seconds.to_string(), "-vsync", "passthrough", "-f", "framecrc"]);
        command.arg(format!("{name}.frames"));
        self.lab.start(name, command)
    }

    fn pictures(&self, name: &str) -> usize {
        Frames::read(&self.lab.file(&format!("{name}.frames"))).video
    }

    /// The protected flows of the hop, as the proxy in this place has them: each of its workers may have associations.
    fn protection(&self, place: Place) -> Vec<serde_json::Value> {
        let status = self.lab.http_at(place, 18_000, "/status").expect("the proxy serves /status");
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let hops = status["hops"].as_array().cloned().unwrap_or_default();
        hops.iter().filter_map(|hop| hop["protection"].as_array()).flatten().cloned().collect()
    }

    /// The near proxy knows what came, the far one what that took.
    fn flows(&self) -> Flows {
        let mut flows = Flows::default();
        for flow in self.protection(Place::Proxy) {
            assert_eq!(flow["receives"], true, "{flow}");
            let count = |key: &str| flow[key].as_u64().unwrap_or_else(|| panic!("{key} of {flow}"));
            flows.labels.push(u32::from_str_radix(flow["label"].as_str().unwrap(), 16).unwrap());
            flows.packets += count("packets");
            flows.lost += count("lost");
            flows.by_fec += count("recovered_by_fec");
            flows.by_nack += count("recovered_by_nack");
            flows.unrecovered += count("unrecovered");
        }
        for flow in self.protection(Place::Server) {
            flows.overhead = flow["overhead"].as_f64().unwrap();
            flows.plan = flow["plan"].as_str().unwrap().to_owned();
        }
        flows
    }

    /// Waits until so many packets more have come.
    fn pass(&self, packets: u64) -> Flows {
        let until = self.flows().packets + packets;
        wait(&format!("{packets} packets"), || Some(self.flows()).filter(|flows| flows.packets >= until))
    }
}

/// All flows that come to the near proxy.
#[derive(Debug, Default)]
struct Flows {
    labels: Vec<u32>,
    packets: u64,
    lost: u64,
    by_fec: u64,
    by_nack: u64,
    unrecovered: u64,
    overhead: f64,
    plan: String,
}

pub(crate) fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "no {what} in {LIMIT:?}");
        sleep(Duration::from_millis(50));
    }
}

fn far(lab: &Lab, identity: &str, protection: &str) -> Process {
    let config = format!(
        "{identity}listeners:\n  - {{name: plain, address: \"{SERVER}:8554\"}}\n  - {{name: mesh, address: \"{SERVER}:8050\", protocol: mesh}}\n\
         routes:\n  - {{name: in, match: {{url: \"/{{path...}}\", actions: [publish]}}}}\n  \
         - {{name: out, match: {{url: \"/{{path...}}\", actions: [read]}}, allow: [\"spiffe://peers.example/proxy/near\"]{protection}}}\n\
         log: {{level: debug}}\n"
    );
    let file = lab.file("far.yaml");
    fs::write(&file, config).unwrap();
    let mut command = lab.command(Place::Server, BINARY);
    command.args(["run", "--config"]).arg(&file).env_remove("RUST_LOG");
    let mut far = lab.start("far-proxy", command);
    far.until(LIMIT, "the far proxy's listeners", |far| far.err().contains(":8050"));
    far
}

fn near<'lab>(lab: &'lab Lab, identity: &str, protection: &str) -> Proxy<'lab> {
    let config = format!(
        "{identity}routes:\n  - {{name: all, match: {{url: \"/{{path...}}\"}}, backends: [{{cluster: far}}]{protection}}}\n\
         clusters:\n  far: {{endpoints: [\"rtsp://{SERVER}:8050\"], hop: mesh, peers: [\"spiffe://peers.example/proxy/far\"]}}\n"
    );
    Proxy::of(lab, Path::new(BINARY), &apps(), &config)
}

/// Publishes to the far proxy, in its own namespace, where nothing is lost: H.264 of a constant 4 Mbit/s, in a loop.
pub(crate) fn publish(lab: &Lab) -> Process {
    let file = lab.file("constant.mkv");
    let mut command = lab.command(Place::Server, "ffmpeg");
    let encode = "-v error -nostdin -f lavfi -i testsrc2=s=320x240:r=25 -t 10 -pix_fmt yuv420p -c:v libx264 -preset ultrafast \
        -tune zerolatency -g 25 -b:v 4M -maxrate 4M -bufsize 200k -x264-params nal-hrd=cbr";
    command.args(encode.split_whitespace()).arg(&file);
    lab.run("ffmpeg-encoder", command, LIMIT).success();
    let mut command = lab.command(Place::Server, "ffmpeg");
    command.args(["-v", "warning", "-nostdin", "-re", "-stream_loop", "-1", "-i"]).arg(file);
    command.args(["-c", "copy", "-f", "rtsp", "-rtsp_transport", "udp", "-pkt_size", "1200"]);
    command.arg(format!("rtsp://{SERVER}:8554/cam"));
    let mut publisher = lab.start("ffmpeg-publisher", command);
    let ask = format!(
        "exec 3<>/dev/tcp/{PROXY}/8554 && printf 'DESCRIBE {} RTSP/1.0\\r\\nCSeq: 1\\r\\n\\r\\n' >&3 && head -n 1 <&3",
        url("cam")
    );
    publisher.until(LIMIT, "stream at the near proxy", |_| {
        let output = lab.command(Place::Client, "timeout").args(["5", "bash", "-c", &ask]).output().unwrap();
        output.stdout.starts_with(b"RTSP/1.0 200")
    });
    publisher
}

/// nftables lost about that share of what came to an end.
fn lost_about(dropped: Dropped, per_mille: u64) {
    let wanted = dropped.came * per_mille / 1000;
    assert!(dropped.came > 300, "{dropped:?}");
    assert!((wanted / 2..wanted * 3 / 2 + 10).contains(&dropped.lost), "{dropped:?}, not {wanted}");
}

fn undamaged(name: &str, finished: &Finished, pictures: usize) {
    no_damage(name, &finished.err);
    // The first picture of a reader that joins may be up to a second old.
    assert!(pictures >= PICTURES * (SECONDS - 1), "{name} got {pictures} pictures");
}

/// Lets protection settle on a link that loses so much, then reads; what the near proxy said before and after, and nftables.
fn run(stage: &Stage<'_>, link: &Rough<'_>, per_mille: u32, settle: u64) -> (Flows, Flows, Dropped) {
    let first = stage.read("first", 60);
    let labels = wait("protected flow", || Some(stage.flows().labels).filter(|labels| !labels.is_empty()));
    link.lose(per_mille, &labels);
    let before = stage.pass(settle);
    let judged = stage.read("judged", SECONDS).finish(LIMIT).success();
    let (at_far, at_near) = link.heal();
    // What was lost last comes, or never.
    let after = stage.pass(500);
    drop(first);
    println!("{before:?}\n{after:?}\nfar {at_far:?}\nnear {at_near:?}");
    stage.near.print_losses();
    undamaged("judged", &judged, stage.pictures("judged"));
    lost_about(at_near, u64::from(per_mille));
    // Requests and reports meet the same, if there are enough of them to tell.
    assert!(at_far.lost > 0 || at_far.came < 100, "{at_far:?}");
    assert_eq!(after.lost, at_near.flows_lost, "the proxy and nftables count the same losses");
    (before, after, at_near)
}

#[test]
fn what_is_asked_for_again_comes_within_four_round_trips() {
    if !have(&[Peer::Ffmpeg, Peer::Nftables, Peer::Tun]) {
        return;
    }
    let lab = Lab::alone();
    let link = Rough::new(&lab, Duration::from_millis(20));
    let stage = Stage::new(&lab, ", protection: {latency: 100ms, fec: off}");
    let (_, after, dropped) = run(&stage, &link, 100, 0);
    assert_eq!((after.unrecovered, after.by_fec), (0, 0), "{after:?}");
    assert_eq!(after.by_nack, dropped.flows_lost, "{after:?}");
    assert!(after.overhead < 0.5, "{after:?}");
}

#[test]
fn where_no_round_trip_fits_fec_brings_it_back() {
    if !have(&[Peer::Ffmpeg, Peer::Nftables, Peer::Tun]) {
        return;
    }
    let lab = Lab::alone();
    let link = Rough::new(&lab, Duration::from_millis(80));
    let stage = Stage::new(&lab, ", protection: {latency: 60ms, nack: off}");
    // The losses have to be measured before they are provided for.
    let (before, after, _) = run(&stage, &link, 50, 2000);
    assert_eq!(after.unrecovered, before.unrecovered, "{before:?} {after:?}");
    assert_eq!(after.by_nack, 0, "{after:?}");
    assert_eq!(after.by_fec + after.unrecovered, after.lost, "{after:?}");
    assert!(after.overhead < 0.5, "{after:?}");
}

#[test]
fn without_protection_what_is_lost_is_missed() {
    if !have(&[Peer::Ffmpeg, Peer::Nftables, Peer::Tun]) {
        return;
    }
    let lab = Lab::alone();
    let link = Rough::new(&lab, Duration::from_millis(20));
    let stage = Stage::new(&lab, ", protection: {latency: 0s}");
    let first = stage.read("first", 60);
    let came = || stage.near.metric("msm_packets_total", &["hop=\"mesh\"", "direction=\"rx\""]);
    wait("packets", || (came() > 500.0).then_some(()));
    link.lose(50, &[]);
    let finished = stage.read("judged", SECONDS).finish(LIMIT);
    let (_, dropped) = link.heal();
    drop(first);
    lost_about(dropped, 50);
    let missed = stage.near.metric("msm_hop_lost_total", &[]) as u64;
    println!("{dropped:?}, {missed} missed");
    // Nothing comes back, and nothing else is lost. Reports of the hop are among what nftables dropped.
    assert!(missed <= dropped.lost && missed * 10 >= dropped.lost * 9, "{missed} of {dropped:?}");
    assert!(finished.err.contains("missed"), "ffmpeg is content:\n{}", finished.err);
}
