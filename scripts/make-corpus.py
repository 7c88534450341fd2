#!/usr/bin/env python3
"""Writes the seeds of the fuzz corpus: small, real-looking inputs of every kind that each body distinguishes."""
import pathlib
import struct

ROOT = pathlib.Path(__file__).resolve().parent.parent / "fuzz" / "corpus"


def put(target, seeds):
    folder = ROOT / target
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        data = seed.encode() if isinstance(seed, str) else seed
        (folder / f"seed-{number:02}").write_bytes(data)


def rtp(first=0x80, pt=96, rest=b"\x65\x88payload"):
    return struct.pack(">BBHII", first, pt, 7, 3000, 0xFEEDBEEF) + rest


RTP = [
    rtp(),
    rtp(pt=0xE0),
    rtp(0x82, rest=struct.pack(">II", 1, 2) + b"x"),
    rtp(0x90, rest=bytes.fromhex("bede000110aa0000") + b"frame"),
    rtp(0x90, rest=bytes.fromhex("bede0002225a5b5c0000f000") + b"frame"),
    rtp(0x90, rest=bytes.fromhex("1000000201020102030003ff") + b"frame"),
    rtp(0x90, rest=bytes.fromhex("abac0003000102030405060708090a0b") + b"onvif"),
    rtp(0xA0, rest=b"payload\x00\x00\x00\x04"),
    rtp(0xB1, rest=struct.pack(">I", 9) + bytes.fromhex("bede0001100000000000000004")),
    bytes.fromhex("90600001000000010000 0002bede00011f000000".replace(" ", "")),
    bytes.fromhex("90350001000000010000000210000001000000d5"),
    rtp()[:11],
]
put("rtp", RTP)
put("extensions", [packet[12:] if packet[0] & 0x10 else packet for packet in RTP])

SR = struct.pack(">BBHIQIII", 0x80, 200, 6, 7, 0xE0000000_80000000, 3000, 10, 1000)
SR1 = struct.pack(">BBHIQIII", 0x81, 200, 12, 7, 0xE0000000_80000000, 3000, 10, 1000) + struct.pack(">IIIIII", 8, 0x01000002, 70000, 5, 6, 7)
RR = struct.pack(">BBHI", 0x80, 201, 1, 7)
SDES = struct.pack(">BBHI", 0x81, 202, 3, 7) + b"\x01\x04demo\x00\x00"
BYE = struct.pack(">BBHI", 0x81, 203, 3, 7) + b"\x06ending\x00"
put("rtcp", [
    SR + SDES, SR1 + SDES + BYE, RR + SDES, RR,
    struct.pack(">BBHI", 0x80, 204, 2, 7) + b"NAME",
    struct.pack(">BBHIIHH", 0x81, 205, 3, 7, 8, 100, 0x8001),
    struct.pack(">BBHII", 0x81, 206, 2, 7, 8),
    struct.pack(">BBHIIIBxxx", 0x84, 206, 4, 7, 0, 8, 1),
    struct.pack(">BBHII4sI I", 0x8F, 206, 5, 7, 0, b"REMB", 0x010BD000, 8),
    struct.pack(">BBHIIHHI", 0x8F, 205, 5, 7, 8, 100, 2, 0x01020300) + bytes.fromhex("20020404"),
    struct.pack(">BBHI", 0x80, 207, 4, 7) + bytes.fromhex("04000002e000000080000000"),
    bytes.fromhex("8fce0004000000010000000052454d4234974f31"),
    bytes.fromhex("a1cd0001ef000000"),
    bytes.fromhex("84ce000148ec1900"),
])

