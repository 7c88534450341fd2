//! Findings of the review, each a failing test.
#![allow(
    missing_docs,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods
)]

use std::time::{Duration, Instant};

use msm_rtsp::client::{Client, ClientConfig, described};
use msm_rtsp::headers::parse_rtp_info;
use msm_rtsp::limits::Limits;
use msm_rtsp::message::{Method, Response, Version};
use msm_rtsp::sdp::Description;
use msm_rtsp::server::{Offer, negotiate};
use msm_rtsp::transport::{Delivery, TransportSpec};
use msm_rtsp::url::RtspUrl;

fn client(url: &str) -> Client {
    Client::new(ClientConfig::new(RtspUrl::parse(url).unwrap(), 7))
}

fn feed(client: &mut Client, now: Instant, text: &str) {
    let (taken, _) = client.handle_input(now, text.as_bytes()).unwrap();
    assert_eq!(taken, text.len());
}

fn sent(client: &mut Client) -> String {
    String::from_utf8(client.poll_transmit().expect("something to send")).unwrap()
}

/// 1. Panics: `now + session.timeout / 2` overflows.
#[test]
fn f01_a_huge_session_timeout_does_not_panic() {
    let now = Instant::now();
    let mut client = client("rtsp://cam/one");
    client.setup(now, "rtsp://cam/one/1", &TransportSpec::tcp((0, 1))).unwrap();
    feed(&mut client, now, "RTSP/1.0 200 OK\r\nCSeq: 1\r\nSession: 1;timeout=18446744073709551615\r\n\r\n");
    client.start_keep_alive(now);
    let _ = client.poll_timeout();
}

/// 2. Formats times rtpmaps: one description within the limit takes seconds.
#[test]
fn f02_a_description_within_the_limit_is_read_quickly() {
    let mut text = String::from("v=0\r\ns=x\r\nm=video 0 RTP/AVP");
    for _ in 0..32_000 {
        text += " 0";
    }
    text += "\r\n";
    for _ in 0..3_500 {
        text += "a=rtpmap:1 x/1\r\n";
    }
    assert!(text.len() <= Limits::default().body_bytes);
    let started = Instant::now();
    let description = Description::parse(text.as_bytes(), &Limits::default()).unwrap();
    let (took, formats) = (started.elapsed(), description.tracks[0].formats.len());
    assert!(formats <= 128 && took < Duration::from_millis(200), "{took:?}, {formats} formats");
}

/// 3. One section or line that cannot be parsed loses the whole description.
#[test]
fn f03_extra_sections_that_cannot_be_parsed_are_left_out() {
    let good = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:t1\r\n";
    let mut refused = Vec::new();
    for odd in [
        "m=application 0\r\n",
        "m=metadata 0 RTP/AVP\r\n",
        "m=application RTP/AVP 107\r\n",
        "m=audio  0 RTP/AVP 0\r\n",
        "m=audio 0 RTP/AVP 0\r\nb=AS:0.5\r\n",
        "m=audio 0 RTP/AVP 0\r\nc=IN IP4\r\n",
        "m=application 70000 RTP/AVP 107\r\n",
    ] {
        let text = format!("v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=x\r\nt=0 0\r\n{good}{odd}");
        if let Err(error) = Description::parse(text.as_bytes(), &Limits::default()) {
            refused.push(format!("{odd:?}: {error}"));
        }
    }
    for head in [
        "o=- 1 -1 IN IP4 10.0.0.9\r\ns=x\r\nt=0 0\r\n",
        "o=- 1 99999999999999999999 IN IP4 10.0.0.9\r\ns=x\r\nt=0 0\r\n",
        "s=x\r\nb=AS:\r\nt=0 0\r\n",
        "s=x\r\nt=0\r\n",
        "s=x\r\nt=0 0\r\ni=a\r\ni=b\r\n",
    ] {
        let text = format!("v=0\r\n{head}{good}");
        if let Err(error) = Description::parse(text.as_bytes(), &Limits::default()) {
            refused.push(format!("{head:?}: {error}"));
        }
    }
    assert!(refused.is_empty(), "{refused:#?}");
}

