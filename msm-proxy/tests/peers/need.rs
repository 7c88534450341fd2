//! Which peers a test needs, and what happens when one is not installed.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Software that is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Ffmpeg,
    Gstreamer,
    GstServer,
    /// What GLib speaks TLS by.
    GstTls,
    Live555,
    Nftables,
    Openssl,
    /// That of today.
    SidOpenssl,
    /// Its server and agent. The one that not every machine can have: it is built with Go.
    Spire,
    Tshark,
    /// A network interface that a program makes: the kernel's.
    Tun,
    Vlc,
}

/// How the lack of a peer ends that cannot be installed on this machine.
const NOT_HERE: &str = "and cannot be installed here";

/// Whether the test can run. Says which peer is missing otherwise.
///
/// # Panics
///
/// When one is missing that can be installed here, and `MSM_REQUIRE_PEERS` is set.
pub(crate) fn have(peers: &[Peer]) -> bool {
    let missing = namespaces_missing().or_else(|| peers.iter().copied().find_map(missing));
    let Some(missing) = missing else { return true };
    let optional = missing.ends_with(NOT_HERE);
    let test = std::thread::current().name().unwrap_or("peers").to_owned();
    if !optional && std::env::var_os("MSM_REQUIRE_PEERS").is_some_and(|value| value != "0") {
        panic!("{missing}, and MSM_REQUIRE_PEERS is set: run scripts/install-peers.sh");
    }
    let line = format!("SKIPPED: {test}: {missing}\n");
    // Not `eprintln!`: that is kept back for a test that passes.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(path) = std::env::var_os("MSM_SKIP_FILE") {
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).expect("MSM_SKIP_FILE can be written");
    }
    false
}

fn missing(peer: Peer) -> Option<String> {
    let programs: &[&str] = match peer {
        Peer::Ffmpeg => &["ffmpeg", "ffprobe"],
        Peer::Gstreamer => return gst_missing(),
        Peer::GstServer => return gst_server_missing(),
        Peer::GstTls => return gst_tls_missing(),
        Peer::Openssl => &["openssl"],
        Peer::Spire => return spire_missing(),
        Peer::Tshark => &["tshark", "dumpcap"],
        Peer::Nftables => &["nft"],
        Peer::Tun => return tun_missing(),
        Peer::Live555 => return in_sid_missing(&["openRTSP", "live555MediaServer"]),
        Peer::SidOpenssl => return in_sid_missing(&["openssl"]),
        Peer::Vlc => return in_sid_missing(&["cvlc"]),
    };
    programs.iter().find(|program| !on_path(program)).map(|program| format!("{program} is not installed"))
}

fn tun_missing() -> Option<String> {
    let missing = !Path::new("/dev/net/tun").exists();
    missing.then(|| format!("/dev/net/tun is not there, {NOT_HERE}"))
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn spire_missing() -> Option<String> {
    let program =
        ["spire-server", "spire-agent"].into_iter().find(|program| !spire().join(program).exists())?;
    let why = format!("{program} is not in {}", spire().display());
    let can = has_go() && !spire().join("unavailable").exists();
    Some(if can { why } else { format!("{why}, {NOT_HERE}") })
}

/// Whether Go is there and new enough to build SPIRE: the installer asks the same.
fn has_go() -> bool {
    let Ok(output) = Command::new("go").args(["env", "GOVERSION"]).stderr(Stdio::null()).output() else {
        return false;
    };
    let version = String::from_utf8_lossy(&output.stdout).into_owned();
    let minor =
        version.trim().strip_prefix("go1.").and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    minor.and_then(|minor| minor.parse::<u32>().ok()).is_some_and(|minor| minor >= 25)
}

/// Where SPIRE's programs are.
pub(crate) fn spire() -> PathBuf {
    peers().join("spire")
}

fn in_sid_missing(programs: &[&str]) -> Option<String> {
    let program = programs.iter().find(|program| !sid().join("usr/bin").join(program).exists())?;
    Some(format!("{program} is not in {}", sid().display()))
}

/// The publisher is `gst-launch-1.0`, the players are Python's.
fn gst_missing() -> Option<String> {
    static ANSWER: OnceLock<Option<String>> = OnceLock::new();
    let probe = || {
        if !on_path("gst-launch-1.0") {
            return Some("gst-launch-1.0 is not installed".to_owned());
        }
        python_lacks("Gst")
    };
    ANSWER.get_or_init(probe).clone()
}

fn gst_server_missing() -> Option<String> {
    static ANSWER: OnceLock<Option<String>> = OnceLock::new();
    ANSWER.get_or_init(|| python_lacks("GstRtspServer")).clone()
}

fn gst_tls_missing() -> Option<String> {
    static ANSWER: OnceLock<Option<String>> = OnceLock::new();
    let probe = || {
        let ask = "from gi.repository import Gio; exit(not Gio.TlsBackend.get_default().supports_tls())";
        let python = Command::new("/usr/bin/python3").args(["-c", ask]).stderr(Stdio::null()).status();
        let speaks = python.is_ok_and(|status| status.success());
        (!speaks).then(|| "glib-networking is not installed".to_owned())
    };
    ANSWER.get_or_init(probe).clone()
}

/// What Debian's interpreter cannot import, whatever python3 comes first in `PATH`.
fn python_lacks(library: &str) -> Option<String> {
    let load =
        format!("import gi; gi.require_version('{library}', '1.0'); from gi.repository import {library}");
    let python = Command::new("/usr/bin/python3").args(["-c", &load]).stderr(Stdio::null()).status();
    let loads = python.is_ok_and(|status| status.success());
    (!loads).then(|| format!("{library} is not installed for /usr/bin/python3"))
}

/// Network namespaces need root and iproute2.
fn namespaces_missing() -> Option<String> {
    static ANSWER: OnceLock<Option<String>> = OnceLock::new();
    let probe = || {
        let name = format!("msm-probe-{}", std::process::id());
        let ip = |verb: &str| {
            let ip = Command::new("ip").args(["netns", verb, &name]).stderr(Stdio::null()).status();
            ip.is_ok_and(|status| status.success())
        };
        (!(ip("add") && ip("delete"))).then(|| "network namespaces need root and iproute2".to_owned())
    };
    ANSWER.get_or_init(probe).clone()
}

/// The root of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn sid() -> PathBuf {
    peers().join("sid")
}

fn peers() -> PathBuf {
    let peers = std::env::var_os("MSM_PEERS_DIR").map(PathBuf::from);
    peers.unwrap_or_else(|| workspace().join(".peers"))
}