put("framing", [
    "OPTIONS rtsp://h:8554/cam RTSP/1.0\r\nCSeq: 1\r\nUser-Agent: Lavf59\r\n\r\n",
    "DESCRIBE rtsp://h/cam RTSP/1.0\r\nAccept: application/sdp\r\nCSeq: 2\r\n\r\n",
    "SETUP rtsp://h/cam/trackID=0 RTSP/1.0\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nCSeq: 3\r\n\r\n$\x00\x00\x04abcd",
    "SETUP rtsp://h/s RTSP/2.0\r\nCSeq: 1\r\nPipelined-Requests: 1\r\nTransport: RTP/AVP;unicast;dest_addr=\":4588\"/\":4589\"\r\n\r\n",
    "ANNOUNCE rtsp://h/x RTSP/1.0\r\nContent-Length: 4\r\nCSeq: 4\r\n\r\nv=0\n",
    "RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: OPTIONS, DESCRIBE\r\n\r\n",
    "RTSP/1.0 401\nCSeq: 2\nWWW-Authenticate: Digest realm=\"x\", nonce=\"y\"\n\n",
    "\r\n\r\nOPTIONS * RTSP/1.0\r\nCSeq:1\r\n\r\n",
    "PLAY rtsp://h/ RTSP/1.0\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nabcde",
    b"$\x01\x00\x00$\x02\x00\x01x",
])
put("url", [
    "rtsp://alice:p%40ss@cam.local:8554/a/b?x=1", "rtsps://[2001:db8::1]:322/s/trackID=1/", "rtsp://h/s?q=1/trackID=0",
    "rtsp://h/%2e%2e/x", "rtspu://h", "Digest realm=\"mesh\", nonce=\"abc\", qop=\"auth,auth-int\", algorithm=SHA-256, stale=true",
    "Basic realm=\"x\", Digest realm=\"y\", nonce=\"n\"",
])
put("transport", [
    "RTP/AVP;unicast;client_port=8000-8001", "RTP/AVP/UDP;unicast;client_port=5000-5001;mode=record",
    "RTP/AVP/TCP;unicast;interleaved=0-1;mode=\"RECORD\"", "RTP/AVP;multicast;destination=239.1.1.1;port=5000-5001;ttl=16",
    "RTP/AVP/UDP; unicast ;client_port=5000-5001;server_port=6000-6001;ssrc= 1234abc;mode=\"play\"",
    "RTP/AVP;unicast;dest_addr=\":4588\"/\":4589\";src_addr=\"[2001:db8::1]:8000\"/\"[2001:db8::1]:8001\"",
    "RTP/SAVPF;unicast;client_port=1,RTP/AVP/TCP,RAW/RAW/UDP;unicast;client_port=9", "RTP/AVP;mode=\"",
])
put("sdp", [
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\na=range:npt=0-12.5\r\na=control:*\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:streamid=0\r\n"
    "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 opus/48000/2\r\na=control:streamid=1\r\n",
    "v=0\ns=camera\na=control:rtsp://10.0.0.9/cam/\nm=video 0 RTP/AVP 96\na=rtpmap:96 H265/90000 \na=fmtp:96\na=control:trackID=1\nm=application 0 TCP/WS x\n",
    "v=0\r\ns=-\r\nc=IN IP4 239.1.1.1/16\r\na=source-filter: incl IN IP4 239.1.1.1 10.0.0.9\r\nm=video 5000 RTP/SAVPF 96 97\r\n"
    "a=rtpmap:97 rtx/90000\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\na=extmap:1 urn:x\r\na=rtcp-fb:96 nack pli\r\n",
    "v=0\r\no=- 1 1 IN IP6 ::1\r\ns=ts\r\nt=0 0\r\nm=video 1234/2 RTP/AVP 33\r\nc=IN IP6 ff15::101\r\n",
    "v=0\r\nm=audio 0 RTP/AVP 0 8 18\r\nk=clear:x\r\n",
])
put("pattern", [
    "rtsp://*/news/{feed}\n/news/eu\nh\n/live/{feed}\na=1", "/{a}/x/{r...}\n/1/x/2//3/\n[::1]\n/{r}?p={a}&q={r}\n",
    "rtsp://*.studio.example:554/c%61m\n/%63am/\na.b.studio.example.\n/cam?x\nfoo bar", "*://[::1]:554\n\n::1\n/\n#",
])
put("config", [
    "listeners:\n  - {name: apps, address: '0.0.0.0:8554', ports: 9000, dscp: 34}\nworkers: 2\n",
    "routes:\n- match: {url: 'rtsp://*/n/{a}'}\n  rewrite: /l/{a}\n  backends: [{cluster: e}]\nclusters:\n  e: &e\n    endpoints: ['rtsp://h']\n  f: {<<: *e}\n",
    "admin: {address: off}\n\0MSM__ADMIN__READY=off\nMSM__ROUTES__0__MATCH__URL=/a\nMSM__LOG={level: warn}\n",
    "limits: {body_bytes: 64KiB, request_timeout: 80ms}\ndrain_timeout: 2s\nlog: {format: json}\n",
])

