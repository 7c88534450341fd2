//! Descriptions as cameras, servers and attackers write them.

use zeroize::Zeroizing;

use super::*;

const CAMERA: &str = "v=0\n\
    s=Media Presentation\nc=IN IP4 0.0.0.0\nb=AS:5050\na=control:rtsp://10.0.0.9:554/cam/\n\
    m=video 0 RTP/AVP 96\na=rtpmap:96 H264/90000 \na=fmtp:96\na=control:rtsp://10.0.0.9:554/cam/trackID=1\n\
    m=application 0 TCP/WS x\nm=audio 0 RTP/AVP 8 97\na=rtpmap:97 mpeg4-generic/16000/1\na=control:trackID=2\nnonsense\n";

fn parse(text: &str) -> Result<Description, SdpError> {
    Description::parse(text.as_bytes(), &Limits::default())
}

#[test]
fn a_camera_s_description_is_understood() {
    let description = parse(CAMERA).unwrap();
    assert_eq!(description.tracks.len(), 2);
    assert!(description.is_live());
    let infos = description.track_infos();
    assert_eq!(infos[0].payload_types[0].codec, Codec::H264);
    let rates: Vec<_> =
        infos[1].payload_types.iter().map(|format| (format.number, format.clock_rate)).collect();
    assert_eq!(rates, [(8, 8000), (97, 16_000)]);
    assert_eq!(description.track_of("rtsp://wrong/cam/trackID=1"), Some(0));
    assert_eq!(description.track_of("rtsp://10.0.0.9/cam/trackID=2/"), Some(1));
    assert_eq!(description.track_of("rtsp://10.0.0.9/cam/trackID=3"), None);
}

