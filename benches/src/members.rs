//! Members of a mesh: proxies with an identity of one authority.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use msm_auth::identity::UnixTime;
use msm_auth::identity::ephemeral::{Ephemeral, EphemeralCa};
use msm_auth::identity::id::{SpiffeId, TrustDomain};

use crate::Result;

/// What proxies are not to run into here, and nothing that would listen beside.
const COMMON: &str = "log: {level: warn}\n\
    limits: {connections: 20000, connections_per_peer: 20000, sessions_per_peer: 20000, setup_rate: 100000, \
    readers: 20000, streams: 5000, session_timeout: 10m}\n";

/// An authority, and a directory with what it issued. The directory goes with it.
#[derive(Debug)]
pub struct Authority {
    ca: EphemeralCa,
    directory: PathBuf,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    ///
    /// The directory cannot be made.
    pub fn new() -> Result<Self> {
        let ca =
            EphemeralCa::new(Ephemeral::ForTests, TrustDomain::parse("bench.example")?, UnixTime::now())?;
        let directory = std::env::temp_dir().join(format!("msm-bench-{}", std::process::id()));
        fs::create_dir_all(&directory)?;
        Ok(Self { ca, directory })
    }

    /// The `identity` of a member's configuration, whose files are written.
    ///
    /// # Errors
    ///
    /// They cannot be.
    pub fn identity(&self, name: &str) -> Result<String> {
        let id = SpiffeId::parse(&format!("spiffe://bench.example/{name}"))?;
        let issued = self.ca.issue(&id, Duration::from_secs(24 * 3600), UnixTime::now())?;
        let write = |kind: &str, label: &str, der: &[u8]| -> Result<String> {
            let file = self.directory.join(format!("{name}-{kind}.pem"));
            let text = base64::engine::general_purpose::STANDARD.encode(der);
            fs::write(&file, format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n"))?;
            Ok(file.display().to_string())
        };
        Ok(format!(
            "identity: {{files: {{certificate: {}, key: {}, bundle: {}}}}}\n",
            write("svid", "CERTIFICATE", &issued.chain.concat())?,
            write("key", "PRIVATE KEY", &issued.key)?,
            write("bundle", "CERTIFICATE", self.ca.certificate())?,
        ))
    }

    /// The source of a member's identity in this process.
    pub fn authority(&self) -> &EphemeralCa {
        &self.ca
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Where the far proxy says what it counts: the port next to the plain listener's.
pub fn metrics(plain: SocketAddr) -> SocketAddr {
    SocketAddr::new(plain.ip(), plain.port() + 1)
}

/// Packets that a proxy has sent to readers, by its own count.
///
/// # Errors
///
/// It does not answer.
pub fn packets_sent(plain: SocketAddr) -> Result<u64> {
    let mut stream = TcpStream::connect(metrics(plain))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let counts = text.lines().filter(|line| line.starts_with("msm_packets_total") && line.contains("\"tx\""));
    Ok(counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
}

/// A proxy that takes and serves streams, on a plain and a mesh listener. Members read what is below `mesh/`.
pub fn far(identity: &str, plain: SocketAddr, mesh: SocketAddr, media: u16, workers: usize) -> String {
    format!(
        "{identity}{COMMON}workers: {workers}\nadmin: {{address: off, metrics: \"{}\", ready: off}}\nlisteners:\n  \
         - {{name: plain, address: \"{plain}\", ports: \"{media}-{}\"}}\n  \
         - {{name: mesh, address: \"{mesh}\", protocol: mesh}}\n\
         routes:\n  - {{name: members, match: {{url: \"/mesh/{{path...}}\", actions: [read]}}, allow: [\"spiffe://bench.example/*\"]}}\n  \
         - {{name: all, match: {{url: \"/{{path...}}\"}}}}\n",
        metrics(plain),
        media + 1
    )
}

/// A proxy before it, with these routes and clusters. Its mesh port is at the same address, so that a packet finds its way to it as
/// one to a plain port does.
pub fn near(identity: &str, plain: SocketAddr, media: u16, routes: &str) -> String {
    format!(
        "{identity}{COMMON}workers: 1\nadmin: {{address: off, metrics: off, ready: off}}\nlisteners:\n  \
         - {{name: plain, address: \"{plain}\", ports: \"{media}-{}\"}}\n  \
         - {{name: mesh, address: \"{}:{}\", protocol: mesh}}\n{routes}",
        media + 1,
        plain.ip(),
        plain.port() + 10,
    )
}
