#!/usr/bin/python3
"""GStreamer's RTSP server as a peer: H.264 (PT 96) and Opus (PT 97) at /test, live, from a file, or recorded.

Prints "ready", then one line for each thing that happens: "client", "describe", "setup", "play", "pause", "teardown",
"record", and for a recording "frames VIDEO AUDIO" once a second.
"""

import argparse
import signal
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

from gst_garbage import KINDS, Garbage  # noqa: E402

# One thread, so one slice a picture: the payloader would repeat the parameter sets between the slices of a key frame,
# which decoders rightly take as damage.
LIVE = (
    "( videotestsrc is-live=1 pattern=ball ! video/x-raw,width=320,height=240,framerate=25/1 ! {video}"
    " audiotestsrc is-live=1 wave=ticks ! audio/x-raw,rate=48000,channels=1 ! opusenc bitrate=32000"
    " ! rtpopuspay name=pay1 pt=97 )"
)
H264 = (
    "x264enc tune=zerolatency speed-preset=ultrafast threads=1 key-int-max={gop} bitrate=300"
    " ! video/x-h264,profile=constrained-baseline ! rtph264pay name=pay0 pt=96 mtu=1200 config-interval={config}"
)
VP8 = "vp8enc deadline=1 keyframe-max-dist={gop} target-bitrate=300000 ! rtpvp8pay name=pay0 pt=96 mtu=1200"
FILE = (
    "( filesrc location={file} ! matroskademux name=d"
    " d. ! queue ! h264parse ! rtph264pay name=pay0 pt=96 mtu=1200 config-interval=-1"
    " d. ! queue ! opusparse ! rtpopuspay name=pay1 pt=97 )"
)
RECORD = (
    "( rtph264depay name=depay0 ! h264parse ! avdec_h264 ! fakesink name=video signal-handoffs=1 sync=0"
    " rtpopusdepay name=depay1 ! opusdec ! fakesink name=audio signal-handoffs=1 sync=0 )"
)


def say(*words):
    print(*words, flush=True)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", default="8554")
    parser.add_argument("--transports", default="udp,tcp", help="of udp, tcp, multicast")
    parser.add_argument("--group", default="239.10.10", help="first three bytes of the multicast groups")
    parser.add_argument("--auth", choices=["digest", "basic"], help="user alice, password secret")
    parser.add_argument("--tls", help="speak TLS with the certificate and key of this PEM file; needs --auth")
    parser.add_argument("--client-ca", help="absolute path of the authority that clients must have a certificate of; needs --tls")
    parser.add_argument("--gop", type=int, default=25, help="frames from key frame to key frame")
    parser.add_argument("--vp8", action="store_true", help="another codec, by the same number")
    parser.add_argument("--config", type=int, default=-1, help="seconds between parameter sets; -1 with each IDR, 0 never")
    parser.add_argument("--file", help="serve this Matroska file (H.264, Opus) to each client from its beginning")
    parser.add_argument("--srtp", action="store_true", help="SRTP, keyed by MIKEY")
    parser.add_argument("--rtx", type=int, help="keep packets so many milliseconds, and send them again when asked (AVPF)")
    parser.add_argument("--ulpfec", type=int, help="repair packets, as a percentage of the media")
    parser.add_argument("--record", action="store_true", help="take publishers")
    parser.add_argument("--garbage", choices=KINDS, help="what is sent over UDP from SIGUSR1 on")
    return parser.parse_args()


def counted(media, counts):
    """Counts decoded buffers of a recording."""
    bin_ = media.get_element()
    for name in counts:

        def handoff(_sink, _buffer, _pad, name=name):
            counts[name] += 1

        bin_.get_by_name(name).connect("handoff", handoff)


def with_fec(media, percentage):
    """Has the media's streams describe repair packets, and make them."""

    def added(_pipeline, element):
        if element.get_factory().get_name() == "rtpbin":
            element.connect(
                "request-fec-encoder",
                lambda _bin, session: media.get_stream(session).request_ulpfec_encoder(session),
            )

    media.get_element().get_parent().connect("element-added", added)
    for number in range(media.n_streams()):
        stream = media.get_stream(number)
        stream.set_ulpfec_pt(122 + number)
        stream.set_ulpfec_percentage(percentage)


