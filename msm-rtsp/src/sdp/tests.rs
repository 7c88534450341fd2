//! Descriptions as cameras, servers and attackers write them.

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
    let group = GroupOf { group: Some(("239.9.9.9".parse().unwrap(), 6000, 4)) };
    let rewritten = String::from_utf8(description.for_reader(false, &[group])).unwrap();
    assert!(rewritten.contains("m=video 6000 RTP/AVP 96\r\nc=IN IP4 239.9.9.9/4\r\n"), "{rewritten}");
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
