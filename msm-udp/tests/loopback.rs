//! The socket against the kernel, on loopback.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use msm_udp::{Ecn, RecvBuffers, Socket, Transmit};

fn socket(address: &str) -> Socket {
    Socket::new(UdpSocket::bind(address).unwrap()).unwrap()
}

fn to(destination: SocketAddr, contents: &[u8]) -> Transmit<'_> {
    Transmit { destination, contents, segment_size: None, ecn: None, src_ip: None }
}

/// One datagram or run, as an owned value.
#[derive(Debug)]
struct Got {
    bytes: Vec<u8>,
    stride: usize,
    source: SocketAddr,
    dst_ip: Option<std::net::IpAddr>,
    ecn: Option<Ecn>,
}

fn recv(socket: &Socket, slots: usize) -> Vec<Got> {
    let mut buffers = RecvBuffers::new(slots);
    let until = Instant::now() + Duration::from_secs(2);
    loop {
        match socket.recv(&mut buffers) {
            Ok(count) => assert_eq!(count, buffers.len()),
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            }
            Err(error) => panic!("{error}"),
        }
        return buffers
            .iter_mut()
            .map(|run| {
                assert!(!run.truncated && !run.control_truncated);
                Got {
                    bytes: run.bytes.to_vec(),
                    stride: run.stride,
                    source: run.source,
                    dst_ip: run.dst_ip,
                    ecn: run.ecn,
                }
            })
            .collect();
    }
}

#[test]
fn nothing_waiting_would_block() {
    let socket = socket("127.0.0.1:0");
    let mut buffers = RecvBuffers::new(4);
    assert_eq!(socket.recv(&mut buffers).unwrap_err().kind(), ErrorKind::WouldBlock);
    assert!(buffers.is_empty());
}

#[test]
fn one_call_takes_all_that_waits_and_no_more_than_the_slots() {
    let (a, b) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
    for byte in 0..5u8 {
        // Different lengths, rising: GRO could not join them even if loopback tried.
        a.send(&to(b.local_addr().unwrap(), &vec![byte; usize::from(byte) + 1])).unwrap();
    }
    let first = recv(&b, 4);
    assert_eq!(first.len(), 4);
    let rest = recv(&b, 4);
    assert_eq!(rest.len(), 1);
    for (byte, got) in first.iter().chain(&rest).enumerate() {
        assert_eq!(got.bytes, vec![byte as u8; byte + 1]);
        assert_eq!(got.stride, got.bytes.len());
        assert_eq!(got.source, a.local_addr().unwrap());
        assert_eq!(got.dst_ip, Some("127.0.0.1".parse().unwrap()));
        assert_eq!(got.ecn, None);
    }
}

#[test]
fn gso_runs_arrive_as_gro_runs_with_their_ecn() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (a, b) = (socket(address), socket(address));
        assert_eq!((a.max_gso_segments(), b.gro_segments()), (64, 64));
        let contents: Vec<u8> = (0..16 * 1200 - 7).map(|i| (i / 1200) as u8).collect();
        for ecn in [None, Some(Ecn::Ect0), Some(Ecn::Ect1), Some(Ecn::Ce)] {
            let transmit =
                Transmit { segment_size: Some(1200), ecn, ..to(b.local_addr().unwrap(), &contents) };
            a.send(&transmit).unwrap();
            let got = recv(&b, 4);
            assert_eq!(got.len(), 1, "{address}");
            assert_eq!((got[0].stride, got[0].ecn), (1200, ecn), "{address}");
            assert_eq!(got[0].bytes, contents);
            assert_eq!(got[0].dst_ip, Some(b.local_addr().unwrap().ip()));
        }
    }
}

#[test]
fn a_run_counts_its_datagrams() {
    let (a, b) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
    a.send(&Transmit { segment_size: Some(100), ..to(b.local_addr().unwrap(), &[7; 950]) }).unwrap();
    let mut buffers = RecvBuffers::new(2);
    while b.recv(&mut buffers).is_err() {}
    let run = buffers.get_mut(0).unwrap();
    assert_eq!((run.count(), run.bytes.len()), (10, 950));
    assert!(buffers.get_mut(1).is_none());
}