/// 4. A second SETUP's answer without `timeout` makes twenty seconds sixty.
#[test]
fn f04_a_timeout_that_is_not_repeated_stays() {
    let now = Instant::now();
    let mut client = client("rtsp://cam/one");
    client.setup(now, "rtsp://cam/one/1", &TransportSpec::tcp((0, 1))).unwrap();
    feed(&mut client, now, "RTSP/1.0 200 OK\r\nCSeq: 1\r\nSession: 42;timeout=20\r\n\r\n");
    client.setup(now, "rtsp://cam/one/2", &TransportSpec::tcp((2, 3))).unwrap();
    feed(&mut client, now, "RTSP/1.0 200 OK\r\nCSeq: 2\r\nSession: 42\r\n\r\n");
    client.start_keep_alive(now);
    assert_eq!(client.poll_timeout(), Some(now + Duration::from_secs(10)));
}

/// 5. Keep-alives do not go to the URL that controls the session.
#[test]
fn f05_keep_alives_use_the_aggregate_url() {
    let now = Instant::now();
    let mut client = client("rtsp://cam/one");
    client.setup(now, "rtsp://cam/main/1", &TransportSpec::tcp((0, 1))).unwrap();
    let _ = sent(&mut client);
    feed(&mut client, now, "RTSP/1.0 200 OK\r\nCSeq: 1\r\nSession: 42;timeout=20\r\n\r\n");
    client.play(now, "rtsp://cam/main/", &[]).unwrap();
    let _ = sent(&mut client);
    feed(&mut client, now, "RTSP/1.0 200 OK\r\nCSeq: 2\r\n\r\n");
    client.start_keep_alive(now);
    client.handle_timeout(now + Duration::from_secs(10)).unwrap();
    let text = sent(&mut client);
    assert!(text.starts_with("OPTIONS rtsp://cam/main/ RTSP/1.0\r\n"), "{text}");
}

/// 6. Two requests were under way with a nonce that ended: the second refusal is taken for wrong credentials.
#[test]
fn f06_two_requests_with_one_old_nonce_are_both_asked_again() {
    let now = Instant::now();
    let mut client = client("rtsp://u:p@cam/one");
    let refusal = |cseq: u32, nonce: u32| {
        format!("RTSP/1.0 401 Unauthorized\r\nCSeq: {cseq}\r\nWWW-Authenticate: Digest realm=\"x\", nonce=\"n{nonce}\"\r\n\r\n")
    };
    client.setup(now, "rtsp://cam/one/1", &TransportSpec::tcp((0, 1))).unwrap();
    feed(&mut client, now, &refusal(1, 1));
    feed(&mut client, now, "RTSP/1.0 200 OK\r\nCSeq: 2\r\nSession: 42;timeout=20\r\n\r\n");
    client.start_keep_alive(now);
    let now = now + Duration::from_secs(10);
    client.handle_timeout(now).unwrap(); // CSeq 3, nonce n1
    client.control(now, Method::Pause, "rtsp://cam/one").unwrap(); // CSeq 4, nonce n1
    feed(&mut client, now, &refusal(3, 2));
    let outcome = client.handle_input(now, refusal(4, 2).as_bytes());
    assert!(outcome.is_ok(), "{outcome:?}");
}

/// 7. A session-level control is the base of its tracks' in ffmpeg, GStreamer and live555.
#[test]
fn f07_controls_of_tracks_are_below_that_of_the_session() {
    let url = RtspUrl::parse("rtsp://cam/one").unwrap();
    let sdp = b"v=0\r\ns=x\r\nt=0 0\r\na=control:rtsp://cam/real/\r\nm=video 0 RTP/AVP 96\r\na=control:trackID=1\r\n";
    let response = Response::new(200).with_body("application/sdp", sdp.to_vec());
    let got = described(&response, &url, Default::default(), &Limits::default()).unwrap();
    assert_eq!(got.setup[0], "rtsp://cam/real/trackID=1");
}

