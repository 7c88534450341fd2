//! Endpoints of a cluster by script: each sends the same camera's picture and sound, in numbers of its own.

use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::server::{Asked, Server};
use crate::common::{Rtsp, TestMesh};

/// Milliseconds between two pictures, and between two packets of sound.
pub const FRAME: u64 = 40;
/// Pictures from one keyframe to the next.
pub const GOP: u64 = 10;

/// Picture and sound.
pub const BOTH: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=test\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n\
    m=audio 0 RTP/AVP 97\r\na=rtpmap:97 L16/48000\r\na=control:trackID=1\r\n";

/// How an endpoint behaves now.
pub struct Behaviour {
    /// It sends no media.
    pub silent: AtomicBool,
    /// What it answers to DESCRIBE and SETUP, where not 200.
    pub refuses: AtomicU16,
    /// What it answers to keep-alives, where not 200.
    pub forgets: AtomicU16,
    /// It begins with its last keyframe, however long ago that was.
    pub bursts: AtomicBool,
    /// Its payload type of video.
    pub video: AtomicU32,
    /// Requests of this method get no answer for now.
    pub freezes: Mutex<String>,
    /// It says in RTP-Info how its tracks relate, and not in reports.
    pub informs: AtomicBool,
    /// Its sound comes so many frames late.
    pub late_sound: AtomicU32,
    /// Of so many packets of picture, it loses one.
    pub loses: AtomicU32,
    /// SPS and PPS come in the description alone.
    pub no_sets: AtomicBool,
    /// Its picture is H.265.
    pub h265: AtomicBool,
    pub description: Mutex<String>,
}

/// What an endpoint's numbers begin with.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    pub ssrc: u8,
    pub sequence: u16,
    pub timestamp: u32,
}

impl Numbers {
    pub fn of(id: u8) -> Self {
        Self {
            ssrc: id,
            sequence: u16::from(id).wrapping_mul(20_000),
            timestamp: u32::from(id).wrapping_mul(0x3579_bdf1),
        }
    }

    /// Media time of a frame in ticks, from an origin of the endpoint's own.
    fn timestamp(&self, track: u8, frame: u64, rate: u64) -> u32 {
        let origin = self.timestamp.wrapping_add(u32::from(track) << 20);
        origin.wrapping_add((frame * FRAME * rate / 1000) as u32)
    }
}

/// See the [module](self).
pub struct Endpoint {
    pub server: Arc<Server>,
    pub behaves: Arc<Behaviour>,
    playing: Arc<Mutex<Vec<usize>>>,
    stop: Arc<AtomicBool>,
}

impl Endpoint {
    /// An endpoint whose camera has run since `epoch`; `id` is in each packet, and in its numbers.
    pub fn start(id: u8, epoch: Instant) -> Self {
        Self::relay(id, epoch, Numbers::of(id))
    }

    /// One that relays the camera of `id` in numbers of its own.
    pub fn relay(id: u8, epoch: Instant, numbers: Numbers) -> Self {
        let behaves = Arc::new(Behaviour {
            silent: AtomicBool::new(false),
            refuses: AtomicU16::new(0),
            forgets: AtomicU16::new(0),
            bursts: AtomicBool::new(false),
            video: AtomicU32::new(96),
            freezes: Mutex::default(),
            informs: AtomicBool::new(false),
            late_sound: AtomicU32::new(0),
            loses: AtomicU32::new(0),
            no_sets: AtomicBool::new(false),
            h265: AtomicBool::new(false),
            description: Mutex::new(BOTH.to_owned()),
        });
        let playing: Arc<Mutex<Vec<usize>>> = Arc::default();
        let (script, plays) = (Arc::clone(&behaves), Arc::clone(&playing));
        let server = Arc::new(Server::start(move |asked| {
            while *script.freezes.lock().unwrap() == asked.method {
                std::thread::sleep(Duration::from_millis(10));
            }
            let (status, mut headers, body) = answer(asked, &script, &plays);
            if asked.method == "PLAY" && script.informs.load(Ordering::SeqCst) {
                let frame = epoch.elapsed().as_millis() as u64 / FRAME;
                let [picture, sound] = [(0, 90_000), (1, 48_000)].map(|(track, rate)| {
                    let time = numbers.timestamp(track, frame, rate);
                    format!("url={}/trackID={track};seq=1;rtptime={time}", asked.uri)
                });
                headers += &format!("RTP-Info: {picture},{sound}\r\n");
            }
            (status, headers, body)
        }));
        let stop = Arc::new(AtomicBool::new(false));
        let camera = Camera {
            id,
            numbers,
            epoch,
            server: Arc::clone(&server),
            behaves: Arc::clone(&behaves),
            playing: Arc::clone(&playing),
            stop: Arc::clone(&stop),
        };
        std::thread::spawn(move || camera.run());
        Self { server, behaves, playing, stop }
    }

