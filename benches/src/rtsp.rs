//! The least RTSP (RFC 2326) that publishes to and reads from a server over UDP. Blocking.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use crate::Result;
use crate::rtp::{PAYLOAD_TYPE, Source, sender_report};

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection and, after SETUP, its session.
#[derive(Debug)]
struct Connection {
    stream: BufReader<TcpStream>,
    server: SocketAddr,
    sequence: u32,
    session: Option<String>,
}

#[derive(Debug)]
struct Answer {
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

impl Connection {
    fn open(server: SocketAddr, from: Ipv4Addr) -> Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        socket.connect_timeout(&server.into(), PATIENCE)?;
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::with_capacity(2048, stream), server, sequence: 0, session: None })
    }

    fn request(&mut self, method: &str, url: &str, headers: &str, body: &str) -> Result<Answer> {
        self.sequence += 1;
        let mut request = format!("{method} {url} RTSP/1.0\r\nCSeq: {}\r\n{headers}", self.sequence);
        if let Some(session) = &self.session {
            request += &format!("Session: {session}\r\n");
        }
        if !body.is_empty() {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        request += "\r\n";
        request += body;
        self.stream.get_mut().write_all(request.as_bytes())?;
        let answer = self.answer().map_err(|error| format!("{method} {url}: {error}"))?;
        if let Some(session) = answer.header("Session") {
            self.session = session.split(';').next().map(|id| id.trim().to_owned());
        }
        Ok(answer)
    }

    fn answer(&mut self) -> Result<Answer> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.trim().to_owned();
        let mut headers = Vec::new();
        loop {
            line.clear();
            if self.stream.read_line(&mut line)? == 0 {
                return Err("the server closed the connection".into());
            }
            let Some((name, value)) = line.trim().split_once(':') else { break };
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        let mut answer = Answer { headers, body: String::new() };
        if let Some(length) = answer.header("Content-Length") {
            let mut body = vec![0; length.parse()?];
            self.stream.read_exact(&mut body)?;
            answer.body = String::from_utf8(body)?;
        }
        if status.split_whitespace().nth(1) != Some("200") {
            return Err(status.into());
        }
        Ok(answer)
    }

    fn url(&self, path: &str) -> String {
        format!("rtsp://{}/{path}", self.server)
    }
}

/// The value of `name=value` in a Transport header.
fn parameter<'a>(transport: &'a str, name: &str) -> Option<&'a str> {
    transport.split(';').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
}

/// Where the server of a Transport header receives RTP and RTCP.
fn server_addresses(transport: &str, server: IpAddr) -> Result<(SocketAddr, SocketAddr)> {
    let ports = parameter(transport, "server_port").ok_or_else(|| format!("no server_port: {transport}"))?;
    let (rtp, rtcp) = ports.split_once('-').ok_or("server_port is no pair")?;
    let ip = match parameter(transport, "source") {
        Some(ip) => ip.parse().unwrap_or(server),
        None => server,
    };
    Ok((SocketAddr::new(ip, rtp.parse()?), SocketAddr::new(ip, rtcp.parse()?)))
}

/// Two sockets on an even port and its odd neighbour.
fn bind_pair() -> Result<(UdpSocket, UdpSocket)> {
    for _ in 0..200 {
        let rtp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = rtp.local_addr()?.port();
        if port % 2 == 0
            && let Ok(rtcp) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port + 1))
        {
            return Ok((rtp, rtcp));
        }
    }
    Err("no free pair of ports".into())
}

/// A stream that is being recorded by the server.
#[derive(Debug)]
pub struct Publisher {
    connection: Connection,
    url: String,
    source: Source,
    rtcp: UdpSocket,
}

