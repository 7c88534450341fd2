//! Two proxies with a mesh hop between them, and unmodified software at both ends.
//!
//! The far proxy stands in the servers' namespace, the near one in its usual place: the link between them carries the hop,
//! the link to the clients plain RTSP.

use crate::lab::{Lab, PROXY, Place, SERVER};
use crate::media::programme;
use crate::need::{Peer, have};
use crate::process::Process;
use crate::proxy::{BINARY, Proxy, apps, forwarding, url};
use crate::readers::{FFMPEG_TCP, FFMPEG_UDP, GST_UDP};
use base64::Engine as _;
use msm_auth::identity::UnixTime;
use msm_auth::identity::ephemeral::{Ephemeral, EphemeralCa};
use msm_auth::identity::id::{SpiffeId, TrustDomain};
use std::fs;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(20);

fn pem(label: &str, der: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

/// Writes the PEM files of a member; the keys `identity` of its configuration.
pub(crate) fn identity(lab: &Lab, authority: &EphemeralCa, name: &str) -> String {
    let id = SpiffeId::parse(&format!("spiffe://peers.example/proxy/{name}")).unwrap();
    let issued = authority.issue(&id, Duration::from_secs(3600), UnixTime::now()).unwrap();
    let write = |kind: &str, text: String| {
        let file = lab.file(&format!("{name}-{kind}.pem"));
        fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let chain: String = issued.chain.iter().map(|der| pem("CERTIFICATE", der)).collect();
    format!(
        "identity: {{files: {{certificate: {}, key: {}, bundle: {}}}}}\n",
        write("svid", chain),
        write("key", pem("PRIVATE KEY", &issued.key)),
        write("bundle", pem("CERTIFICATE", authority.certificate())),
    )
}

/// Starts the far proxy, and then the near one, which has everything from it.
fn pair(lab: &Lab) -> (Process, Proxy<'_>) {
    let domain = TrustDomain::parse("peers.example").unwrap();
    let authority = EphemeralCa::new(Ephemeral::ForTests, domain, UnixTime::now()).unwrap();
    let far = start_far(lab, Path::new(BINARY), &identity(lab, &authority, "far"));
    (far, start_near(lab, Path::new(BINARY), &identity(lab, &authority, "near")))
}

/// The proxy that streams are published into, in the servers' place.
pub(crate) fn start_far(lab: &Lab, program: &Path, identity: &str) -> Process {
    let config = format!(
        "{identity}listeners:\n  - {{name: plain, address: \"{SERVER}:8554\"}}\n  - {{name: mesh, address: \"{SERVER}:8050\", protocol: mesh}}\n\
         routes:\n  - {{name: in, match: {{url: \"/{{path...}}\", actions: [publish]}}}}\n  \
         - {{name: out, match: {{url: \"/{{path...}}\", actions: [read]}}, allow: [\"spiffe://peers.example/proxy/near\"]}}\n\
         log: {{level: debug}}\n"
    );
    let file = lab.file("far.yaml");
    fs::write(&file, config).unwrap();
    let mut command = lab.command(Place::Server, program);
    command.args(["run", "--config"]).arg(&file).env_remove("RUST_LOG");
    let mut far = lab.start("far-proxy", command);
    far.until(LIMIT, "the far proxy's listeners", |far| far.err().contains(":8050"));
    far
}

/// The proxy that has everything from the far one.
pub(crate) fn start_near<'lab>(lab: &'lab Lab, program: &Path, identity: &str) -> Proxy<'lab> {
    let cluster = "hop: mesh, peers: [\"spiffe://peers.example/proxy/far\"]";
    let config = identity.to_owned() + &forwarding(&format!("rtsp://{SERVER}:8050"), cluster);
    Proxy::of(lab, program, &apps(), &config)
}

