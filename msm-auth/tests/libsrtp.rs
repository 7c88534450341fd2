//! SRTP and SRTCP against libsrtp, in both directions.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/need.rs"]
mod need;

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use msm_auth::srtp::{MasterKey, Receiver, ReceiverOptions, Sender, SenderOptions, Suite};
use tempfile::TempDir;

/// `tests/libsrtp/peer.c`, compiled.
struct Peer {
    /// Where the program is, while it is needed.
    _dir: TempDir,
    program: PathBuf,
}

impl Peer {
    /// None if there is no libsrtp, or nothing to compile with. Says so, and where `MSM_SKIP_FILE` says.
    ///
    /// # Panics
    ///
    /// When it is missing and `MSM_REQUIRE_PEERS` is set, or when the program does not compile though all is there.
    fn compile() -> Option<Self> {
        let dir = TempDir::new().expect("a directory for the program");
        let program = dir.path().join("peer");
        // What is missing is told apart from a program that is wrong.
        let probe = dir.path().join("probe.c");
        std::fs::write(&probe, "#include <srtp2/srtp.h>\nint main(void) { return (int)srtp_init(); }\n")
            .expect("the probe can be written");
        let compile = |source: &std::path::Path, options: &[&str]| {
            let mut cc = Command::new("cc");
            cc.args(options).arg("-o").arg(&program).arg(source).arg("-lsrtp2").stdin(Stdio::null()).output()
        };
        let missing = match compile(&probe, &[]) {
            Err(error) => format!("cc does not start: {error}"),
            Ok(output) if !output.status.success() => "cc finds no libsrtp2".to_owned(),
            Ok(_) => {
                let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/libsrtp/peer.c");
                let output =
                    compile(source.as_ref(), &["-O1", "-Wall", "-Wextra", "-Werror"]).expect("cc starts");
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                return Some(Self { _dir: dir, program });
            }
        };
        need::skip(&missing, true);
        None
    }

    /// Answers to a session's commands, after the one that makes it.
    fn ask(&self, session: &Session, commands: &[String]) -> Vec<String> {
        let mut peer = Command::new(&self.program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the peer starts");
        let mki = if session.mki.is_empty() { "-".to_owned() } else { hex(&session.mki) };
        let key = hex(session.key.key_and_salt());
        let input = format!("new {} {key} {mki}\n{}\n", session.key.suite().name(), commands.join("\n"));
        let mut stdin = peer.stdin.take().expect("piped");
        // Beside reading, as neither pipe holds all of it.
        let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
        let output = peer.wait_with_output().expect("the peer ends");
        writer.join().expect("no panic").expect("the peer reads");
        assert!(output.status.success(), "{}", output.status);
        let text = String::from_utf8(output.stdout).expect("text");
        let mut answers = text.lines().map(str::to_owned);
        assert_eq!(answers.next().as_deref(), Some("ok"), "the session");
        let answers: Vec<String> = answers.collect();
        assert_eq!(answers.len(), commands.len(), "an answer to each");
        answers
    }
}

struct Session {
    key: MasterKey,
    mki: Vec<u8>,
}

impl Session {
    /// Each suite, with an MKI and without.
    fn all() -> impl Iterator<Item = Session> {
        Suite::ALL.into_iter().flat_map(|suite| {
            let bytes: Vec<u8> = (0x40..).take(suite.key_len() + suite.salt_len()).collect();
            let key = MasterKey::from_bytes(suite, &bytes).expect("the suite's length");
            [Session { key: key.clone(), mki: vec![] }, Session { key, mki: vec![0x2a] }]
        })
    }

    fn name(&self) -> String {
        format!("{} with an MKI of {} bytes", self.key.suite().name(), self.mki.len())
    }

    /// Whether libsrtp 2 looks for the MKI of RTCP where RTP's tag of 4 bytes would put it; RTCP's has 10
    /// (`RFC 3711 §5.2`). libsrtp 3 does not.
    fn is_misread(&self) -> bool {
        self.key.suite() == Suite::AesCm128HmacSha1_32 && !self.mki.is_empty()
    }

    fn sender(&self) -> Sender {
        let mut sender = Sender::new(SenderOptions { mki_len: self.mki.len(), ..Default::default() });
        sender.install(&self.key, &self.mki).expect("the first key");
        sender.switch(&self.mki).expect("installed");
        sender
    }

