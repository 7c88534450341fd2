//! Sockets of a test's own, for peers that send to it.

use std::io::Read;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Sockets on a port and those that are so far above it.
pub(crate) fn sockets(above: &[u16]) -> Vec<UdpSocket> {
    loop {
        let first = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        if !port.is_multiple_of(2) || port > 65_000 {
            continue;
        }
        let others: Vec<_> =
            above.iter().map_while(|more| UdpSocket::bind(("127.0.0.1", port + more)).ok()).collect();
        if others.len() == above.len() {
            return std::iter::once(first).chain(others).collect();
        }
    }
}

pub(crate) fn port(socket: &UdpSocket) -> u16 {
    socket.local_addr().unwrap().port()
}

/// Datagrams of several sockets, each with the place of its socket, until the value is dropped.
pub(crate) fn datagrams(sockets: Vec<UdpSocket>) -> Receiver<(usize, Vec<u8>)> {
    let (sender, receiver) = channel();
    for (at, socket) in sockets.into_iter().enumerate() {
        let sender = sender.clone();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 2048];
            while let Ok(len) = socket.recv(&mut buffer) {
                if sender.send((at, buffer[..len].to_vec())).is_err() {
                    return;
                }
            }
        });
    }
    receiver
}

/// What comes out of GStreamer's `rtpstreampay` at a TCP port, packet by packet, each behind its length (RFC 4571). All that waited
/// for one packet comes out at once with it, and is more than a UDP socket holds for a thread that has to wait for a processor.
pub(crate) fn packets() -> (u16, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = channel();
    let read = |stream: &mut TcpStream, length: usize| {
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).ok().map(|()| bytes)
    };
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        while let Some(length) = read(&mut stream, 2) {
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            let Some(packet) = read(&mut stream, length) else { return };
            if sender.send(packet).is_err() {
                return;
            }
        }
    });
    (port, receiver)
}

/// Datagrams that found no room in sockets at these ports.
pub(crate) fn no_room(ports: &[u16]) -> u64 {
    let table = std::fs::read_to_string("/proc/net/udp").unwrap();
    let at_one = |line: &&str| {
        let port = line.split_whitespace().nth(1).and_then(|address| address.split_once(':'));
        port.is_some_and(|(_, port)| u16::from_str_radix(port, 16).is_ok_and(|port| ports.contains(&port)))
    };
    let lines = table.lines().skip(1).filter(at_one);
    lines.map(|line| line.split_whitespace().last().unwrap().parse::<u64>().unwrap()).sum()
}