    pub fn url(&self) -> String {
        format!("rtsp://{}", self.server.address)
    }

    /// Whether it sends to anybody.
    pub fn plays(&self) -> bool {
        !self.playing.lock().unwrap().is_empty()
    }

    /// The connection that plays.
    pub fn connection(&self) -> usize {
        *self.playing.lock().unwrap().last().expect("nobody plays")
    }

    /// Breaks off, and is there no more.
    pub fn kill(&self) {
        self.behaves.refuses.store(503, Ordering::SeqCst);
        self.playing.lock().unwrap().clear();
        self.server.cut();
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn answer(asked: &Asked, behaves: &Behaviour, playing: &Mutex<Vec<usize>>) -> (u16, String, String) {
    let session = format!("Session: s{};timeout=2\r\n", asked.connection);
    let refuses = behaves.refuses.load(Ordering::SeqCst);
    match asked.method.as_str() {
        "DESCRIBE" | "SETUP" if refuses != 0 => (refuses, String::new(), String::new()),
        "OPTIONS" => {
            (200, "Public: DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER\r\n".into(), String::new())
        }
        "DESCRIBE" => {
            let description = behaves.description.lock().unwrap().clone();
            (200, "Content-Type: application/sdp\r\n".into(), description)
        }
        "SETUP" => {
            match asked.header("transport").and_then(|transport| transport.split("interleaved=").nth(1)) {
                Some(channels) => {
                    let transport = format!("Transport: RTP/AVP/TCP;unicast;interleaved={channels}\r\n");
                    (200, format!("{session}{transport}"), String::new())
                }
                None => (461, String::new(), String::new()),
            }
        }
        "PLAY" => {
            playing.lock().unwrap().push(asked.connection);
            (200, session, String::new())
        }
        "TEARDOWN" => {
            playing.lock().unwrap().retain(|connection| *connection != asked.connection);
            (200, session, String::new())
        }
        "GET_PARAMETER" => match behaves.forgets.load(Ordering::SeqCst) {
            0 => (200, session, String::new()),
            status => (status, String::new(), String::new()),
        },
        _ => (200, session, String::new()),
    }
}

struct Camera {
    id: u8,
    numbers: Numbers,
    epoch: Instant,
    server: Arc<Server>,
    behaves: Arc<Behaviour>,
    playing: Arc<Mutex<Vec<usize>>>,
    stop: Arc<AtomicBool>,
}

impl Camera {
    fn run(self) {
        let mut served: Vec<usize> = Vec::new();
        let mut frame = self.epoch.elapsed().as_millis() as u64 / FRAME;
        while !self.stop.load(Ordering::SeqCst) {
            frame += 1;
            let due = self.epoch + Duration::from_millis(frame * FRAME);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let playing = self.playing.lock().unwrap().clone();
            for connection in playing {
                if self.behaves.silent.load(Ordering::SeqCst) {
                    continue;
                }
                if !served.contains(&connection) {
                    served.push(connection);
                    self.report(connection, frame);
                    let since =
                        if self.behaves.bursts.load(Ordering::SeqCst) { frame - frame % GOP } else { frame };
                    (since..frame).for_each(|frame| self.send(connection, frame));
                }
                self.send(connection, frame);
                if frame.is_multiple_of(25) {
                    self.report(connection, frame);
                }
            }
        }
    }

    fn send(&self, connection: usize, frame: u64) {
        let key = frame.is_multiple_of(GOP);
        let moment = (frame as u32).to_be_bytes();
        let number = |packet: u64| ((frame * 4 + packet) as u16).wrapping_add(self.numbers.sequence);
        let timestamp = self.numbers.timestamp(0, frame, 90_000);
        let payload_type = self.behaves.video.load(Ordering::SeqCst) as u8;
        let mut units: Vec<Vec<u8>> = Vec::new();
        let in_band = !self.behaves.no_sets.load(Ordering::SeqCst);
        units.push(if key && in_band { vec![0x67, self.id, 1] } else { vec![0x06, self.id] });
        units.push(if key && in_band { vec![0x68, self.id, 1] } else { vec![0x06, self.id] });
        units.push([&[0x06, self.id][..], &moment].concat());
        let slice = if key { 0x65 } else { 0x41 };
        units.push([&[slice, 0x88, self.id][..], &moment, &[0x55; 200]].concat());
        if self.behaves.h265.load(Ordering::SeqCst) {
            // VPS, SPS, PPS and IDR; or SEI and a picture that depends on the last one.
            let kinds = if key { [32, 33, 34, 19] } else { [39, 39, 39, 1] };
            units = kinds
                .iter()
                .map(|kind: &u8| [&[kind << 1, 1, 0x80 | self.id][..], &moment, &[0x55; 20]].concat())
                .collect();
        }
        for (packet, unit) in (0..).zip(&units) {
            let last = packet == 3;
            let number = number(packet);
            let loses = self.behaves.loses.load(Ordering::SeqCst) as u16;
            if loses != 0 && number.is_multiple_of(loses) {
                continue;
            }
            let packet = packet_of(payload_type, last, number, timestamp, self.numbers.ssrc, unit);
            self.server.try_frame(connection, 0, &packet);
        }
        let frame = frame - u64::from(self.behaves.late_sound.load(Ordering::SeqCst)).min(frame);
        let sound = [&[self.id][..], &(frame as u32).to_be_bytes(), &[0; 50]].concat();
        let timestamp = self.numbers.timestamp(1, frame, 48_000);
        let number = (frame as u16).wrapping_add(self.numbers.sequence / 3);
        let packet = packet_of(97, false, number, timestamp, self.numbers.ssrc, &sound);
        self.server.try_frame(connection, 2, &packet);
    }

    /// A sender report of each track, by the clock that all endpoints have.
    fn report(&self, connection: usize, frame: u64) {
        if self.behaves.informs.load(Ordering::SeqCst) {
            return;
        }
        for (track, rate) in [(0u8, 90_000u64), (1, 48_000)] {
            let millis = frame * FRAME;
            let ntp = ((3_900_000_000 + millis / 1000) << 32) | (((millis % 1000) << 32) / 1000);
            let mut report = vec![0x80, 200, 0, 6, 0, 0, track, self.numbers.ssrc];
            report.extend(ntp.to_be_bytes());
            report.extend(self.numbers.timestamp(track, frame, rate).to_be_bytes());
            report.extend([0; 8]);
            report[6] = 0;
            self.server.try_frame(connection, track * 2 + 1, &report);
        }
    }
}

fn packet_of(
    payload_type: u8,
    marker: bool,
    sequence: u16,
    timestamp: u32,
    ssrc: u8,
    payload: &[u8],
) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type | if marker { 0x80 } else { 0 }];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend([0, 0, 0, ssrc]);
    packet.extend_from_slice(payload);
    packet
}