def watch_decoders(media, decoders):
    """Of a recording that announces repair packets."""

    def added(_pipeline, _bin, element):
        if element.get_factory() and element.get_factory().get_name() == "rtpulpfecdec":
            decoders.append(element)

    media.get_element().get_parent().connect("deep-element-added", added)


def repaired(decoders):
    sums = (sum(decoder.get_property(name) for decoder in decoders) for name in ("recovered", "unrecovered"))
    return tuple(sums)


def protect(server, factory, method, tls, client_ca):
    auth, token = GstRtspServer.RTSPAuth(), GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    rights = GstRtspServer.RTSPPermissions()
    rights.add_role("user")
    for right in ("media.factory.access", "media.factory.construct"):
        rights.add_permission_for_role("user", right, True)
    factory.set_permissions(rights)
    if method == "digest":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.set_realm("mesh")
        auth.add_digest("alice", "secret", token)
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic("alice", "secret"), token)
    if tls:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(tls))
    if client_ca:
        auth.set_tls_database(Gio.TlsFileDatabase.new(client_ca))
        auth.set_tls_authentication_mode(Gio.TlsAuthenticationMode.REQUIRED)
        # It asks for each, those without errors too.
        auth.connect("accept-certificate", lambda _auth, _connection, _certificate, errors: int(errors) == 0)
    server.set_auth(auth)


def connected(_server, client):
    say("client", client.get_connection().get_ip())
    for request in ("describe", "setup", "play", "pause", "teardown", "announce", "record"):
        client.connect(f"{request}-request", lambda _client, _context, request=request: say(request))


def main():
    options = arguments()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(options.address)
    server.set_service(options.port)
    factory = GstRtspServer.RTSPMediaFactory()
    if options.record:
        factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
        factory.set_launch(RECORD)
        counts = {"video": 0, "audio": 0}
        if options.ulpfec:
            decoders = []
            factory.connect("media-configure", lambda _factory, media: watch_decoders(media, decoders))
            GLib.timeout_add(500, lambda: say("repaired", *repaired(decoders)) or True)
        factory.connect("media-configure", lambda _factory, media: counted(media, counts))
        GLib.timeout_add(500, lambda: say("frames", counts["video"], counts["audio"]) or True)
    elif options.file:
        factory.set_launch(FILE.format(file=options.file))
    else:
        video = (VP8 if options.vp8 else H264).format(gop=options.gop, config=options.config)
        factory.set_launch(LIVE.format(video=video))
        factory.set_shared("multicast" in options.transports)

    lower = GstRtsp.RTSPLowerTrans
    names = {"udp": lower.UDP, "tcp": lower.TCP, "multicast": lower.UDP_MCAST}
    protocols = lower.UNKNOWN
    for name in options.transports.split(","):
        protocols |= names[name]
    factory.set_protocols(protocols)
    if options.rtx or options.ulpfec:
        factory.set_profiles(GstRtsp.RTSPProfile.AVP | GstRtsp.RTSPProfile.AVPF)
    if options.rtx:
        factory.set_do_retransmission(True)
        factory.set_retransmission_time(options.rtx * Gst.MSECOND)
    if options.ulpfec and not options.record:
        factory.connect("media-configure", lambda _factory, media: with_fec(media, options.ulpfec))
    if options.garbage:
        garbage = Garbage(options.garbage, say)
        factory.connect("media-configure", lambda _factory, media: garbage.watch(media))
        GLib.unix_signal_add(GLib.PRIORITY_HIGH, signal.SIGUSR1, garbage.begin)
    if options.srtp:
        factory.set_profiles(GstRtsp.RTSPProfile.SAVP)
    if "multicast" in options.transports:
        pool = GstRtspServer.RTSPAddressPool()
        pool.add_range(f"{options.group}.1", f"{options.group}.9", 5000, 5019, 1)
        factory.set_address_pool(pool)
    if options.auth:
        protect(server, factory, options.auth, options.tls, options.client_ca)

    server.get_mount_points().add_factory("/test", factory)
    server.connect("client-connected", connected)
    if not server.attach(None):
        sys.exit("cannot listen")
    say("ready")
    GLib.MainLoop().run()


main()