/// 8. A server that names its ports means unicast.
#[test]
fn f08_an_answer_with_server_ports_is_unicast() {
    let spec = TransportSpec::parse("RTP/AVP;server_port=6970-6971;ssrc=1").unwrap();
    assert_eq!(spec.delivery, Delivery::Unicast);
}

/// 9. The filter of one group is taken for another.
#[test]
fn f09_a_source_filter_is_of_its_group() {
    let text = "v=0\r\ns=x\r\nt=0 0\r\na=source-filter: incl IN IP4 239.1.1.1 10.0.0.1\r\n\
        a=source-filter: incl IN IP4 239.1.1.2 10.0.0.2\r\n\
        m=video 5000 RTP/AVP 96\r\nc=IN IP4 239.1.1.1/16\r\na=rtpmap:96 H264/90000\r\n\
        m=audio 5002 RTP/AVP 0\r\nc=IN IP4 239.1.1.2/16\r\n";
    let description = Description::parse(text.as_bytes(), &Limits::default()).unwrap();
    let filters: Vec<_> = description.tracks.iter().map(|track| track.source_filter).collect();
    assert_eq!(filters, ["10.0.0.1".parse().ok(), "10.0.0.2".parse().ok()]);
}

/// 10. Addresses of the hop before.
#[test]
fn f10_no_address_of_the_upstream_reaches_readers() {
    let text = "v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=x\r\nu=http://10.0.0.9/admin\r\nt=0 0\r\n\
        m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=remote-candidates:1 10.0.0.9 5000\r\n\
        a=alternate-address:IP4 10.0.0.9\r\n";
    let description = Description::parse(text.as_bytes(), &Limits::default()).unwrap();
    let written = String::from_utf8(description.for_reader(false, &[])).unwrap();
    assert!(!written.contains("10.0.0.9"), "{written}");
}

/// 11. A connection of its own is not this connection.
#[test]
fn f11a_tcp_of_its_own_is_not_interleaved() {
    let offer = Offer { udp: true, tcp: true, multicast: true };
    let own = "RTP/AVP/TCP;unicast;dest_addr=\":9\"/\":9\";setup=active;connection=new";
    let chosen = negotiate(Some(own), offer);
    assert_eq!(chosen.as_ref().map(|spec| spec.write(Version::V2_0)), Err(&461));
}

/// 11. One port and RTCP-mux: the port above it was not offered.
#[test]
fn f11b_rtcp_goes_to_no_port_that_was_not_named() {
    let offer = Offer { udp: true, tcp: true, multicast: true };
    let spec = negotiate(Some("RTP/AVP;unicast;dest_addr=\":4588\";RTCP-mux"), offer);
    let ports = spec.as_ref().ok().and_then(|spec| spec.client_port);
    assert_ne!(ports, Some((4588, 4589)), "{:?}", spec.map(|spec| spec.write(Version::V2_0)));
}

/// 12. RTP-Info as cameras write it.
#[test]
fn f12_rtp_info_with_white_space_and_with_url_in_the_query() {
    let one = parse_rtp_info("url=rtsp://h/s/trackID=1;seq= 37967;rtptime= 4157390718;ssrc= 30A98EE7");
    let got = (one.len(), one[0].seq, one[0].rtptime, one[0].ssrc);
    let two = parse_rtp_info("url=rtsp://h/s/trackID=0?url=x;seq=10;rtptime=20");
    let also = (two.len(), two[0].seq);
    assert_eq!((got, also), ((1, Some(37967), Some(4_157_390_718), Some(0x30A9_8EE7)), (1, Some(10))));
}
