//! Real readers. Each plays a stream of H.264 and Opus for about three seconds, and fails the test unless every picture
//! decodes.

use crate::lab::{Lab, Place};
use crate::need::{Peer, workspace};
use crate::process::{Finished, Process};
use crate::stalls::Run;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A way to read a stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader {
    pub(crate) peer: Peer,
    pub(crate) over: Over,
    start: fn(&Lab, &str, &str) -> Process,
    check: fn(&Lab, &str, &Finished),
}

/// How media comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    Udp,
    Tcp,
    Multicast,
}

/// Longer than any of them takes.
const LIMIT: Duration = Duration::from_secs(40);
/// The fewest pictures and audio frames of a reading of three seconds.
const PICTURES: usize = 60;
const SOUNDS: usize = 100;

pub(crate) const FFMPEG_UDP: Reader = ffmpeg(Over::Udp, |lab, name, url| start_ffmpeg(lab, name, url, "udp"));
pub(crate) const FFMPEG_TCP: Reader = ffmpeg(Over::Tcp, |lab, name, url| start_ffmpeg(lab, name, url, "tcp"));
pub(crate) const FFMPEG_MULTICAST: Reader =
    ffmpeg(Over::Multicast, |lab, name, url| start_ffmpeg(lab, name, url, "udp_multicast"));
pub(crate) const GST_UDP: Reader =
    gst(Over::Udp, |lab, name, url| start_gst(lab, name, url, "protocols=udp"));
/// With time to ask for what is lost, and to ask again.
pub(crate) const GST_PATIENT: Reader =
    gst(Over::Udp, |lab, name, url| start_gst(lab, name, url, "protocols=udp latency=1000"));
pub(crate) const GST_TCP: Reader =
    gst(Over::Tcp, |lab, name, url| start_gst(lab, name, url, "protocols=tcp"));
/// Takes any certificate.
pub(crate) const GST_TLS: Reader =
    gst(Over::Tcp, |lab, name, url| start_gst(lab, name, url, "protocols=tcp tls-validation-flags=0"));
/// The same over UDP, which is SRTP then.
pub(crate) const GST_SRTP: Reader =
    gst(Over::Udp, |lab, name, url| start_gst(lab, name, url, "protocols=udp tls-validation-flags=0"));
pub(crate) const GST_MULTICAST: Reader =
    gst(Over::Multicast, |lab, name, url| start_gst(lab, name, url, "protocols=udp-mcast"));
pub(crate) const GST_RTSP2: Reader =
    gst(Over::Tcp, |lab, name, url| start_gst(lab, name, url, "protocols=tcp default-rtsp-version=2-0"));
pub(crate) const OPENRTSP_UDP: Reader =
    openrtsp(Over::Udp, |lab, name, url| start_openrtsp(lab, name, url, &[]));
pub(crate) const OPENRTSP_TCP: Reader =
    openrtsp(Over::Tcp, |lab, name, url| start_openrtsp(lab, name, url, &["-t"]));
pub(crate) const VLC_UDP: Reader = vlc(Over::Udp, |lab, name, url| start_vlc(lab, name, url, &[]));
pub(crate) const VLC_TCP: Reader =
    vlc(Over::Tcp, |lab, name, url| start_vlc(lab, name, url, &["--rtsp-tcp"]));

impl Reader {
    /// Reads `url` in the clients' namespace.
    ///
    /// # Panics
    ///
    /// When it gets too little, something damaged, or an error.
    pub(crate) fn read(&self, lab: &Lab, url: &str) {
        self.begin(lab, url).done();
    }

    /// Starts to read; [`Reading::done`] waits and judges.
    pub(crate) fn begin<'lab>(self, lab: &'lab Lab, url: &str) -> Reading<'lab> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{:?}-{}", self.peer, NUMBER.fetch_add(1, Ordering::Relaxed)).to_lowercase();
        let process = (self.start)(lab, &name, url);
        Reading { lab, reader: self, name, process }
    }
}

/// A reader at work.
#[derive(Debug)]
pub(crate) struct Reading<'lab> {
    lab: &'lab Lab,
    reader: Reader,
    name: String,
    process: Process,
}