# Plain packets to seal, and packets that were sealed under a key of others (RFC 7714 §16.1.1, §17.1; libsrtp's driver).
put("srtp", RTP[:8] + [
    SR + SDES, RR,
    bytes.fromhex("8040f17b8041f8d35501a0b2f24de3a3fb34de6cacba861c9d7e4bcabe633bd50d294e6f42a5f47a51c7d19b36de3adf8833"
                  "899d7f27beb16a9152cf765ee4390cce"),
    bytes.fromhex("81c8000d4d61727363e94885dcdab67ca727d7662f6b7e997ff5c0f76c06f32dc676a5f1730d6fda4ce09b4686303ded0bb9275b"
                  "c84aa45896cf4d2fc5abf87245d9eade800005d4"),
    bytes.fromhex("800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb"),
    bytes.fromhex("81c8000bcafebabe7128035be487b9bdbef89041f977a5a880000001993e08cd54d6c1230798"),
])

# Retransmissions (RFC 4588 §4): an original number before the payload, plain, with extension and CSRC, padded, and one without.
put("rtx", [packet[:12] + b"\x00\x06" + packet[12:] for packet in (rtp(pt=97), rtp(pt=0xE1), rtp()[:12])] + RTP[:9] + [
    rtp(0xB1, rest=struct.pack(">I", 9) + bytes.fromhex("bede000110000000") + b"\xff\xfeab\x00\x02"),
    "apt=96;rtx-time=3000", "FID 11111 22222",
])

# Frames in packets: the format, then each packet after its length and: marker (0x80), another timestamp (8), how far the number goes on plus one.
def framed(kind, *packets):
    return bytes([kind]) + b"".join(bytes([len(payload), what]) + payload for what, payload in packets)


NEXT, LAST = 0x0A, 0x82
put("frames", [
    framed(0, (NEXT, b"\x67\x42\x00"), (2, b"\x68\xce\x3c"), (LAST, b"\x65\x88\x84"), (0x8A, b"\x41\x9a\x01")),
    framed(0, (NEXT, b"\x78\x00\x02\x67\x42\x00\x02\x68\xce"), (2, b"\x7c\x85\x88\x01"), (2, b"\x7c\x05\x02"), (LAST, b"\x7c\x45\x03")),
    framed(0, (NEXT, b"\x7c\x85\x88\x01"), (3, b"\x7c\x45\x03"), (1, b"\x7c\x05\x02"), (0x8C, b"\x7c\x45\x03")),
    framed(1, (NEXT, b"\x60\x01\x00\x03\x40\x01\x0c\x00\x03\x42\x01\x01"), (2, b"\x62\x01\x93\xaf"), (LAST, b"\x62\x01\x53\x09")),
    framed(2, (NEXT, b"\x18\x02\x08\x01\x30\xaa\xbb"), (2, b"\x50\x30\xaa"), (LAST, b"\x90\xbb\xcc"), (0x8A, b"\x00\x02\x32\x00")),
    framed(3, (NEXT, b"\x90\xe0\x81\x23\x05\x60\x10\x00\x00\x9d\x01\x2a"), (LAST, b"\x80\x80\x01\xaa"), (0x8A, b"\x10\x01\x00\x00")),
    framed(4, (NEXT, b"\x8a\x81\x23\x18\x01\x40\x00\xf0\x01\x04\x01\x82\x49"), (LAST, b"\x85\x81\x23\x83")),
    framed(5, (0x8A, b"opus"), (0x8C, b"opus")),
    framed(6, (0x8A, b"\x00\x20\x00\x10\x00\x08\xaa\xbb\xcc"), (NEXT, b"\x00\x10\x00\x20\x01\x02"), (LAST, b"\x00\x10\x00\x20\x03\x04")),
])

