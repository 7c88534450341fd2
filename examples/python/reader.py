#!/usr/bin/env python3
"""Reads a stream and says what comes, by ctypes: reader.py URL [PACKETS]. It needs nothing but libmsm.so, where the linker finds it."""

import ctypes
import sys

OK = 0


class Burst(ctypes.Structure):
    _fields_ = [
        ("bytes", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("segment", ctypes.c_size_t),
        ("count", ctypes.c_size_t),
        ("track", ctypes.c_size_t),
        ("arrival_ns", ctypes.c_uint64),
        ("owner", ctypes.c_void_p * 4),
    ]


class Packet(ctypes.Structure):
    _fields_ = [
        ("raw", ctypes.c_void_p),
        ("raw_length", ctypes.c_size_t),
        ("payload", ctypes.c_void_p),
        ("payload_length", ctypes.c_size_t),
        ("track", ctypes.c_size_t),
        ("arrival_ns", ctypes.c_uint64),
        ("timestamp", ctypes.c_uint32),
        ("ssrc", ctypes.c_uint32),
        ("sequence", ctypes.c_uint16),
        ("payload_type", ctypes.c_uint8),
        ("marker", ctypes.c_bool),
    ]


msm = ctypes.CDLL("libmsm.so.0")
msm.msm_last_error.restype = ctypes.c_char_p
msm.msm_result_name.restype = ctypes.c_char_p
msm.msm_mesh_start.argtypes = [ctypes.c_char_p, ctypes.POINTER(ctypes.c_void_p)]
msm.msm_mesh_open.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)]
msm.msm_mesh_free.argtypes = [ctypes.c_void_p]
msm.msm_reader_free.argtypes = [ctypes.c_void_p]
msm.msm_reader_recv_burst.argtypes = [ctypes.c_void_p, ctypes.c_int64, ctypes.POINTER(Burst)]
msm.msm_burst_packet.argtypes = [ctypes.POINTER(Burst), ctypes.c_size_t, ctypes.POINTER(Packet)]
msm.msm_burst_release.argtypes = [ctypes.POINTER(Burst)]


def check(what, result):
    """Ends the program where a call has failed."""
    if result != OK:
        sys.exit(f"{what}: {msm.msm_result_name(result).decode()}: {msm.msm_last_error().decode()}")


def main():
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} URL [PACKETS]")
    left = int(sys.argv[2]) if len(sys.argv) > 2 else 10
    mesh, reader = ctypes.c_void_p(), ctypes.c_void_p()
    check("start", msm.msm_mesh_start(None, ctypes.byref(mesh)))
    check(sys.argv[1], msm.msm_mesh_open(mesh, sys.argv[1].encode(), None, ctypes.byref(reader)))
    burst, packet = Burst(), Packet()
    while left > 0:
        check("recv", msm.msm_reader_recv_burst(reader, 10_000, ctypes.byref(burst)))
        for index in range(min(burst.count, left)):
            check("packet", msm.msm_burst_packet(ctypes.byref(burst), index, ctypes.byref(packet)))
            print(f"track {packet.track} timestamp {packet.timestamp} {packet.payload_length} bytes")
            left -= 1
        msm.msm_burst_release(ctypes.byref(burst))
    msm.msm_reader_free(reader)
    msm.msm_mesh_free(mesh)


main()
