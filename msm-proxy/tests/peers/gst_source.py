"""A pipeline that plays a URL by `rtspsrc`, its tracks linked one at a time.

`gst-launch` and `Gst.parse_launch` link such pads when they appear, on the thread of each track and without a lock: two
tracks whose first packets come at the same moment can leave one of them unlinked.
"""

import threading

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

Gst.init(None)


def pipeline(location, options, chains):
    """`options` are of rtspsrc; `chains` gives each kind of media the elements that take its RTP packets."""
    pipeline = Gst.Pipeline()
    source = Gst.parse_launch(f"rtspsrc location={location} latency=200 {options}")
    pipeline.add(source)
    waiting = {}
    for media, chain in chains.items():
        waiting[media] = Gst.parse_bin_from_description(chain, True)
        pipeline.add(waiting[media])
    lock = threading.Lock()

    def link(_source, pad):
        media = pad.get_current_caps().get_structure(0).get_string("media")
        with lock:
            chain = waiting.pop(media, None)
        if chain is not None and pad.link(chain.get_static_pad("sink")) != Gst.PadLinkReturn.OK:
            raise RuntimeError(f"{media} cannot be linked")

    source.connect("pad-added", link)
    # Whose statistics tell what a decoder conceals.
    pipeline.buffers = []
    source.connect(
        "new-manager",
        lambda _source, manager: manager.connect(
            "new-jitterbuffer", lambda _manager, buffer, _session, _ssrc: pipeline.buffers.append(buffer)
        ),
    )
    return pipeline


def lost(pipeline):
    """Packets that were missing, or came too late to be used."""
    count = 0
    for buffer in pipeline.buffers:
        stats = buffer.get_property("stats")
        count += stats.get_uint64("num-lost").value + stats.get_uint64("num-late").value
    return count
