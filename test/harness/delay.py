#!/usr/bin/env python3
"""A long cable: delay.py DEVICE DEVICE SECONDS makes two TAP devices and hands each frame over to the other so much later."""
import collections
import fcntl
import os
import select
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000


def tap(name):
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP | IFF_NO_PI))
    return device


ends = [tap(sys.argv[1]), tap(sys.argv[2])]
seconds = float(sys.argv[3])
under_way = collections.deque()  # (when it arrives, where, frame)
while True:
    wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
    for end in select.select(ends, [], [], wait)[0]:
        try:
            under_way.append((time.monotonic() + seconds, ends[1 - ends.index(end)], os.read(end, 65536)))
        except OSError:  # not up yet, or gone
            time.sleep(0.01)
    while under_way and under_way[0][0] <= time.monotonic():
        _, end, frame = under_way.popleft()
        try:
            os.write(end, frame)
        except OSError:
            pass