#[test]
fn empty_and_longest_datagrams() {
    for (address, longest) in [("127.0.0.1:0", 65_507), ("[::1]:0", 65_487)] {
        let (a, b) = (socket(address), socket(address));
        a.send(&to(b.local_addr().unwrap(), &[])).unwrap();
        let got = recv(&b, 2);
        assert_eq!((got.len(), got[0].bytes.len(), got[0].stride), (1, 0, 0));
        a.send(&to(b.local_addr().unwrap(), &vec![3; longest])).unwrap();
        assert_eq!(recv(&b, 2)[0].bytes.len(), longest);
        let too_long = a.send(&to(b.local_addr().unwrap(), &vec![3; longest + 29])).unwrap_err();
        assert_eq!(too_long.raw_os_error(), Some(libc::EMSGSIZE));
    }
}

#[test]
fn a_dual_stack_socket_speaks_ipv4_in_ipv4_addresses() {
    let dual = socket("[::]:0");
    let port = dual.local_addr().unwrap().port();
    let v4 = socket("127.0.0.1:0");
    let contents = [9; 2400];
    v4.send(&Transmit {
        segment_size: Some(1200),
        ecn: Some(Ecn::Ect0),
        ..to(SocketAddr::from(([127, 0, 0, 9], port)), &contents)
    })
    .unwrap();
    let got = recv(&dual, 2);
    assert_eq!(got[0].source, v4.local_addr().unwrap());
    assert_eq!(got[0].dst_ip, Some("127.0.0.9".parse().unwrap()));
    assert_eq!((got[0].stride, got[0].ecn), (1200, Some(Ecn::Ect0)));

    // And back, from the address that was asked.
    dual.send(&Transmit {
        segment_size: Some(1200),
        ecn: Some(Ecn::Ce),
        src_ip: got[0].dst_ip,
        ..to(got[0].source, &contents)
    })
    .unwrap();
    let back = recv(&v4, 2);
    assert_eq!(back[0].source, SocketAddr::from(([127, 0, 0, 9], port)));
    assert_eq!((back[0].stride, back[0].ecn), (1200, Some(Ecn::Ce)));

    let v6 = socket("[::1]:0");
    v6.send(&to(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)), b"six")).unwrap();
    assert_eq!(recv(&dual, 2)[0].source, v6.local_addr().unwrap());
}

#[test]
fn the_source_address_can_be_chosen() {
    let (a, b) = (socket("0.0.0.0:0"), socket("127.0.0.1:0"));
    let source = "127.0.0.77".parse().unwrap();
    a.send(&Transmit { src_ip: Some(source), ..to(b.local_addr().unwrap(), b"x") }).unwrap();
    assert_eq!(recv(&b, 1)[0].source.ip(), source);
}

