//! The relays that msm is compared with. Each runs in a process of its own, forever.

use std::io::{IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};

use crate::addresses::reader_addresses;
use crate::process::Process;
use crate::{PACKET_BYTES, Result};

/// The hidden argument by which the bench starts itself as a relay.
const ARGUMENT: &str = "--relay";

/// Room in the relay's receive queue, so that a pause of the process loses nothing.
const QUEUE_BYTES: usize = 4 << 20;

/// A relay without any processing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain {
    /// Blocking: receive one packet, `sendto` each reader.
    Naive,
    /// The same on a tokio current-thread runtime.
    NaiveTokio,
    /// Blocking: one GRO receive, one GSO send a reader.
    Ceiling,
}

impl Plain {
    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::NaiveTokio => "naive-tokio",
            Self::Ceiling => "ceiling",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Naive, Self::NaiveTokio, Self::Ceiling].into_iter().find(|relay| relay.name() == name)
    }

    /// Starts this executable as the relay; returns it with the address that it receives on.
    ///
    /// # Errors
    ///
    /// It did not start.
    pub fn start(self, readers: usize, port: u16, cpu: Option<usize>) -> Result<(Process, SocketAddr)> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([ARGUMENT, self.name(), &readers.to_string(), &port.to_string()]);
        let mut process = Process::spawn(command, cpu)?;
        let address = process.line()?.parse()?;
        Ok((process, address))
    }
}

/// If this process was started as a relay, runs it and never returns.
///
/// # Errors
///
/// The arguments are wrong, or the relay failed.
pub fn run_if_asked() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [flag, name, readers, port] = arguments.as_slice() else { return Ok(()) };
    if flag != ARGUMENT {
        return Ok(());
    }
    let relay = Plain::from_name(name).ok_or("no such relay")?;
    let readers = reader_addresses(readers.parse()?, port.parse()?);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(QUEUE_BYTES)?;
    println!("{}", socket.local_addr()?);
    std::io::stdout().flush()?;
    // The bench holds the other end of stdin: its end is ours.
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    match relay {
        Plain::Naive => naive(&socket, &readers),
        Plain::NaiveTokio => naive_tokio(socket, &readers),
        Plain::Ceiling => ceiling(&socket, &readers),
    }
}

fn naive(socket: &UdpSocket, readers: &[SocketAddr]) -> Result<()> {
    let mut buffer = [0; 2048];
    loop {
        let length = socket.recv(&mut buffer)?;
        let packet = buffer.get(..length).unwrap_or_default();
        for reader in readers {
            socket.send_to(packet, reader)?;
        }
    }
}

fn naive_tokio(socket: UdpSocket, readers: &[SocketAddr]) -> Result<()> {
    socket.set_nonblocking(true)?;
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let socket = tokio::net::UdpSocket::from_std(socket)?;
        let mut buffer = [0; 2048];
        loop {
            let length = socket.recv(&mut buffer).await?;
            let packet = buffer.get(..length).unwrap_or_default();
            for reader in readers {
                socket.send_to(packet, reader).await?;
            }
        }
    })
}

/// The cheapest there is: a blocking receive costs less than a wait for readiness and a receive.
fn ceiling(socket: &UdpSocket, readers: &[SocketAddr]) -> Result<()> {
    let state = UdpSocketState::new(socket.into())?;
    socket.set_nonblocking(false)?;
    let mut buffer = vec![0; 1 << 16];
    let mut meta = [RecvMeta::default()];
    loop {
        state.recv(socket.into(), &mut [IoSliceMut::new(&mut buffer)], &mut meta)?;
        let [run] = &meta;
        let contents = buffer.get(..run.len).unwrap_or_default();
        for reader in readers {
            let transmit = Transmit {
                destination: *reader,
                ecn: None,
                contents,
                segment_size: Some(run.stride.max(PACKET_BYTES)),
                src_ip: None,
            };
            state.try_send(socket.into(), &transmit)?;
        }
    }
}
