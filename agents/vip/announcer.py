"""The child of ``start`` that tells the neighbours again, and listens for another machine with the same address.

Its sign of life is a listening socket in the abstract namespace: it belongs to the network namespace, carries the
resource's name, and vanishes with the process, so that no crash can leave a file behind.
"""

from __future__ import annotations

import _socket as socket
import os
import select
import struct
import time

from hafailover.agents.vip import netlink
from hafailover.agents.vip.neighbours import mac_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal

    from hafailover.agents.ocf import Context
    from hafailover.agents.vip.neighbours import Wire
else:
    import _signal as signal  # the signal module would build enums for 5 ms

FIRST = 0.1  # seconds until the first repetition; each further one waits twice as long
_STOP_WAIT = 0.5  # seconds for the announcer to go when it is told to; then it is killed


def begin(ctx: Context, wire: Wire, address: netlink.Address, repeats: int) -> None:
    """Start the announcer and return at once. It ends by itself after FIRST * (2 ** repeats - 1) seconds. OSError."""
    # Before the fork, so that a stop that follows at once finds it.
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    door.bind(_name(ctx.instance))
    door.listen(8)
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        door.close()
        return
    try:
        # Away from the agent: Pacemaker reads its output to the end of file and kills its process group.
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            null = os.open("/dev/null", os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(null, fd)
            door.listen(8)  # again: stop() is told the process id of the last one that did
            _announce(ctx, door.fileno(), wire, address, repeats)
    except Exception as error:  # there is nobody above to report to, and the address works without the repetitions
        ctx.log("warning", f"announcing {address} again failed: {error}")
    finally:
        os._exit(0)


def stop(instance: str) -> None:
    """End the announcer of a resource, if there is one, and wait until it is gone."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(_STOP_WAIT)
        sock.connect(_name(instance))
        pid, _, _ = struct.unpack("=iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        try:
            sock.recv(1)  # its end closes the connection
        except socket.timeout:
            os.kill(pid, signal.SIGKILL)
    except (ConnectionRefusedError, ConnectionResetError, ProcessLookupError):
        return  # it is not there, or not any more
    finally:
        sock.close()


def _name(instance: str) -> str:
    return f"\0hafailover-vip-{instance}"


def _announce(ctx: Context, door: int, wire: Wire, address: netlink.Address, repeats: int) -> None:
    told: set[bytes] = set()
    for number in range(repeats):
        end = time.monotonic() + FIRST * 2**number
        while _wait(door, wire, end):
            mac = wire.claimant(0)
            if mac is not None and mac not in told:
                told.add(mac)
                conflict(ctx, address, mac)
        if time.monotonic() < end or not _present(address):
            return
        wire.announce()


def _wait(door: int, wire: Wire, end: float) -> bool:
    """Whether something was heard on the wire before ``end`` in monotonic seconds. Not if stop() has knocked."""
    left = end - time.monotonic()
    if left <= 0:
        return False
    poll = select.poll()
    poll.register(door, select.POLLIN)
    poll.register(wire.fileno(), select.POLLIN)
    heard = [fd for fd, _ in poll.poll(left * 1000)]
    return bool(heard) and door not in heard


def _present(address: netlink.Address) -> bool:
    # An announcer that outlived its address would draw the neighbours away from the node that has it now.
    family = netlink.family(address.ip)
    return any(other.ip == address.ip and other.index == address.index for other in netlink.addresses(family))


def conflict(ctx: Context, address: netlink.Address, mac: bytes) -> None:
    """Record that another machine has the address, too."""
    ctx.event(
        "vip.conflict",
        f"another machine, {mac_text(mac)}, also has {address}",
        level="error",
        address=netlink.text(address.ip),
        mac=mac_text(mac),
    )
