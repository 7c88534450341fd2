use std::io::ErrorKind;
use std::rc::Rc;

use msm_auth::identity::ephemeral::{Ephemeral, EphemeralCa, EphemeralSource};
use msm_auth::identity::tls::AllowedPeers;
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::version::{TLS12, TLS13};
use rustls_pki_types::PrivatePkcs8KeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::tcp::{Connection, Queued};
use super::*;

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(20);

/// Configurations of a server called `localhost` and of a client that trusts it.
fn configs(version: &'static rustls::SupportedProtocolVersion) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let own = rcgen::generate_simple_self_signed(["localhost".into()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
    let provider = Arc::new(default_provider());
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key.into())
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

fn name() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
    (near.unwrap(), far.unwrap().0)
}

async fn joined(limit: usize) -> (Rc<Connection>, Rc<Connection>) {
    let (server, client) = configs(&TLS13);
    let (near, far) = sockets().await;
    let server = Connection::tls_server(near, server, limit).unwrap();
    let client = Connection::tls_client(far, client, name(), limit).unwrap();
    let (one, other) = tokio::join!(server.handshake(LONG), client.handshake(LONG));
    one.unwrap();
    other.unwrap();
    (server, client)
}

/// Reads until the connection ends or `enough` bytes are there; writes of `from` go on meanwhile.
async fn read(to: &Connection, from: &Connection, enough: usize) -> Vec<u8> {
    let mut buffer = BytesMut::new();
    while buffer.len() < enough {
        tokio::select! {
            ready = to.readable() => {
                ready.unwrap();
                match to.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}"),
                }
            }
            () = from.drained(), if !from.is_closed() => from.flush(),
        }
    }
    buffer.to_vec()
}

#[tokio::test]
async fn both_sides_say_what_was_agreed() {
    let (server, client) = joined(1 << 20).await;
    server.send_message(b"answer");
    assert_eq!(server.send_frames(2, b"abcdefgh", 4), (2, Queued::Yes));
    assert_eq!(read(&client, &server, 22).await, b"answer$\x02\x00\x04abcd$\x02\x00\x04efgh");
    client.send_message(b"ask");
    assert_eq!(read(&server, &client, 3).await, b"ask");

    let (of_server, of_client) = (server.tls().unwrap(), client.tls().unwrap());
    assert_eq!(of_server.protocol_version(), Some("TLSv1_3"));
    assert!(of_server.cipher_suite().unwrap().starts_with("TLS13_"), "{:?}", of_server.cipher_suite());
    assert_eq!((of_server.peer_certificates().len(), of_client.peer_certificates().len()), (0, 1));
    assert_eq!(of_client.alpn(), None);
    let mut keys = [[0; 44]; 3];
    of_server.export_keying_material(b"label", Some(b"one"), &mut keys[0]).unwrap();
    of_client.export_keying_material(b"label", Some(b"one"), &mut keys[1]).unwrap();
    of_client.export_keying_material(b"label", Some(b"two"), &mut keys[2]).unwrap();
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[1], keys[2]);
}

#[tokio::test]
async fn tls_1_2_is_served_too() {
    let (server, client) = configs(&TLS12);
    let (near, far) = sockets().await;
    let server = Connection::tls_server(near, server, 1 << 20).unwrap();
    let client = Connection::tls_client(far, client, name(), 1 << 20).unwrap();
    let (one, other) = tokio::join!(server.handshake(LONG), client.handshake(LONG));
    one.unwrap();
    other.unwrap();
    assert_eq!(server.tls().unwrap().protocol_version(), Some("TLSv1_2"));
    client.send_message(b"ask");
    assert_eq!(read(&server, &client, 3).await, b"ask");
}

#[tokio::test]
async fn members_know_each_other_and_take_nothing_older_than_tls_1_3() {
    let now = rustls_pki_types::UnixTime::now();
    let ca = EphemeralCa::new(Ephemeral::ForTests, "td".parse().unwrap(), now).unwrap();
    let id = "spiffe://td/web".parse().unwrap();
    let source = Arc::new(EphemeralSource::new(Arc::new(ca), id, Duration::from_secs(3600), now).unwrap());
    let clock = tls::system_clock();
    let config = tls::server_config(source.clone(), clock.clone()).unwrap();
    let client = tls::client_config(source, AllowedPeers::AnyAuthenticated, clock).unwrap();
    let (near, far) = sockets().await;
    let server = Connection::tls_server(near, config.clone(), 1 << 20).unwrap();
    let client = Connection::tls_client(far, client, tls::server_name(), 1 << 20).unwrap();
    let (one, other) = tokio::join!(server.handshake(LONG), client.handshake(LONG));
    one.unwrap();
    other.unwrap();
    assert_eq!(server.tls().unwrap().member().unwrap().id.to_string(), "spiffe://td/web");
    assert_eq!(client.tls().unwrap().alpn().as_deref(), Some(tls::ALPN));

    let (_, old) = configs(&TLS12);
    let (near, far) = sockets().await;
    let server = Connection::tls_server(near, config, 1 << 20).unwrap();
    let client = Connection::tls_client(far, old, name(), 1 << 20).unwrap();
    let (one, other) = tokio::join!(server.handshake(LONG), client.handshake(LONG));
    assert_eq!(one.unwrap_err().name(), "tls_incompatible");
    assert_eq!(other.unwrap_err().name(), "tls_alert");
}

