//! Broken signalling: every truncation, and many seeded mutations, of messages and URLs of real peers. The checks
//! themselves are the bodies of the fuzz targets.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "what goes wrong here fails the test, and its virtual time begins somewhere"
)]

use msm_core::rng::Rng;
use proptest::prelude::*;

#[path = "../../fuzz/bodies"]
#[allow(missing_docs, unreachable_pub)]
mod bodies {
    pub mod framing;
    pub mod url;
}

const STREAMS: [&[u8]; 9] = [
    b"OPTIONS rtsp://h:8554/cam RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: Lavf61.7.100\r\n\r\n",
    b"\r\nSETUP rtsp://h/cam/trackID=0 RTSP/1.0\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nCSeq: 3\r\n\r\n$\x00\x00\x04abcd$\x01\x00\x00",
    b"ANNOUNCE rtsp://h/x RTSP/1.0\r\nContent-Type: application/sdp\r\nCSeq: 2\r\nContent-Length: 12\r\n\r\nv=0\r\no=- 1 1",
    b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nSession: 1234;timeout=60\r\nContent-Length: 2\r\n\r\nokRTSP/2.0 404\nCSeq:3\n\n",
    b"PLAY rtsp://h/cam/ RTSP/2.0\r\nCSeq: 9\r\nSupported: play.basic\r\nRequire: play.basic\r\n\r\nPAUSE * RTSP/2.0\r\nCSeq: 10\r\n\r\n",
    b"RTSP/1.0 401 Unauthorized\r\nCSeq: 2\r\nWWW-Authenticate: Digest realm=\"a\", nonce=\"b\"\r\nWWW-Authenticate: Basic realm=\"a\"\r\n\r\n",
    b"PLAY x RTSP/1.0\nCSeq : 1 \nX: a\n b\n\tc\nVia: RTSP/1.0 msm-1\n\n$\x07\x00\x02hi\r\n\r\n\0FLY * RTSP/1.0\r\nCSeq: 2\r\n\r\n",
    b"TEARDOWN * RTSP/1.0\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nhello",
    b"$\x02\x00\x0c\x80\xe0\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03$\x03",
];

const URLS: [&[u8]; 8] = [
    b"rtsp://us%3Aer:p%40ss@Cam.Local:8554/a/%41b?x=1&y=/z\nrtsp://h/s\ntrackID=1\n*\nrtsp://10.0.0.1/s/2",
    b"rtsp://[2001:db8::1]:8554/live/cam?q=1/trackID=0\nrtsp://[2001:db8::1]:8554/live/cam?q=1\ntrackID=0\ntrackID=1",
    b"rtsp://h/live/cam/trackID=0?q=1\nrtsp://h/live/cam?q=1\ntrackID=0\n../x\n%2e%2e/y",
    b"rtsps://h/s/stream=1/\nrtsp://other/s/\nstream=0\nstream=1\n\nhttp://h/x",
    b"*\nrtsp://h\na\nb",
    b"trackID=1\nrtsp://h/d/s\ntrackID=1\n/abs\n?q=2",
    b"Digest realm=\"x\", nonce=\"n\", qop=\"auth,auth-int\", algorithm=SHA-256, stale=true, opaque=\"o\\\"p\"\nBasic realm=\"x\", Digest realm=\"y\", nonce=\"m\"",
    b"Basic realm=\"x\"\nDigest realm=\"\xc3\xa9\", nonce=\"\", algorithm=MD5-sess",
];

/// Bytes that mean something in messages or URLs.
const WORDS: [&[u8]; 14] = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\0",
    b":",
    b"/",
    b"?",
    b"$",
    b"\r\n\r\n",
    b"Content-Length: 3\r\n",
    b"..",
    b"%",
    b"\"",
    b" ",
];

/// Truncations, and `count` seeded mutations of each sample.
fn sweep(samples: &[&[u8]], count: usize, body: fn(&[u8])) {
    let mut rng = Rng::new(0x5eed);
    for sample in samples {
        for end in 0..=sample.len() {
            body(&sample[..end]);
        }
        for _ in 0..count {
            let mut mutated = sample.to_vec();
            for _ in 0..=rng.range(0..3) {
                let at = rng.range(0..mutated.len().max(1) as u64) as usize;
                let word = WORDS[rng.range(0..WORDS.len() as u64) as usize];
                match rng.range(0..5) {
                    0 if at < mutated.len() => mutated[at] = rng.next_u16() as u8,
                    1 if at < mutated.len() => mutated[at] ^= 1 << rng.range(0..8),
                    2 => drop(mutated.drain(at..(at + 3).min(mutated.len()))),
                    _ => drop(mutated.splice(at..at, word.iter().copied())),
                }
            }
            if rng.range(0..8) == 0 {
                let other = samples[rng.range(0..samples.len() as u64) as usize];
                mutated.extend_from_slice(other);
            }
            body(&mutated);
        }
    }
}

#[test]
fn broken_streams_keep_every_promise() {
    sweep(&STREAMS, 1_500, bodies::framing::run);
}

#[test]
fn broken_urls_keep_every_promise() {
    sweep(&URLS, 4_000, bodies::url::run);
}

#[test]
fn limits_are_met_from_both_sides() {
    for size in [60, 64, 68, 500, 512, 520, 600] {
        let uri =
            [b"OPTIONS rtsp://h/".as_slice(), &vec![b'a'; size], b" RTSP/1.0\r\nCSeq: 1\r\n\r\n"].concat();
        let header =
            [b"OPTIONS * RTSP/1.0\r\nX: ".as_slice(), &vec![b'a'; size], b"\r\nCSeq: 1\r\n\r\n"].concat();
        let body = [format!("A * RTSP/1.0\r\nContent-Length: {size}\r\n\r\n").as_bytes(), &vec![b'a'; size]]
            .concat();
        let many = [b"A * RTSP/1.0\r\n".as_slice(), &b"A:\r\n".repeat(size / 8), b"\r\n"].concat();
        let frame = [b"$\x00", &u16::try_from(size).unwrap().to_be_bytes()[..], &vec![b'a'; size]].concat();
        for stream in [uri, header, body, many, frame] {
            bodies::framing::run(&stream);
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_are_survived(data in proptest::collection::vec(any::<u8>(), 0..200)) {
        bodies::framing::run(&data);
        bodies::url::run(&data);
    }

    /// Whatever an application puts into a message, one message comes out, with these headers and no others.
    #[test]
    fn nothing_written_is_read_as_more(
        uri in "\\PC{0,30}",
        name in "[!-~\r\n]{0,12}",
        value in "[ -~\r\n\t\0é]{0,40}",
        body in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        use msm_rtsp::framing::{Decoder, Item};
        use msm_rtsp::limits::Limits;
        use msm_rtsp::message::{Method, Request};
        let request = Request::new(Method::SetParameter, uri.clone())
            .with("CSeq", "1")
            .with(&name, &value)
            .with_body(&value, body.clone());
        let mut text = Vec::new();
        if request.write(&mut text).is_ok() {
            let item = Decoder::new(Limits::default()).decode(std::time::Instant::now(), &text).unwrap();
            let Item::Request(again, length) = item else { panic!("{item:?}") };
            prop_assert_eq!(length, text.len());
            prop_assert_eq!(&again.uri, &uri);
            prop_assert_eq!(&again.body[..], &body[..]);
            let length = usize::from(!body.is_empty());
            let own = request.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("content-length")).count();
            prop_assert_eq!(again.headers.len(), own + length);
        } else {
            prop_assert!(text.is_empty(), "nothing half written");
        }
    }
}
