#!/usr/bin/python3
"""GStreamer's RTSP client as a reader: decodes a number of pictures and of audio frames, then ends well
if no packet was lost.

gst_reader.py URL PICTURES SOUNDS [OPTION=VALUE...]     the options are of rtspsrc
"""

import sys

from gst_source import Gst, lost, pipeline

url, pictures, sounds, options = sys.argv[1], sys.argv[2], sys.argv[3], " ".join(sys.argv[4:])
player = pipeline(
    url,
    options,
    {
        "video": f"rtph264depay ! h264parse ! avdec_h264 ! identity eos-after={pictures} ! fakesink",
        "audio": f"rtpopusdepay ! opusdec ! identity eos-after={sounds} ! fakesink",
    },
)
player.set_state(Gst.State.PLAYING)
ended = player.get_bus().timed_pop_filtered(Gst.CLOCK_TIME_NONE, Gst.MessageType.EOS | Gst.MessageType.ERROR)
if ended.type == Gst.MessageType.ERROR:
    error, detail = ended.parse_error()
    sys.exit(f"ERROR: {error}: {detail}")
if not player.buffers:
    sys.exit("ERROR: no jitter buffer was seen")
if missing := lost(player):
    sys.exit(f"ERROR: {missing} packets lost")
player.set_state(Gst.State.NULL)
