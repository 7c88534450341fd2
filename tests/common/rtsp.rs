//! RTSP written by hand.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    /// What the server asks for credentials by.
    pub challenges: Vec<String>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(&name.to_ascii_lowercase()).map_or("", String::as_str)
    }

    pub fn session(&self) -> String {
        self.header("session").split(';').next().unwrap_or_default().trim().to_owned()
    }

    /// The numbers after `key=` in the Transport header.
    pub fn ports(&self, key: &str) -> (u16, u16) {
        let value = self.header("transport");
        let ports = value.split(';').find_map(|part| part.strip_prefix(&format!("{key}="))).unwrap_or("0-0");
        let (first, second) = ports.split_once('-').unwrap_or((ports, "0"));
        (first.parse().unwrap(), second.parse().unwrap())
    }
}

/// A request of the server's, to its client.
#[derive(Debug)]
pub struct Told {
    /// Method, URL and version.
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Told {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(&name.to_ascii_lowercase()).map_or("", String::as_str)
    }
}

/// What comes on an RTSP connection.
#[derive(Debug)]
pub enum Item {
    Answer(Answer),
    Told(Told),
    Frame(u8, Vec<u8>),
}

/// A connection, driven by hand.
pub struct Rtsp<S = TcpStream> {
    pub stream: S,
    buffer: Vec<u8>,
    cseq: u32,
    pub version: &'static str,
    pub frames: Vec<(u8, Vec<u8>)>,
    pub told: Vec<Told>,
}

impl Rtsp {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream)
    }
}

impl<S: Read + Write> Rtsp<S> {
    pub fn over(stream: S) -> Self {
        Self { stream, buffer: Vec::new(), cseq: 0, version: "1.0", frames: Vec::new(), told: Vec::new() }
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub fn frame(&mut self, channel: u8, packet: &[u8]) {
        let mut bytes = vec![b'$', channel];
        bytes.extend_from_slice(&u16::try_from(packet.len()).unwrap().to_be_bytes());
        bytes.extend_from_slice(packet);
        self.raw(&bytes);
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.cseq += 1;
        let mut text = format!("{method} {url} RTSP/{}\r\nCSeq: {}\r\n", self.version, self.cseq);
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        text += "\r\n";
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(body);
        self.raw(&bytes);
        let answer = self.answer();
        assert_eq!(answer.header("cseq"), self.cseq.to_string(), "{method}: {answer:?}");
        answer
    }

    /// The next answer; frames and requests before it are kept.
    pub fn answer(&mut self) -> Answer {
        loop {
            match self.item().expect("the connection ended") {
                Item::Answer(answer) => return answer,
                Item::Told(told) => self.told.push(told),
                Item::Frame(channel, packet) => self.frames.push((channel, packet)),
            }
        }
    }

    /// The next request of the server's; frames before it are kept.
    pub fn next_told(&mut self) -> Told {
        if !self.told.is_empty() {
            return self.told.remove(0);
        }
        loop {
            match self.item().expect("the connection ended") {
                Item::Told(told) => return told,
                Item::Frame(channel, packet) => self.frames.push((channel, packet)),
                Item::Answer(answer) => panic!("an answer that nobody asked for: {answer:?}"),
            }
        }
    }

    /// Answers a request of the server's.
    pub fn reply(&mut self, told: &Told, status: u16) {
        let text = format!("RTSP/{} {status} X\r\nCSeq: {}\r\n\r\n", self.version, told.header("cseq"));
        self.raw(text.as_bytes());
    }

    /// The next frame.
    pub fn next_frame(&mut self) -> (u8, Vec<u8>) {
        if !self.frames.is_empty() {
            return self.frames.remove(0);
        }
        loop {
            match self.item().expect("the connection ended") {
                Item::Frame(channel, packet) => return (channel, packet),
                Item::Told(told) => self.told.push(told),
                Item::Answer(answer) => panic!("an answer that nobody asked for: {answer:?}"),
            }
        }
    }

    /// Whether the other side closes within the read timeout.
    pub fn is_closed(&mut self) -> bool {
        let mut scratch = [0; 4096];
        loop {
            match self.stream.read(&mut scratch) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
            }
        }
    }

    fn item(&mut self) -> Option<Item> {
        loop {
            if let Some(item) = self.parse() {
                return Some(item);
            }
            let mut scratch = [0; 65536];
            match self.stream.read(&mut scratch) {
                Ok(0) => return None,
                Ok(length) => self.buffer.extend_from_slice(&scratch[..length]),
                Err(error) => panic!("nothing came: {error}"),
            }
        }
    }

    fn parse(&mut self) -> Option<Item> {
        if self.buffer.first() == Some(&b'$') {
            let length = usize::from(u16::from_be_bytes([*self.buffer.get(2)?, *self.buffer.get(3)?]));
            let packet = self.buffer.get(4..4 + length)?.to_vec();
            let channel = self.buffer[1];
            self.buffer.drain(..4 + length);
            return Some(Item::Frame(channel, packet));
        }
        let end = self.buffer.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
        let mut lines = head.lines();
        let first = lines.next().unwrap();
        let line = first.to_owned();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let challenges = headers.iter().filter(|(name, _)| name == "www-authenticate");
        let challenges = challenges.map(|(_, value)| value.clone()).collect();
        let headers: BTreeMap<_, _> = headers.into_iter().collect();
        let length: usize = headers.get("content-length").map_or(0, |value| value.parse().unwrap());
        let body = self.buffer.get(end..end + length)?.to_vec();
        self.buffer.drain(..end + length);
        if !line.starts_with("RTSP/") {
            return Some(Item::Told(Told { line, headers, body }));
        }
        let status =
            line.split(' ').nth(1).unwrap().parse().unwrap_or_else(|_| panic!("not an answer: {line}"));
        Some(Item::Answer(Answer { status, headers, challenges, body }))
    }
}
