"""GStreamer's reader and writer of MIKEY messages, for the tests: one command a line, one answer a line.

read <message, base64>          -> <cipher> <auth> <key, hex> <CSB ID> <policy>:<ssrc>:<roc>,...
write <cipher> <auth> <hex key> -> <message, base64>, with the streams 0:1:2 and 0:3735928559:7
attribute <key-mgmt attribute>  -> <cipher> <auth> <key, hex>, through GStreamer's SDP code

Reading goes to the library itself: its bindings want a structure that Python cannot make.
"""

import base64
import ctypes
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
from gi.repository import Gst, GstSdp  # noqa: E402

Gst.init(None)


def keys(caps):
    """What srtpdec is told."""
    fields = caps.get_structure(0)
    buffer = fields.get_value("srtp-key")
    return " ".join(
        [
            fields.get_string("srtp-cipher"),
            fields.get_string("srtp-auth"),
            buffer.extract_dup(0, buffer.get_size()).hex(),
        ]
    )


class MapSrtp(ctypes.Structure):
    """GstMIKEYMapSRTP."""

    _fields_ = [("policy", ctypes.c_uint8), ("ssrc", ctypes.c_uint32), ("roc", ctypes.c_uint32)]


class Message(ctypes.Structure):
    """The beginning of GstMIKEYMessage, behind its GstMiniObject."""

    _fields_ = [
        ("mini_object", ctypes.c_uint8 * Gst.MiniObject.__info__.get_size()),
        ("version", ctypes.c_uint8),
        ("type", ctypes.c_int),
        ("verify", ctypes.c_int),
        ("prf", ctypes.c_int),
        ("csb_id", ctypes.c_uint32),
    ]


SDP = ctypes.CDLL("libgstsdp-1.0.so.0")
GST = ctypes.CDLL("libgstreamer-1.0.so.0")
SDP.gst_mikey_message_new_from_data.restype = ctypes.POINTER(Message)
SDP.gst_mikey_message_get_cs_srtp.restype = ctypes.POINTER(MapSrtp)
GST.gst_caps_new_empty_simple.restype = ctypes.c_void_p
GST.gst_caps_to_string.restype = ctypes.c_char_p


def read(text):
    data = base64.b64decode(text)
    size = ctypes.c_size_t(len(data))
    message = SDP.gst_mikey_message_new_from_data(data, size, None, None)
    if not message:
        return "refused"
    caps = ctypes.c_void_p(GST.gst_caps_new_empty_simple(b"application/x-srtp"))
    if not SDP.gst_mikey_message_to_caps(message, caps):
        return "no keys"
    count = SDP.gst_mikey_message_get_n_cs(message)
    sessions = [SDP.gst_mikey_message_get_cs_srtp(message, i).contents for i in range(count)]
    streams = ",".join(f"{s.policy}:{s.ssrc}:{s.roc}" for s in sessions)
    caps = Gst.Caps.from_string(GST.gst_caps_to_string(caps).decode())
    return f"{keys(caps)} {message.contents.csb_id} {streams}"


def attribute(text):
    media = GstSdp.SDPMedia.new()[1]
    media.add_attribute("key-mgmt", text)
    caps = Gst.Caps.new_empty_simple("application/x-unknown")
    media.attributes_to_caps(caps)
    return keys(caps)


def write(cipher, auth, hexadecimal):
    caps = Gst.Caps.new_empty_simple("application/x-srtp")
    key = Gst.Buffer.new_wrapped(bytes.fromhex(hexadecimal))
    caps.set_value("srtp-key", key)
    for name, value in [("cipher", cipher), ("auth", auth)]:
        caps.set_value(f"srtp-{name}", value)
        caps.set_value(f"srtcp-{name}", value)
    message = GstSdp.MIKEYMessage.new_from_caps(caps)
    message.add_cs_srtp(0, 1, 2)
    message.add_cs_srtp(0, 0xDEADBEEF, 7)
    return message.base64_encode()


for line in sys.stdin:
    name, _, arguments = line.strip().partition(" ")
    if name == "attribute":
        print(attribute(arguments), flush=True)
    else:
        print({"read": read, "write": write}[name](*arguments.split()), flush=True)
