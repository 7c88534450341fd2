//! Identities from a real SPIRE server and agent, as `deploy/spire` runs them.

use crate::hop::{start_far, start_near};
use crate::lab::{Lab, PROXY, Place, SERVER};
use crate::need::{Peer, have, spire, workspace};
use crate::process::{Finished, Process};
use crate::proxy::{BINARY, Proxy, url};
use crate::readers::{Frames, no_damage};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(40);
/// How long an SVID lives: the agent renews it in about half of that.
const TTL: u64 = 20;

fn script(lab: &Lab, name: &str) -> Command {
    let mut command = lab.command(Place::Proxy, workspace().join("deploy/spire").join(name));
    command
        .env("SPIRE_DIR", lab.file("spire"))
        .env("SPIRE_TRUST_DOMAIN", "peers.example")
        .env("SPIRE_BIN", spire().canonicalize().unwrap());
    command
}

/// Server and agent, ready.
fn start_spire(lab: &Lab, name: &str) -> Process {
    let mut process = lab.start(name, script(lab, "run.sh"));
    process.until(LIMIT, "the Workload API", |process| process.out().contains("ready: "));
    process
}

/// A proxy of its own path, by which the agent knows it.
fn workload(lab: &Lab, name: &str) -> PathBuf {
    let program = lab.file(&format!("{name}-msm-proxy"));
    fs::copy(BINARY, &program).unwrap();
    let mut command = script(lab, "register.sh");
    command.arg(format!("/proxy/{name}")).arg(format!("unix:path:{}", program.display()));
    command.arg(TTL.to_string());
    lab.run(&format!("register-{name}"), command, LIMIT).success();
    program
}

/// A picture every 40 ms, for longer than the test takes.
fn publish(lab: &Lab) -> Process {
    let mut command = lab.command(Place::Server, "ffmpeg");
    command.args(["-v", "warning", "-nostdin", "-re", "-f", "lavfi", "-i", "testsrc=s=320x240:r=25"]);
    command.args([
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-tune",
        "zerolatency",
        "-g",
        "25",
        "-t",
        "300",
    ]);
    command.args(["-f", "rtsp", &format!("rtsp://{SERVER}:8554/cam")]);
    lab.start("ffmpeg-publisher", command)
}

/// Reads pictures for so long.
fn read(lab: &Lab, name: &str, seconds: u64) -> Process {
    let mut command = lab.command(Place::Client, "ffmpeg");
    command.args(["-v", "level+warning", "-nostdin", "-rtsp_transport", "udp", "-i", &url("cam")]);
    command.args(["-t", &seconds.to_string(), "-vsync", "passthrough", "-f", "framecrc"]);
    command.arg(format!("{name}.frames"));
    lab.start(name, command)
}

fn pictures(lab: &Lab, name: &str, finished: &Finished) -> usize {
    no_damage(name, &finished.err);
    Frames::read(&lab.file(&format!("{name}.frames"))).video
}

/// Waits until a DESCRIBE of the stream at the near proxy is answered like this.
fn wait_status(lab: &Lab, wanted: &str) {
    let ask = format!(
        "exec 3<>/dev/tcp/{PROXY}/8554 && printf 'DESCRIBE {} RTSP/1.0\\r\\nCSeq: 1\\r\\n\\r\\n' >&3 && head -n 1 <&3",
        url("cam")
    );
    let deadline = Instant::now() + LIMIT;
    loop {
        let output = lab.command(Place::Client, "timeout").args(["5", "bash", "-c", &ask]).output().unwrap();
        let status = String::from_utf8_lossy(&output.stdout).into_owned();
        if status.starts_with(&format!("RTSP/1.0 {wanted}")) {
            return;
        }
        assert!(Instant::now() < deadline, "DESCRIBE is answered {status:?}, not {wanted}");
        sleep(Duration::from_millis(200));
    }
}

fn expiry(near: &Proxy<'_>) -> u64 {
    near.metric("msm_identity_expires_seconds", &[]) as u64
}

#[test]
fn a_stream_outlives_its_identities_and_ends_with_the_last_one() {
    if !have(&[Peer::Ffmpeg, Peer::Spire]) {
        return;
    }
    let lab = Lab::new();
    let authority = start_spire(&lab, "spire");
    let identity =
        format!("identity: {{workload_api: \"unix://{}\"}}\n", lab.file("spire/agent.sock").display());
    let (far_program, near_program) = (workload(&lab, "far"), workload(&lab, "near"));
    let far = start_far(&lab, &far_program, &identity);
    let near = start_near(&lab, &near_program, &identity);
    let _publisher = publish(&lab);
    wait_status(&lab, "200");

    let mut seen = BTreeSet::from([expiry(&near)]);
    let began = Instant::now();
    let reader = read(&lab, "long", 60);
    while seen.len() < 4 {
        assert!(began.elapsed() < Duration::from_secs(60), "{} identities in a minute", seen.len());
        sleep(Duration::from_millis(500));
        seen.insert(expiry(&near));
    }
    let took = began.elapsed();
    let rekeys = near.metric("msm_hop_rekeys_total", &[]);
    println!("{} identities and {rekeys} re-keyings in {took:?}", seen.len());
    assert!(rekeys >= 3.0);
    let finished = reader.finish(Duration::from_secs(90)).success();
    let pictures = pictures(&lab, "long", &finished);
    assert!((1490..=1510).contains(&pictures), "{pictures} pictures of a minute");
    near.print_losses();
    for lost in ["msm_hop_lost_total", "msm_lost_total", "msm_reader_lost_total"] {
        assert_eq!(near.metric(lost, &[]), 0.0, "{lost}");
    }
    assert_eq!(near.metric("msm_dropped_total", &["srtp"]), 0.0);

    // Without an agent the stream goes on until the SVIDs expire, and then ends with an error in the log.
    let reader = read(&lab, "last", 120);
    sleep(Duration::from_secs(3));
    authority.interrupt(LIMIT);
    let gone = Instant::now();
    let loud =
        |log: String| log.lines().any(|line| line.contains("ERROR") && line.contains("trusted no more"));
    while !loud(near.log()) && !loud(far.err()) {
        assert!(gone.elapsed() < Duration::from_secs(2 * TTL + 10), "it goes on without an identity");
        sleep(Duration::from_millis(100));
    }
    let went_on = gone.elapsed();
    println!("went on for {went_on:?} without an agent");
    assert!(went_on > Duration::from_secs(TTL / 4), "ended after {went_on:?}");
    wait_status(&lab, "502");
    drop(reader);

    let _authority = start_spire(&lab, "spire-again");
    wait_status(&lab, "200");
    let finished = read(&lab, "again", 2).finish(LIMIT).success();
    assert!(Frames::read(&lab.file("again.frames")).video >= 40, "{}", finished.err);
}