#[test]
fn readers_see_our_names_only() {
    let text = "v=0\r\no=root 7 7 IN IP4 10.0.0.9\r\ns=x\r\nc=IN IP4 239.1.1.1/16\r\nt=0 0\r\na=range:npt=0-12.5\r\n\
        a=source-filter: incl IN IP4 239.1.1.1 10.0.0.9\r\n\
        m=video 5000 RTP/SAVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n\
        a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:secret\r\na=control:streamid=0\r\na=extmap:1 urn:x\r\n";
    let description = parse(text).unwrap();
    assert_eq!(description.tracks[0].group, Some(("239.1.1.1".parse().unwrap(), 5000)));
    assert_eq!(description.tracks[0].source_filter, "10.0.0.9".parse().ok());
    assert!(!description.is_live());
    let rewritten = String::from_utf8(description.for_reader(false, &[])).unwrap();
    insta::assert_snapshot!(rewritten.replace('\r', ""), @r"
    v=0
    o=root 7 7 IN IP4 0.0.0.0
    s=x
    c=IN IP4 0.0.0.0
    t=0 0
    a=range:npt=0-12.5
    a=control:*
    m=video 0 RTP/AVP 96
    a=rtpmap:96 H264/90000
    a=fmtp:96 packetization-mode=1
    a=extmap:1 urn:x
    a=control:trackID=0
    ");
    let group = TrackWay { group: Some(("239.9.9.9".parse().unwrap(), 6000, 4)), ..TrackWay::default() };
    let rewritten = String::from_utf8(description.for_reader(false, &[group])).unwrap();
    assert!(rewritten.contains("m=video 6000 RTP/AVP 96\r\nc=IN IP4 239.9.9.9/4\r\n"), "{rewritten}");
}

#[test]
fn keys_of_the_hop_are_taken_out_and_its_profile_is_told() {
    for (protocol, profile, plain) in [
        ("RTP/AVP", Some(Profile::Avp), "RTP/AVP"),
        ("RTP/AVPF", Some(Profile::Avpf), "RTP/AVP"),
        ("RTP/SAVP", Some(Profile::Savp), "RTP/AVP"),
        ("rtp/savpf", Some(Profile::Savpf), "RTP/AVP"),
        ("RTP/SAVP/TCP", Some(Profile::Savp), "RTP/AVP"),
        ("RTP/XAVP", None, "RTP/AVP"),
    ] {
        let text = format!(
            "v=0\r\no=- 7 7 IN IP4 10.0.0.9\r\ns=x\r\nt=0 0\r\nk=clear:secret\r\na=key-mgmt:mikey secret\r\n\
             m=video 0 {protocol} 96\r\nk=clear:secret\r\na=Crypto: 1 AES_CM_128_HMAC_SHA1_80 inline:secret\r\n\
             a=crypto:2 AEAD_AES_128_GCM inline:secret\r\na=key-mgmt:mikey secret\r\n\
             a=rtpmap:96 H264/90000\r\na=control:streamid=0\r\n"
        );
        let description = parse(&text).unwrap();
        assert_eq!(description.tracks[0].profile(), profile, "{protocol}");
        for rewritten in [description.for_reader(true, &[]), description.for_announce(&[])] {
            let rewritten = String::from_utf8(rewritten).unwrap();
            assert!(!rewritten.contains("secret"), "{rewritten}");
            assert!(rewritten.contains(&format!("m=video 0 {plain} 96\r\n")), "{rewritten}");
        }
    }
}

#[test]
fn what_is_no_description_is_refused() {
    assert_eq!(parse("").unwrap_err(), SdpError::NoVersion);
    assert_eq!(parse("hello").unwrap_err(), SdpError::NoVersion);
    assert_eq!(parse("v=0\r\ns=x\r\n").unwrap_err(), SdpError::NoTracks);
    let many = format!("v=0\r\n{}", "m=video 0 RTP/AVP 96\r\n".repeat(100));
    assert!(matches!(parse(&many).unwrap_err(), SdpError::TooManyTracks { count: 100, .. }));
    let large = format!("v=0\r\n{}", "a=x:y\r\n".repeat(100_000));
    assert!(matches!(parse(&large).unwrap_err(), SdpError::TooLarge { .. }));
}

#[test]
fn mutations_never_panic() {
    let mut seed = msm_core::rng::Rng::new(3);
    for _ in 0..20_000 {
        let mut bytes = CAMERA.as_bytes().to_vec();
        for _ in 0..=seed.next_u32() % 8 {
            let at = seed.next_u32() as usize % bytes.len();
            bytes[at] = seed.next_u32() as u8;
        }
        if let Ok(description) = Description::parse(&bytes, &Limits::default()) {
            let again = description.for_reader(true, &[]);
            Description::parse(&again, &Limits::default()).unwrap();
        }
    }
}

#[test]
fn formats_are_read_once_each() {
    let mut text = String::from("v=0\r\ns=x\r\nm=video 0 RTP/AVP 200 x");
    for number in 0..32_000 {
        text += &format!(" {}", number % 10);
    }
    text += "\r\n";
    for _ in 0..3_500 {
        text += "a=rtpmap:1 x/1\r\n";
    }
    text += "a=rtpmap:1 y/2\r\n";
    assert!(text.len() <= Limits::default().body_bytes);
    let started = std::time::Instant::now();
    let formats = parse(&text).unwrap().tracks.remove(0).formats;
    // Every format against every map would take seconds.
    assert!(started.elapsed() < std::time::Duration::from_millis(500));
    assert_eq!(formats.iter().map(|format| format.number).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    assert_eq!(formats[1], Format { number: 1, encoding: "x".into(), clock_rate: 1 });
}

#[test]
fn what_cannot_be_parsed_costs_nothing_else() {
    let good = "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:t1\r\n";
    let head = "o=- 1 1 IN IP4 10.0.0.9\r\ns=x\r\nt=0 0\r\n";
    for (odd, tracks) in [
        ("m=application 0\r\n", 1),
        ("m=metadata 0 RTP/AVP\r\n", 1),
        ("m=application RTP/AVP 107\r\n", 1),
        ("m=application 70000 RTP/AVP 107\r\n", 1),
        ("m=audio  0 RTP/AVP 0\r\n", 2),
        ("m=audio 0 RTP/AVP 0\r\nb=AS:0.5\r\n", 2),
        ("m=audio 0 RTP/AVP 0\r\nc=IN IP4\r\n", 2),
        ("m=audio 0 RTP/AVP 0\r\ni=a\r\ni=b\r\nk=prompt\r\nk=prompt\r\n", 2),
        ("m=audio 0 RTP/AVP 0\r\na=x\0y\r\na=x\ry\r\n", 2),
    ] {
        let before = parse(&format!("v=0\r\n{head}{odd}{good}")).unwrap();
        assert_eq!(before.tracks.len(), tracks, "{odd}");
        assert_eq!(before.tracks[tracks - 1].control.as_deref(), Some("t1"), "{odd}");
        let after = parse(&format!("v=0\r\n{head}{good}{odd}")).unwrap();
        assert_eq!(after.tracks.len(), tracks, "{odd}");
    }
    for (head, kept) in [
        ("o=- 1 -1 IN IP4 10.0.0.9\r\ns=x\r\nt=0 0\r\n", "o=- 0 0 IN IP4 0.0.0.0\r\ns=x\r\n"),
        ("o=- 1 99999999999999999999 IN IP4 10.0.0.9\r\ns=x\r\n", "o=- 0 0 IN IP4 0.0.0.0\r\ns=x\r\n"),
        (
            "o=x\r\no=- 1 2 IN IP4 10.0.0.9\r\no=- 3 4 IN IP4 10.0.0.9\r\n",
            "o=- 1 2 IN IP4 0.0.0.0\r\ns=-\r\n",
        ),
        ("s=x\r\nb=AS:\r\nb=AS:5\r\nt=0 0\r\n", "s=x\r\nc=IN IP4 0.0.0.0\r\nb=AS:5\r\nt=0 0\r\n"),
        ("s=x\r\nt=0\r\nr=1 2 3\r\nz=1\r\n", "t=0 0\r\na=control:*\r\n"),
        ("t=1 2\r\nr=7d 1h 0\r\nr=x\r\n", "t=1 2\r\nr=7d 1h 0\r\na=control:*\r\n"),
        ("s=x\r\nt=0 0\r\ni=a\r\ni=b\r\ns=y\r\n", "s=x\r\ni=a\r\nc="),
    ] {
        let written = parse(&format!("v=0\r\n{head}{good}")).unwrap().for_reader(false, &[]);
        let written = String::from_utf8(written).unwrap();
        assert!(written.contains(kept), "{head:?}: {written}");
    }
}

#[test]
fn a_source_filter_is_of_its_group() {
    let sources = |filters: &str, own: &str| -> Vec<Option<IpAddr>> {
        let text = format!(
            "v=0\r\ns=x\r\nt=0 0\r\n{filters}\
             m=video 5000 RTP/AVP 96\r\nc=IN IP4 239.1.1.1/16\r\na=rtpmap:96 H264/90000\r\n\
             m=audio 5002 RTP/AVP 0\r\nc=IN IP4 239.1.1.2/16\r\n{own}"
        );
        parse(&text).unwrap().tracks.iter().map(|track| track.source_filter).collect()
    };
    let source = |last: u8| Some(IpAddr::from([10, 0, 0, last]));
    let filters = "a=source-filter: incl IN IP4 239.1.1.1 10.0.0.1\r\n\
        a=source-filter: incl IN IP4 239.1.1.2 10.0.0.2\r\n";
    assert_eq!(sources(filters, ""), [source(1), source(2)]);
    assert_eq!(sources(filters, "a=source-filter: incl IN IP4 * 10.0.0.3\r\n"), [source(1), source(3)]);
    assert_eq!(
        sources(filters, "a=source-filter: incl IN IP4 239.1.1.1 10.0.0.3\r\n"),
        [source(1), source(2)]
    );
    assert_eq!(sources("a=source-filter:excl IN IP4 * 10.0.0.1\r\n", ""), [None, None]);
    assert_eq!(sources("a=source-filter: incl IN IP4 * 10.0.0.1 10.0.0.2\r\n", ""), [None, None]);
}

#[test]
fn no_address_of_the_upstream_reaches_readers() {
    let text = "v=0\r\no=- 1 1 IN IP4 10.0.0.9\r\ns=x\r\nu=http://10.0.0.9/admin\r\ne=admin@10.0.0.9\r\n\
        p=+1 10.0.0.9\r\nt=0 0\r\na=group:BUNDLE v\r\na=group:LS v\r\na=ice-lite\r\na=tls-id:1\r\n\
        m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=remote-candidates:1 10.0.0.9 5000\r\n\
        a=alternate-address:IP4 10.0.0.9\r\na=altc:1 IP4 10.0.0.9 5000\r\na=zrtp-hash:1.10 x\r\na=mid:v\r\n";
    let description = parse(text).unwrap();
    let written = String::from_utf8(description.for_reader(false, &[])).unwrap();
    insta::assert_snapshot!(written.replace('\r', ""), @r"
    v=0
    o=- 1 1 IN IP4 0.0.0.0
    s=x
    c=IN IP4 0.0.0.0
    t=0 0
    a=group:LS v
    a=control:*
    m=video 0 RTP/AVP 96
    a=rtpmap:96 H264/90000
    a=mid:v
    a=control:trackID=0
    ");
}

#[test]
fn keys_are_read_and_go_nowhere_else() {
    let text = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=x\r\nt=0 0\r\nk=clear:SECRET\r\na=key-mgmt:mikey SECRETsession\r\n\
        m=video 0 RTP/SAVP 96\r\na=rtpmap:96 H264/90000\r\na=crypto:1 AES SECRET1\r\na=CRYPTO: 2 AES SECRET2\r\n\
        a=key-mgmt:mikey SECRETmedia\r\na=control:v\r\n\
        m=audio 0 RTP/SAVPF 0\r\nk=prompt\r\na=control:a\r\n";
    let description = parse(text).unwrap();
    let [video, audio] = description.tracks.as_slice() else { panic!("two tracks") };
    let kept = |list: &[Zeroizing<String>]| list.iter().map(|value| value.to_string()).collect::<Vec<_>>();
    assert_eq!(kept(&video.keying.crypto), ["1 AES SECRET1", "2 AES SECRET2"]);
    assert_eq!(kept(&video.keying.key_mgmt), ["mikey SECRETmedia", "mikey SECRETsession"]);
    assert_eq!(kept(&audio.keying.key_mgmt), ["mikey SECRETsession"]);
    assert!(!format!("{description:?}").contains("SECRET"));
    let plain = String::from_utf8(description.for_reader(false, &[])).unwrap();
    assert!(
        !plain.contains("SECRET") && plain.contains("RTP/AVP 96") && plain.contains("RTP/AVP 0"),
        "{plain}"
    );

    let own = Keying {
        crypto: vec![Zeroizing::new("1 AES OWN".into())],
        key_mgmt: vec![Zeroizing::new("mikey OWN".into())],
    };
    let ways = [TrackWay { keying: Some(own.clone()), ..TrackWay::default() }];
    let written = String::from_utf8(description.for_reader(false, &ways)).unwrap();
    assert!(!written.contains("SECRET") && written.contains("RTP/AVP 0"), "{written}");
    let again = parse(&written).unwrap();
    assert_eq!(again.tracks[0].keying, own);
    assert_eq!(again.tracks[0].profile(), Some(Profile::Savp));
    assert!(again.tracks[1].keying.is_empty());
}

/// Capabilities (`RFC 5939`) repeat the attributes of keys, and speak of the hop they came over.
#[test]
fn keys_that_are_offered_as_capabilities_go_nowhere() {
    let text = "v=0\r\ns=x\r\nt=0 0\r\na=csup:cap-v0\r\na=acap:9 key-mgmt:mikey SECRET0\r\n\
        m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=tcap:1 RTP/SAVP\r\n\
        a=ACAP:1 crypto:1 AES_CM_128_HMAC_SHA1_80 inline:SECRET1\r\na=acap:2 key-mgmt:mikey SECRET2\r\n\
        a=mscap:3 96 crypto:SECRET3\r\na=pcfg:1 t=1 a=1\r\na=acfg:1 t=1 a=1\r\na=control:v\r\n";
    let description = parse(text).unwrap();
    let plain = String::from_utf8(description.for_reader(false, &[])).unwrap();
    assert!(!["SECRET", "cap", "cfg"].iter().any(|word| plain.contains(word)), "{plain}");
    assert!(!format!("{description:?}").contains("SECRET"), "{description:?}");
}

const REPAIRED: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=x\r\nt=0 0\r\n\
    m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:v\r\n\
    m=video 0 RTP/AVPF 96 98 99\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=RTCP-fb:* nack pli\r\n\
    a=rtcp-fb:96 nack\r\na=rtcp-rsize\r\na=rtpmap:98 RTX/90000\r\na=fmtp:98 apt=96;rtx-time=200\r\n\
    a=rtpmap:99 ulpfec/90000\r\na=ssrc-group:FID 1 2\r\na=control:v\r\n\
    m=audio 0 RTP/AVP 0 97\r\na=rtpmap:97 opus/48000/2\r\na=rtcp-fb:97 nack pli\r\na=control:a\r\n";

#[test]
fn repair_of_the_hop_is_taken_out_of_the_media() {
    let description = parse(REPAIRED).unwrap();
    let [video, audio] = description.tracks.as_slice() else { panic!("one of each: {description:?}") };
    assert_eq!(video.profile(), Some(Profile::Avpf));
    assert_eq!(video.formats.iter().map(|format| format.number).collect::<Vec<_>>(), [96]);
    let beside = |number, encoding: &str, parameters: &str| Beside {
        number,
        encoding: encoding.into(),
        clock_rate: 90_000,
        parameters: parameters.into(),
    };
    let formats = vec![beside(98, "rtx", "apt=96;rtx-time=200"), beside(99, "ulpfec", "")];
    assert_eq!(video.protecting, Protecting { nack: true, formats, latency: None });
    let audio = (audio.protecting.nack, audio.protecting.can_ask(), audio.formats.len());
    assert_eq!(audio, (false, false, 2));
    let written = String::from_utf8(description.for_reader(false, &[])).unwrap();
    insta::assert_snapshot!(written.replace('\r', ""), @r"
    v=0
    o=- 1 1 IN IP4 0.0.0.0
    s=x
    c=IN IP4 0.0.0.0
    t=0 0
    a=control:*
    m=video 0 RTP/AVP 96
    a=rtpmap:96 H264/90000
    a=fmtp:96 packetization-mode=1
    a=RTCP-fb:* nack pli
    a=control:trackID=0
    m=audio 0 RTP/AVP 0 97
    a=rtpmap:97 opus/48000/2
    a=rtcp-fb:97 nack pli
    a=control:trackID=1
    ");
    // A section of repair alone is what it was, and so are profiles that bring nothing.
    let alone = "v=0\r\ns=x\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:v\r\n\
        m=video 0 RTP/AVPF 96\r\na=rtpmap:96 H264/90000\r\na=control:v\r\n\
        m=video 0 RTP/AVP 100\r\na=rtpmap:100 ulpfec/90000\r\na=control:f\r\n";
    let tracks = parse(alone).unwrap().tracks;
    assert_eq!(tracks.iter().map(|track| track.profile()).collect::<Vec<_>>(), [Some(Profile::Avp); 2]);
    assert_eq!(tracks[1].formats[0].number, 100);
}

#[test]
fn readers_are_told_how_to_ask_again() {
    let description = parse(REPAIRED).unwrap();
    let way = |early| TrackWay {
        feedback: Some(Feedback { early, parity: false, time: 1000 }),
        ..TrackWay::default()
    };
    assert_eq!(description.rtx_types(), [vec![(96, 127)], vec![(0, 126), (97, 125)]]);
    let written = String::from_utf8(description.for_reader(false, &[way(true), way(false)])).unwrap();
    insta::assert_snapshot!(written.replace('\r', ""), @r"
    v=0
    o=- 1 1 IN IP4 0.0.0.0
    s=x
    c=IN IP4 0.0.0.0
    t=0 0
    a=control:*
    m=video 0 RTP/AVPF 96 127
    a=rtpmap:96 H264/90000
    a=fmtp:96 packetization-mode=1
    a=RTCP-fb:* nack pli
    a=rtcp-fb:96 nack
    a=rtpmap:127 rtx/90000
    a=fmtp:127 apt=96;rtx-time=1000
    a=control:trackID=0
    m=audio 0 RTP/AVP 0 97 126 125
    a=rtpmap:97 opus/48000/2
    a=rtcp-fb:97 nack pli
    a=rtcp-fb:0 nack
    a=rtcp-fb:97 nack
    a=rtpmap:126 rtx/8000
    a=fmtp:126 apt=0;rtx-time=1000
    a=rtpmap:125 rtx/48000/2
    a=fmtp:125 apt=97;rtx-time=1000
    a=control:trackID=1
    ");
    // It is what we understand of others.
    let again = parse(&written).unwrap();
    assert!(again.tracks.iter().all(|track| track.protecting.can_ask()));
    assert_eq!(again.tracks[1].formats.len(), 2);
    let feedback = Some(Feedback { early: true, parity: true, time: 1000 });
    let ways = [TrackWay { feedback, ..TrackWay::default() }];
    let written = String::from_utf8(description.for_reader(false, &ways)).unwrap();
    let repaired = "m=video 0 RTP/AVPF 96 127\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n\
        a=RTCP-fb:* nack pli\r\na=rtpmap:127 ulpfec/90000\r\na=fmtp:127 apt=96\r\na=control:trackID=0\r\n";
    assert!(written.contains(repaired), "{written}");
    // With no number free, packets come as they were.
    let mut text = String::from("v=0\r\ns=x\r\nm=audio 0 RTP/AVP");
    (96..127).for_each(|number| text += &format!(" {number}"));
    assert_eq!(parse(&(text + "\r\n")).unwrap().rtx_types(), [vec![(96, 127)]]);
}

#[test]
fn a_flood_of_keys_is_cut() {
    let keys = "a=crypto:1 AES x\r\na=key-mgmt:mikey x\r\n".repeat(1000);
    let text = format!("v=0\r\n{keys}m=video 0 RTP/SAVP 96\r\n{keys}");
    let track = &parse(&text).unwrap().tracks[0];
    assert_eq!((track.keying.crypto.len(), track.keying.key_mgmt.len()), (32, 32));
}
