"""Recovers by GStreamer's rtpulpfecdec: gst_fec.py FROM TO PT SSRC, a UDP port of this host and a TCP port that takes
what comes out (RFC 4571), the payload type of repair packets, and the SSRC of the stream, without which the element aborts.

Its storage is an object, which gst-launch-1.0 cannot hand over. Prints the count of recovered packets as it changes.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # noqa: E402

Gst.init(None)
source, sink, pt, ssrc = (int(word) for word in sys.argv[1:])
COMMON = f"application/x-rtp,media=video,clock-rate=90000,ssrc=(uint){ssrc}"
MEDIA = f"{COMMON},payload=96,encoding-name=H264"
FEC = f"{COMMON},payload={pt},encoding-name=ULPFEC,is-fec=true"
pipeline = Gst.parse_launch(
    f"udpsrc address=127.0.0.1 port={source} buffer-size=1000000 caps={MEDIA} ! rtpstorage name=storage size-time=2000000000"
    f" ! rtpjitterbuffer name=jitter do-lost=true latency=500 ! rtpulpfecdec name=decoder pt={pt}"
    f" ! rtpstreampay ! tcpclientsink host=127.0.0.1 port={sink} sync=false async=false"
)
decoder = pipeline.get_by_name("decoder")
decoder.set_property("storage", pipeline.get_by_name("storage").get_property("internal-storage"))
pipeline.get_by_name("jitter").connect("request-pt-map", lambda _, each: Gst.Caps.from_string(FEC if each == pt else MEDIA))
pipeline.set_state(Gst.State.PLAYING)
last = None


def say():
    global last
    now = decoder.get_property("recovered")
    if now != last:
        last = now
        print("recovered", now, flush=True)
    return True


GLib.timeout_add(100, say)
GLib.MainLoop().run()
