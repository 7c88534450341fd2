//! An RTSP server by script: every request is kept, and answered by a function of the test.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Number of its connection, from 0.
    pub connection: usize,
    pub method: String,
    pub uri: String,
    pub head: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

/// Status, headers and body of an answer; CSeq and Content-Length are added.
pub type Script = dyn Fn(&Asked) -> (u16, String, String) + Send + Sync;

/// See the [module](self).
pub struct Server {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    pub open: Arc<AtomicUsize>,
    /// Frames that go out in one write with the next answer to PLAY.
    with_play: Arc<Mutex<Vec<u8>>>,
}

impl Server {
    pub fn start(script: impl Fn(&Asked) -> (u16, String, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let streams: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let open = Arc::new(AtomicUsize::new(0));
        let with_play: Arc<Mutex<Vec<u8>>> = Arc::default();
        let script: Arc<Script> = Arc::new(script);
        let (kept, all, count) = (Arc::clone(&asked), Arc::clone(&streams), Arc::clone(&open));
        let following = Arc::clone(&with_play);
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { return };
                all.lock().unwrap().push(stream.try_clone().unwrap());
                let (kept, script, count) = (Arc::clone(&kept), Arc::clone(&script), Arc::clone(&count));
                let following = Arc::clone(&following);
                count.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    serve(number, stream, &kept, &following, &*script);
                    count.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, asked, streams, open, with_play }
    }

    /// The requests of a method, in order; what it was answered is kept as such of the method `RTSP/1.0`, with the status as URL.
    pub fn asked(&self, method: &str) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.method == method).cloned().collect()
    }

    /// Waits for the `count`th request of a method.
    pub fn wait(&self, method: &str, count: usize) -> Asked {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(asked) = self.asked(method).get(count - 1) {
                return asked.clone();
            }
            assert!(
                Instant::now() < deadline,
                "no {method} number {count}: {:?}",
                self.asked.lock().unwrap()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends bytes as they are.
    pub fn raw(&self, connection: usize, bytes: &[u8]) {
        let _ = (&self.streams.lock().unwrap()[connection]).write_all(bytes);
    }

    /// Breaks all connections off.
    pub fn cut(&self) {
        for stream in self.streams.lock().unwrap().iter() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
    }

    /// Sends an interleaved frame on a connection, unless that has ended.
    pub fn try_frame(&self, connection: usize, channel: u8, packet: &[u8]) {
        let _ = (&self.streams.lock().unwrap()[connection]).write_all(&framed(channel, packet));
    }

    /// Sends an interleaved frame on a connection.
    pub fn frame(&self, connection: usize, channel: u8, packet: &[u8]) {
        (&self.streams.lock().unwrap()[connection]).write_all(&framed(channel, packet)).unwrap();
    }

    /// Sends an interleaved frame right behind the next answer to PLAY.
    pub fn frame_with_play(&self, channel: u8, packet: &[u8]) {
        self.with_play.lock().unwrap().extend(framed(channel, packet));
    }
}

fn framed(channel: u8, packet: &[u8]) -> Vec<u8> {
    let mut bytes = vec![b'$', channel];
    bytes.extend_from_slice(&u16::try_from(packet.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(packet);
    bytes
}

fn serve(
    connection: usize,
    stream: TcpStream,
    kept: &Mutex<Vec<Asked>>,
    following: &Mutex<Vec<u8>>,
    script: &Script,
) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    loop {
        match reader.fill_buf() {
            Ok([]) | Err(_) => return,
            // A frame: reports of the mesh.
            Ok([b'$', ..]) => {
                let mut head = [0; 4];
                if reader.read_exact(&mut head).is_err() {
                    return;
                }
                let mut packet = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
                if reader.read_exact(&mut packet).is_err() {
                    return;
                }
                continue;
            }
            Ok(_) => {}
        }
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if !matches!(reader.read_line(&mut head), Ok(1..)) {
                return;
            }
        }
        let mut first = head.split_whitespace();
        let (method, uri) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
        let is_answer = method.starts_with("RTSP/");
        let asked = Asked { connection, method: method.into(), uri: uri.into(), head: head.clone() };
        let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        kept.lock().unwrap().push(asked.clone());
        if is_answer {
            continue;
        }
        let (status, headers, body) = script(&asked);
        let cseq = asked.header("cseq").unwrap_or_default();
        let text = format!(
            "RTSP/1.0 {status} X\r\nCSeq: {cseq}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut bytes = text.into_bytes();
        if asked.method == "PLAY" {
            bytes.append(&mut following.lock().unwrap());
        }
        if writer.write_all(&bytes).is_err() {
            return;
        }
    }
}