impl Publisher {
    /// ANNOUNCE, SETUP and RECORD of one video track at `path`.
    ///
    /// # Errors
    ///
    /// The server refused, with its status line.
    pub fn start(server: SocketAddr, path: &str) -> Result<Self> {
        let mut connection = Connection::open(server, Ipv4Addr::LOCALHOST)?;
        let url = connection.url(path);
        let sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=bench\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=video 0 RTP/AVP {PAYLOAD_TYPE}\r\na=rtpmap:{PAYLOAD_TYPE} H264/90000\r\n\
             a=fmtp:{PAYLOAD_TYPE} packetization-mode=1;sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==\r\n\
             a=control:streamid=0\r\n"
        );
        connection.request("ANNOUNCE", &url, "Content-Type: application/sdp\r\n", &sdp)?;
        let (rtp, rtcp) = bind_pair()?;
        let port = rtp.local_addr()?.port();
        let transport = format!("Transport: RTP/AVP;unicast;client_port={port}-{};mode=record\r\n", port + 1);
        let answer = connection.request("SETUP", &format!("{url}/streamid=0"), &transport, "")?;
        let transport = answer.header("Transport").ok_or("SETUP: no Transport")?;
        let (rtp_to, rtcp_to) = server_addresses(transport, server.ip())?;
        connection.request("RECORD", &url, "Range: npt=0.000-\r\n", "")?;
        rtcp.connect(rtcp_to)?;
        rtcp.set_nonblocking(true)?;
        Ok(Self { connection, url, source: Source::new(rtp, rtp_to)?, rtcp })
    }

    /// The source of its packets.
    pub fn source(&mut self) -> &mut Source {
        &mut self.source
    }

    /// Sends a sender report, and throws away what the server reported.
    ///
    /// # Errors
    ///
    /// The kernel's.
    pub fn report(&mut self) -> Result<()> {
        let (packets, timestamp) = self.source.sent();
        self.rtcp.send(&sender_report(self.source.ssrc(), packets, timestamp))?;
        let mut buffer = [0; 1500];
        while self.rtcp.recv(&mut buffer).is_ok() {}
        Ok(())
    }

    /// Keeps the session alive.
    ///
    /// # Errors
    ///
    /// The session is gone.
    pub fn keep_alive(&mut self) -> Result<()> {
        self.connection.request("OPTIONS", &self.url, "", "").map(drop)
    }
}

/// A session that plays to somebody's ports.
#[derive(Debug)]
pub struct Reader {
    connection: Connection,
    url: String,
}

impl Reader {
    /// DESCRIBE, SETUP and PLAY of the first track at `path`, for RTP to `port` and RTCP to the next of `ip`.
    ///
    /// # Errors
    ///
    /// The server refused, with its status line.
    pub fn start(server: SocketAddr, path: &str, ip: Ipv4Addr, port: u16) -> Result<Self> {
        let mut reader = Self::connect(server, path, ip)?;
        reader.play(port)?;
        Ok(reader)
    }

    /// A connection from `ip` for the stream at `path`.
    ///
    /// # Errors
    ///
    /// The server cannot be reached.
    pub fn connect(server: SocketAddr, path: &str, ip: Ipv4Addr) -> Result<Self> {
        let connection = Connection::open(server, ip)?;
        let url = connection.url(path);
        Ok(Self { connection, url })
    }

    /// DESCRIBE, SETUP and PLAY of the first track, for RTP to `port` and RTCP to the next.
    ///
    /// # Errors
    ///
    /// The server refused, with its status line.
    pub fn play(&mut self, port: u16) -> Result<()> {
        let Self { connection, url } = self;
        let description = connection.request("DESCRIBE", url, "Accept: application/sdp\r\n", "")?;
        let base = description.header("Content-Base").unwrap_or(url).trim_end_matches('/').to_owned();
        let media = description.body.split("\nm=").nth(1).ok_or("DESCRIBE: no media")?;
        let control =
            media.lines().find_map(|line| line.strip_prefix("a=control:")).ok_or("no control")?.trim();
        let track = if control.contains("://") { control.to_owned() } else { format!("{base}/{control}") };
        let transport = format!("Transport: RTP/AVP;unicast;client_port={port}-{}\r\n", port + 1);
        connection.request("SETUP", &track, &transport, "")?;
        connection.request("PLAY", url, "Range: npt=0.000-\r\n", "").map(drop)
    }

    /// Ends the session.
    ///
    /// # Errors
    ///
    /// It is gone already.
    pub fn leave(&mut self) -> Result<()> {
        self.connection.request("TEARDOWN", &self.url, "", "").map(drop)
    }

