//! Mutual handshakes between members.

use std::sync::Arc;
use std::time::{Duration, Instant};

use msm_auth::identity::UnixTime;
use msm_auth::identity::ephemeral::{Ephemeral, EphemeralCa, EphemeralSource};
use msm_auth::identity::id::{SpiffeId, TrustDomain};
use msm_auth::identity::tls::{AllowedPeers, client_config, server_config, server_name, system_clock};

use crate::Result;
use crate::report::Report;

/// Mutual TLS between two members, both in this thread.
///
/// # Errors
///
/// They do not agree.
pub fn handshakes(report: &mut Report) -> Result<()> {
    let ca = Arc::new(EphemeralCa::new(
        Ephemeral::ForTests,
        TrustDomain::parse("bench.example")?,
        UnixTime::now(),
    )?);
    let source = |path: &str| -> Result<Arc<EphemeralSource>> {
        let id = SpiffeId::parse(&format!("spiffe://bench.example{path}"))?;
        let life = Duration::from_secs(3600);
        Ok(Arc::new(EphemeralSource::new(Arc::clone(&ca), id, life, UnixTime::now())?))
    };
    let server = server_config(source("/server")?, system_clock())?;
    let client = client_config(source("/client")?, AllowedPeers::AnyAuthenticated, system_clock())?;
    let (mut count, start) = (0u32, Instant::now());
    while start.elapsed() < Duration::from_secs(3) {
        let mut one = rustls::ClientConnection::new(Arc::clone(&client), server_name())?;
        let mut two = rustls::ServerConnection::new(Arc::clone(&server))?;
        while one.is_handshaking() || two.is_handshaking() {
            let mut wire = Vec::new();
            one.write_tls(&mut wire)?;
            two.read_tls(&mut wire.as_slice())?;
            two.process_new_packets()?;
            wire.clear();
            while two.wants_write() {
                two.write_tls(&mut wire)?;
            }
            let mut rest = wire.as_slice();
            while !rest.is_empty() {
                one.read_tls(&mut rest)?;
                one.process_new_packets()?;
            }
        }
        count += 1;
    }
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    println!("{rate:.0} mutual handshakes a second on one core, both sides on it: {:.2} ms each", 1e3 / rate);
    report.figure("mutual handshakes a second and core, both sides", rate);
    Ok(())
}
