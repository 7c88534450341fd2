//! The relays that msm is compared with. Each runs in a process of its own, forever.

use std::io::{IoSliceMut, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use quinn_udp::{RecvMeta, Transmit, UdpSocketState};

use crate::addresses::reader_addresses;
use crate::process::Process;
use crate::{PACKET_BYTES, Result};

/// The hidden argument by which the bench starts itself as a relay.
const ARGUMENT: &str = "--relay";

/// The same for a process that only keeps a CPU awake.
const SPINNER: &str = "--spin";

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
    /// The same for streams on sockets of their own, waited for together.
    CeilingStreams,
}

const ALL: [Plain; 4] = [Plain::Naive, Plain::NaiveTokio, Plain::Ceiling, Plain::CeilingStreams];

impl Plain {
    /// Name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::NaiveTokio => "naive-tokio",
            Self::Ceiling => "ceiling",
            Self::CeilingStreams => "ceiling-streams",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        ALL.into_iter().find(|relay| relay.name() == name)
    }

    /// Starts this executable as the relay of `streams` streams that share the readers evenly (only
    /// [`Self::CeilingStreams`] takes more than one); returns it with the addresses that it receives on.
    ///
    /// # Errors
    ///
    /// It did not start.
    pub fn start(
        self,
        readers: usize,
        port: u16,
        streams: usize,
        cpu: Option<usize>,
    ) -> Result<(Process, Vec<SocketAddr>)> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([ARGUMENT, self.name(), &readers.to_string(), &port.to_string(), &streams.to_string()]);
        let mut process = Process::spawn(command, cpu)?;
        let addresses =
            process.line()?.split(' ').map(str::parse).collect::<std::result::Result<Vec<_>, _>>()?;
        Ok((process, addresses))
    }
}

/// If this process was started as a relay, runs it and never returns.
///
/// # Errors
///
/// The arguments are wrong, or the relay failed.
pub fn run_if_asked() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments == [SPINNER] {
        end_with_stdin();
        loop {
            std::hint::spin_loop();
        }
    }
    let [flag, name, readers, port, streams] = arguments.as_slice() else { return Ok(()) };
    if flag != ARGUMENT {
        return Ok(());
    }
    let relay = Plain::from_name(name).ok_or("no such relay")?;
    let readers = reader_addresses(readers.parse()?, port.parse()?);
    let mut sockets = Vec::new();
    let mut addresses = Vec::new();
    for _ in 0..streams.parse()? {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket2::SockRef::from(&socket).set_recv_buffer_size(QUEUE_BYTES)?;
        addresses.push(socket.local_addr()?.to_string());
        sockets.push(socket);
    }
    println!("{}", addresses.join(" "));
    std::io::stdout().flush()?;
    end_with_stdin();
    if relay == Plain::CeilingStreams {
        return ceiling_streams(&sockets, &readers);
    }
    let socket = sockets.pop().ok_or("no stream")?;
    match relay {
        Plain::Naive => naive(&socket, &readers),
        Plain::NaiveTokio => naive_tokio(socket, &readers),
        _ => ceiling(&socket, &readers),
    }
}

/// The bench holds the other end of stdin: its end is ours.
fn end_with_stdin() {
    std::thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
}

/// Keeps a CPU from sleeping without taking time from anybody: what runs only when nothing else does gives way at once.
/// A virtual CPU that sleeps is woken by its host, which on a busy host takes up to a millisecond.
///
/// # Errors
///
/// There is no `chrt`.
pub fn keep_awake(cpu: Option<usize>) -> Result<Process> {
    let mut command = Command::new("chrt");
    command.args(["--idle", "0"]).arg(std::env::current_exe()?).arg(SPINNER);
    Process::spawn(command, cpu)
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
    loop {
        relay_run(&state, socket, &mut buffer, readers)?;
    }
}

/// The cheapest there is for many sockets.
fn ceiling_streams(sockets: &[UdpSocket], readers: &[SocketAddr]) -> Result<()> {
    let epoll = Epoll::new(EpollCreateFlags::empty())?;
    let mut states = Vec::new();
    for (index, socket) in sockets.iter().enumerate() {
        states.push(UdpSocketState::new(socket.into())?);
        epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
    }
    let each = readers.len() / sockets.len();
    let mut buffer = vec![0; 1 << 16];
    let mut events = [EpollEvent::empty(); 64];
    loop {
        let count = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in events.iter().take(count) {
            let index = usize::try_from(event.data())?;
            let readers = readers.get(index * each..(index + 1) * each).ok_or("no such stream")?;
            let (state, socket) = states.get(index).zip(sockets.get(index)).ok_or("no such stream")?;
            relay_run(state, socket, &mut buffer, readers)?;
        }
    }
}

fn relay_run(
    state: &UdpSocketState,
    socket: &UdpSocket,
    buffer: &mut [u8],
    readers: &[SocketAddr],
) -> Result<()> {
    let mut meta = [RecvMeta::default()];
    state.recv(socket.into(), &mut [IoSliceMut::new(buffer)], &mut meta)?;
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
    Ok(())
}
