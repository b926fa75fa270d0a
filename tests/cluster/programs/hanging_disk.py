"""A file system with one file, ``hang``, on which a read never returns: who reads it is in uninterruptible sleep, SIGKILL or not.

Runs inside a node as root: argv[1] is the directory to mount it on. It is gone, and everybody released, when this process ends.
"""

import ctypes
import os
import stat
import struct
import sys

LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE, FLUSH, INIT, INTERRUPT = 1, 2, 3, 14, 15, 17, 18, 25, 26, 36
ROOT, FILE = 1, 2
DIRECT_IO = 1
NOT_THERE, NOT_KNOWN = -2, -38  # ENOENT, ENOSYS


def attributes(node):
    mode = stat.S_IFDIR | 0o755 if node == ROOT else stat.S_IFREG | 0o644
    return struct.pack("<6Q10I", node, 16, 1, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def answer(opcode, node, body):
    """Error number and payload, or None when no answer is due, or none will ever come."""
    if opcode == INIT:
        return 0, struct.pack("<4I2H2I2HI7I", 7, 31, 65536, 0, 12, 9, 65536, 1, 0, 0, 0, *[0] * 7)
    if opcode == LOOKUP:
        if body.rstrip(b"\0") != b"hang":
            return NOT_THERE, b""
        return 0, struct.pack("<4Q2I", FILE, 0, 60, 60, 0, 0) + attributes(FILE)
    if opcode == GETATTR:
        return 0, struct.pack("<Q2I", 60, 0, 0) + attributes(node)
    if opcode == OPEN:
        return 0, struct.pack("<Q2I", 1, DIRECT_IO, 0)
    if opcode == STATFS:
        return 0, b"\0" * 80
    if opcode in (RELEASE, FLUSH):
        return 0, b""
    if opcode in (FORGET, READ, INTERRUPT):
        return None
    return NOT_KNOWN, b""


def main():
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"hang", sys.argv[1].encode(), b"fuse", 0, options.encode()):
        sys.exit(f"mount: {os.strerror(ctypes.get_errno())}")
    while True:
        request = os.read(device, 1 << 20)
        _, opcode, unique, node = struct.unpack_from("<2I2Q", request)
        found = answer(opcode, node, request[40:])
        if found is not None:
            error, payload = found
            os.write(device, struct.pack("<IiQ", 16 + len(payload), error, unique) + payload)


main()