/// What a player of both tracks saw, packet by packet.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub track: usize,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub payload_type: u8,
    /// Which endpoint it is of.
    pub id: u8,
    /// Of a video packet, the NAL unit's type.
    pub nal: u8,
    /// The frame, where the packet says it.
    pub frame: Option<u32>,
    pub at: Instant,
}

impl Seen {
    pub fn of(track: usize, packet: &[u8], at: Instant) -> Self {
        let word = |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
        let payload = &packet[12..];
        let h265 = track == 0 && payload[1] == 1 && [1, 19, 32, 33, 34, 39].contains(&(payload[0] >> 1));
        let (id, frame) = match (track, payload[0]) {
            // The first bit says that it is a picture's first slice.
            _ if h265 => (payload[2] & 0x7f, Some(word(15)).filter(|_| payload[0] < 64)),
            (1, id) => (id, Some(word(13))),
            (_, 0x65 | 0x41) => (payload[2], Some(word(15))),
            _ => (payload[1], None),
        };
        Seen {
            track,
            sequence: u16::from_be_bytes([packet[2], packet[3]]),
            timestamp: word(4),
            ssrc: word(8),
            payload_type: packet[1] & 0x7f,
            id,
            nal: if h265 {
                payload[0] >> 1
            } else if track == 0 {
                payload[0] & 0x1f
            } else {
                0
            },
            frame,
            at,
        }
    }
}

/// How a line goes on over a change of sources.
#[derive(Debug)]
pub struct Splice {
    /// Nothing came for so long.
    pub gap: Duration,
    /// How much later the last packets are shown than the first, in milliseconds: video and audio.
    pub later: [f64; 2],
}

