//! Connections within TLS, whose bytes are carried to and from the process that goes on with them: the keys stay here.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::net::UnixStream;

use crate::net::tcp::Connection;
use crate::serve::admission::ConnectionPass;
use crate::serve::connection::linger;

/// Read at once, and what waits for the other side before more is read.
const BUFFER: usize = 64 * 1024;
/// How long what was said last may take to arrive.
const LAST: Duration = Duration::from_secs(1);

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

/// Until either side ends, and the other one has what it said until then.
async fn carry(connection: &Connection, stream: &UnixStream) {
    let mut inward = BytesMut::new();
    carry_both(connection, stream, &mut inward).await;
    let rest = async {
        while !inward.is_empty() && stream.writable().await.is_ok() {
            match stream.try_write(&inward) {
                Ok(written) => inward.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    };
    let _ = tokio::time::timeout(LAST, rest).await;
    linger(connection).await;
}

async fn carry_both(connection: &Connection, stream: &UnixStream, inward: &mut BytesMut) {
    let mut outward = BytesMut::new();
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
                match connection.read(inward) {
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
                match stream.try_write(inward) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    async fn carried() -> (TcpStream, UnixStream, tokio::task::JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, accepted) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let connection = Connection::new(accepted.unwrap().0, 1 << 20);
        let (near, far) = UnixStream::pair().unwrap();
        let task = tokio::task::spawn_local(async move {
            carry(&connection, &near).await;
            connection.close();
        });
        (client.unwrap(), far, task)
    }

    #[tokio::test]
    async fn what_was_said_last_arrives_when_the_client_ends_and_when_the_process_does() {
        let local = tokio::task::LocalSet::new();
        local
            .run_until(async {
                // More than the sockets hold: the rest waits in between when the end comes.
                let said = vec![7; 300_000];
                let (mut client, mut process, task) = carried().await;
                let sending = {
                    let said = said.clone();
                    tokio::task::spawn_local(async move {
                        client.write_all(&said).await.unwrap();
                        client.shutdown().await.unwrap();
                        client
                    })
                };
                let mut got = Vec::new();
                process.read_to_end(&mut got).await.unwrap();
                assert_eq!(got.len(), said.len());
                drop(sending.await.unwrap());
                task.await.unwrap();
                let (mut client, mut process, task) = carried().await;
                let (sent, got) = tokio::join!(
                    async {
                        process.write_all(&said).await.unwrap();
                        drop(process);
                    },
                    async {
                        let mut got = Vec::new();
                        client.read_to_end(&mut got).await.unwrap();
                        got.len()
                    }
                );
                assert_eq!((sent, got), ((), said.len()));
                drop(client);
                task.await.unwrap();
            })
            .await;
    }
}
