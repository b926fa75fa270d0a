"""TCP connections of this machine, as /proc/net tells of them, without running anything."""

from __future__ import annotations

from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

ESTABLISHED = "01"
# What still has something to deliver: established, being opened by a peer, half closed by it, closed by us and not yet taken.
# Not FIN_WAIT2 and TIME_WAIT: there everything was delivered.
OPEN = frozenset((ESTABLISHED, "03", "04", "08", "09", "0B"))


class Connection(NamedTuple):
    """A TCP socket: both ends as ``(address, port)`` in the kernel's digits, the ``state`` (``01`` established, ``0A`` listening …), the
    ``inode`` that /proc/PID/fd names it by.
    """

    local: tuple[str, str]
    remote: tuple[str, str]
    state: str
    inode: str


def tcp() -> Iterator[Connection]:
    """Every TCP socket, of IPv4 and of IPv6."""
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(path) as file:
                lines = file.readlines()[1:]
        except FileNotFoundError:  # IPv6 is disabled
            continue
        for line in lines:
            fields = line.split()
            yield Connection(_end(fields[1]), _end(fields[2]), fields[3], fields[9])


def _end(text: str) -> tuple[str, str]:
    address, _, port = text.partition(":")
    return address, port


def digits(ip: bytes) -> str:
    """An address in the kernel's notation, 0B004D0A for 10.77.0.11: words of four bytes in the machine's order."""
    import sys

    words = (ip[at : at + 4] for at in range(0, len(ip), 4))
    return "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)


def host(digits_: str) -> str:
    """The address in the kernel's notation as text, 0B004D0A is 10.77.0.11; IPv6 that maps IPv4 becomes IPv4."""
    import sys

    words = [int(digits_[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(digits_), 8)]
    packed = b"".join(words)
    if len(packed) == 16 and packed[:12] == b"\0" * 10 + b"\xff\xff":
        packed = packed[12:]
    if len(packed) == 4:
        return ".".join(str(byte) for byte in packed)
    return ":".join(packed[at : at + 2].hex().lstrip("0") or "0" for at in range(0, 16, 2))