/// Checks the lines of a player that saw endpoint `from`, then `to`: one SSRC and unbroken numbers a track, timestamps that go up,
/// a keyframe at the splice.
pub fn check(seen: &[Seen], from: u8, to: u8) -> Splice {
    let mut later = [0.0; 2];
    let mut gap = Duration::ZERO;
    for track in [0, 1] {
        let line: Vec<_> = seen.iter().filter(|packet| packet.track == track).collect();
        let rate = [90.0, 48.0][track];
        let at = line
            .iter()
            .position(|packet| packet.id == to)
            .unwrap_or_else(|| panic!("track {track}: never of {to}"));
        let ids = || line.iter().map(|packet| packet.id).collect::<Vec<_>>();
        assert!(
            line[..at].iter().all(|packet| packet.id == from) && at > 0,
            "track {track}: {from} to {to}: {:?}",
            ids()
        );
        assert!(line[at..].iter().all(|packet| packet.id == to), "track {track}: goes back");
        for pair in line.windows(2) {
            assert_eq!(pair[1].ssrc, pair[0].ssrc, "track {track}");
            assert_eq!(pair[1].payload_type, pair[0].payload_type, "track {track}");
            assert_eq!(pair[1].sequence, pair[0].sequence.wrapping_add(1), "track {track}: {pair:?}");
            let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp).cast_signed();
            assert!(step > 0 || (track == 0 && step == 0), "track {track}: {pair:?}");
        }
        if track == 0 {
            let first: Vec<_> = line[at..]
                .iter()
                .map(|packet| packet.nal)
                .find(|nal| [1, 5].contains(nal))
                .into_iter()
                .collect();
            assert_eq!(first, [5], "it does not begin with a keyframe");
            let sets: Vec<_> = line[at..at + 2].iter().map(|packet| packet.nal).collect();
            assert_eq!(sets, [7, 8], "parameter sets are not in front");
        }
        let jump = line[at].at - line[at - 1].at;
        gap = if track == 0 { jump } else { gap.min(jump) };
        // Both endpoints have the same camera.
        let shown = |packet: &Seen| {
            let frame = f64::from(packet.frame?) * FRAME as f64;
            Some((f64::from(packet.timestamp.wrapping_sub(line[0].timestamp)) / rate) - frame)
        };
        let before = line[..at].iter().rev().find_map(|packet| shown(packet)).unwrap();
        let after = line.iter().rev().find_map(|packet| shown(packet)).unwrap();
        later[track] = after - before;
    }
    Splice { gap, later }
}

/// A player of both tracks in its connection.
pub struct Player {
    pub rtsp: Rtsp,
    pub session: String,
    /// What was said of the first packets.
    pub info: String,
    pub seen: Vec<Seen>,
}

impl Player {
    pub fn start(mesh: &TestMesh) -> Self {
        Self::with(mesh.connect(), mesh, &[])
    }

    /// One that comes by this connection and sends these headers with SETUP.
    pub fn with(mut rtsp: Rtsp, mesh: &TestMesh, more: &[(&str, &str)]) -> Self {
        let url = mesh.url("cam");
        let mut session = String::new();
        for track in 0..2 {
            let channels = format!("RTP/AVP/TCP;unicast;interleaved={}-{}", track * 2, track * 2 + 1);
            let mut headers = more.to_vec();
            headers.push(("Transport", channels.as_str()));
            if !session.is_empty() {
                headers.push(("Session", session.as_str()));
            }
            let answer = rtsp.ask("SETUP", &format!("{url}/trackID={track}"), &headers, b"");
            assert_eq!(answer.status, 200, "{answer:?}");
            session = answer.session();
        }
        let answer = rtsp.ask("PLAY", &url, &[("Session", &session)], b"");
        assert_eq!(answer.status, 200, "{answer:?}");
        let info = answer.header("RTP-Info").to_owned();
        Self { rtsp, session, info, seen: Vec::new() }
    }

    /// Plays until there is a picture, and for so long after.
    pub fn begin(&mut self, time: Duration) {
        while self.next().track != 0 {}
        self.watch(time);
    }

    pub fn next(&mut self) -> Seen {
        loop {
            let (channel, packet) = self.rtsp.next_frame();
            if channel % 2 == 0 {
                let seen = Seen::of(usize::from(channel / 2), &packet, Instant::now());
                self.seen.push(seen);
                return seen;
            }
        }
    }

    /// Plays for so long.
    pub fn watch(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while self.next().at < until {}
    }

    /// Plays until something of endpoint `id` comes, and for so long after.
    pub fn watch_until(&mut self, id: u8, time: Duration) {
        let patience = Instant::now() + Duration::from_secs(15);
        while self.next().id != id {
            assert!(Instant::now() < patience, "nothing of {id}");
        }
        self.watch(time);
    }
}