    fn receiver(&self) -> Receiver {
        let mut receiver = Receiver::new(ReceiverOptions { mki_len: self.mki.len(), ..Default::default() });
        receiver.install(&self.key, &self.mki).expect("the first key");
        receiver
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

/// `srtp_err_status_bad_mki`.
const BAD_MKI: &str = "error 25";
const SSRC: u32 = 0xcafe_babe;
/// Indices of the RTP packets: over two rollovers, with steps that lose none and many.
fn indices() -> Vec<u64> {
    let near = |rollover: u64| (rollover - 40)..(rollover + 40);
    near(1 << 16).chain([80_000, 100_000, 120_000]).chain(near(2 << 16)).collect()
}

/// An RTP packet; every third has CSRCs, every fifth an extension, every seventh padding.
fn rtp(index: u64) -> Vec<u8> {
    let (csrcs, extension, padding) =
        (index.is_multiple_of(3), index.is_multiple_of(5), index.is_multiple_of(7));
    let first = 0x80 | u8::from(padding) << 5 | u8::from(extension) << 4 | if csrcs { 2 } else { 0 };
    let mut packet = vec![first, 96];
    packet.extend_from_slice(&(index as u16).to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 1]);
    packet.extend_from_slice(&SSRC.to_be_bytes());
    if csrcs {
        packet.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 8]);
    }
    if extension {
        packet.extend_from_slice(&[0xbe, 0xde, 0, 1, 0x10, 0xaa, 0, 0]);
    }
    packet.extend((0..index * 37 % 1300).map(|byte| byte as u8));
    if padding {
        packet.extend_from_slice(&[0, 0, 0, 4]);
    }
    packet
}

/// A receiver report and an SDES.
fn rtcp(number: u8) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend_from_slice(&SSRC.to_be_bytes());
    packet.extend_from_slice(&[0x81, 202, 0, 3]);
    packet.extend_from_slice(&SSRC.to_be_bytes());
    packet.extend_from_slice(&[1, 4, b'd', b'e', b'm', number, 0, 0]);
    packet
}

#[test]
fn libsrtp_opens_what_is_protected() {
    let Some(peer) = Peer::compile() else { return };
    for session in Session::all() {
        let mut sender = session.sender();
        let (mut commands, mut expected) = (Vec::new(), Vec::new());
        let mut add = |kind: &str, sealed: &[u8], plain: &[u8]| {
            commands.push(format!("{kind} {}", hex(sealed)));
            expected.push(format!("ok {}", hex(plain)));
        };
        for index in indices() {
            let plain = rtp(index);
            let mut packet = plain.clone();
            packet.resize(plain.len() + sender.rtp_overhead(), 0);
            sender.protect_rtp(&mut packet, plain.len()).expect("protected");
            add("unprotect", &packet, &plain);
        }
        assert_eq!(sender.roc(SSRC), Some(2));
        for number in 0..20 {
            let plain = rtcp(number);
            let mut packet = plain.clone();
            packet.resize(plain.len() + sender.rtcp_overhead(), 0);
            sender.protect_rtcp(&mut packet, plain.len()).expect("protected");
            add("unprotect_rtcp", &packet, &plain);
        }
        for (number, (answer, expected)) in peer.ask(&session, &commands).iter().zip(&expected).enumerate() {
            if session.is_misread() && commands[number].starts_with("unprotect_rtcp") && answer == BAD_MKI {
                continue;
            }
            assert_eq!(answer, expected, "{}: packet {number}", session.name());
        }
        // And it can tell: a packet with a bit changed is refused.
        let mut changed = commands[0].clone().into_bytes();
        let last = changed.len() - 40;
        changed[last] = if changed[last] == b'0' { b'1' } else { b'0' };
        let answers = peer.ask(&session, &[String::from_utf8(changed).expect("text")]);
        assert!(answers[0].starts_with("error "), "{}: {}", session.name(), answers[0]);
    }
}

#[test]
fn what_libsrtp_protects_is_opened() {
    let Some(peer) = Peer::compile() else { return };
    for session in Session::all() {
        let plain: Vec<_> = indices().into_iter().map(|index| (index, rtp(index))).collect();
        let plain_rtcp: Vec<_> = (0..20).map(rtcp).collect();
        let commands: Vec<_> = plain
            .iter()
            .map(|(_, packet)| format!("protect {}", hex(packet)))
            .chain(plain_rtcp.iter().map(|packet| format!("protect_rtcp {}", hex(packet))))
            .collect();
        let answers = peer.ask(&session, &commands);
        let sealed: Vec<_> = answers
            .iter()
            .map(|answer| {
                unhex(answer.strip_prefix("ok ").unwrap_or_else(|| panic!("{}: {answer}", session.name())))
            })
            .collect();
        let mut receiver = session.receiver();
        for ((index, plain), mut packet) in plain.iter().zip(sealed.clone()) {
            let opened = receiver.unprotect_rtp(&mut packet).unwrap_or_else(|error| {
                panic!("{}: RTP packet {index}: {error}", session.name());
            });
            assert_eq!((&packet[..opened.len], opened.index), (&plain[..], *index), "{}", session.name());
        }
        // libsrtp begins with index 1.
        for ((index, plain), mut packet) in (1..).zip(&plain_rtcp).zip(sealed[plain.len()..].to_vec()) {
            let opened = receiver.unprotect_rtcp(&mut packet).unwrap_or_else(|error| {
                panic!("{}: RTCP packet {index}: {error}", session.name());
            });
            assert_eq!((&packet[..opened.len], opened.index), (&plain[..], index), "{}", session.name());
        }
    }
}