/// Publishes a programme to the far proxy over UDP, in packets of up to `size` bytes.
fn publish(lab: &Lab, size: usize) -> Process {
    let file = programme(lab);
    let mut command = lab.command(Place::Server, "ffmpeg");
    command.args(["-v", "warning", "-nostdin", "-re", "-i"]).arg(file);
    command.args(["-c", "copy", "-f", "rtsp", "-rtsp_transport", "udp", "-pkt_size", &size.to_string()]);
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

/// Captures whole packets at an interface of the near proxy.
pub(crate) fn capture(lab: &Lab, interface: &str) -> Process {
    let mut command = lab.command(Place::Proxy, "dumpcap");
    command.args(["-q", "-i", interface, "-B", "64", "-w", &format!("{interface}.pcapng")]);
    let mut process = lab.start(&format!("dumpcap-{interface}"), command);
    process.until(LIMIT, "capture", |process| process.err().contains("File:"));
    process
}

/// What tshark prints of a capture.
pub(crate) fn tshark(lab: &Lab, interface: &str, filter: &str, fields: &[&str]) -> Vec<String> {
    let mut command = std::process::Command::new("tshark");
    command.arg("-r").arg(lab.file(&format!("{interface}.pcapng"))).args(["-Y", filter, "-T", "fields"]);
    // What is on the hop is to be looked at as RTP, too.
    command.args(["-d", "udp.port==8050,rtp"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let finished = lab.run("tshark", command, Duration::from_secs(120)).success();
    finished.out.lines().map(str::to_owned).collect()
}

pub(crate) fn contains(lab: &Lab, interface: &str, needle: &[u8]) -> bool {
    let capture = fs::read(lab.file(&format!("{interface}.pcapng"))).unwrap();
    capture.windows(needle.len()).any(|window| window == needle)
}

/// What x264 writes into its first picture, readable by anybody who sees the packets.
pub(crate) const ENCODER: &[u8] = b"x264 - core";

#[test]
fn players_read_through_two_members_and_nobody_between_can() {
    if !have(&[Peer::Ffmpeg, Peer::Gstreamer, Peer::Tshark]) {
        return;
    }
    let lab = Lab::new();
    let (_far, near) = pair(&lab);
    let (hop, plain) = (capture(&lab, "up0"), capture(&lab, "down0"));
    let publisher = publish(&lab, 1200);
    let readings = [FFMPEG_UDP, FFMPEG_TCP, GST_UDP].map(|reader| reader.begin(&lab, &url("cam")));
    for reading in readings {
        reading.done();
    }
    drop(publisher);
    near.print_losses();
    assert_eq!(near.metric("msm_hop_lost_total", &[]), 0.0);
    assert_eq!(near.metric("msm_dropped_total", &["srtp"]), 0.0);
    for capture in [hop, plain] {
        capture.interrupt(LIMIT);
    }
    assert!(contains(&lab, "down0", ENCODER), "the plain link carries it for all to see");
    assert!(!contains(&lab, "up0", ENCODER), "the hop shows what it carries");
    let ports = tshark(&lab, "up0", "udp", &["udp.srcport", "udp.dstport"]);
    assert!(ports.len() > 300, "{} datagrams", ports.len());
    assert!(
        ports.iter().all(|line| line.split('\t').any(|port| port == "8050")),
        "one port serves the member"
    );
    let rtp = tshark(&lab, "up0", "rtp", &["rtp.version", "rtp.payload"]);
    assert!(rtp.len() > 200, "{} packets look like RTP", rtp.len());
    let tls = tshark(&lab, "up0", "tls.handshake.type == 1", &["tls.handshake.extensions.supported_version"]);
    assert!(!tls.is_empty() && tls.iter().all(|versions| versions.contains("0x0304")), "{tls:?}");
    assert!(tshark(&lab, "up0", "rtsp", &["rtsp.request"]).is_empty(), "the signalling can be read");
}

#[test]
fn packets_of_1472_bytes_cross_a_link_of_1400_without_loss_or_fragments() {
    if !have(&[Peer::Ffmpeg, Peer::Gstreamer, Peer::Tshark]) {
        return;
    }
    let lab = Lab::new();
    for (place, interface) in [(Place::Server, "srv0"), (Place::Proxy, "up0")] {
        let mut command = lab.command(place, "ip");
        // Datagrams that are sent in one call are to be cut apart before they are captured, not by the receiver.
        command.args(["link", "set", "dev", interface, "mtu", "1400", "gso_max_segs", "1"]);
        lab.run("ip", command, LIMIT).success();
    }
    let (_far, near) = pair(&lab);
    let (hop, plain) = (capture(&lab, "up0"), capture(&lab, "down0"));
    let publisher = publish(&lab, 1472);
    let readings = [FFMPEG_UDP, GST_UDP].map(|reader| reader.begin(&lab, &url("cam")));
    for reading in readings {
        reading.done();
    }
    drop(publisher);
    near.print_losses();
    assert_eq!(near.metric("msm_hop_lost_total", &[]), 0.0);
    assert_eq!(near.metric("msm_dropped_total", &["hop"]), 0.0);
    for capture in [hop, plain] {
        capture.interrupt(LIMIT);
    }
    let largest = |interface: &str| {
        let lengths = tshark(&lab, interface, "udp", &["udp.length"]);
        lengths.iter().filter_map(|line| line.parse::<usize>().ok()).max().unwrap_or(0)
    };
    assert!(largest("down0") >= 1472, "players get packets of {} bytes", largest("down0"));
    assert!((1300..=1380).contains(&largest("up0")), "the hop's are of {}", largest("up0"));
    let fragments = tshark(&lab, "up0", "ip.flags.mf == 1 || ip.frag_offset > 0", &["frame.number"]);
    assert!(fragments.is_empty(), "{} fragments", fragments.len());
}
