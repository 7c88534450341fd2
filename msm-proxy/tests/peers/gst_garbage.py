"""Media of a server that turns into garbage: what its UDP sinks are to send is looked at, and something else leaves by the same sockets.

KIND says what: "bytes" of any sort, "types" that were not described, "sources" of which each packet is another, or "beside", all three of
them twenty times for each packet of the media, which goes on. RTSP and RTCP stay as they are.
"""

import os
import random
import socket

from gi.repository import Gst

KINDS = ("bytes", "types", "sources", "beside")
# Ends each packet, so that whoever gets one knows it.
MARK = b"no media of any kind"
DESCRIBED = (96, 97)
BESIDE = 20


def of_bytes(_packet):
    return random.randbytes(random.randrange(12, 1200))


def of_types(packet):
    kind = random.choice([number for number in range(128) if number not in DESCRIBED and not 64 <= number < 96])
    return packet[:1] + bytes([packet[1] & 0x80 | kind]) + packet[2:12]


def of_sources(packet):
    return packet[:8] + random.randbytes(4)


def is_rtcp(packet):
    return len(packet) < 12 or 192 <= packet[1] <= 223


class Garbage:
    def __init__(self, kind, say):
        self.kind, self.say, self.begun, self.sockets = kind, say, False, {}

    def begin(self):
        self.begun = True
        self.say("garbage")
        return True

    def watch(self, media):
        media.get_element().get_parent().connect("deep-element-added", self.added)

    def added(self, _pipeline, _bin, element):
        if element.get_factory() and element.get_factory().get_name() == "multiudpsink":
            both = Gst.PadProbeType.BUFFER | Gst.PadProbeType.BUFFER_LIST
            element.get_static_pad("sink").add_probe(both, self.passing, element)

    def passing(self, _pad, info, element):
        if not self.begun:
            return Gst.PadProbeReturn.OK
        if info.type & Gst.PadProbeType.BUFFER_LIST:
            parts = info.get_buffer_list()
            buffers = [parts.get(number) for number in range(parts.length())]
        else:
            buffers = [info.get_buffer()]
        packets = [buffer.extract_dup(0, buffer.get_size()) for buffer in buffers]
        if any(is_rtcp(packet) for packet in packets):
            return Gst.PadProbeReturn.OK
        for packet in packets:
            self.send(element, packet)
        return Gst.PadProbeReturn.OK if self.kind == "beside" else Gst.PadProbeReturn.DROP

    def send(self, element, packet):
        makers = {"bytes": of_bytes, "types": of_types, "sources": of_sources}
        made = [makers[self.kind]] if self.kind in makers else random.choices(list(makers.values()), k=BESIDE)
        for client in element.get_property("clients").split(","):
            host, _, port = client.rpartition(":")
            for make in made:
                self.socket(element).sendto(make(packet) + MARK, (host, int(port)))

    def socket(self, element):
        own = self.sockets.get(element)
        if own is None:
            number = element.get_property("used-socket").get_fd()
            own = self.sockets[element] = socket.socket(fileno=os.dup(number))
        return own
