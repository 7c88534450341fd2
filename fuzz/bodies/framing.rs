//! RTSP framing and messages: every split of the stream gives the same items, what was read can be written and read
//! again, nothing written has more lines than headers, and the `rtsp-types` crate reads it the same way.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)]

use std::time::Instant;

use msm_rtsp::error::MessageError;
use msm_rtsp::framing::{Decoder, FRAME_HEADER, Item, frame_header};
use msm_rtsp::limits::Limits;
use msm_rtsp::message::{Headers, Request, Response, Version, method_name};
use msm_rtsp::server::{Connection, ServerConfig, ServerEvent};

/// Small enough that inputs reach them.
fn limits() -> Limits {
    Limits { header_bytes: 512, header_count: 8, uri_bytes: 64, body_bytes: 64, ..Limits::default() }
}

/// Reads `data` as what one side of a connection sends.
pub fn run(data: &[u8]) {
    let now = Instant::now();
    let whole = decode(now, data, &[]);
    let bytewise: Vec<usize> = (1..data.len()).collect();
    let spread = usize::from(data.first().copied().unwrap_or(0)) % 13 + 2;
    let some: Vec<usize> = (1..data.len()).step_by(spread).collect();
    for cuts in [&some, &bytewise] {
        let split = decode(now, data, cuts);
        assert_eq!(whole.0, split.0, "items of pieces that end at {cuts:?}");
        assert_eq!(whole.1.as_ref().map(MessageError::name), split.1.as_ref().map(MessageError::name));
        assert_eq!(serve(now, data, &[]), serve(now, data, cuts), "answers to pieces that end at {cuts:?}");
    }
    if let Some(error) = &whole.1 {
        assert!((400..=505).contains(&error.status()) && !error.to_string().is_empty());
    }
    for item in &whole.0 {
        round_trip(now, item);
    }
}

/// What a stream holds.
#[derive(Debug, PartialEq)]
enum Read {
    Frame(u8, Vec<u8>),
    Request(Box<Request>),
    Response(Box<Response>),
}

fn decode(now: Instant, data: &[u8], cuts: &[usize]) -> (Vec<Read>, Option<MessageError>) {
    let mut decoder = Decoder::new(limits());
    let (mut buffer, mut items, mut arrived) = (Vec::new(), Vec::new(), 0);
    for cut in cuts.iter().copied().chain([data.len()]) {
        buffer.extend_from_slice(&data[arrived..cut]);
        arrived = cut;
        loop {
            let item = match decoder.decode(now, &buffer) {
                Ok(item) => item,
                Err(error) => return (items, Some(error)),
            };
            let length = item.length();
            assert!(length <= buffer.len());
            assert_eq!(length == 0, item == Item::Incomplete);
            assert_eq!(decoder.poll_timeout().is_some(), item == Item::Incomplete && !buffer.is_empty());
            match item {
                Item::Incomplete => break,
                Item::Blank(_) => {}
                Item::Frame { channel, payload } => {
                    items.push(Read::Frame(channel, buffer[payload].to_vec()))
                }
                Item::Request(request, _) => items.push(Read::Request(request)),
                Item::Response(response, _) => items.push(Read::Response(response)),
            }
            buffer.drain(..length);
        }
        // Nobody makes us hold more than the limits say; an empty line may lie beyond that of headers.
        let limits = limits();
        assert!(buffer.len() <= (limits.header_bytes + 2 + limits.body_bytes).max(FRAME_HEADER + 65_535));
    }
    (items, None)
}