#[test]
fn dscp_stays_with_and_without_ecn() {
    for (address, local) in [("0.0.0.0:0", "127.0.0.1"), ("[::]:0", "127.0.0.1"), ("[::]:0", "::1")] {
        let from = socket(address);
        from.set_dscp(46).unwrap();
        for (ecn, expected) in [(None, 46 << 2), (Some(Ecn::Ect1), 46 << 2 | 1)] {
            // A plain socket that reports the whole octet.
            let sink = UdpSocket::bind((local, 0)).unwrap();
            let options = socket2::SockRef::from(&sink);
            let (level, name) = if sink.local_addr().unwrap().is_ipv4() {
                options.set_recv_tos_v4(true).unwrap();
                (libc::IPPROTO_IP, libc::IP_TOS)
            } else {
                options.set_recv_tclass_v6(true).unwrap();
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS)
            };
            from.send(&Transmit { ecn, ..to(sink.local_addr().unwrap(), b"x") }).unwrap();
            assert_eq!(received_octet(&options, level, name), expected, "{address} to {local}");
        }
        assert_eq!(from.set_dscp(64).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
}

/// The first byte of the control message of that level and type (little-endian hosts: also of an int).
fn received_octet(socket: &socket2::SockRef<'_>, level: i32, name: i32) -> u8 {
    use std::mem::MaybeUninit;
    let mut bytes = [MaybeUninit::new(0); 16];
    let mut control = [MaybeUninit::new(0u8); 64];
    let mut slices = [socket2::MaybeUninitSlice::new(&mut bytes)];
    let mut header = socket2::MsgHdrMut::new().with_buffers(&mut slices).with_control(&mut control);
    socket.recvmsg(&mut header, 0).unwrap();
    let length = header.control_len();
    // SAFETY: the array was initialised before the call.
    let control: Vec<u8> = control[..length].iter().map(|byte| unsafe { byte.assume_init() }).collect();
    assert_eq!(control[8..12], level.to_ne_bytes());
    assert_eq!(control[12..16], name.to_ne_bytes());
    control[16]
}

#[test]
fn drops_are_counted_and_no_receive_hides_them() {
    let (a, b) = (socket("127.0.0.1:0"), socket("127.0.0.1:0"));
    b.options().set_recv_buffer_size(4096).unwrap();
    let destination = b.local_addr().unwrap();
    let sent = 200;
    for _ in 0..sent {
        a.send(&to(destination, &[1; 1000])).unwrap();
    }
    let mut buffers = RecvBuffers::new(32);
    let mut got = 0;
    while let Ok(count) = b.recv(&mut buffers) {
        got += count as u64;
    }
    assert!(got > 0 && got < sent, "{got}");
    // What was queued before the first drop can't know of it; the next datagram does.
    a.send(&to(destination, b"late")).unwrap();
    assert_eq!(recv(&b, 1)[0].bytes, b"late");
    assert_eq!(b.drops(), sent - got);

    for _ in 0..sent {
        a.send(&to(destination, &[1; 1000])).unwrap();
    }
    let before = b.drops();
    assert!(b.refresh_drops() > before);
    assert_eq!(a.refresh_drops(), 0);
}

#[test]
fn errors_of_the_kernel_come_back() {
    let a = socket("127.0.0.1:0");
    // A call takes 64 segments, since Linux 6.9 128.
    let destination = a.local_addr().unwrap();
    let many = Transmit { segment_size: Some(10), ..to(destination, &[0; 1290]) };
    assert_eq!(a.send(&many).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    let port_0 = a.send(&to("127.0.0.1:0".parse().unwrap(), b"x")).unwrap_err();
    assert_eq!(port_0.raw_os_error(), Some(libc::EINVAL));
    let zero = a.send(&Transmit { segment_size: Some(0), ..to(destination, b"xy") }).unwrap_err();
    assert_eq!(zero.kind(), ErrorKind::InvalidInput);
    let family = a.send(&to("[::1]:9".parse().unwrap(), b"x")).unwrap_err();
    assert_eq!(family.raw_os_error(), Some(libc::EAFNOSUPPORT));
    // None of them switched anything off.
    assert_eq!(a.max_gso_segments(), 64);
    a.send(&Transmit { segment_size: Some(10), ..to(destination, &[0; 640]) }).unwrap();
}

#[test]
fn a_refused_connection_is_reported_to_a_connected_socket() {
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let plain = UdpSocket::bind("127.0.0.1:0").unwrap();
    plain.connect(closed).unwrap();
    let a = Socket::new(plain).unwrap();
    a.send(&to(closed, b"x")).unwrap();
    assert_eq!(a.send(&to(closed, b"x")).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    a.send(&to(closed, b"x")).unwrap();
    let error = a.recv(&mut RecvBuffers::new(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

/// On a loopback interface with its usual MTU nothing is fragmented; `unshare -n` and `ip link set lo mtu 1500 up`
/// make one where it is.
#[test]
fn datagrams_above_the_mtu_arrive_where_fragments_are_allowed() {
    let to = UdpSocket::bind("127.0.0.1:0").unwrap();
    to.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let from = Socket::new(UdpSocket::bind("127.0.0.1:0").unwrap()).unwrap();
    from.allow_fragmentation().unwrap();
    let mut buffer = vec![0; 1 << 16];
    for length in [1200, 4000, 1200, 9000] {
        let contents = vec![7; length];
        let destination = to.local_addr().unwrap();
        from.send(&Transmit {
            destination,
            contents: &contents,
            segment_size: None,
            ecn: None,
            src_ip: None,
        })
        .unwrap();
        assert_eq!(to.recv(&mut buffer).unwrap(), length);
    }
    let contents = vec![7; 70_000];
    let destination = to.local_addr().unwrap();
    let error = from
        .send(&Transmit { destination, contents: &contents, segment_size: None, ecn: None, src_ip: None })
        .unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE), "what no datagram can hold is still refused");
}
