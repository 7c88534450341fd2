//! What it costs an application to take what the hub has for it: by the Rust API, and by the C ABI.
//!
//! A publisher in this process sends bursts, the hub puts them into a reader's queue, and then they are taken: so many at a time that neither waits
//! for the other. All ways take turns within each round; figures are medians. `cargo bench -p msm-ffi` exits with 1 where a bound is missed.
#![allow(missing_docs, clippy::indexing_slicing)]

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::process::ExitCode;
use std::ptr::null;
use std::time::{Duration, Instant};

use msm::blocking;
use msm_ffi::{
    msm_burst, msm_burst_release, msm_mesh, msm_mesh_free, msm_mesh_open, msm_mesh_publish, msm_mesh_start,
    msm_publisher, msm_publisher_free, msm_publisher_send_burst, msm_reader, msm_reader_free,
    msm_reader_recv, msm_reader_recv_burst, msm_reader_statistics, msm_reader_stats, msm_result,
};
use nix::time::{ClockId, clock_gettime};

use msm_benches::Result;
use msm_benches::msm::target_directory;
use msm_benches::report::{Limit, Report, median};

/// What a burst taken by C may cost more than by Rust, in nanoseconds.
const MORE_IN_C: f64 = 100.0;
/// What the hub's work and the taking may cost, of the hub's work.
const OF_HUB: f64 = 1.1;
/// Bursts that wait before they are taken; a reader's queue has room for 512.
const WAITING: usize = 400;
const ROUNDS: usize = 61;
/// A video frame of 8 Mbit/s.
const PACKETS: usize = 33;
const BYTES: usize = 1200;
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=bench\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n";