    /// Keeps the session alive.
    ///
    /// # Errors
    ///
    /// The session is gone.
    pub fn keep_alive(&mut self) -> Result<()> {
        self.connection.request("OPTIONS", &self.url, "", "").map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers one connection, and returns the requests it saw.
    fn server(listener: &TcpListener, rtp: &UdpSocket) -> Vec<String> {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let port = rtp.local_addr().unwrap().port();
        let mut requests = Vec::new();
        loop {
            let (mut request, mut length) = (String::new(), 0);
            while !request.ends_with("\r\n\r\n") {
                if reader.read_line(&mut request).unwrap() == 0 {
                    return requests;
                }
            }
            if let Some(text) = request.split("Content-Length: ").nth(1) {
                length = text.lines().next().unwrap().parse().unwrap();
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            request += &String::from_utf8(body).unwrap();
            let sequence = request.split("CSeq: ").nth(1).unwrap().lines().next().unwrap();
            let (headers, body) = match request.split(' ').next().unwrap() {
                "SETUP" => (
                    format!(
                        "session: 7;timeout=60\r\nTransport: RTP/AVP;server_port={port}-{}\r\n",
                        port + 1
                    ),
                    "",
                ),
                "DESCRIBE" => (
                    "Content-Base: rtsp://h/base/\r\n".to_owned(),
                    "v=0\r\nm=video 0 RTP/AVP 96\r\na=control:t1\r\n",
                ),
                "PLAY" if request.contains("/refused") => ("Refused: 1\r\n".to_owned(), ""),
                _ => (String::new(), ""),
            };
            let status = if headers.starts_with("Refused") { "403 Forbidden" } else { "200 OK" };
            let answer = format!(
                "RTSP/1.0 {status}\r\nCSeq: {sequence}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).unwrap();
            requests.push(request);
        }
    }

    #[test]
    fn a_publisher_announces_and_sends_where_it_was_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (rtp, rtcp) = bind_pair().unwrap();
        let address = listener.local_addr().unwrap();
        let server_rtp = rtp.try_clone().unwrap();
        let server = std::thread::spawn(move || server(&listener, &server_rtp));
        let mut publisher = Publisher::start(address, "bench/0").unwrap();
        publisher.source().send(1).unwrap();
        publisher.report().unwrap();
        publisher.keep_alive().unwrap();
        drop(publisher);
        let mut buffer = [0; 2000];
        assert_eq!(rtp.recv(&mut buffer).unwrap(), crate::PACKET_BYTES);
        assert_eq!(rtcp.recv(&mut buffer).unwrap(), 44);
        assert_eq!(buffer[1], 200);
        let requests = server.join().unwrap();
        let methods: Vec<_> = requests.iter().map(|request| request.split(' ').next().unwrap()).collect();
        assert_eq!(methods, ["ANNOUNCE", "SETUP", "RECORD", "OPTIONS"]);
        assert!(requests[0].ends_with("a=control:streamid=0\r\n"));
        assert!(requests[1].contains("mode=record"));
        assert!(requests[2].contains("Session: 7\r\n") && requests[3].contains("Session: 7\r\n"));
    }

    #[test]
    fn a_reader_resolves_its_track_and_says_why_it_failed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let rtp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let server = std::thread::spawn(move || [server(&listener, &rtp), server(&listener, &rtp)]);
        drop(Reader::start(address, "bench/0", Ipv4Addr::new(127, 1, 0, 1), 9000).unwrap());
        let refused = Reader::start(address, "refused", Ipv4Addr::new(127, 1, 0, 1), 9000).unwrap_err();
        assert!(refused.to_string().ends_with("RTSP/1.0 403 Forbidden"), "{refused}");
        let [requests, _] = server.join().unwrap();
        assert!(requests[1].starts_with("SETUP rtsp://h/base/t1 RTSP/1.0"));
        assert!(requests[1].contains("client_port=9000-9001"));
    }

    #[test]
    fn transport_parameters() {
        let transport = "RTP/AVP/UDP;unicast;client_port=2-3;server_port=8000-8001;source=127.0.0.9;ssrc=1";
        let server = "127.0.0.1".parse().unwrap();
        let (rtp, rtcp) = server_addresses(transport, server).unwrap();
        assert_eq!(rtp, "127.0.0.9:8000".parse().unwrap());
        assert_eq!(rtcp, "127.0.0.9:8001".parse().unwrap());
        assert!(server_addresses("RTP/AVP;unicast", server).is_err());
    }
}
