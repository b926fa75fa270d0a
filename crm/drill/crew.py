"""The writers of a run: one client outside the cluster, one probe on every data node, and the ledger they fill."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from hafailover.crm.drill.ledger import CLIENT, Ledger
from hafailover.crm.drill.place import Place
from hafailover.crm.errors import HafailoverError

PROGRAM = ["/usr/bin/python3", "-I", str(Path(__file__).resolve().with_name("writer.py"))]

INTERVAL = 0.01
"""Seconds between two writes of the client, unless it is told otherwise."""
# Outside, a packet may vanish: connect again quickly, for that bounds how late a returning service is noticed. An
# answer may also take the whole stall that the agents allow themselves, which is no reason to pile up sessions.
_CLIENT = {"interval": INTERVAL, "workers": 12, "connect_timeout": 0.12, "read_timeout": 1.0}
_PROBE = {"interval": 0.05, "workers": 1, "connect_timeout": 1.0, "read_timeout": 1.0}
_STOP_WITHIN = 15.0
_RESTART_AFTER = 0.3
_QUIET = 0.3  # seconds without the end of an attempt
_QUIET_WITHIN = 5.0

_PIPES: dict[str, Any] = {
    **dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE),
    "text": True,
}

Popen = Callable[[list[str]], "subprocess.Popen[str]"]


class _Job(NamedTuple):
    """How to start a writer and what to tell it; ``once``: it is not started again."""

    popen: Popen
    parameters: Mapping[str, Any]
    once: bool = False


class Crew:
    """Runs the writers and enters what they say in ``ledger``. Use as a context manager: leaving it stops them.

    ``login`` holds what all writers are told (user, password, database, table), ``client`` and ``probes`` (by node) where
    each connects. A probe whose node loses its power is started again when the node is back; the client must never end by itself.
    """

    def __init__(
        self,
        place: Place,
        ledger: Ledger,
        login: Mapping[str, Any],
        client: Mapping[str, Any],
        probes: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.problems: list[str] = []
        self._ledger = ledger
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._running: dict[str, subprocess.Popen[str]] = {}
        self._place = place
        self._paused = False
        self.login = login
        self._jobs: dict[str, _Job] = {
            CLIENT: _Job(
                lambda argv: place.client_popen(argv, start_new_session=True, **_PIPES), {**_CLIENT, **login, **client}
            )
        }
        for node, probe in probes.items():
            self._jobs[node] = _Job(self._probe(node), {**_PROBE, **login, **probe})
        self._threads = [threading.Thread(target=self._keep, args=(name,), daemon=True) for name in self._jobs]

    def _probe(self, node: str) -> Popen:
        return lambda argv: self._place.probe_popen(node, argv, **_PIPES)

    def _inside(self, node: str) -> Popen:
        return lambda argv: self._place.popen(node, argv, **_PIPES)

    def join(self, name: str, node: str, parameters: Mapping[str, Any]) -> None:
        """Let one more writer, ``name``, write inside ``node`` over one connection until that breaks."""
        self._jobs[name] = _Job(self._inside(node), {**_PROBE, **self.login, **parameters, "reconnect": False}, True)
        thread = threading.Thread(target=self._keep, args=(name,), daemon=True)
        self._threads.append(thread)
        thread.start()

    def pause(self) -> None:
        """Let no writer begin another attempt; return when those in flight have ended, or most of their time-outs are over."""
        self._tell(paused=True)
        end, before = time.monotonic() + _QUIET_WITHIN, -1
        while time.monotonic() < end and len(self._ledger.attempts()) != before:
            before = len(self._ledger.attempts())
            time.sleep(_QUIET)

    def resume(self) -> None:
        """Let the writers go on."""
        self._tell(paused=False)

    def _tell(self, paused: bool) -> None:
        with self._lock:
            self._paused = paused
            running = list(self._running.values())
        for process in running:
            with contextlib.suppress(OSError, ValueError):  # it has ended, or its input is closed
                assert process.stdin is not None
                process.stdin.write("pause\n" if paused else "resume\n")
                process.stdin.flush()

    def __enter__(self) -> Crew:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Let every attempt in flight end, then return; a writer that does not end in time is killed."""
        self._stopping.set()
        with self._lock:
            running = list(self._running.values())
        for process in running:
            with contextlib.suppress(OSError):
                assert process.stdin is not None
                process.stdin.close()
        end = time.monotonic() + _STOP_WITHIN
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        for process in running:
            if process.poll() is None:
                # The whole group: nsenter's child would live on.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        for thread in self._threads:
            thread.join(_STOP_WITHIN)

    def _keep(self, name: str) -> None:
        popen, parameters, once = self._jobs[name]
        while not self._stopping.is_set():
            try:
                process = popen(PROGRAM)
            except (HafailoverError, OSError) as error:
                if name == CLIENT:
                    self.problems.append(f"the client could not be started: {error}")
                    return
                self._stopping.wait(_RESTART_AFTER)
                continue
            with self._lock:
                self._running[name] = process
            self._follow(
                name,
                process,
                {**parameters, "writer": name, "first": self._ledger.next_seq(name), "paused": self._paused},
            )
            if name == CLIENT and not self._stopping.is_set():
                self.problems.append(f"the client ended with code {process.returncode}")
                return
            if once:
                return
            self._stopping.wait(_RESTART_AFTER)

    def _follow(self, name: str, process: subprocess.Popen[str], parameters: Mapping[str, Any]) -> None:
        assert process.stdin is not None and process.stdout is not None and process.stderr is not None
        complaints: list[str] = []
        listener = threading.Thread(
            target=lambda stream: complaints.extend(stream), args=(process.stderr,), daemon=True
        )
        listener.start()
        with contextlib.suppress(OSError):
            process.stdin.write(json.dumps(parameters) + "\n")
            process.stdin.flush()
        if self._stopping.is_set():
            process.stdin.close()
        for line in process.stdout:
            try:
                self._ledger.record(name, line)
            except (ValueError, KeyError):
                # A node that loses its power can take half a line with it; the attempt is then unknown.
                complaints.append(line)
        process.wait(_STOP_WITHIN)
        listener.join(1.0)
        if name == CLIENT and complaints:
            self.problems.append(f"the client said: {complaints[-1].strip()}")
