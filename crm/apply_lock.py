"""One operator at a time: who changes the configuration says so to the whole cluster, for as long as he lives.

What keeps two changes apart is the version that each patch names; this is for the people, so that the second one is told who is at it
before anything is begun, and nobody changes things while another one still waits for his to settle. On the same node it is a lock of the
kernel, which ends with the process. Between nodes it is a private transient attribute, which ends with the node, and which its owner
renews every second: one that nobody renews is a dead operator's and does not count.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from hafailover.crm import local, undo_store
from hafailover.crm.errors import HafailoverError, RefusedError
from hafailover.crm.pacemaker import Pacemaker, PacemakerError

ATTRIBUTE = "hafailover-changing"
FILE = Path("/run/hafailover/changing")
_RENEW = 1.0  # seconds
_DEAD = 3.5  # seconds without a renewal; three were missed
_SPREAD = 0.3  # seconds until an attribute is known everywhere; 22 ms were seen
_ASKS, _HOLDS = "asks", "holds"
_TIMEOUT = 10.0
_PATIENCE = 15.0
_DRILL = re.compile(r" since \d\d:\d\d:\d\d: drill ")
_Answer = TypeVar("_Answer")


class BusyError(RefusedError):
    """Somebody else holds the lock: ``owner``, in his own words."""

    def __init__(self, owner: str, node: str) -> None:
        at_it = f"the cluster's configuration is being changed on {node} ({owner})"
        super().__init__(f"{at_it}; nothing was changed by this command. Wait until that is over")
        self.owner = owner


@contextmanager
def held(what: str) -> Iterator[None]:
    """Hold the cluster's lock while doing ``what`` (apply FILE, undo 3); RefusedError names who holds it."""
    owner = f"{undo_store.operator()} since {time.strftime('%H:%M:%S')}: {what}"
    with _on_this_node(owner):
        lock = _ClusterLock(owner)
        lock.take()
        try:
            yield
        finally:
            with local.without_interrupts():  # how it ended is said by the exit code
                lock.give_back()


@contextmanager
def held_beside_drill(what: str) -> Iterator[None]:
    """The same for what a drill may do, too, as a part of it: while a drill runs it is the drill that keeps everybody else away."""
    with ExitStack() as stack:
        try:
            stack.enter_context(held(what))
        except BusyError as busy:
            if not _DRILL.search(busy.owner):
                raise
        yield


@contextmanager
def _on_this_node(owner: str) -> Iterator[None]:
    FILE.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    descriptor = os.open(FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = os.read(descriptor, 4096).decode(errors="replace").strip()
            raise BusyError(other or "somebody", "this node") from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, owner.encode()[:4096])
        yield
    finally:
        os.close(descriptor)


class _ClusterLock:
    def __init__(self, owner: str) -> None:
        # What separates the fields, and quotes, which attrd_updater prints as they are.
        self._owner = "".join("?" if char in '|"&<>' else char for char in owner)[:200]
        self._node = ""
        self._pacemaker = Pacemaker(local.run, _TIMEOUT)
        self._beats = 0
        self._mode = _ASKS
        self._over = threading.Event()
        self._talk = threading.Lock()  # so that no renewal comes after what it is older than
        self._seen: dict[str, str] = {}  # what others had published when their life was last looked at
        self._thread: threading.Thread | None = None

    def take(self) -> None:
        """Ask, look who else asks or holds, hold, and look once more; RefusedError when somebody else does.

        It is renewed from the first moment on: two who ask at the same time would take each other for dead otherwise.
        """
        self._node = _patiently(self._name)
        try:
            _patiently(self._beat)
            self._thread = threading.Thread(target=self._renew, daemon=True)
            self._thread.start()
            time.sleep(_SPREAD)
            self._refuse_living()
            self._mode = _HOLDS
            self._beat()
            time.sleep(_SPREAD)
            self._refuse_other_holder()
        except BaseException:
            self.give_back()
            raise

    def give_back(self) -> None:
        """Let the next one have it."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(_TIMEOUT)
        self._delete()

    def _renew(self) -> None:
        while not self._over.wait(_RENEW):
            try:
                self._beat()
            except HafailoverError:
                continue  # the cluster may be busy forming a membership; the patch itself is safe without this

    def _beat(self) -> None:
        with self._talk:
            if self._over.is_set():
                return
            self._beats += 1
            try:
                self._pacemaker.publish(ATTRIBUTE, f"{self._mode}|{self._beats}|{self._owner}")
            except PacemakerError as error:
                raise HafailoverError(f"the cluster does not answer, nothing was changed: {error}") from None

    def _delete(self) -> None:
        local.run(["attrd_updater", "-p", "-n", ATTRIBUTE, "-D"], _TIMEOUT)

    def _refuse_living(self) -> None:
        first = _patiently(self._others)
        self._seen = dict(first)
        end = time.monotonic() + _DEAD
        while first:
            now = self._others()
            for node, value in now.items():
                mode, _, owner = _fields(value)
                # Of two who ask at once the one whose node comes first goes on.
                if value != first.get(node, value) and (mode == _HOLDS or node < self._node):
                    raise BusyError(owner, node)
            self._seen.update(now)
            first = {node: value for node, value in first.items() if node in now}
            if time.monotonic() > end:
                return
            time.sleep(_RENEW / 2)

    def _refuse_other_holder(self) -> None:
        """Two may have begun to hold before either saw the other's asking: the one whose node comes first goes on. The other one is given
        the time to see that; if he holds on, he has held for longer than we, and was silent for a while."""
        end = time.monotonic() + _DEAD
        while True:
            living = {
                node: value
                for node, value in _patiently(self._others).items()
                if value.startswith(_HOLDS) and value != self._seen.get(node)
            }
            for node, value in living.items():
                if node < self._node or time.monotonic() > end:
                    raise BusyError(_fields(value)[2], node)
            if not living:
                return
            time.sleep(_RENEW / 2)

    def _others(self) -> Mapping[str, str]:
        try:
            found = self._pacemaker.published(ATTRIBUTE)
        except PacemakerError as error:
            raise HafailoverError(f"the cluster does not answer, nothing was changed: {error}") from None
        return {node: value for node, value in found.items() if node != self._node}

    def _name(self) -> str:
        result = local.run(["crm_node", "-n"], _TIMEOUT)
        if result.rc or not result.out.strip():
            raise HafailoverError(f"Pacemaker does not say which node this is: {result.err.strip() or result.rc}")
        return result.out.strip()


def _patiently(ask: Callable[[], _Answer]) -> _Answer:
    """Pacemaker's daemons begin one after the other, and answer nobody while they elect a coordinator."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            return ask()
        except HafailoverError:
            if time.monotonic() > end:
                raise
        time.sleep(0.5)


def _fields(value: str) -> tuple[str, str, str]:
    mode, _, rest = value.partition("|")
    beats, _, owner = rest.partition("|")
    return mode, beats, owner
