//! A reader of RTP that decodes nothing and measures: what came when, in which line of numbers and timestamps. Its few lines of RTSP are its
//! own, so that it judges ours.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// Clock rates of the streams' tracks: H.264 and Opus.
const RATES: [f64; 2] = [90_000.0, 48_000.0];
/// How long a visit may take as a whole.
const VISIT: Duration = Duration::from_secs(5);
/// How often a session is kept alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What garbage ends with (see `gst_garbage.py`).
const GARBAGE: &[u8] = b"no media of any kind";
/// Largest packet.
const DATAGRAM: usize = 2048;

/// How a probe reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Udp,
    Tcp,
}

/// One packet as it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packet {
    pub(crate) at: Instant,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
}

/// What came of one track.
#[derive(Debug, Default)]
pub(crate) struct Track {
    pub(crate) packets: Vec<Packet>,
    sources: BTreeSet<u32>,
    garbage: u64,
}

/// What a probe has seen.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) tracks: [Track; 2],
    /// Why it ended before its time, if it did.
    pub(crate) ended: Option<String>,
}

impl Track {
    fn take(&mut self, packet: &[u8]) {
        self.garbage += u64::from(packet.ends_with(GARBAGE));
        let (Some(&second), Some(sequence), Some(timestamp), Some(source)) =
            (packet.get(1), packet.get(2..4), packet.get(4..8), packet.get(8..12))
        else {
            return;
        };
        // RTCP in the same place (RFC 5761 §4).
        if (192..=223).contains(&second) {
            return;
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
        self.sources.insert(number(source));
        self.packets.push(Packet {
            at: Instant::now(),
            sequence: number(sequence) as u16,
            timestamp: number(timestamp),
        });
    }

    /// Numbers that are missing between the first packet and the last.
    pub(crate) fn lost(&self) -> u64 {
        let pairs = self.packets.windows(2);
        pairs.map(|pair| u64::from(pair[1].sequence.wrapping_sub(pair[0].sequence).saturating_sub(1))).sum()
    }

    /// Where the line breaks: garbage, another source, a number again, a timestamp that goes back.
    pub(crate) fn breaks(&self) -> Option<String> {
        if self.garbage > 0 {
            return Some(format!("{} packets of garbage", self.garbage));
        }
        if self.sources.len() > 1 {
            return Some(format!("{} sources", self.sources.len()));
        }
        self.packets.windows(2).enumerate().find_map(|(index, pair)| {
            let ahead = pair[1].sequence.wrapping_sub(pair[0].sequence);
            if ahead == 0 || ahead > 0x8000 {
                return Some(format!(
                    "packet {index}: number {} after {}",
                    pair[1].sequence, pair[0].sequence
                ));
            }
            let later = pair[1].timestamp.wrapping_sub(pair[0].timestamp).cast_signed();
            (later < 0).then(|| format!("packet {index}: a timestamp {} behind", -later))
        })
    }

    /// The longest time without a packet from `since` on.
    pub(crate) fn gap(&self, since: Instant) -> Duration {
        let pairs = self.packets.windows(2).filter(|pair| pair[1].at > since);
        pairs.map(|pair| pair[1].at.duration_since(pair[0].at)).max().unwrap_or_default()
    }

    /// How far media time is behind arrival, or ahead, in seconds from the first packet on: the least of a span, which is of the packet that
    /// waited for nothing.
    fn lag(&self, rate: f64, from: Instant, to: Instant) -> Option<f64> {
        let first = self.packets.first()?;
        let within = self.packets.iter().filter(|packet| packet.at >= from && packet.at < to);
        let lags = within.map(|packet| {
            let media = f64::from(packet.timestamp.wrapping_sub(first.timestamp)) / rate;
            packet.at.duration_since(first.at).as_secs_f64() - media
        });
        lags.min_by(f64::total_cmp)
    }
}

impl Seen {
    fn new() -> Seen {
        Seen { tracks: [Track::default(), Track::default()], ended: None }
    }

    /// The longest time without video from `since` on.
    pub(crate) fn gap(&self, since: Instant) -> Duration {
        self.tracks[0].gap(since)
    }

    /// By how much each track's latency has grown from the two seconds before `fault` to the last two, in seconds.
    pub(crate) fn growth(&self, fault: Instant) -> Option<[f64; 2]> {
        let span = Duration::from_secs(2);
        let last =
            self.tracks.iter().filter_map(|track| track.packets.last()).map(|packet| packet.at).max()?;
        let mut growth = [0.0; 2];
        for ((track, rate), growth) in self.tracks.iter().zip(RATES).zip(&mut growth) {
            let before = track.lag(rate, fault.checked_sub(span)?, fault)?;
            *growth = track.lag(rate, last.checked_sub(span)?, last)? - before;
        }
        Some(growth)
    }

    /// Whether media still came in the last second before `end`.
    pub(crate) fn flows(&self, end: Instant) -> bool {
        let recent = |track: &Track| {
            track
                .packets
                .last()
                .is_some_and(|packet| end.saturating_duration_since(packet.at) < Duration::from_secs(1))
        };
        self.tracks.iter().all(recent)
    }
}

/// An RTSP connection.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    number: u32,
}