# Requests for packets that were sent, for others, for one many times; and four bytes an event of a receiver: a line with
# gaps, repairs, a tail probe, reordering, a jump far ahead and back.
def nack(*pairs):
    return struct.pack(">BBHII", 0x81, 205, 2 + len(pairs), 7, 8) + b"".join(struct.pack(">HH", *pair) for pair in pairs)


put("nack", [
    nack((0xFFF0, 0xFFFF), (1, 0xFFFF)), nack((5, 0)) * 6, RR + SDES + nack((0x1000, 0xFFFF)), nack(*[(0, 0xFFFF)] * 40),
    bytes.fromhex("10000000" * 5 + "11010005" + "09060002" + "10000000" * 3 + "11050009" + "0d000003" + "01ff0004" + "10c80000" * 6),
    bytes.fromhex("10000000" + "11010002" + "11010200" + "1001000011010003" + "04c80700" + "1101000c" * 9 + "10ff0000" * 4),
    bytes.fromhex("10000000" + "13000108" + "10000000" * 2 + "12000001" + "12000002" + "1200ffff" + "04ff0000" + "13010130"),
])

# Events of the XOR decoders: length, step, bytes; a step of 0 is a repair packet. The first source has number 65521 (0xfff1).
FEC_PT, SSRC = 98, 0x5EED5EED


def source(step=1, body=b"ab"):
    return bytes([len(body), step]) + body


def repair(packet):
    return bytes([len(packet), 0]) + packet


def flexfec(fec, csrcs=(SSRC,), pt=FEC_PT):
    return repair(struct.pack(">BBHII", 0x80 | len(csrcs), pt, 1, 0, 1) + b"".join(struct.pack(">I", each) for each in csrcs) + fec)


put("flexfec", [
    # A row of four, of which the third is lost; a column; a mask of each length; a copy; two streams; reserved forms.
    source() + source() + source(2) + flexfec(bytes.fromhex("40000000 00000000 fff1 0400 0000")) + source(1),
    source() + source(2) + flexfec(bytes.fromhex("40600002 0000ff00 fff1 0203 0000")) + source(2) + source(2),
    source() + flexfec(bytes.fromhex("00600002 00000000 fff1 6000 6162")) + source(),
    source() + flexfec(bytes.fromhex("00600002 00000000 fff1 c000 40000001 6162")) + source(14),
    source() + flexfec(bytes.fromhex("00600002 00000000 fff1 c000 80000000 8000000000000001 6162")) + source(45),
    source() + flexfec(bytes.fromhex("8060fff3 00000001 5eed5eed 6162"), csrcs=()),
    source() + flexfec(bytes.fromhex("40600002 00000000 fff1 0201 0007 0300 6162"), csrcs=(SSRC, 2)),
    source() + flexfec(bytes.fromhex("c0600002 00000000 fff1 0201")) + flexfec(bytes.fromhex("40600002 00000000 fff1 0000")),
    source() + flexfec(bytes.fromhex("4060ffff 00000000 fff2 0100 6162")) + flexfec(bytes.fromhex("40600002 00000000 7ff1 ffff 61")),
    "98; repair-window=200000", "repair-window:200000",
    b"\x05\x07\x10" + bytes(range(200)), b"\x23\xfe\x3f" + bytes(range(90)), b"\xff\x01\x00abcdef",
])


def st2022(base, kind, offset, count, body=b"ab", length=0, first=0x80):
    return repair(struct.pack(">BBHII", first, 96, 1, 0, 0) + struct.pack(">HHBxxxIBBBx", base, length, 0x80, 0, kind, offset, count) + body)


put("st2022", [
    source() + source() + source(2) + st2022(0xFFF1, 0x40, 1, 4) + source(1),
    source() + source(5) + st2022(0xFFF1, 0, 5, 4) + source(5) + source(5) + st2022(0xFFF2, 0, 5, 4),
    source() + st2022(0xFFF1, 0, 5, 4) + st2022(0xFFF1, 0, 6, 4) + st2022(0xFFF1, 0x40, 1, 6),
    source() + st2022(0xFFF1, 0x50, 1, 4) + st2022(0x7FF1, 0x40, 1, 4) + st2022(0xFFF1, 0, 0, 0),
    source() + st2022(0xFFF2, 0x40, 1, 1, first=0xBF, length=0xFFFF) + st2022(0xFFF2, 0x40, 1, 1, first=0x80, length=2),
    b"\x05\x07\x10" + bytes(range(200)), b"\xff\xfe\x3f" + bytes(range(90)),
])


