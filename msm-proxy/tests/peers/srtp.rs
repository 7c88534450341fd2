//! What `msm-auth` protects is played by others, and what others protect it opens: real streams of ffmpeg and GStreamer.

use crate::lab::Lab;
use crate::need::{Peer, have};
use crate::process::Process;
use crate::readers::{Frames, no_damage};
use base64::Engine as _;
use msm_auth::srtp::{MasterKey, Receiver, ReceiverOptions, Sender, SenderOptions, Suite};
use std::fs;
use std::net::UdpSocket;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(40);
/// Pictures of a stream of three seconds that are to decode.
const PICTURES: usize = 40;

/// A suite, and what GStreamer calls its cipher and authentication.
const SUITES: [(Suite, &str, &str); 4] = [
    (Suite::AesCm128HmacSha1_80, "aes-128-icm", "hmac-sha1-80"),
    (Suite::AesCm128HmacSha1_32, "aes-128-icm", "hmac-sha1-32"),
    (Suite::AeadAes128Gcm, "aes-128-gcm", "null"),
    (Suite::AeadAes256Gcm, "aes-256-gcm", "null"),
];

/// Key and salt of a suite.
fn material(suite: Suite) -> Vec<u8> {
    (1..=suite.key_len() + suite.salt_len()).map(|byte| byte as u8).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn receiver(suite: Suite, material: &[u8]) -> Receiver {
    let mut receiver = Receiver::new(ReceiverOptions::default());
    receiver.install(&MasterKey::from_bytes(suite, material).unwrap(), &[]).unwrap();
    receiver
}

/// A pair of neighbouring ports that are free now.
fn ports() -> (UdpSocket, UdpSocket) {
    loop {
        let rtp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = rtp.local_addr().unwrap().port();
        if port.is_multiple_of(2)
            && let Ok(rtcp) = UdpSocket::bind(("127.0.0.1", port + 1))
        {
            for socket in [&rtp, &rtcp] {
                socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            }
            return (rtp, rtcp);
        }
    }
}

fn port(socket: &UdpSocket) -> u16 {
    socket.local_addr().unwrap().port()
}

/// Sixty packets of a stream that others protect: all open, in order, and none with another key.
fn opens(suite: Suite, rtp: &UdpSocket) {
    let key = material(suite);
    let mut wrong = key.clone();
    wrong[0] ^= 1;
    let (mut right, mut wrong) = (receiver(suite, &key), receiver(suite, &wrong));
    let mut last: Option<u16> = None;
    for _ in 0..60 {
        let mut packet = vec![0; 2048];
        let length = rtp.recv(&mut packet).expect("a packet comes");
        packet.truncate(length);
        assert!(wrong.unprotect_rtp(&mut packet.clone()).is_err(), "{suite:?} opens with another key");
        let opened = right.unprotect_rtp(&mut packet).unwrap_or_else(|error| panic!("{suite:?}: {error}"));
        assert!(opened.len > 12 && packet[0] >> 6 == 2 && packet[1] & 0x7f == 96);
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        assert!(last.is_none_or(|last| sequence == last.wrapping_add(1)), "{last:?}, then {sequence}");
        last = Some(sequence);
    }
}

/// Waits until the player listens: what comes before would be lost, and with it a picture that others depend on.
fn listens(player: &mut Process, port: u16) {
    let bound = format!(":{port:04X} ");
    let is_bound = |table: &str| {
        let table = fs::read_to_string(table).unwrap_or_default();
        table.lines().any(|line| line.get(..line.len().min(48)).is_some_and(|start| start.contains(&bound)))
    };
    player.until(LIMIT, "open port", |_| is_bound("/proc/net/udp") || is_bound("/proc/net/udp6"));
}

/// ffmpeg's test picture as RTP, protected if `options` say so.
fn ffmpeg(lab: &Lab, name: &str, options: &[&str], to: &str) -> Process {
    let mut command = Command::new("ffmpeg");
    command.args([
        "-v",
        "warning",
        "-nostdin",
        "-re",
        "-f",
        "lavfi",
        "-i",
        "testsrc=s=320x240:r=25",
        "-t",
        "20",
    ]);
    command.args(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", "10"]);
    command.args(["-bsf:v", "dump_extra", "-payload_type", "96", "-ssrc", "1234", "-f", "rtp"]);
    command.args(options).arg(to).current_dir(lab.dir());
    lab.start(name, command)
}

#[test]
fn what_ffmpeg_protects_opens() {
    if !have(&[Peer::Ffmpeg]) {
        return;
    }
    let lab = Lab::new();
    for (suite, name) in [
        (Suite::AesCm128HmacSha1_80, "AES_CM_128_HMAC_SHA1_80"),
        // Its name in DTLS-SRTP: by that of SDES ffmpeg cuts the tag of RTCP to 4 bytes, too, which RFC 4568 §6.2.2 has at 10.
        (Suite::AesCm128HmacSha1_32, "SRTP_AES128_CM_HMAC_SHA1_32"),
    ] {
        let (rtp, rtcp) = ports();
        let key = base64::engine::general_purpose::STANDARD.encode(material(suite));
        let options = ["-srtp_out_suite", name, "-srtp_out_params", &key];
        let _sender = ffmpeg(&lab, name, &options, &format!("srtp://127.0.0.1:{}", port(&rtp)));
        opens(suite, &rtp);
        let mut report = vec![0; 2048];
        let length = rtcp.recv(&mut report).expect("a report comes");
        let opened = receiver(suite, &material(suite)).unprotect_rtcp(&mut report[..length]);
        let opened = opened.unwrap_or_else(|error| panic!("{name}, RTCP: {error}"));
        assert!(opened.len >= 28 && report[1] == 200, "a sender report");
    }
}

#[test]
fn what_gstreamer_protects_opens() {
    if !have(&[Peer::Gstreamer]) {
        return;
    }
    let lab = Lab::new();
    for (suite, cipher, auth) in SUITES {
        let (rtp, _) = ports();
        let mut command = Command::new("gst-launch-1.0");
        command.args(format!(
            "-q videotestsrc is-live=true num-buffers=500 ! video/x-raw,width=320,height=240 ! x264enc tune=zerolatency key-int-max=10 \
             ! rtph264pay pt=96 ssrc=1234 ! srtpenc key={} rtp-cipher={cipher} rtp-auth={auth} rtcp-cipher={cipher} rtcp-auth={auth} \
             ! udpsink host=127.0.0.1 port={}",
            hex(&material(suite)),
            port(&rtp)
        ).split(' ').filter(|word| !word.is_empty()));
        let _sender = lab.start(&format!("gst-{suite:?}"), command);
        opens(suite, &rtp);
    }
}

/// Passes a plain stream of ffmpeg's on, protected, until it is dropped.
struct Protecting {
    _source: Process,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Protecting {
    fn start(lab: &Lab, name: &str, suite: Suite, key: &[u8], to: u16) -> Self {
        let (plain, rtcp) = ports();
        let source = ffmpeg(lab, name, &[], &format!("rtp://127.0.0.1:{}", port(&plain)));
        let mut sender = Sender::new(SenderOptions::default());
        sender.install(&MasterKey::from_bytes(suite, key).unwrap(), &[]).unwrap();
        sender.switch(&[]).unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let _rtcp = rtcp;
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut buffer = vec![0; 4096];
            while !flag.load(Ordering::Relaxed) {
                let Ok(length) = plain.recv(&mut buffer) else { return };
                let protected = sender.protect_rtp(&mut buffer, length).unwrap();
                let _ = socket.send_to(&buffer[..protected], ("127.0.0.1", to));
            }
        });
        Self { _source: source, over, thread: Some(thread) }
    }
}

impl Drop for Protecting {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[test]
fn ffmpeg_plays_what_is_protected() {
    if !have(&[Peer::Ffmpeg]) {
        return;
    }
    let lab = Lab::new();
    for (suite, name) in [
        (Suite::AesCm128HmacSha1_80, "AES_CM_128_HMAC_SHA1_80"),
        (Suite::AesCm128HmacSha1_32, "AES_CM_128_HMAC_SHA1_32"),
    ] {
        let (rtp, rtcp) = ports();
        let to = port(&rtp);
        drop((rtp, rtcp));
        let key = base64::engine::general_purpose::STANDARD.encode(material(suite));
        let sdp = lab.file(&format!("{name}.sdp"));
        fs::write(
            &sdp,
            format!(
                "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video {to} RTP/SAVP 96\r\n\
                 a=rtpmap:96 H264/90000\r\na=crypto:1 {name} inline:{key}\r\n"
            ),
        )
        .unwrap();
        let mut command = Command::new("ffmpeg");
        command.args([
            "-v",
            "level+warning",
            "-nostdin",
            "-protocol_whitelist",
            "file,crypto,data,rtp,udp,srtp",
        ]);
        command.arg("-i").arg(&sdp).args(["-t", "2", "-vsync", "passthrough", "-f", "framecrc"]);
        command.arg(format!("{name}.frames")).current_dir(lab.dir());
        let mut player = lab.start(&format!("player-{name}"), command);
        listens(&mut player, to);
        let _sender = Protecting::start(&lab, &format!("source-{name}"), suite, &material(suite), to);
        let finished = player.finish(LIMIT).success();
        no_damage(name, &finished.err);
        let pictures = Frames::read(&lab.file(&format!("{name}.frames"))).video;
        assert!(pictures >= PICTURES, "{name}: {pictures} pictures");
    }
}

/// Decodes so many pictures with this key; whether that comes to an end.
fn gstreamer_plays(
    lab: &Lab,
    name: &str,
    sent: (Suite, &[u8]),
    told: (&[u8], &str, &str),
    limit: Duration,
) -> bool {
    let (rtp, rtcp) = ports();
    let to = port(&rtp);
    drop((rtp, rtcp));
    let (key, cipher, auth) = told;
    let mut command = Command::new("gst-launch-1.0");
    command.args(["-q", "udpsrc", &format!("port={to}")]).arg(format!(
        "caps=application/x-srtp,media=(string)video,clock-rate=(int)90000,encoding-name=(string)H264,payload=(int)96,ssrc=(uint)1234,\
         srtp-key=(buffer){},srtp-cipher=(string){cipher},srtp-auth=(string){auth},srtcp-cipher=(string){cipher},srtcp-auth=(string){auth}",
        hex(key)
    ));
    command.args(["!", "srtpdec", "!", "rtph264depay", "!", "h264parse", "!", "avdec_h264", "!", "fakesink"]);
    command.arg(format!("num-buffers={PICTURES}"));
    let mut player = lab.start(&format!("player-{name}"), command);
    listens(&mut player, to);
    let (suite, sent) = sent;
    let _sender = Protecting::start(lab, &format!("source-{name}"), suite, sent, to);
    player.finish(limit).status.is_some_and(|status| status.success())
}

#[test]
fn gstreamer_plays_what_is_protected_and_nothing_with_another_key() {
    if !have(&[Peer::Ffmpeg, Peer::Gstreamer]) {
        return;
    }
    let lab = Lab::new();
    for (suite, cipher, auth) in SUITES {
        let key = material(suite);
        let name = format!("{suite:?}");
        assert!(gstreamer_plays(&lab, &name, (suite, &key), (&key, cipher, auth), LIMIT), "{suite:?}");
    }
    let (suite, cipher, auth) = SUITES[2];
    let (key, mut other) = (material(suite), material(suite));
    other[3] ^= 0x10;
    let played =
        gstreamer_plays(&lab, "wrong", (suite, &key), (&other, cipher, auth), Duration::from_secs(6));
    assert!(!played, "another key plays");
}
