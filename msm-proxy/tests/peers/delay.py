#!/usr/bin/python3
"""delay.py MILLISECONDS NAMESPACE INTERFACE NAMESPACE INTERFACE

Makes two point-to-point interfaces, one in each network namespace, and passes packets between them, each after so many
milliseconds, in order and without loss. They are gone when it ends. Says by how many milliseconds a packet was late, where that is
more than a few: when the machine let this process wait.
"""

import collections
import contextlib
import fcntl
import os
import select
import struct
import subprocess
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


def interface(namespace, name, number):
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    made = f"tun{os.getpid()}-{number}"
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", made.encode(), IFF_TUN | IFF_NO_PI))
    subprocess.run(["ip", "link", "set", made, "netns", namespace, "name", name], check=True)
    return tun


def main():
    delay, *ends = sys.argv[1:]
    delay = float(delay) / 1000
    tuns = [interface(*ends[:2], 0), interface(*ends[2:], 1)]
    other = {tuns[0]: tuns[1], tuns[1]: tuns[0]}
    under_way = collections.deque()
    print("ready", flush=True)
    poll = select.poll()
    for tun in tuns:
        poll.register(tun, select.POLLIN)
    while True:
        wait = None
        if under_way:
            # Whole milliseconds are too coarse: the last one is slept through.
            wait = max(under_way[0][0] - time.monotonic(), 0) * 1000
            if wait < 2:
                time.sleep(wait / 1000)
                wait = 0
            else:
                wait = int(wait) - 1
        ready = poll.poll(wait)
        now = time.monotonic()
        for tun, _ in ready:
            try:
                while True:
                    under_way.append((now + delay, other[tun], os.read(tun, 65536)))
            except BlockingIOError:
                pass
        now = time.monotonic()
        if under_way and now - under_way[0][0] > 0.005:
            print("late", round((now - under_way[0][0]) * 1000), flush=True)
        while under_way and under_way[0][0] <= now:
            _, tun, packet = under_way.popleft()
            # An end that is not up yet refuses.
            with contextlib.suppress(OSError):
                os.write(tun, packet)


main()