def ulpfec(fec):
    return repair(struct.pack(">BBHII", 0x80, FEC_PT, 1, 0, SSRC) + fec)


put("ulpfec", [
    source() + source(2) + ulpfec(bytes.fromhex("0000fff1 00000000 0000 0002 e000 0000")) + source(),
    source() + ulpfec(bytes.fromhex("4000fff1 00000000 0000 0002 c000 00000001 0000")) + source(47),
    # Two levels, of which the second protects more packets; more levels than are followed; lengths that lie.
    source() + source(2, b"abcd") + ulpfec(bytes.fromhex("0000fff1 00000000 0000 0002 c000 0000 0002 e000 0000")) + source(),
    source() + ulpfec(bytes.fromhex("0000fff1 00000000 0000" + "0000 8000" * 6)),
    source() + ulpfec(bytes.fromhex("0000fff1 00000000 0000 00ff 8000 6162")) + ulpfec(bytes.fromhex("8000fff1 00000000 0000 0000 8000")),
    bytes.fromhex("87028004 05 aabbccdd 0102030405"), bytes.fromhex("80000000" * 33 + "60"), b"\xe0\x00\x03\xff\x60",
    b"\x05\x07\x10" + bytes(range(200)), b"\xff\xfe\x3f" + bytes(range(90)),
])


# Source packets and repairs of the block in docs/reed-solomon.md, whole and with lies; and, read as a sender's, shapes.
def rs(*parts):
    return b"".join(struct.pack(">BH", kind, len(data)) + data for kind, data in parts)


def numbered(number):
    return struct.pack(">BBH", 0x80, 96, number & 0xFFFF) + bytes(range(8 + number % 5))


def repaired(first, packets, header):
    """The first repair of a block of two (coefficients 3 and 2) of RTP packets."""
    def times(a, b):
        product = 0
        while b:
            product ^= a if b & 1 else 0
            a, b = (a << 1) ^ (0x11D if a & 0x80 else 0), b >> 1
        return product
    longest = max(map(len, packets))
    one, two = (struct.pack(">H", len(packet)) + packet.ljust(longest, b"\0") for packet in packets)
    symbol = bytes(times(3, a) ^ times(2, b) for a, b in zip(one, two))
    return struct.pack(">H6B", first & 0xFFFF, *header) + symbol


TWO = [numbered(65531), numbered(65532)]
REPAIR = repaired(65531, TWO, (1, 2, 2, 2, 1, 0))
put("reed_solomon", [
    rs((2, TWO[0]), (1, REPAIR)),
    rs((2, TWO[0]), (2, TWO[1]), (1, REPAIR)),
    rs((1, REPAIR), (4, TWO[1]), (1, REPAIR)),
    rs((2, TWO[0]), (1, repaired(65531, TWO, (1, 2, 2, 2, 2, 0)))),
    rs((1, struct.pack(">H6B", 65531, 1, 1, 1, 1, 1, 0) + struct.pack(">H", len(TWO[0])) + TWO[0])),
    rs((1, struct.pack(">H6B", 65531, 1, 1, 1, 9, 1, 0) + struct.pack(">H", 600) + TWO[0])),
    rs((1, struct.pack(">H6B", 65500, 1, 9, 20, 254, 64, 0) + b"\x04\xb0" + b"x" * 40), (126, TWO[0])),
    rs((1, struct.pack(">H6B", 100, 2, 0, 255, 255, 0, 7) + b"\0\0x"), (1, b"\0" * 11)),
    bytes([19, 3, 40, 37]) + bytes(range(200)),
    bytes([9, 9, 30, 255]) + b"packets of many lengths",
    "version=1;repair-window=200000", "x=y; VERSION = 1 ;repair-window=5",
])
