"""Numbered work for a StackStorm in the lab, from outside of its nodes, and what became of it.

A Worker submits the action ``drill.work`` with a number, again and again, to whichever st2api answers, and keeps what was
acknowledged. ``evidence`` then reads the executions and the ticks; ``work_oracle.judge`` says what they prove. What is
read lies in the stand-ins' database (test equipment, see vagrant/standins/st2).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from hafailover.crm.errors import HafailoverError
from hafailover.vagrant.drill.work_oracle import Acknowledged, Evidence, Execution, Tick
from hafailover.vagrant.lab import Lab
from hafailover.vagrant.standins.st2 import config

PROGRAM = ["/usr/bin/python3", "-I", str(Path(__file__).resolve().with_name("work_client.py"))]
PACK = "/opt/stackstorm/packs/drill/actions"
SCRIPT = 'sleep "${ST2_SECONDS:-0}"\necho "done $ST2_NUMBER"\n'
_ENDING = 30.0
_EXECUTIONS = "SELECT id, parameters, status, IFNULL(node, ''), runs, created, IFNULL(ended, 0) FROM executions"
_TICKS = "SELECT unit, tick, node, life, at FROM ticks ORDER BY at"


def install_pack(lab: Lab, node: str) -> None:
    """Put the action ``drill.work`` into the content directory as ``node`` sees it; HafailoverError if it cannot be."""
    script = f"mkdir -p {PACK} && cat >{PACK}/work.sh.new && mv {PACK}/work.sh.new {PACK}/work.sh"
    lab.exec(node, ["sh", "-c", script], input=SCRIPT, check=True)


class Worker:
    """Submits work until it is left. Use as a context manager.

    ``urls``: where st2api may answer, each tried in turn; ``every``: seconds between two items; ``seconds``: how long an
    item's action runs; ``patience``: seconds until an attempt counts as unanswered.
    """

    def __init__(
        self, lab: Lab, urls: Sequence[str], *, every: float = 0.2, seconds: float = 0.0, patience: float = 2.0
    ) -> None:
        self._lab = lab
        self._told = {"urls": list(urls), "every": every, "seconds": seconds, "patience": patience}
        self._process: subprocess.Popen[Any] | None = None
        self._output: IO[str] | None = None
        self._lock = threading.Lock()
        self._acknowledged: list[Acknowledged] = []
        self._errors: list[tuple[float, str]] = []

    def __enter__(self) -> Worker:
        self._output = tempfile.TemporaryFile("w+", prefix="hafailover-work-")
        self._process = self._lab.client_popen(
            [*PROGRAM], stdin=subprocess.PIPE, stdout=self._output, stderr=subprocess.STDOUT, text=True
        )
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(self._told) + "\n")
        self._process.stdin.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self._output is not None:
            self._output.close()

    def acknowledged(self) -> list[Acknowledged]:
        """What was acknowledged so far, in that order."""
        self._read()
        return list(self._acknowledged)

    def errors(self) -> list[tuple[float, str]]:
        """Attempts that were not acknowledged, as (Unix time, why)."""
        self._read()
        return list(self._errors)

    def await_progress(self, items: int = 3, timeout: float = 120.0) -> None:
        """Wait until so many more items were acknowledged; HafailoverError after ``timeout`` s."""
        begun, wanted = time.monotonic(), len(self.acknowledged()) + items
        while len(self.acknowledged()) < wanted:
            if time.monotonic() - begun > timeout:
                last = self.errors()[-1:] or [(0.0, "no error")]
                raise HafailoverError(f"no work is acknowledged any more: {last[0][1]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Submit nothing any more."""
        if self._process is None:
            return
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=_ENDING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=_ENDING)
        self._process = None
        self._read()

    def _read(self) -> None:
        if self._output is None or self._output.closed:
            return
        with self._lock:
            self._output.seek(0)
            lines = self._output.read().splitlines()
            self._acknowledged, self._errors = [], []
            for line in lines:
                try:
                    entry = json.loads(line)
                except ValueError:
                    continue  # the last line may be half written
                if "id" in entry:
                    self._acknowledged.append(Acknowledged(entry["number"], entry["id"], entry["at"]))
                elif "error" in entry:
                    self._errors.append((entry["at"], entry["error"]))


def evidence(lab: Lab, node: str, acknowledged: Sequence[Acknowledged]) -> Evidence:
    """All executions and ticks, read on ``node`` (one with a database); HafailoverError when they cannot be read."""
    executions = {}
    for row in _rows(lab, node, _EXECUTIONS):
        number = json.loads(row[1]).get("number")
        executions[row[0]] = Execution(
            row[0], None if number is None else int(number), row[2], row[3], int(row[4]), float(row[5]), float(row[6])
        )
    ticks = [Tick(row[0], int(row[1]), row[2], row[3], float(row[4])) for row in _rows(lab, node, _TICKS)]
    return Evidence(tuple(acknowledged), executions, tuple(ticks))


def await_done(lab: Lab, node: str, acknowledged: Sequence[Acknowledged], timeout: float = 180.0) -> Evidence:
    """The evidence once every acknowledged item has ended, or what there is after ``timeout`` s."""
    end = time.monotonic() + timeout
    while True:
        found = evidence(lab, node, acknowledged)
        open_ = [a for a in acknowledged if a.id not in found.executions or not found.executions[a.id].over]
        if not open_ or time.monotonic() > end:
            return found
        time.sleep(0.5)


def _rows(lab: Lab, node: str, query: str) -> list[list[str]]:
    argv = ["mariadb", "--batch", "--skip-column-names", "--raw", config.SCHEMA, "--execute", query]
    return [line.split("\t") for line in lab.exec(node, argv, timeout=60, check=True).stdout.splitlines()]
