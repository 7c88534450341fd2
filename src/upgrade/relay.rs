//! Connections within TLS, whose bytes are carried to and from the process that goes on with them: the keys stay here.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::rc::Rc;

use bytes::{Buf, BytesMut};
use tokio::net::UnixStream;

use crate::net::tcp::Connection;
use crate::serve::admission::ConnectionPass;

/// Read at once, and what waits for the other side before more is read.
const BUFFER: usize = 64 * 1024;

/// Carries what comes and goes from now on; the other process's end.
pub(super) fn open(connection: Rc<Connection>, pass: ConnectionPass) -> io::Result<OwnedFd> {
    let (near, far) = StdStream::pair()?;
    near.set_nonblocking(true)?;
    let near = UnixStream::from_std(near)?;
    tokio::task::spawn_local(async move {
        carry(&connection, &near).await;
        connection.close();
        drop(pass);
    });
    Ok(far.into())
}

/// Until either side ends.
async fn carry(connection: &Connection, stream: &UnixStream) {
    let (mut inward, mut outward) = (BytesMut::new(), BytesMut::new());
    loop {
        let takes = connection.queued() < BUFFER;
        tokio::select! {
            () = connection.drained() => {
                connection.flush();
                if connection.is_closed() {
                    return;
                }
            }
            ready = connection.readable(), if inward.len() < BUFFER => {
                if ready.is_err() {
                    return;
                }
                inward.reserve(BUFFER);
                match connection.read(&mut inward) {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
            ready = stream.writable(), if !inward.is_empty() => {
                if ready.is_err() {
                    return;
                }
                match stream.try_write(&inward) {
                    Ok(written) => inward.advance(written),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
            ready = stream.readable(), if takes => {
                if ready.is_err() {
                    return;
                }
                outward.reserve(BUFFER);
                match stream.try_read_buf(&mut outward) {
                    Ok(0) => return,
                    Ok(_) => {
                        connection.send_message(&outward);
                        outward.clear();
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        }
    }
}
