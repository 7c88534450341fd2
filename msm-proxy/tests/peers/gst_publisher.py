#!/usr/bin/python3
"""GStreamer's recorder: publishes a moving picture (first) and a tone, over UDP.

gst_publisher.py URL avp|avpf ULPFEC SECONDS     in the profile RTP/AVPF it announces retransmissions, and ULPFEC: repair packets as a
percentage of the media, if it is not 0.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
from gi.repository import Gst, GstRtsp  # noqa: E402

url, profile, ulpfec, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
Gst.init(None)
pipeline = Gst.parse_launch(
    f"rtspclientsink name=sink location={url} protocols=udp"
    " videotestsrc is-live=1 pattern=ball ! video/x-raw,width=320,height=240,framerate=25/1"
    " ! x264enc tune=zerolatency speed-preset=ultrafast threads=1 key-int-max=25 bitrate=300"
    " ! video/x-h264,profile=constrained-baseline ! queue name=video"
    " audiotestsrc is-live=1 wave=ticks ! audio/x-raw,rate=48000,channels=1 ! opusenc bitrate=32000 ! queue name=audio"
)
sink = pipeline.get_by_name("sink")
if profile == "avpf":
    sink.set_property("profiles", GstRtsp.RTSPProfile.AVPF)
# It announces its tracks in the reverse order.
for number, media in enumerate(("audio", "video")):
    pad = sink.request_pad_simple(f"sink_{number}")
    pad.set_property("ulpfec-percentage", ulpfec)
    pipeline.get_by_name(media).get_static_pad("src").link(pad)
pipeline.set_state(Gst.State.PLAYING)
failed = pipeline.get_bus().timed_pop_filtered(int(seconds * Gst.SECOND), Gst.MessageType.ERROR)
if failed:
    error, detail = failed.parse_error()
    sys.exit(f"ERROR: {error}: {detail}")
pipeline.set_state(Gst.State.NULL)
