#!/usr/bin/python3
"""GStreamer's RTSP client as a reader that goes on until it is ended: prints a line "0,TIMESTAMP" for each picture that it has decoded.

gst_watcher.py URL [OPTION=VALUE...]     the options are of rtspsrc
"""

import sys

from gst_source import Gst, pipeline

url, options = sys.argv[1], " ".join(sys.argv[2:])
player = pipeline(
    url,
    options,
    {
        "video": "rtph264depay ! h264parse ! avdec_h264 ! fakesink name=pictures signal-handoffs=1 sync=0",
        "audio": "rtpopusdepay ! opusdec ! fakesink sync=0",
    },
)


def shown(_sink, buffer, _pad):
    print(f"0,{buffer.pts}", flush=True)


player.get_by_name("pictures").connect("handoff", shown)
player.set_state(Gst.State.PLAYING)
ended = player.get_bus().timed_pop_filtered(Gst.CLOCK_TIME_NONE, Gst.MessageType.EOS | Gst.MessageType.ERROR)
if ended.type == Gst.MessageType.ERROR:
    error, detail = ended.parse_error()
    sys.exit(f"ERROR: {error}: {detail}")
sys.exit("ERROR: the stream ended")
