//! What it costs to find a URL's route among ten thousand, and to load a file of as many.

use std::fmt::Write as _;
use std::hint::black_box;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use msm_core::rng::Rng;
use msm_core::route::{Action, Caller, RequestKey, Route, RouteTable, UrlPattern};
use msm_rtsp::url::RtspUrl;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use crate::report::{Limit, Report, median};
use crate::{Result, msm};

const PATTERNS: usize = 10_000;
const ROUNDS: usize = 31;
/// How often a file is loaded.
const LOADS: usize = 7;

/// A pattern of one of seven kinds, and a URL that it matches.
fn pattern(number: usize) -> (String, String) {
    let site = number % 97;
    match number % 7 {
        0 => (format!("/news/{number}"), format!("rtsp://proxy.example/news/{number}")),
        1 => (
            format!("rtsp://cam-{number}.site-{site}.example/live"),
            format!("rtsp://cam-{number}.site-{site}.example:8554/live"),
        ),
        2 => (
            format!("rtsp://*.{number}.example/{{camera}}"),
            format!("rtsp://north.{number}.example/gate-7/"),
        ),
        3 => (
            format!("/site-{site}/{number}/{{camera}}/{{profile}}"),
            format!("rtsp://10.0.0.1/site-{site}/{number}/gate/main?token=abc"),
        ),
        4 => (format!("/vod/{number}/{{rest...}}"), format!("rtsp://[2001:db8::7]/vod/{number}/a/b/c.mp4")),
        5 => {
            (format!("/{{site}}/{number}/audio"), format!("rtsp://proxy.example/site-{site}/{number}/audio"))
        }
        _ => (
            format!("rtsps://proxy-{site}.example:322/tls/{number}"),
            format!("rtsps://proxy-{site}.example/tls/{number}"),
        ),
    }
}

/// Lookups among ten thousand distinct patterns, and the load of a file of as many routes.
///
/// # Errors
///
/// A URL is not found, or the proxy's binary does not run.
pub fn routing(report: &mut Report) -> Result<()> {
    lookups(report)?;
    loads(report)
}

fn lookups(report: &mut Report) -> Result<()> {
    let mut routes = Vec::with_capacity(PATTERNS);
    let mut urls = Vec::with_capacity(PATTERNS);
    for number in 0..PATTERNS {
        let (pattern, url) = pattern(number);
        routes.push(Route::new(format!("route-{number}"), UrlPattern::parse(&pattern)?));
        urls.push((number, url));
    }
    let began = Instant::now();
    let table = RouteTable::new(routes);
    report.figure(format!("index of {PATTERNS} routes, ms"), began.elapsed().as_secs_f64() * 1e3);
    let mut rng = Rng::new(1);
    for last in (1..urls.len()).rev() {
        urls.swap(last, (rng.next_u64() % (last as u64 + 1)) as usize);
    }
    let missing: Vec<String> =
        urls.iter().map(|(number, _)| format!("rtsp://proxy.example/none/{number}")).collect();
    let find = |url: &str| {
        let url = RtspUrl::parse(url).ok()?;
        let key = RequestKey {
            scheme: url.scheme(),
            host: url.host(),
            port: Some(url.port()),
            query: url.query(),
            caller: Caller::Anonymous,
            ..RequestKey::new(url.path(), Action::Read)
        };
        table.route(&key).ok().map(|found| found.index)
    };
    for (number, url) in &urls {
        if find(url) != Some(*number) {
            return Err(format!("{url} is not found by its pattern").into());
        }
    }
    let (mut hits, mut misses) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        urls.iter().for_each(|(_, url)| {
            black_box(find(black_box(url)));
        });
        hits.push(began.elapsed().as_secs_f64() * 1e9 / PATTERNS as f64);
        let began = Instant::now();
        missing.iter().for_each(|url| {
            black_box(find(black_box(url)));
        });
        misses.push(began.elapsed().as_secs_f64() * 1e9 / PATTERNS as f64);
    }
    let (hit, miss) = (median(&hits).unwrap_or(f64::NAN), median(&misses).unwrap_or(f64::NAN));
    println!("{PATTERNS} patterns, URL parsed and found: {hit:.0} ns; not found: {miss:.0} ns");
    report.bound(format!("lookup among {PATTERNS} patterns, URL parsed, ns"), hit, Limit::Most(1000.0));
    report.bound("the same of a URL that no pattern matches, ns", miss, Limit::Most(1000.0));
    Ok(())
}

/// The proxy reads, checks and indexes a file, and says how one URL is routed.
fn loads(report: &mut Report) -> Result<()> {
    let mut yaml =
        String::from("admin: {address: off}\nclusters:\n  back: {endpoints: ['rtsp://10.0.0.1']}\nroutes:\n");
    for number in 0..PATTERNS {
        let (pattern, _) = pattern(number);
        writeln!(
            yaml,
            "  - name: route-{number}\n    match: {{url: '{pattern}', actions: [read]}}\n    backends: [{{cluster: back}}]"
        )?;
    }
    let directory = msm::target_directory()?;
    let file = directory.join("routes-10000.yaml");
    std::fs::write(&file, yaml)?;
    let binary = msm::binary()?;
    let (mut cpu, mut wall) = (Vec::new(), Vec::new());
    for _ in 0..LOADS {
        let (before, began) = (spent()?, Instant::now());
        let status = Command::new(&binary)
            .args(["explain", "--config"])
            .arg(&file)
            .arg("rtsp://proxy.example/news/7000")
            .stdout(Stdio::null())
            .status()?;
        if !status.success() {
            return Err("the file of 10,000 routes is refused".into());
        }
        cpu.push((spent()? - before).as_secs_f64() * 1e3);
        wall.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let (cpu, wall) = (median(&cpu).unwrap_or(f64::NAN), median(&wall).unwrap_or(f64::NAN));
    println!(
        "a file of {PATTERNS} routes read, checked twice and indexed, by a process of its own: {cpu:.0} ms of CPU, {wall:.0} ms in all"
    );
    report.bound(format!("load of a file of {PATTERNS} routes, ms of CPU"), cpu, Limit::Most(400.0));
    Ok(())
}

/// CPU time of processes that have ended.
fn spent() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let of = |time: TimeVal| {
        Duration::from_secs(u64::try_from(time.tv_sec()).unwrap_or_default())
            + Duration::from_micros(u64::try_from(time.tv_usec()).unwrap_or_default())
    };
    Ok(of(usage.user_time()) + of(usage.system_time()))
}