impl Reading<'_> {
    /// Waits for its end, and counts the packets that it says were missing in the end: for a link that loses some.
    ///
    /// # Panics
    ///
    /// When it failed for another reason.
    pub(crate) fn missed(self) -> u64 {
        let finished = self.process.finish(LIMIT);
        let (mut missed, mut told) = (0, finished.status.is_some_and(|status| status.success()));
        for line in finished.err.lines().chain(finished.out.lines()) {
            // Of ffmpeg, and of `gst_reader.py`.
            let of_ffmpeg = line.split("RTP: missed ").nth(1).and_then(|rest| rest.strip_suffix(" packets"));
            let of_gst = line.strip_prefix("ERROR: ").and_then(|rest| rest.strip_suffix(" packets lost"));
            if let Some(count) = of_ffmpeg.or(of_gst) {
                missed += count.parse::<u64>().unwrap();
                told = true;
            }
        }
        assert!(told, "{}: {:?}\n{}", finished.name, finished.status, finished.err);
        missed
    }

    /// Waits for its end; what it missed is told to `run`.
    ///
    /// # Panics
    ///
    /// When it failed for another reason.
    pub(crate) fn judge(self, run: &mut Run) {
        let finished = self.process.finish(LIMIT).success();
        damage_in_time(run, self.lab, &finished);
        if run.is_well() {
            (self.reader.check)(self.lab, &self.name, &finished);
        }
    }

    /// Waits for its end and judges what it got.
    pub(crate) fn done(self) {
        let finished = self.process.finish(LIMIT).success();
        (self.reader.check)(self.lab, &self.name, &finished);
    }
}

type Start = fn(&Lab, &str, &str) -> Process;

const fn ffmpeg(over: Over, start: Start) -> Reader {
    Reader { peer: Peer::Ffmpeg, over, start, check: check_ffmpeg }
}

fn start_ffmpeg(lab: &Lab, name: &str, url: &str, transport: &str) -> Process {
    let mut command = lab.command(Place::Client, "ffmpeg");
    command.args(["-v", "level+warning", "-nostdin", "-rtsp_transport", transport, "-i", url]);
    // Three seconds of each, however much later than the other a server that is busy begins with one.
    command.args(["-map", "0:v", "-frames:v", "75", "-map", "0:a", "-frames:a", "150", "-t", "8"]);
    command.args(["-vsync", "passthrough", "-f", "framecrc"]);
    command.arg(format!("{name}.frames"));
    lab.start(name, command)
}

fn check_ffmpeg(lab: &Lab, name: &str, finished: &Finished) {
    no_damage(name, &finished.err);
    let frames = Frames::read(&lab.file(&format!("{name}.frames")));
    enough(name, frames.video, PICTURES);
    enough(name, frames.audio, SOUNDS);
}

/// ffmpeg says in a warning that a packet was lost, and in an error that a picture is damaged.
///
/// # Panics
///
/// When `log`, at `-v level+warning`, has either.
pub(crate) fn no_damage(name: &str, log: &str) {
    let lines = damage(log);
    assert!(lines.is_empty(), "{name} says:\n{lines}");
}

/// The same of a player whose packets have to come in time.
pub(crate) fn damage_in_time(run: &mut Run, lab: &Lab, player: &Finished) {
    let (damage, here) = (damage(&player.err), lab.datagrams(Place::Client));
    run.in_time(damage.is_empty(), || {
        let name = &player.name;
        format!("{name} says:\n{damage}\n{} datagrams found no room in sockets of players", here.no_room)
    });
}

/// The lines that say so.
fn damage(log: &str) -> String {
    let bad = |line: &&str| {
        let severe = ["[error]", "[fatal]", "[panic]"].iter().any(|level| line.contains(level));
        severe || ["missed", "concealing", "max delay reached", "corrupt"].iter().any(|w| line.contains(w))
    };
    log.lines().filter(bad).collect::<Vec<_>>().join("\n")
}

/// How many frames of each kind a `framecrc` file has, when video was mapped first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Frames {
    pub(crate) video: usize,
    pub(crate) audio: usize,
}

impl Frames {
    pub(crate) fn read(path: &Path) -> Frames {
        let text = fs::read_to_string(path).unwrap_or_default();
        let count = |stream: &str| text.lines().filter(|line| line.starts_with(stream)).count();
        Frames { video: count("0,"), audio: count("1,") }
    }

    /// From where to where there is no picture, in the clock of the file: more than twice the usual step, or what is before the first.
    pub(crate) fn holes(path: &Path) -> Vec<(i64, i64)> {
        let text = fs::read_to_string(path).unwrap_or_default();
        let time = |line: &str| line.strip_prefix("0,")?.split(',').next()?.trim().parse().ok();
        let mut times: Vec<i64> = text.lines().filter_map(time).collect();
        times.insert(0, 0);
        let mut steps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        steps.sort_unstable();
        let usual = steps.get(steps.len() / 2).copied().unwrap_or_default();
        let holes = times.windows(2).filter(|pair| pair[1] - pair[0] > 2 * usual);
        holes.map(|pair| (pair[0], pair[1])).collect()
    }
}

fn enough(name: &str, got: usize, wanted: usize) {
    assert!(got >= wanted, "{name} got {got} frames, not {wanted}");
}

