"""Records for the systemd journal by its native protocol; the syslog socket where there is no journal.

``_socket`` instead of ``socket``: the latter's enums and selectors cost 9 ms of processor time to import.
"""

from __future__ import annotations

import _socket as socket
import os

from hafailover.agents import inbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NATIVE = "/run/systemd/journal/socket"
SYSLOG = "/dev/log"
PRIORITIES = {"critical": 2, "error": 3, "warning": 4, "notice": 5, "info": 6, "debug": 7}
_LIMIT = 32768  # bytes of one value; a datagram above the socket's buffer (208 KiB) would be refused whole
_PREFIX = "HAFAILOVER_"
_EVENT = f"{_PREFIX}EVENT"
_DAEMON = 3 << 3  # the syslog facility


def encode(fields: Mapping[str, str]) -> bytes:
    """One record in the native protocol: ``KEY=value`` lines, and a length-prefixed form for values with newlines."""
    parts = []
    for key, value in fields.items():
        data = value.encode("utf-8", "replace")[:_LIMIT]
        if b"\n" in data:
            parts.append(key.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n")
        else:
            parts.append(key.encode() + b"=" + data + b"\n")
    return b"".join(parts)


def send(level: str, identifier: str, text: str, fields: Mapping[str, str] | None = None) -> bool:
    """Log ``text`` and the structured ``fields``. Never blocks or raises; False if nobody took the record.

    What has a HAFAILOVER_EVENT is handed in for the history, too.
    """
    priority = PRIORITIES.get(level, 5)
    extra = dict(fields or {})
    if _EVENT in extra:
        named = {key[len(_PREFIX) :].lower(): value for key, value in extra.items() if key.startswith(_PREFIX)}
        inbox.put({**named, "kind": "event", "level": level, "agent": identifier.partition("-")[2], "text": text})
    record = {
        "MESSAGE": text,
        "PRIORITY": str(priority),
        "SYSLOG_IDENTIFIER": identifier,
        "SYSLOG_FACILITY": str(_DAEMON >> 3),
        "SYSLOG_PID": str(os.getpid()),
        **extra,
    }
    if _datagram(NATIVE, encode(record)):
        return True
    words = "".join(f" {key.lower()}={value}" for key, value in extra.items())
    line = f"<{_DAEMON | priority}>{identifier}[{os.getpid()}]: {text}{' [' + words[1:] + ']' if words else ''}"
    return _datagram(SYSLOG, line.replace("\n", " ").encode("utf-8", "replace")[:8000])


def _datagram(path: str, data: bytes) -> bool:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        sock.settimeout(0.1)  # journald that hangs must not make the cluster's action hang
        sock.sendto(data, path)
    except OSError:
        return False
    finally:
        sock.close()
    return True
