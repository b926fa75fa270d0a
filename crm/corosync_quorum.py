"""Quorum and membership from Corosync's own library, ``libquorum``: a fraction of a millisecond, where its program takes 20 ms.

Only ctypes, because agents import it, and only those that write the journal. The interface is that of ``corosync/quorum.h`` (3.1): its
soname has been 5 since Corosync 2.0.
"""

from __future__ import annotations

import _thread  # threading costs 4 ms
import ctypes
import select

from hafailover.agents.asking import Asked
from hafailover.crm.pacemaker import Membership

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LIBRARY = "libquorum.so.5"
_OK = 1  # CS_OK
_NOW = 1  # CS_TRACK_CURRENT
_ONE = 4  # CS_DISPATCH_ONE_NONBLOCKING
_PATIENCE = (
    2.0  # seconds; an answer takes 0.1 ms, and a Corosync that does not answer leaves callers the time to ask otherwise
)

_Told = ctypes.CFUNCTYPE(
    None, ctypes.c_uint64, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32)
)


class _Callbacks(ctypes.Structure):
    _fields_ = [("told", _Told)]


class _Connection:
    """One connection to Corosync. OSError when there is none."""

    def __init__(self) -> None:
        self._library: Any = ctypes.CDLL(_LIBRARY)
        self._handle = ctypes.c_uint64()
        self._ids: frozenset[str] | None = None
        # The library keeps the pointer for as long as the connection lives.
        self._callbacks = _Callbacks(_Told(self._heard))
        kind = ctypes.c_uint32()
        self._check(
            self._library.quorum_initialize(
                ctypes.byref(self._handle), ctypes.byref(self._callbacks), ctypes.byref(kind)
            )
        )

    def ask(self) -> Membership:
        """What Corosync knows at this moment."""
        handle = self._handle
        file, quorate = ctypes.c_int(), ctypes.c_int()
        self._ids = None
        self._check(self._library.quorum_fd_get(handle, ctypes.byref(file)))
        self._check(self._library.quorum_trackstart(handle, ctypes.c_uint(_NOW)))
        poll = select.poll()
        poll.register(file.value, select.POLLIN)
        poll.poll(_PATIENCE * 1000)
        self._check(self._library.quorum_dispatch(handle, ctypes.c_int(_ONE)))
        # Asked after the members are known: quorum that was lost meanwhile counts.
        self._check(self._library.quorum_getquorate(handle, ctypes.byref(quorate)))
        if not self._ids:
            raise OSError("Corosync does not say who is a member")
        return Membership(bool(quorate.value), self._ids)

    def _heard(self, _handle: int, _quorate: int, _ring: int, count: int, ids: Any) -> None:
        self._ids = frozenset(str(ids[number]) for number in range(count))

    def _check(self, code: int) -> None:
        if code != _OK:
            raise OSError(f"libquorum: error {code}")


class Quorum:
    """Asks, and keeps the connection for the next question."""

    def __init__(self) -> None:
        self._connection: _Connection | None = None
        self._broken = False
        self._turn = _thread.allocate_lock()

    def ask(self) -> Membership | None:
        """Quorum and the members now; None when Corosync has no library here, or does not answer: then its program may."""
        with (
            self._turn
        ):  # several threads ask; each has it for no longer than a question may take, and only once for so long
            if self._broken:
                return None
            # In a thread of its own: nothing in the library has a deadline.
            asked = Asked(self._ask)
            try:
                if asked.within(_PATIENCE):
                    found: Membership = asked.answer()
                    return found
            except OSError:
                pass
            self._broken = True  # also because a question that hangs still has the connection in its hands
            return None

    def _ask(self) -> Membership:
        if self._connection is None:
            self._connection = _Connection()
        return self._connection.ask()
