//! Fifty readers of one stream: probes, and among them ffmpeg and GStreamer.

use super::probe::{self, Seen, Way};
use crate::lab::{Lab, Place};
use crate::need::workspace;
use crate::process::Process;
use nix::sched::{CloneFlags, setns};
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// All readers of the stream that the fault is done to.
pub(crate) const READERS: usize = 50;
/// Those of them that are real players, of each of four kinds: ffmpeg and GStreamer, UDP and TCP.
const OF_EACH: usize = 2;

/// A thread with probes in the clients' namespace.
pub(crate) struct Probes(JoinHandle<Vec<Seen>>);

impl Probes {
    /// Starts `count` probes of `url`, half of them over TCP, which read until `end`.
    pub(crate) fn start(lab: &Lab, url: &str, count: usize, end: Instant) -> Probes {
        let namespace = format!("/run/netns/{}", lab.namespace(Place::Client));
        let url = url.to_owned();
        Probes(std::thread::spawn(move || {
            // Of this thread alone.
            setns(File::open(namespace).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let ways = [Way::Udp, Way::Tcp];
                let tasks: Vec<_> = (0..count)
                    .map(|number| tokio::spawn(probe::read(url.clone(), ways[number % 2], end)))
                    .collect();
                let mut all = Vec::new();
                for task in tasks {
                    all.push(task.await.unwrap());
                }
                all
            })
        }))
    }

    pub(crate) fn done(self) -> Vec<Seen> {
        self.0.join().unwrap()
    }
}

/// A thread in the clients' namespace whose readers come and go, one after the other, without a pause.
pub(crate) struct Visitors {
    thread: JoinHandle<(usize, Vec<String>)>,
    stop: Arc<AtomicBool>,
}

impl Visitors {
    pub(crate) fn start(lab: &Lab, url: &str) -> Visitors {
        let namespace = format!("/run/netns/{}", lab.namespace(Place::Client));
        let (url, stop) = (url.to_owned(), Arc::<AtomicBool>::default());
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            setns(File::open(namespace).unwrap(), CloneFlags::CLONE_NEWNET).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let (mut served, mut refused) = (0, Vec::new());
            while !stopped.load(Ordering::Relaxed) {
                let way = if served % 2 == 0 { Way::Udp } else { Way::Tcp };
                match runtime.block_on(probe::visit(&url, way)) {
                    Ok(()) => served += 1,
                    Err(why) => refused.push(format!("visitor {served} by {way:?}: {why}")),
                }
            }
            (served, refused)
        });
        Visitors { thread, stop }
    }

    /// How many were served, and why the others were not.
    pub(crate) fn done(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

/// A real player that goes on until it is told to end.
pub(crate) struct Player {
    process: Process,
    frames: PathBuf,
}

impl Player {
    fn ffmpeg(lab: &Lab, url: &str, number: usize, transport: &str) -> Player {
        let frames = lab.file(&format!("player-{number}.frames"));
        let mut command = lab.command(Place::Client, "ffmpeg");
        let port = 20_000 + number * 8;
        command.args(["-v", "error", "-nostdin", "-rtsp_transport", transport]);
        command.args(["-min_port", &port.to_string(), "-max_port", &(port + 7).to_string(), "-i", url]);
        command.args(["-map", "0:v", "-map", "0:a", "-c", "copy", "-flush_packets", "1", "-f", "framecrc"]);
        command.arg(&frames);
        Player { process: lab.start(&format!("player-{number}"), command), frames }
    }

    fn gstreamer(lab: &Lab, url: &str, number: usize, transport: &str) -> Player {
        let mut command = lab.command(Place::Client, "/usr/bin/python3");
        command.arg(workspace().join("msm-proxy/tests/peers/gst_watcher.py"));
        command.args([url, &format!("protocols={transport}")]);
        let frames = lab.file(&format!("player-{number}.out"));
        Player { process: lab.start(&format!("player-{number}"), command), frames }
    }

    /// Frames that it has got so far: lines of video in ffmpeg's list, of the watcher's output.
    fn count(&self) -> usize {
        let text = fs::read_to_string(&self.frames).unwrap_or_default();
        text.lines().filter(|line| line.starts_with("0,")).count()
    }

    /// Whether it runs and goes on getting frames.
    pub(crate) fn goes_on(&self) -> Result<(), String> {
        let before = self.count();
        let deadline = Instant::now() + Duration::from_secs(3);
        while self.count() <= before + 10 {
            if Instant::now() > deadline {
                let name = self.frames.display();
                return Err(format!(
                    "{name}: {before} frames, then {}: {}",
                    self.count(),
                    self.process.err()
                ));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

/// Starts the real players, and waits until each has its first frames.
pub(crate) fn players(lab: &Lab, url: &str) -> Vec<Player> {
    let mut players = Vec::new();
    for number in 0..OF_EACH {
        let number = number * 4;
        players.push(Player::ffmpeg(lab, url, number, "udp"));
        players.push(Player::ffmpeg(lab, url, number + 1, "tcp"));
        players.push(Player::gstreamer(lab, url, number + 2, "udp"));
        players.push(Player::gstreamer(lab, url, number + 3, "tcp"));
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    for player in &players {
        while player.count() < 5 {
            assert!(Instant::now() < deadline, "a player gets nothing: {}", player.process.err());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    players
}
