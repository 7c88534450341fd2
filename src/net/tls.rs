//! TLS on an RTSP connection, driven by hand on the worker that owns the socket: bytes in, bytes out, nothing waits.

pub(crate) mod pem;

use std::cell::{Cell, RefCell};
use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use msm_auth::identity::error::SvidError;
use msm_auth::identity::svid::PeerIdentity;
use msm_auth::identity::tls;
use rustls::{ClientConfig, ClientConnection, InvalidMessage, ServerConfig, ServerConnection};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Encrypted bytes that wait for the kernel. More plaintext is encrypted only once these are gone, so that what a slow
/// peer holds is bounded by the queue in front.
const OUTGOING_BYTES: usize = 64 * 1024;

/// Encrypted bytes taken from the kernel at once.
const READ_BYTES: usize = 64 * 1024;

thread_local! {
    /// What was just read. It is empty between calls, so one for all connections of a worker will do.
    static INCOMING: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Why a connection has no TLS, or has it no longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// The peer did not finish its part in time.
    #[error("the TLS handshake was not finished in {0:?}")]
    Timeout(Duration),
    /// The peer went away in the middle of it.
    #[error("the peer closed the connection before the TLS handshake was finished")]
    Closed,
    /// The peer speaks something else.
    #[error("the peer does not speak TLS on this connection")]
    NotTls,
    /// A member's certificate was refused.
    #[error("the peer's certificate was refused: {0}")]
    Refused(SvidError),
    /// Anything else that TLS does not allow.
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        if let Some(refusal) = tls::refusal(&error) {
            return Self::Refused(refusal.clone());
        }
        match error {
            rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::NotTls,
            error => Self::Tls(error),
        }
    }
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::Io(error) => error,
            error => Self::new(io::ErrorKind::InvalidData, error.to_string()),
        }
    }
}

impl TlsError {
    /// A stable name for counters, from a set that no peer can add to.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "tls_timeout",
            Self::Closed | Self::Io(_) => "tls_closed",
            Self::NotTls => "tls_not_tls",
            Self::Refused(refusal) => refusal.name(),
            Self::Tls(rustls::Error::InvalidCertificate(_)) => "tls_certificate",
            Self::Tls(rustls::Error::NoCertificatesPresented) => "tls_no_certificate",
            Self::Tls(rustls::Error::AlertReceived(_)) => "tls_alert",
            Self::Tls(rustls::Error::PeerIncompatible(_)) => "tls_incompatible",
            Self::Tls(_) => "tls_protocol",
        }
    }
}

/// The TLS of one connection.
pub(crate) struct Tls {
    session: RefCell<rustls::Connection>,
    /// What came behind the end of the handshake, before anybody read.
    early: RefCell<BytesMut>,
    /// Nothing more will come: the peer said so, or its socket did.
    ended: Cell<bool>,
}

impl Tls {
    pub(super) fn server(config: Arc<ServerConfig>) -> Result<Self, TlsError> {
        Ok(Self::new(ServerConnection::new(config)?.into()))
    }

    pub(super) fn client(config: Arc<ClientConfig>, name: ServerName<'static>) -> Result<Self, TlsError> {
        Ok(Self::new(ClientConnection::new(config, name)?.into()))
    }

    fn new(mut session: rustls::Connection) -> Self {
        session.set_buffer_limit(Some(OUTGOING_BYTES));
        Self { session: RefCell::new(session), early: RefCell::default(), ended: Cell::new(false) }
    }