const fn gst(over: Over, start: Start) -> Reader {
    Reader { peer: Peer::Gstreamer, over, start, check: check_gst }
}

/// Ends well only after `PICTURES` decoded pictures and `SOUNDS` decoded audio frames.
fn start_gst(lab: &Lab, name: &str, url: &str, options: &str) -> Process {
    let mut command = lab.command(Place::Client, "/usr/bin/python3");
    command.arg(workspace().join("msm-proxy/tests/peers/gst_reader.py"));
    command.args([url, &PICTURES.to_string(), &SOUNDS.to_string()]).args(options.split(' '));
    lab.start(name, command)
}

fn check_gst(_lab: &Lab, name: &str, finished: &Finished) {
    let bad = |line: &&str| {
        let damage = ["libav", "opusdec", "rtph264depay"].iter().any(|element| line.contains(element));
        line.contains("ERROR") || damage && line.contains("WARN")
    };
    let lines: Vec<&str> = finished.err.lines().filter(bad).collect();
    assert!(lines.is_empty(), "{name} says:\n{}", lines.join("\n"));
}

const fn openrtsp(over: Over, start: Start) -> Reader {
    Reader { peer: Peer::Live555, over, start, check: check_openrtsp }
}

fn start_openrtsp(lab: &Lab, name: &str, url: &str, options: &[&str]) -> Process {
    let mut command = lab.in_sid(Place::Client, "openRTSP");
    command.args(["-d", "3", "-Q", "-b", "1000000"]).args(options).args(["-F", name, url]);
    lab.start(name, command)
}

fn check_openrtsp(lab: &Lab, name: &str, finished: &Finished) {
    let quality = quality(finished);
    assert_eq!(quality.len(), 2, "{name} reports on two tracks");
    for (received, lost) in quality {
        assert!(received >= SOUNDS, "{name} got {received} packets");
        assert_eq!(lost, 0, "{name}: packets lost of {received}");
    }
    let recording = lab.file(&format!("{name}video-H264-1"));
    end_at_a_picture(&recording);
    decodes(lab, name, &recording, &["-f", "h264"]);
}

/// Cuts off the last access unit: openRTSP ends by the clock, between any two packets, and its last unit may be no
/// more than a delimiter, which ffmpeg calls an error.
fn end_at_a_picture(recording: &Path) {
    const DELIMITER: [u8; 5] = [0, 0, 0, 1, 9];
    let bytes = fs::read(recording).unwrap();
    if let Some(at) = bytes.windows(DELIMITER.len()).rposition(|window| window == DELIMITER) {
        fs::write(recording, bytes.get(..at).unwrap_or_default()).unwrap();
    }
}

/// What openRTSP -Q says of each track: packets received and lost.
pub(crate) fn quality(finished: &Finished) -> Vec<(usize, usize)> {
    let text = format!("{}\n{}", finished.out, finished.err);
    let values = |key: &str| -> Vec<usize> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(key));
        lines.map(|value| value.trim().parse().unwrap()).collect()
    };
    values("num_packets_received\t").into_iter().zip(values("num_packets_lost\t")).collect()
}

const fn vlc(over: Over, start: Start) -> Reader {
    Reader { peer: Peer::Vlc, over, start, check: check_vlc }
}

fn start_vlc(lab: &Lab, name: &str, url: &str, options: &[&str]) -> Process {
    // By the clock: where a server names no position at the start, VLC's own `--run-time` never ends.
    let mut command = lab.in_sid(Place::Client, "timeout");
    command.args(["--preserve-status", "--signal=INT", "5", "setpriv", "--reuid=65534", "--regid=65534"]);
    command.args(["--clear-groups", "cvlc", "-I", "dummy", "--no-dbus", "--aout", "dummy"]);
    command
        .args(options)
        .arg(url)
        .arg("--sout")
        .arg(format!("#standard{{access=file,mux=ts,dst=/w/{name}.ts}}"));
    lab.start(name, command)
}

fn check_vlc(lab: &Lab, name: &str, _finished: &Finished) {
    decodes(lab, name, &lab.file(&format!("{name}.ts")), &[]);
}

/// What a reader wrote decodes in full.
fn decodes(lab: &Lab, name: &str, file: &Path, format: &[&str]) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "level+error", "-nostdin"]).args(format).arg("-i").arg(file);
    let frames = lab.file(&format!("{name}.frames"));
    command.args(["-map", "0:v", "-vsync", "passthrough", "-f", "framecrc", "-y"]).arg(&frames);
    let finished = lab.run(&format!("{name}-decode"), command, LIMIT).success();
    no_damage(name, &finished.err);
    enough(name, Frames::read(&frames).video, PICTURES);
}
