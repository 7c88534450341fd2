//! The link's way of TCP: bytes arrive in order after the link's delay, and none are lost, as TCP has it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::spawn;

/// Connections at once: a member has two while its keys are renewed.
const CONNECTIONS: usize = 8;
/// Bytes that are read at once.
const CHUNK: usize = 16 * 1024;
/// Chunks of one direction that are under way. A sender that is faster waits.
const CHUNKS: usize = 256;
/// For a connection to the studio, which is on this machine.
const CONNECT: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(super) struct Streams {
    studio: SocketAddr,
    delay: Duration,
    open: Mutex<Vec<Arc<Joined>>>,
    over: AtomicBool,
}

/// The two ends of a connection.
#[derive(Debug)]
struct Joined {
    edge: TcpStream,
    studio: TcpStream,
}

impl Joined {
    fn shutdown(&self) {
        let _ = self.edge.shutdown(Shutdown::Both);
        let _ = self.studio.shutdown(Shutdown::Both);
    }
}

impl Streams {
    pub(super) fn new(studio: SocketAddr, delay: Duration) -> Self {
        Self { studio, delay, open: Mutex::default(), over: AtomicBool::new(false) }
    }

    /// Takes connections until it is over.
    pub(super) fn accept(&self, listener: &TcpListener) {
        for edge in listener.incoming() {
            if self.over.load(Ordering::Relaxed) {
                return;
            }
            // One that cannot be passed on is closed: the member tries again.
            let _ = edge.and_then(|edge| self.join(edge));
        }
    }

    fn join(&self, edge: TcpStream) -> io::Result<()> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that are over are held by nobody else.
        open.retain(|joined| Arc::strong_count(joined) > 1);
        if open.len() >= CONNECTIONS {
            return Err(io::Error::other("too many connections"));
        }
        let studio = TcpStream::connect_timeout(&self.studio, CONNECT)?;
        edge.set_nodelay(true)?;
        studio.set_nodelay(true)?;
        let joined = Arc::new(Joined { edge, studio });
        pass(&joined, |joined| (&joined.edge, &joined.studio), self.delay)?;
        pass(&joined, |joined| (&joined.studio, &joined.edge), self.delay)?;
        open.push(joined);
        Ok(())
    }

    pub(super) fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
        for joined in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            joined.shutdown();
        }
    }
}

/// Where a direction comes from and goes to.
type Ends = fn(&Joined) -> (&TcpStream, &TcpStream);

/// One direction: a thread that reads, and one that writes when it is time.
fn pass(joined: &Arc<Joined>, ends: Ends, delay: Duration) -> io::Result<()> {
    let (under_way, arriving) = sync_channel(CHUNKS);
    let own = Arc::clone(joined);
    spawn("demo-link-tcp", move || read(ends(&own).0, &under_way, delay))?;
    let own = Arc::clone(joined);
    spawn("demo-link-tcp", move || {
        let (_, to) = ends(&own);
        match write(to, &arriving) {
            // The end of what was sent is passed on; the other direction may go on.
            Ok(()) => {
                let _ = to.shutdown(Shutdown::Write);
            }
            Err(_) => own.shutdown(),
        }
    })
}

fn read(mut from: &TcpStream, under_way: &SyncSender<(Instant, Vec<u8>)>, delay: Duration) {
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                let bytes = buffer.get(..length).unwrap_or_default().to_vec();
                if under_way.send((Instant::now() + delay, bytes)).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

fn write(mut to: &TcpStream, arriving: &Receiver<(Instant, Vec<u8>)>) -> io::Result<()> {
    while let Ok((due, bytes)) = arriving.recv() {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        to.write_all(&bytes)?;
    }
    Ok(())
}