/// The statuses that a client gets whose requests are all answered with 200 by the application, and packets that came.
fn serve(now: Instant, data: &[u8], cuts: &[usize]) -> (Vec<String>, usize, bool) {
    let config =
        ServerConfig { limits: limits(), server: "msm".into(), pseudonym: "msm-1".into(), member: false };
    let mut connection = Connection::new(config);
    let (mut buffer, mut frames, mut arrived, mut sent) = (Vec::new(), 0, 0, Vec::new());
    for cut in cuts.iter().copied().chain([data.len()]) {
        buffer.extend_from_slice(&data[arrived..cut]);
        arrived = cut;
        loop {
            let (taken, event) = connection.handle_input(now, &buffer);
            match event {
                Some(ServerEvent::Frame { payload, .. }) => frames += buffer[payload].len() + 1,
                Some(ServerEvent::Request(asked, request)) => {
                    connection.respond(asked, Connection::options(request.version));
                }
                Some(ServerEvent::Response(_)) | None => {}
            }
            buffer.drain(..taken);
            while let Some(bytes) = connection.poll_transmit() {
                sent.push(bytes);
            }
            if taken == 0 {
                break;
            }
        }
    }
    let status = |bytes: Vec<u8>| {
        // Every answer is one message of ours, whatever was asked.
        let mut decoder = Decoder::new(Limits { header_bytes: 1 << 20, ..Limits::default() });
        let Ok(Item::Response(response, length)) = decoder.decode(now, &bytes) else { panic!("{bytes:?}") };
        assert_eq!(length, bytes.len());
        format!("{:?} {}", response.version, response.status)
    };
    (sent.into_iter().map(status).collect(), frames, connection.is_closing().is_some())
}

fn round_trip(now: Instant, item: &Read) {
    let mut text = Vec::new();
    let (headers, body) = match item {
        Read::Frame(channel, payload) => {
            let header = frame_header(*channel, payload.len()).unwrap();
            let again = [&header[..], payload].concat();
            let frame = Item::Frame { channel: *channel, payload: FRAME_HEADER..again.len() };
            assert_eq!(Decoder::new(limits()).decode(now, &again), Ok(frame));
            return;
        }
        Read::Request(request) => {
            // Anything that was read can be written.
            request.write(&mut text).unwrap();
            (&request.headers, &request.body)
        }
        Read::Response(response) => {
            response.write(&mut text);
            (&response.headers, &response.body)
        }
    };
    let head = &text[..text.len() - body.len()];
    let others = headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("Content-Length")).count();
    let lines = head.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(lines, 1 + others + usize::from(!body.is_empty()) + 1, "{}", String::from_utf8_lossy(head));
    assert_eq!(head.iter().filter(|byte| **byte == b'\r').count(), lines);

    // The same in canonical form, which may be a little longer.
    let wide = Limits { header_bytes: 1 << 20, ..limits() };
    let again = Decoder::new(wide).decode(now, &text).unwrap();
    assert_eq!(again.length(), text.len());
    match (item, again) {
        (Read::Request(before), Item::Request(after, _)) => {
            assert_eq!(
                (&before.method, &before.uri, before.version),
                (&after.method, &after.uri, after.version)
            );
            assert_eq!(without_length(&before.headers), without_length(&after.headers));
            assert_eq!(before.body, after.body);
            assert_eq!((before.cseq(), before.session()), (after.cseq(), after.session()));
        }
        (Read::Response(before), Item::Response(after, _)) => {
            assert_eq!((before.status, before.version), (after.status, after.version));
            assert_eq!(without_length(&before.headers), without_length(&after.headers));
            assert_eq!(before.body, after.body);
            let shown: String = before.reason.chars().filter(|character| !character.is_control()).collect();
            assert!(before.reason.is_empty() || after.reason == shown.trim_end_matches(' '));
        }
        (before, after) => panic!("{before:?} was read again as {after:?}"),
    }
    agrees_with_rtsp_types(item, &text);
}

fn without_length(headers: &Headers) -> Vec<(&str, &str)> {
    headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("Content-Length")).collect()
}

/// Where the crate accepts what we wrote, it sees the same message, and as much of it.
fn agrees_with_rtsp_types(item: &Read, text: &[u8]) {
    let Ok((message, consumed)) = rtsp_types::Message::<Vec<u8>>::parse(text) else { return };
    assert_eq!(consumed, text.len());
    let same_version = |theirs: rtsp_types::Version, ours: Version| theirs == ours;
    match (item, message) {
        (Read::Request(ours), rtsp_types::Message::Request(theirs)) => {
            assert_eq!(<&str>::from(theirs.method()), method_name(&ours.method));
            assert!(same_version(theirs.version(), ours.version));
            assert_eq!(theirs.body().as_slice(), &ours.body[..]);
        }
        (Read::Response(ours), rtsp_types::Message::Response(theirs)) => {
            assert_eq!(u16::from(theirs.status()), ours.status);
            assert!(same_version(theirs.version(), ours.version));
            assert_eq!(theirs.body().as_slice(), &ours.body[..]);
        }
        (ours, theirs) => panic!("{ours:?} is {theirs:?} to rtsp-types"),
    }
}