struct Answer {
    head: String,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Connection {
    /// The next of what the server sends: an answer, or the channel and bytes of a packet.
    async fn next(&mut self) -> io::Result<Result<Answer, (u8, Vec<u8>)>> {
        loop {
            if let Some(item) = self.parse() {
                return Ok(item);
            }
            let mut bytes = [0; 16 * 1024];
            let count = self.stream.read(&mut bytes).await?;
            if count == 0 {
                return Err(io::Error::other("the connection was closed"));
            }
            self.buffer.extend_from_slice(&bytes[..count]);
        }
    }

    fn parse(&mut self) -> Option<Result<Answer, (u8, Vec<u8>)>> {
        if *self.buffer.first()? == b'$' {
            let length = usize::from(*self.buffer.get(2)?) << 8 | usize::from(*self.buffer.get(3)?);
            let packet = self.buffer.get(4..4 + length)?.to_vec();
            let channel = self.buffer[1];
            self.buffer.drain(..4 + length);
            return Some(Err((channel, packet)));
        }
        let end = self.buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        let answer = Answer { head, body: String::new() };
        let length = answer.header("Content-Length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let body = String::from_utf8_lossy(self.buffer.get(end..end + length)?).into_owned();
        self.buffer.drain(..end + length);
        Some(Ok(Answer { body, ..answer }))
    }

    async fn send(&mut self, method: &str, uri: &str, headers: &str) -> io::Result<()> {
        self.number += 1;
        let request =
            format!("{method} {uri} RTSP/1.0\r\nCSeq: {}\r\nUser-Agent: probe\r\n{headers}\r\n", self.number);
        self.stream.write_all(request.as_bytes()).await
    }

    /// A request's answer, which must be a success; packets before it are thrown away.
    async fn ask(&mut self, method: &str, uri: &str, headers: &str) -> io::Result<Answer> {
        self.send(method, uri, headers).await?;
        loop {
            if let Ok(answer) = self.next().await?
                && answer.head.starts_with("RTSP/")
            {
                let line = answer.head.lines().next().unwrap_or_default().to_owned();
                let success = line.split(' ').nth(1).is_some_and(|status| status.starts_with('2'));
                return if success { Ok(answer) } else { Err(io::Error::other(format!("{method}: {line}"))) };
            }
        }
    }
}

/// Reads `url` until `end`.
pub(crate) async fn read(url: String, way: Way, end: Instant) -> Seen {
    let mut seen = Seen::new();
    let end = tokio::time::Instant::from_std(end);
    let outcome = tokio::time::timeout_at(end, session(&url, way, &mut seen, usize::MAX)).await;
    if let Ok(outcome) = outcome {
        seen.ended = Some(outcome.map_or_else(|error| error.to_string(), |()| "it ended".to_owned()));
    }
    seen
}

/// Reads `url` until the first packet has come, and takes its leave.
pub(crate) async fn visit(url: &str, way: Way) -> io::Result<()> {
    let mut seen = Seen::new();
    tokio::time::timeout(VISIT, session(url, way, &mut seen, 1)).await?
}

/// Ends with a TEARDOWN when `enough` packets have come.
async fn session(url: &str, way: Way, seen: &mut Seen, enough: usize) -> io::Result<()> {
    let address = url.trim_start_matches("rtsp://").split('/').next().unwrap_or_default();
    let stream = TcpStream::connect(address).await?;
    let mut connection = Connection { stream, buffer: Vec::new(), number: 0 };
    let described = connection.ask("DESCRIBE", url, "Accept: application/sdp\r\n").await?;
    let base = described.header("Content-Base").unwrap_or(url).trim_end_matches('/').to_owned();
    let controls: Vec<String> = described
        .body
        .split("\r\nm=")
        .skip(1)
        .filter_map(|media| {
            let control = media.lines().find_map(|line| line.strip_prefix("a=control:"))?;
            Some(if control.starts_with("rtsp") { control.to_owned() } else { format!("{base}/{control}") })
        })
        .collect();
    if controls.len() != 2 {
        return Err(io::Error::other(format!("{} tracks in {}", controls.len(), described.body)));
    }
    let mut session = String::new();
    let mut sockets = Vec::new();
    for (track, control) in controls.iter().enumerate() {
        let transport = match way {
            Way::Tcp => format!("RTP/AVP/TCP;unicast;interleaved={}-{}", track * 2, track * 2 + 1),
            Way::Udp => {
                let socket = UdpSocket::bind("0.0.0.0:0").await?;
                let port = socket.local_addr()?.port();
                sockets.push(socket);
                // Reports are read by nobody: the port next to it is none of ours.
                format!("RTP/AVP;unicast;client_port={port}-{}", port.wrapping_add(1).max(1))
            }
        };
        let headers = format!("Transport: {transport}\r\n{session}");
        let answer = connection.ask("SETUP", control, &headers).await?;
        let name = answer.header("Session").and_then(|value| value.split(';').next()).unwrap_or_default();
        session = format!("Session: {name}\r\n");
    }
    connection.ask("PLAY", &base, &format!("{session}Range: npt=0.000-\r\n")).await?;
    let mut keep_alive = tokio::time::interval_at(tokio::time::Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
    let (mut first, mut second) = ([0; DATAGRAM], [0; DATAGRAM]);
    while seen.tracks.iter().map(|track| track.packets.len()).sum::<usize>() < enough {
        tokio::select! {
            item = connection.next() => if let Err((channel, packet)) = item?
                && let Some(track) = seen.tracks.get_mut(usize::from(channel / 2))
                && channel.is_multiple_of(2)
            {
                track.take(&packet);
            },
            count = receive(sockets.first(), &mut first) => seen.tracks[0].take(&first[..count?]),
            count = receive(sockets.get(1), &mut second) => seen.tracks[1].take(&second[..count?]),
            _ = keep_alive.tick() => connection.send("GET_PARAMETER", &base, &session).await?,
        }
    }
    connection.ask("TEARDOWN", &base, &session).await.map(drop)
}

/// The next datagram; never where there is no socket.
async fn receive(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> io::Result<usize> {
    match socket {
        Some(socket) => socket.recv(buffer).await,
        None => std::future::pending().await,
    }
}
