#!/usr/bin/python3
"""GStreamer's RTSP client as a viewer of a recording: plays, pauses, seeks, and plays at another speed.

gst_player.py URL udp|tcp STEP...     a STEP is play=SECONDS, pause=SECONDS, seek=SECONDS or speed=FACTOR

The pictures of the recording are grey and say their own time: luma 16 + 10 * seconds. Prints for each step one line,
"STEP FRAMES FIRST LAST ELAPSED": how many pictures came, the times that the first and the last of them show, and how
long it took.
"""

import sys
import time

from gi.repository import GLib
from gst_source import Gst, pipeline as source

url, transport, steps = sys.argv[1], sys.argv[2], sys.argv[3:]
pipeline = source(
    url,
    f"protocols={transport}",
    {
        "video": "rtph264depay ! h264parse ! avdec_h264 ! video/x-raw,format=I420"
        " ! fakesink name=video signal-handoffs=1 sync=1",
        "audio": "rtpopusdepay ! opusdec ! fakesink sync=1",
    },
)
seen = []


def handoff(_sink, buffer, _pad):
    luma = buffer.extract_dup(0, 64)
    seen.append((sum(luma) / len(luma) - 16) / 10)


pipeline.get_by_name("video").connect("handoff", handoff)
loop = GLib.MainLoop()


def message(_bus, message):
    if message.type == Gst.MessageType.ERROR:
        error, detail = message.parse_error()
        sys.exit(f"{error}: {detail}")


bus = pipeline.get_bus()
bus.add_signal_watch()
bus.connect("message", message)


def run(seconds):
    GLib.timeout_add(int(seconds * 1000), loop.quit)
    loop.run()


def seek(rate, start):
    flags = Gst.SeekFlags.FLUSH | Gst.SeekFlags.KEY_UNIT
    if not pipeline.seek(rate, Gst.Format.TIME, flags, Gst.SeekType.SET, int(start * Gst.SECOND), Gst.SeekType.NONE, 0):
        sys.exit("seek refused")


def first_picture():
    deadline = time.monotonic() + 10
    while not seen:
        if time.monotonic() > deadline:
            sys.exit("no picture came")
        run(0.05)


pipeline.set_state(Gst.State.PLAYING)
first_picture()
last = 0.0
for step in steps:
    what, value = step.split("=")
    value, start = float(value), time.monotonic()
    if what == "play":
        pipeline.set_state(Gst.State.PLAYING)
        run(value)
    elif what == "pause":
        pipeline.set_state(Gst.State.PAUSED)
        run(1.0)  # what was on its way
        seen.clear()
        run(value)
    elif what == "seek":
        seek(1.0, value)
        seen.clear()
        first_picture()
        run(1.0)
    elif what == "speed":
        seek(value, last)
        seen.clear()
        first_picture()
        run(1.0)  # what waited while the player turned round comes at once
        seen.clear()
        start = time.monotonic()
        run(2.0)
    first, last = (seen[0], seen[-1]) if seen else (0.0, last)
    print(step, len(seen), f"{first:.2f} {last:.2f} {time.monotonic() - start:.2f}", flush=True)
    seen.clear()
pipeline.set_state(Gst.State.NULL)