#[tokio::test]
async fn a_peer_that_never_reads_is_bounded_and_loses_nothing_of_what_was_taken() {
    let (server, client) = joined(300_000).await;
    let (mut taken, mut refused) = (0, false);
    for number in 0..20_000u32 {
        let packet = [u8::try_from(number % 251).unwrap(); 1200];
        match server.send_frames(0, &packet, 1200) {
            (1, Queued::Yes) => taken += 1,
            outcome => {
                assert_eq!(outcome, (0, Queued::Full));
                refused = true;
                break;
            }
        }
    }
    assert!(refused, "the queue must end");
    assert!(server.queued() <= 300_000);
    let bytes = tokio::time::timeout(LONG, read(&client, &server, taken * 1204)).await.unwrap();
    assert_eq!(bytes.len(), taken * 1204);
    for (number, frame) in bytes.chunks(1204).enumerate() {
        assert_eq!(&frame[..4], b"$\x00\x04\xb0");
        assert!(frame[4..].iter().all(|byte| usize::from(*byte) == number % 251), "packet {number}");
    }
}

#[tokio::test]
async fn the_end_is_said_and_heard() {
    let (server, client) = joined(1 << 20).await;
    server.send_message(b"last");
    server.close();
    // The socket stays open: it is TLS that says so.
    assert_eq!(tokio::time::timeout(SECOND, read(&client, &server, 100)).await.unwrap(), b"last");
    assert_eq!(client.read(&mut BytesMut::new()).unwrap(), 0);
    tokio::time::timeout(SECOND, client.readable()).await.unwrap().unwrap();

    let (server, client) = joined(1 << 20).await;
    drop(server);
    let mut buffer = BytesMut::new();
    client.readable().await.unwrap();
    assert_eq!(client.read(&mut buffer).unwrap(), 0);
}

#[tokio::test]
async fn what_comes_with_the_end_of_the_handshake_is_not_lost() {
    let (server, client) = configs(&TLS13);
    let (near, mut far) = sockets().await;
    let server = Connection::tls_server(near, server, 1 << 20).unwrap();
    let peer = async {
        let mut session = ClientConnection::new(client, name()).unwrap();
        let mut bytes = Vec::new();
        while session.is_handshaking() {
            session.write_tls(&mut bytes).unwrap();
            far.write_all(&std::mem::take(&mut bytes)).await.unwrap();
            let mut some = [0; 4096];
            let length = far.read(&mut some).await.unwrap();
            session.read_tls(&mut &some[..length]).unwrap();
            session.process_new_packets().unwrap();
        }
        session.writer().write_all(b"early").unwrap();
        while session.wants_write() {
            session.write_tls(&mut bytes).unwrap();
        }
        far.write_all(&bytes).await.unwrap();
        far
    };
    let (outcome, _far) = tokio::join!(server.handshake(LONG), peer);
    outcome.unwrap();
    let mut buffer = BytesMut::new();
    tokio::time::timeout(SECOND, server.readable()).await.unwrap().unwrap();
    assert_eq!(server.read(&mut buffer).unwrap(), 5);
    assert_eq!(&buffer[..], b"early");
    assert_eq!(server.read(&mut buffer).unwrap_err().kind(), ErrorKind::WouldBlock);
}

/// What a server makes of a peer that sends `bytes`, and then goes or stays.
async fn shaken(bytes: &[u8], stays: bool) -> (TlsError, Vec<u8>) {
    let (server, _) = configs(&TLS13);
    let (near, mut far) = sockets().await;
    far.write_all(bytes).await.unwrap();
    if !stays {
        far.shutdown().await.unwrap();
    }
    let server = Connection::tls_server(near, server, 1 << 20).unwrap();
    let error = server.handshake(Duration::from_millis(200)).await.unwrap_err();
    drop(server);
    let mut told = Vec::new();
    let _ = far.read_to_end(&mut told).await;
    (error, told)
}

#[tokio::test]
async fn each_way_to_fail_a_handshake_has_its_name() {
    let (error, told) = shaken(b"OPTIONS rtsp://localhost/ RTSP/1.0\r\nCSeq: 1\r\n\r\n", true).await;
    assert_eq!(error.name(), "tls_not_tls", "{error}");
    assert_eq!(told.first(), Some(&21), "an alert is sent: {told:?}");
    assert_eq!(shaken(b"", true).await.0.name(), "tls_timeout");
    assert_eq!(shaken(b"\x16\x03\x01\x02\x00\x01", true).await.0.name(), "tls_timeout");
    assert_eq!(shaken(b"\x16\x03\x01", false).await.0.name(), "tls_closed");
    assert_eq!(shaken(b"\x16\x03\x01\x00\x04\x01\x00\x00\x00", true).await.0.name(), "tls_protocol");
}

#[tokio::test]
async fn a_server_that_is_not_the_one_asked_for_is_refused() {
    let (server, _) = configs(&TLS13);
    let (_, stranger) = configs(&TLS13);
    let (near, far) = sockets().await;
    let server = Connection::tls_server(near, server, 1 << 20).unwrap();
    let client = Connection::tls_client(far, stranger, name(), 1 << 20).unwrap();
    let (one, other) = tokio::join!(server.handshake(LONG), client.handshake(LONG));
    assert_eq!(other.unwrap_err().name(), "tls_certificate");
    assert_eq!(one.unwrap_err().name(), "tls_alert");
}

#[tokio::test]
async fn records_that_were_tampered_with_end_the_connection() {
    let (server, client) = joined(1 << 20).await;
    client.tamper(b"\x17\x03\x03\x00\x20 these bytes were never encrypted");
    let mut buffer = BytesMut::new();
    tokio::time::timeout(SECOND, server.readable()).await.unwrap().unwrap();
    assert_eq!(server.read(&mut buffer).unwrap_err().kind(), ErrorKind::InvalidData);
    assert!(buffer.is_empty());
}
