//! How many sessions one core sets up in a second: DESCRIBE, SETUP, PLAY and TEARDOWN, each on a connection of its own.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::Result;
use crate::addresses::free_port_pair;
use crate::msm::Proxy;
use crate::report::{Report, median};
use crate::rtsp::Reader;

/// Sessions of a round, and rounds.
const SESSIONS: u32 = 500;
const ROUNDS: usize = 5;

/// One worker on one CPU; what counts is the time that it computes, clients have the other.
///
/// # Errors
///
/// The proxy does not start, or refuses a session.
pub fn set_up_rate(report: &mut Report, cpu: Option<usize>) -> Result<()> {
    let mut proxy = Proxy::start(1, cpu)?;
    let media = free_port_pair()?;
    proxy.stream(1, 0, media)?;
    let server = proxy.server();
    let mut rates = Vec::new();
    let mut longest = Duration::ZERO;
    for _ in 0..ROUNDS {
        let before = proxy.process().cpu_time()?;
        for _ in 0..SESSIONS {
            let began = Instant::now();
            let mut reader = Reader::connect(server, "bench/0", Ipv4Addr::LOCALHOST)?;
            reader.play(media)?;
            longest = longest.max(began.elapsed());
            reader.leave()?;
        }
        let used = proxy.process().cpu_time()?.saturating_sub(before);
        rates.push(f64::from(SESSIONS) / used.as_secs_f64());
    }
    let rate = median(&rates).ok_or("no round")?;
    println!(
        "{SESSIONS} sessions a round, one after the other: {rate:.0} a second of one core; the longest set-up took {:.1} ms",
        longest.as_secs_f64() * 1e3
    );
    report.figure("sessions set up and ended, a second of a core", rate);
    Ok(())
}
