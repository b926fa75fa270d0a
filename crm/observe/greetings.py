"""What other servers say first, or to a first word: enough to know that it is them and that they are alive.

A connection alone proves nothing: a stopped process is still connected to.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from hafailover.crm.observe.finding import Finding
from hafailover.crm.observe.link import Link, LinkError

_AMQP = b"AMQP\x00\x00\x09\x01"
_NFS_PROGRAM, _NFS_VERSIONS, _CALL = 100003, (4, 3), 0x68616661


def amqp(link: Link) -> str:
    """RabbitMQ begins a session; says ``RabbitMQ`` as words for it. LinkError."""
    link.send(_AMQP)
    head = link.receive(7)
    if head[:4] == b"AMQP":
        raise LinkError("speaks another version of AMQP")
    kind, channel, size = struct.unpack(">BHI", head)
    if (kind, channel) != (1, 0) or not 4 <= size <= 65536:
        raise LinkError("does not speak AMQP")
    if link.receive(size)[:4] != struct.pack(">HH", 10, 10):  # connection.start
        raise LinkError("does not begin an AMQP session")
    return "answers"


def mysql(link: Link) -> str:
    """The server greets with its version; LinkError, also with its own words when it sends an error instead."""
    head = link.receive(4)
    size = int.from_bytes(head[:3], "little")
    if not 3 <= size <= 4096:
        raise LinkError("does not speak MariaDB's protocol")
    packet = link.receive(size)
    if packet[0] == 0xFF:
        raise LinkError(f"refuses: {packet[3:].decode('utf-8', 'replace').lstrip('#')}")
    if packet[0] != 10:
        raise LinkError("does not speak MariaDB's protocol")
    version = packet[1:].partition(b"\0")[0].decode("ascii", "replace")
    return f"answers, version {version.removeprefix('5.5.5-')}"


def nfs(link: Link) -> str:
    """The server answers the call that does nothing, of NFS version 4 or 3; LinkError."""
    for number, version in enumerate(_NFS_VERSIONS):
        if _null_call(link, _CALL + number, version):
            return f"answers NFS version {version}"
    raise LinkError("serves neither NFS version 4 nor 3")


def _null_call(link: Link, call: int, version: int) -> bool:
    # RFC 5531: id, CALL, RPC version 2, program, version, procedure 0, and no credentials and verifier.
    body = struct.pack(">10I", call, 0, 2, _NFS_PROGRAM, version, 0, 0, 0, 0, 0)
    link.send(struct.pack(">I", 0x80000000 | len(body)) + body)
    (mark,) = struct.unpack(">I", link.receive(4))
    size = mark & 0x7FFFFFFF
    if not 16 <= size <= 4096:
        raise LinkError("does not speak NFS")
    answer = link.receive(size)
    if struct.unpack(">II", answer[:8]) != (call, 1) or len(answer) < 24:
        raise LinkError("does not speak NFS, or refuses this node")
    accepted, verifier = struct.unpack_from(">I", answer, 8)[0], struct.unpack_from(">I", answer, 16)[0]
    if accepted != 0 or verifier != 0:
        raise LinkError("refuses this node")
    return bool(struct.unpack_from(">I", answer, 20)[0] == 0)


def judge(asked: Mapping[str, str | LinkError]) -> Finding:
    """One of several that serve alike is enough to be usable; each that is silent is a problem."""
    well = {host: words for host, words in asked.items() if isinstance(words, str)}
    silent = [f"{host}: {error}" for host, error in asked.items() if isinstance(error, LinkError)]
    words = "; ".join(f"{host} {said}" for host, said in well.items())
    return Finding(
        bool(well), words, "; ".join(silent), "look into it there, and at the network to it" if silent else ""
    )