fn main() -> ExitCode {
    let mut report = Report::default();
    let outcome = calls(&mut report).and_then(|()| report.finish(&target_directory()?.join("calls.json")));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The costs of each way.
fn calls(report: &mut Report) -> Result<()> {
    let mut rust = Rust::new()?;
    let c = C::new()?;
    let (mut of_rust, mut of_c) = (Numbers(0), Numbers(0));
    let (mut hub, mut by) = (Vec::new(), [Vec::new(), Vec::new(), Vec::new()]);
    for round in 0..ROUNDS {
        let before = others()?;
        rust.fill(&mut of_rust)?;
        let worked = others()?.saturating_sub(before);
        let taken = rust.take()?;
        c.fill(&mut of_c)?;
        let bursts = c.take(WAITING, msm_reader_recv_burst)?;
        c.fill(&mut of_c)?;
        let packets = c.take(WAITING * PACKETS, msm_reader_recv)?;
        // The first fills caches, and the queue's own memory.
        if round > 0 {
            let each = |time: Duration, of: usize| time.as_nanos() as f64 / of as f64;
            hub.push(each(worked, WAITING));
            by[0].push(each(taken, WAITING));
            by[1].push(each(bursts, WAITING));
            by[2].push(each(packets, WAITING * PACKETS));
        }
    }
    let of = |values: &[f64]| median(values).unwrap_or(f64::NAN);
    let (hub, rust, c, packet) = (of(&hub), of(&by[0]), of(&by[1]), of(&by[2]));
    println!("medians of {ROUNDS} rounds of {WAITING} bursts of {PACKETS} packets of {BYTES} bytes");
    println!("{:<58} {hub:>8.0} ns", "the hub's work for a burst, in the process of its reader");
    println!("{:<58} {rust:>8.0} ns", "a burst by Rust (try_recv_burst)");
    println!("{:<58} {c:>8.0} ns", "a burst by C (msm_reader_recv_burst, msm_burst_release)");
    println!("{:<58} {packet:>8.0} ns", "a packet by C (msm_reader_recv, msm_burst_release)");
    report.bound("ns more for a burst by C than by Rust".to_owned(), c - rust, Limit::Most(MORE_IN_C));
    report.bound("hub and API, of the hub".to_owned(), (hub + rust) / hub, Limit::Most(OF_HUB));
    report.figure("ns a packet by C".to_owned(), packet);
    Ok(())
}

/// CPU time of all other threads of this process.
fn others() -> Result<Duration> {
    let process = Duration::from(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?);
    Ok(process.saturating_sub(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into()))
}

/// Sequence numbers of bursts.
struct Numbers(u16);

impl Numbers {
    /// The next burst.
    fn burst(&mut self) -> Vec<u8> {
        let mut burst = Vec::with_capacity(PACKETS * BYTES);
        for place in 0..PACKETS {
            let marker = if place == PACKETS - 1 { 0x80 } else { 0 };
            burst.extend_from_slice(&[0x80, marker | 96]);
            burst.extend_from_slice(&self.0.to_be_bytes());
            burst.extend_from_slice(&u32::from(self.0 / PACKETS as u16).to_be_bytes());
            burst.extend_from_slice(&[0, 0, 0, 9, 0x65, 0x88]);
            burst.resize((place + 1) * BYTES, 0x55);
            self.0 = self.0.wrapping_add(1);
        }
        burst
    }
}

/// Waits until a reader has had so many packets more.
fn wait_for(wanted: u64, mut had: impl FnMut() -> Result<u64>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while had()? < wanted {
        if Instant::now() > deadline {
            return Err("packets do not come to the reader".into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

struct Rust {
    publisher: blocking::Publisher,
    reader: msm::Reader,
    /// Its statistics are asked for where calls wait.
    _mesh: blocking::Mesh,
}

impl Rust {
    fn new() -> Result<Self> {
        let mesh = blocking::Mesh::start(msm::Mesh::builder().config_text("{}")?.workers(1))?;
        let publisher = mesh.publish("rtsp://bench/rust", SDP)?;
        let reader = mesh.open("rtsp://bench/rust")?.into_async();
        Ok(Self { publisher, reader, _mesh: mesh })
    }

    fn fill(&mut self, numbers: &mut Numbers) -> Result<()> {
        let had =
            || -> Result<u64> { Ok(blocking::wait(self.reader.stats(), None).ok_or("no answer")??.packets) };
        let wanted = had()? + (WAITING * PACKETS) as u64;
        for _ in 0..WAITING {
            self.publisher.feed(msm::Burst::new(0, numbers.burst(), BYTES)?, None)?;
        }
        wait_for(wanted, had)
    }

    fn take(&mut self) -> Result<Duration> {
        let begin = Instant::now();
        for _ in 0..WAITING {
            black_box(self.reader.try_recv_burst()?.ok_or("a burst is missing")?);
        }
        Ok(begin.elapsed())
    }
}

struct C {
    mesh: *mut msm_mesh,
    publisher: *mut msm_publisher,
    reader: *mut msm_reader,
}

fn done(what: &str, result: msm_result) -> Result<()> {
    if result == msm_result::Ok { Ok(()) } else { Err(format!("{what}: {result:?}").into()) }
}

type Receive = unsafe extern "C" fn(*const msm_reader, i64, *mut msm_burst) -> msm_result;

impl C {
    fn new() -> Result<Self> {
        let mut own = Self {
            mesh: std::ptr::null_mut(),
            publisher: std::ptr::null_mut(),
            reader: std::ptr::null_mut(),
        };
        // SAFETY: the strings are, and what is written to is this function's.
        unsafe {
            done("mesh", msm_mesh_start(c"workers: 1".as_ptr(), &raw mut own.mesh))?;
            let (url, sdp) = (c"rtsp://bench/c", std::ffi::CString::new(SDP)?);
            let publisher = &raw mut own.publisher;
            done("publisher", msm_mesh_publish(own.mesh, url.as_ptr(), sdp.as_ptr(), null(), publisher))?;
            done("reader", msm_mesh_open(own.mesh, url.as_ptr(), null(), &raw mut own.reader))?;
        }
        Ok(own)
    }

    fn fill(&self, numbers: &mut Numbers) -> Result<()> {
        let had = || -> Result<u64> {
            let mut statistics = msm_reader_statistics::default();
            // SAFETY: what is written to is this function's.
            done("statistics", unsafe { msm_reader_stats(self.reader, &raw mut statistics) })?;
            Ok(statistics.packets)
        };
        let wanted = had()? + (WAITING * PACKETS) as u64;
        for _ in 0..WAITING {
            let burst = numbers.burst();
            // SAFETY: the bytes are there.
            let sent = unsafe {
                msm_publisher_send_burst(self.publisher, 0, burst.as_ptr(), burst.len(), BYTES, -1)
            };
            done("send", sent)?;
        }
        wait_for(wanted, had)
    }

    fn take(&self, count: usize, receive: Receive) -> Result<Duration> {
        let mut burst = MaybeUninit::<msm_burst>::uninit();
        let begin = Instant::now();
        for _ in 0..count {
            // SAFETY: what is written to is this function's, and it is given back before it is written to again.
            unsafe {
                done("receive", receive(self.reader, 0, burst.as_mut_ptr()))?;
                black_box(burst.as_ptr().as_ref());
                done("release", msm_burst_release(burst.as_mut_ptr()))?;
            }
        }
        Ok(begin.elapsed())
    }
}

impl Drop for C {
    fn drop(&mut self) {
        msm_publisher_free(self.publisher);
        msm_reader_free(self.reader);
        msm_mesh_free(self.mesh);
    }
}
