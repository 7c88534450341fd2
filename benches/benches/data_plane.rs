//! What the data plane costs: CPU time of a relay per delivered packet, beside relays without any processing; and what identity and
//! encryption add to it.
//!
//! `cargo bench -p msm-benches --bench data_plane -- [--quick] [--only NAMES] [--readers N] [--burst N] [--no-msm]`
//!
//! NAMES are some of `cells,calls,latency,memory,workers,streams,srtp,repair,rs,routing,pickers,handshakes,fanout,rate,protected,setup`, with commas.
//! Exits with 1 if a bound is missed or something could not be measured.

use std::process::ExitCode;
use std::time::Duration;

use msm_benches::cell::{Effort, measure};
use msm_benches::report::Report;
use msm_benches::sinks::Sinks;
use msm_benches::{
    Result, addresses, fanout, handshakes, modes, msm, pickers, process, protected, rate, relay, repair,
    routing, rs, setup, srtp,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What the command line asked for.
struct Options {
    quick: bool,
    only: Vec<String>,
    readers: Option<usize>,
    burst: Option<usize>,
    msm: bool,
}

impl Options {
    fn from_arguments() -> Result<Self> {
        let mut options = Self { quick: false, only: Vec::new(), readers: None, burst: None, msm: true };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} takes a value"));
            match argument.as_str() {
                // Cargo's own.
                "--bench" => {}
                "--quick" => options.quick = true,
                "--no-msm" => options.msm = false,
                "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
                "--readers" => options.readers = Some(value()?.parse()?),
                "--burst" => options.burst = Some(value()?.parse()?),
                _ => return Err(format!("unknown argument {argument}").into()),
            }
        }
        Ok(options)
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    fn effort(&self) -> Effort {
        if self.quick {
            Effort { rounds: 7, round: Duration::from_millis(40) }
        } else {
            Effort { rounds: 15, round: Duration::from_millis(90) }
        }
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    relay::run_if_asked()?;
    let options = Options::from_arguments()?;
    // A thousand readers are two thousand sockets here and a thousand in the proxy.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;

    let mut report = Report::default();
    if options.msm {
        msm::binary()?;
    }
    let (own, cpu) = process::cpus();
    process::pin_self(own)?;
    let port = addresses::free_port_pair()?;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load average at the start: {}", load.trim());

    if options.wants("cells") {
        cells(&mut report, &options, port, cpu);
    }
    let mut mode = |name: &str, work: &mut dyn FnMut(&mut Report) -> Result<()>| {
        if options.wants(name) {
            println!("\n{name}");
            if let Err(error) = work(&mut report) {
                report.failure(format!("{name}: {error}"));
            }
        }
    };
    mode("calls", &mut |report| modes::system_calls(report, port, cpu, options.msm));
    mode("latency", &mut |report| modes::latency(report, port, cpu, options.msm));
    if options.msm {
        mode("memory", &mut |report| modes::memory(report, port));
        mode("workers", &mut |report| modes::workers(report, port, options.effort()));
        mode("streams", &mut |report| modes::streams(report, port, cpu, options.effort()));
    }
    mode("srtp", &mut srtp::srtp);
    mode("repair", &mut repair::repair);
    mode("rs", &mut rs::reed_solomon);
    if options.msm {
        mode("routing", &mut routing::routing);
    }
    mode("pickers", &mut pickers::pickers);
    mode("handshakes", &mut handshakes::handshakes);
    if options.msm {
        mode("fanout", &mut |report| fanout::fan_out(report, own, cpu));
        mode("rate", &mut |report| rate::set_up_rate(report, cpu));
        mode("protected", &mut |report| protected::protected(report, own, cpu));
        // Two members, a source and a client: they share what CPUs there are.
        mode("setup", &mut |report| {
            process::release_self(own)?;
            setup::set_ups(report)
        });
    }
    report.finish(&msm::target_directory()?.join("data_plane.json"))
}

/// The table: each number of readers with its own relays, which stay for all its bursts.
fn cells(report: &mut Report, options: &Options, port: u16, cpu: Option<usize>) {
    let all_readers: &[usize] = if options.quick { &[1, 10, 100] } else { &[1, 10, 100, 1000] };
    let all_bursts: &[usize] = if options.quick { &[1, 16] } else { &[1, 4, 16, 44] };
    Report::head();
    for readers in all_readers.iter().copied().filter(|n| options.readers.is_none_or(|only| only == *n)) {
        let started = Sinks::new(readers, port).and_then(|mut sinks| {
            let relays = modes::relays(&mut sinks, cpu, options.msm)?;
            Ok((sinks, relays))
        });
        let (mut sinks, mut relays) = match started {
            Ok(started) => started,
            Err(error) => {
                report.failure(format!("{readers} readers: {error}"));
                continue;
            }
        };
        for burst in all_bursts.iter().copied().filter(|n| options.burst.is_none_or(|only| only == *n)) {
            for gro in [true, false] {
                let costs = sinks
                    .set_gro(gro)
                    .and_then(|()| measure(&mut relays, &mut sinks, burst, options.effort()));
                match costs {
                    Ok(costs) => report.cell(readers, burst, gro, costs),
                    Err(error) => report.failure(format!("{readers} readers, bursts of {burst}: {error}")),
                }
            }
        }
    }
}
