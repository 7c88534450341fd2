//! Every transport from the server with every reader and transport: GStreamer's server, the proxy, and the reader, each in
//! a namespace of its own.

use crate::lab::{Lab, Place, direct};
use crate::need::{Peer, have};
use crate::proxy::{Proxy, to_server, url};
use crate::readers::{self, Over, Reader};
use crate::servers;

/// What came over UDP and multicast fits the transport that was meant: a peer that falls back to another does not count.
fn came_over(lab: &Lab, place: Place, over: Over) {
    const FEW: u64 = 50;
    const MANY: u64 = 100;
    let got = lab.datagrams(place);
    let fits = match over {
        Over::Udp => got.udp >= MANY && got.multicast < FEW,
        Over::Tcp => got.udp < FEW && got.multicast < FEW,
        Over::Multicast => got.multicast >= MANY,
    };
    assert!(fits, "not {over:?} to the {place:?}: {got:?}");
}

fn cell(transport: &str, reader: Reader) {
    if !have(&[Peer::GstServer, reader.peer, Peer::Ffmpeg]) {
        return;
    }
    let lab = Lab::new();
    if direct() {
        let options = ["--transports", "udp,tcp,multicast", "--group", "239.20.10"];
        let _server = servers::gstreamer_at(&lab, Place::Proxy, &options);
        reader.read(&lab, &url("test"));
        return came_over(&lab, Place::Client, reader.over);
    }
    let server = servers::gstreamer(&lab, &["--transports", transport]);
    let _proxy = Proxy::start(&lab, &to_server(transport));
    reader.read(&lab, &url("test"));
    came_over(&lab, Place::Client, reader.over);
    let upstream = match transport {
        "udp" => Over::Udp,
        "tcp" => Over::Tcp,
        _ => Over::Multicast,
    };
    came_over(&lab, Place::Proxy, upstream);
    assert_eq!(servers::count(&server, "play"), 1, "upstream sessions for one reader");
}

macro_rules! matrix {
    ($($transport:ident: $($reader:ident = $value:ident),+;)+) => {$(
        mod $transport {
            $(#[test]
            fn $reader() {
                super::cell(stringify!($transport), super::readers::$value);
            })+
        }
    )+};
}

macro_rules! every_reader {
    ($($transport:ident),+) => {
        matrix! {$(
            $transport:
                ffmpeg_udp = FFMPEG_UDP,
                ffmpeg_tcp = FFMPEG_TCP,
                ffmpeg_multicast = FFMPEG_MULTICAST,
                gstreamer_udp = GST_UDP,
                gstreamer_tcp = GST_TCP,
                gstreamer_multicast = GST_MULTICAST,
                gstreamer_rtsp_2_0 = GST_RTSP2,
                openrtsp_udp = OPENRTSP_UDP,
                openrtsp_tcp = OPENRTSP_TCP,
                vlc_udp = VLC_UDP,
                vlc_tcp = VLC_TCP;
        )+}
    };
}

every_reader!(udp, tcp, multicast);
