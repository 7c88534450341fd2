#!/usr/bin/python3
"""Packs H.264 and Opus into an rtpdump file, and sends such a file over UDP. make-clip.sh says when.

clip.py pack VIDEO.h264 AUDIO.ogg SECONDS OUT.rtpdump OUT.sdp
clip.py send IN.rtpdump VIDEO_PORT AUDIO_PORT SECONDS
"""

import base64
import re
import socket
import struct
import sys
import time

MTU = 1200  # bytes of one RTP packet, header included: leaves room for any tunnel on the way
VIDEO = {"pt": 96, "ssrc": 0x6D736D30, "rate": 90000, "frame": 3600}
AUDIO = {"pt": 97, "ssrc": 0x6D736D31, "rate": 48000, "frame": 960}
SPS, PPS, IDR, STAP_A, FU_A = 7, 8, 5, 24, 28


def access_units(stream):
    """The access units of an Annex B stream whose pictures are one slice each: lists of NAL units."""
    unit, units = [], []
    for nal in re.split(b"\x00{2,3}\x01", stream)[1:]:
        nal = nal.rstrip(b"\x00")
        unit.append(nal)
        if nal[0] & 31 <= IDR:
            units.append(unit)
            unit = []
    return units


def payloads(unit):
    """RFC 6184, packetization mode 1: parameter sets together in a STAP-A, large NAL units in FU-As."""
    small = [nal for nal in unit if nal[0] & 31 in (SPS, PPS)]
    if small:
        indicator = max(nal[0] & 0x60 for nal in small) | STAP_A
        yield bytes([indicator]) + b"".join(struct.pack(">H", len(nal)) + nal for nal in small)
    for nal in (nal for nal in unit if nal not in small):
        if len(nal) <= MTU - 12:
            yield nal
            continue
        body, room = nal[1:], MTU - 12 - 2
        count = -(-len(body) // room)
        room = -(-len(body) // count)  # equal parts: packets of one size leave in one segmented send
        for n in range(count):
            edge = (0x80 if n == 0 else 0) | (0x40 if n == count - 1 else 0)
            yield bytes([nal[0] & 0xE0 | FU_A, edge | nal[0] & 31]) + body[n * room : (n + 1) * room]


def ogg_packets(data):
    """The packets of an Ogg stream (RFC 3533), without the two headers of Opus (RFC 7845)."""
    packets, part, at = [], b"", 0
    while at < len(data):
        assert data[at : at + 4] == b"OggS", f"no Ogg page at {at}"
        lacing = data[at + 27 : at + 27 + data[at + 26]]
        at += 27 + len(lacing)
        for size in lacing:
            part += data[at : at + size]
            at += size
            if size < 255:
                packets.append(part)
                part = b""
    return packets[2:]


def rtp(track, seq, index, marker, payload):
    header = struct.pack(">BBHII", 0x80, marker << 7 | track["pt"], seq, index * track["frame"], track["ssrc"])
    return header + payload


def pack(video, audio, seconds, dump, sdp):
    seconds = int(seconds)
    units = access_units(open(video, "rb").read())
    frames = ogg_packets(open(audio, "rb").read())
    loop = seconds * 50
    frames = frames[loop : 2 * loop]
    assert len(units) == seconds * 25, f"{len(units)} pictures"
    assert len(frames) == loop, f"{len(frames)} audio frames"
    assert all([nal[0] & 31 for nal in units[n]] == [SPS, PPS, IDR] for n in range(0, len(units), 25))

    packets, seq = [], 0
    for n, unit in enumerate(units):
        parts = list(payloads(unit))
        for part in parts:
            packets.append((n * 40, 0, rtp(VIDEO, seq, n, part is parts[-1], part)))
            seq += 1
    for n, frame in enumerate(frames):
        packets.append((n * 20, 1, rtp(AUDIO, n, n, n == 0, frame)))
    packets.sort(key=lambda packet: packet[:2])

    with open(dump, "wb") as out:
        out.write(b"#!rtpplay1.0 127.0.0.1/5004\n")
        out.write(struct.pack(">IIIHH", 0, 0, 0x7F000001, 5004, 0))
        for offset, _, data in packets:
            out.write(struct.pack(">HHI", len(data) + 8, len(data), offset) + data)

    sps, pps = units[0][0], units[0][1]
    sets = ",".join(base64.b64encode(nal).decode() for nal in (sps, pps))
    lines = [
        "v=0",
        "o=- 0 0 IN IP4 127.0.0.1",
        "s=Media Streaming Mesh demo",
        "c=IN IP4 0.0.0.0",
        "t=0 0",
        "a=control:*",
        f"m=video 0 RTP/AVP {VIDEO['pt']}",
        f"a=rtpmap:{VIDEO['pt']} H264/{VIDEO['rate']}",
        f"a=fmtp:{VIDEO['pt']} packetization-mode=1;profile-level-id={sps[1:4].hex().upper()};sprop-parameter-sets={sets}",
        "a=control:streamid=0",
        f"m=audio 0 RTP/AVP {AUDIO['pt']}",
        f"a=rtpmap:{AUDIO['pt']} opus/{AUDIO['rate']}/2",
        f"a=fmtp:{AUDIO['pt']} sprop-stereo=0",
        "a=control:streamid=1",
    ]
    with open(sdp, "w", newline="") as out:
        out.write("".join(line + "\r\n" for line in lines))
    print(f"{dump}: {len(packets)} packets, {sum(len(p[2]) for p in packets) * 8 // seconds} bit/s")


def send(dump, video_port, audio_port, seconds):
    """Plays a dump in a loop with sequence numbers and timestamps that go on."""
    data = open(dump, "rb").read()
    at, packets = data.index(b"\n") + 17, []
    while at < len(data):
        length, plen, offset = struct.unpack_from(">HHI", data, at)
        packets.append((offset, data[at + 8 : at + 8 + plen]))
        at += length
    length = packets[-1][0] + 20
    out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    start, shift = time.monotonic(), 0
    counts = {pt: sum(p[1] & 127 == pt for _, p in packets) for pt in (96, 97)}
    while shift * length < float(seconds) * 1000:
        for offset, packet in packets:
            time.sleep(max(0, start + (shift * length + offset) / 1000 - time.monotonic()))
            first, second, seq, stamp, ssrc = struct.unpack_from(">BBHII", packet)
            track = VIDEO if second & 127 == VIDEO["pt"] else AUDIO
            seq += shift * counts[track["pt"]]
            stamp += shift * length * track["rate"] // 1000
            head = struct.pack(">BBHII", first, second, seq & 0xFFFF, stamp & 0xFFFFFFFF, ssrc)
            out.sendto(head + packet[12:], ("127.0.0.1", int(video_port if track is VIDEO else audio_port)))
        shift += 1


if __name__ == "__main__":
    {"pack": pack, "send": send}[sys.argv[1]](*sys.argv[2:])