    /// Runs until both sides have what they need. Cancel safe.
    pub(super) async fn handshake(&self, stream: &TcpStream) -> Result<(), TlsError> {
        loop {
            self.send(stream)?;
            if !self.session.borrow().is_handshaking() {
                return Ok(());
            }
            let interest =
                if self.wants_write() { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            if stream.ready(interest).await?.is_writable() {
                self.send(stream)?;
            }
            match self.receive(stream, &mut self.early.borrow_mut()) {
                Ok(_) if self.ended.get() => return Err(TlsError::Closed),
                Ok(_) => {}
                Err(TlsError::Io(error)) if is_transient(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether [`Self::read`] has something to tell without the socket.
    pub(super) fn is_ready(&self) -> bool {
        self.ended.get() || !self.early.borrow().is_empty()
    }

    /// Encrypted bytes wait for the kernel.
    pub(super) fn wants_write(&self) -> bool {
        self.session.borrow().wants_write()
    }

    /// As a read of the socket: the number of bytes that were appended, 0 at the end, `WouldBlock` when none are there.
    pub(super) fn read(&self, stream: &TcpStream, into: &mut BytesMut) -> io::Result<usize> {
        let mut early = self.early.borrow_mut();
        if !early.is_empty() {
            into.extend_from_slice(&early);
            let taken = early.len();
            *early = BytesMut::new();
            return Ok(taken);
        }
        if self.ended.get() {
            return Ok(0);
        }
        match self.receive(stream, into)? {
            0 if !self.ended.get() => Err(io::ErrorKind::WouldBlock.into()),
            taken => Ok(taken),
        }
    }

    /// Takes what the kernel has, once, and appends what it says.
    fn receive(&self, stream: &TcpStream, into: &mut BytesMut) -> Result<usize, TlsError> {
        INCOMING.with_borrow_mut(|incoming| {
            let taken = stream.try_read(incoming)?;
            if taken == 0 {
                self.ended.set(true);
                return Ok(0);
            }
            let before = into.len();
            let outcome = self.decrypt(incoming.get(..taken).unwrap_or_default(), into);
            if outcome.is_err() {
                // The peer is told by an alert, if it still listens.
                let _ = self.send(stream);
            }
            outcome.map(|()| into.len().saturating_sub(before))
        })
    }

    fn decrypt(&self, mut bytes: &[u8], into: &mut BytesMut) -> Result<(), TlsError> {
        let mut session = self.session.borrow_mut();
        while !bytes.is_empty() {
            session.read_tls(&mut bytes)?;
            let state = session.process_new_packets()?;
            let mut reader = session.reader();
            // An error here means that there is nothing now.
            while let Ok(plaintext) = reader.fill_buf()
                && !plaintext.is_empty()
            {
                into.extend_from_slice(plaintext);
                let length = plaintext.len();
                reader.consume(length);
            }
            if state.peer_has_closed() {
                // What comes behind cannot be trusted (`RFC 8446 §6.1`).
                self.ended.set(true);
                break;
            }
        }
        Ok(())
    }

    /// Writes what is encrypted; `false` when the kernel takes no more of it now.
    fn send(&self, stream: &TcpStream) -> io::Result<bool> {
        let mut session = self.session.borrow_mut();
        while session.wants_write() {
            match session.write_tls(&mut Socket(stream)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if is_transient(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    /// Encrypts and writes from the front of the queue what the kernel takes now.
    pub(super) fn write(&self, stream: &TcpStream, queue: &mut BytesMut) -> io::Result<()> {
        while self.send(stream)? {
            let mut session = self.session.borrow_mut();
            if queue.is_empty() || session.is_handshaking() {
                break;
            }
            let next = queue.get(..queue.len().min(OUTGOING_BYTES)).unwrap_or_default();
            match session.writer().write(next)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                taken => queue.advance(taken),
            }
        }
        Ok(())
    }

    /// Says that nothing more comes (`RFC 8446 §6.1`), if the kernel takes it at once.
    pub(super) fn close(&self, stream: &TcpStream) {
        self.session.borrow_mut().send_close_notify();
        let _ = self.send(stream);
    }

    /// Who the peer is, where it is a member of the mesh.
    pub(crate) fn member(&self) -> Result<PeerIdentity, SvidError> {
        tls::peer(&self.session.borrow())
    }

    /// Who the peer is by its SVID, whatever it speaks.
    pub(crate) fn identity(&self) -> Result<PeerIdentity, SvidError> {
        tls::identity(&self.session.borrow())
    }

    /// The peer's certificates, its own first; none if it showed none.
    pub(crate) fn peer_certificates(&self) -> Vec<CertificateDer<'static>> {
        self.session.borrow().peer_certificates().map(<[_]>::to_vec).unwrap_or_default()
    }

    /// The application protocol agreed on (`RFC 7301`).
    pub(crate) fn alpn(&self) -> Option<Vec<u8>> {
        self.session.borrow().alpn_protocol().map(<[_]>::to_vec)
    }

    /// The cipher suite's name in the IANA registry.
    pub(crate) fn cipher_suite(&self) -> Option<&'static str> {
        self.session.borrow().negotiated_cipher_suite()?.suite().as_str()
    }

    /// Version, cipher suite and key exchange, for people.
    pub(crate) fn summary(&self) -> String {
        let session = self.session.borrow();
        let group = session.negotiated_key_exchange_group().map(|group| format!(" {:?}", group.name()));
        let parts = [self.protocol_version().unwrap_or_default(), self.cipher_suite().unwrap_or_default()];
        format!("{}{}", parts.join(" "), group.unwrap_or_default())
    }

    /// `TLSv1_3` or `TLSv1_2`.
    pub(crate) fn protocol_version(&self) -> Option<&'static str> {
        self.session.borrow().protocol_version()?.as_str()
    }

    /// Keys that both sides derive from the handshake and nobody else can (`RFC 5705`, `RFC 8446 §7.5`).
    pub(crate) fn export_keying_material(
        &self,
        label: &[u8],
        context: Option<&[u8]>,
        out: &mut [u8],
    ) -> Result<(), TlsError> {
        self.session.borrow().export_keying_material(out, label, context)?;
        Ok(())
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// The socket, as rustls writes to it.
struct Socket<'a>(&'a TcpStream);

impl Write for Socket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, bytes: &[io::IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
