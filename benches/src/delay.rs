//! A link with a round trip: TCP and UDP of one port pass after half of it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use crate::Result;

/// Stands at `at` for what is at `server`, with the same port number. Its threads live as long as the process.
///
/// # Errors
///
/// The addresses cannot be had.
pub fn start(at: SocketAddr, server: SocketAddr, round_trip: Duration) -> Result<()> {
    let half = round_trip / 2;
    let listener = TcpListener::bind(at)?;
    spawn(move || {
        for client in listener.incoming().map_while(std::result::Result::ok) {
            spawn(move || {
                // What a connection costs before anything is sent on it: the SYN and its answer.
                sleep(round_trip);
                if let Ok(server) = TcpStream::connect(server) {
                    let _ = streams(client, server, half);
                }
            });
        }
    });
    let socket = UdpSocket::bind(at)?;
    let (to_server, from_client) = channel();
    let (to_client, from_server) = channel();
    for line in [from_client, from_server] {
        let socket = socket.try_clone()?;
        spawn(move || datagrams(&line, &socket));
    }
    spawn(move || {
        let mut client = None;
        let mut buffer = vec![0; 65536];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let due = Instant::now() + half;
            let contents = buffer.get(..length).unwrap_or_default().to_vec();
            let sent = if from == server {
                client.is_none_or(|client| to_client.send((due, client, contents)).is_ok())
            } else {
                client = Some(from);
                to_server.send((due, server, contents)).is_ok()
            };
            if !sent {
                return;
            }
        }
    });
    Ok(())
}

fn datagrams(line: &Receiver<(Instant, SocketAddr, Vec<u8>)>, socket: &UdpSocket) {
    while let Ok((due, to, contents)) = line.recv() {
        sleep(due.saturating_duration_since(Instant::now()));
        let _ = socket.send_to(&contents, to);
    }
}

/// Passes each side's bytes to the other, later.
fn streams(client: TcpStream, server: TcpStream, half: Duration) -> Result<()> {
    for (from, to) in [(&client, &server), (&server, &client)] {
        to.set_nodelay(true)?;
        let (from, to) = (from.try_clone()?, to.try_clone()?);
        let (line, end) = channel();
        spawn(move || take(from, &line, half));
        spawn(move || give(&end, to));
    }
    Ok(())
}

fn take(mut from: TcpStream, line: &Sender<(Instant, Vec<u8>)>, half: Duration) {
    let mut buffer = vec![0; 65536];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let contents = buffer.get(..length).unwrap_or_default().to_vec();
        if line.send((Instant::now() + half, contents)).is_err() {
            return;
        }
    }
}

fn give(line: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
    while let Ok((due, contents)) = line.recv() {
        sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&contents).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_trip_takes_its_time() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let at = SocketAddr::from(([127, 0, 0, 2], address.port()));
        start(at, address, Duration::from_millis(40)).unwrap();
        spawn(move || {
            let (mut stream, _) = server.accept().unwrap();
            let mut byte = [0];
            while stream.read_exact(&mut byte).is_ok() {
                stream.write_all(&byte).unwrap();
            }
        });
        let began = Instant::now();
        let mut client = TcpStream::connect(at).unwrap();
        client.write_all(b"x").unwrap();
        client.read_exact(&mut [0]).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(80), "{:?}", began.elapsed());
    }
}
