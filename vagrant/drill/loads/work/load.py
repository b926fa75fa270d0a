"""Numbered work for a StackStorm in the lab, from outside of its nodes, and what became of it.

A Worker submits the action ``drill.work`` with a number, again and again, to whichever st2api answers, and keeps what was
acknowledged. ``evidence`` then reads the executions and the ticks; ``oracle.judge`` says what they prove. What is
read lies in the stand-ins' database (test equipment, see vagrant/standins/st2).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from hafailover.vagrant.drill.loads import wait
from hafailover.vagrant.drill.loads.client import Client
from hafailover.vagrant.drill.loads.frame import Load
from hafailover.vagrant.drill.loads.work.oracle import Acknowledged, Evidence, Execution, Tick
from hafailover.vagrant.lab import Lab
from hafailover.vagrant.standins.st2 import config

PACK = "/opt/stackstorm/packs/drill/actions"
SCRIPT = 'sleep "${ST2_SECONDS:-0}"\necho "done $ST2_NUMBER"\n'
_EXECUTIONS = "SELECT id, parameters, status, IFNULL(node, ''), runs, created, IFNULL(ended, 0) FROM executions"
_TICKS = "SELECT unit, tick, node, life, at FROM ticks ORDER BY at"


def install_pack(lab: Lab, node: str) -> None:
    """Put the action ``drill.work`` into the content directory as ``node`` sees it; HafailoverError if it cannot be."""
    script = f"mkdir -p {PACK} && cat >{PACK}/work.sh.new && mv {PACK}/work.sh.new {PACK}/work.sh"
    lab.exec(node, ["sh", "-c", script], input=SCRIPT, check=True)


class Worker(Client, Load):
    """Submits work until it is left. Use as a context manager.

    ``urls``: where st2api may answer, each tried in turn; ``every``: seconds between two items; ``seconds``: how long an
    item's action runs; ``patience``: seconds until an attempt counts as unanswered.
    """

    def __init__(
        self, lab: Lab, urls: Sequence[str], *, every: float = 0.2, seconds: float = 0.0, patience: float = 2.0
    ) -> None:
        orders = {"urls": list(urls), "every": every, "seconds": seconds, "patience": patience}
        super().__init__(lab, "work", orders)

    def acknowledged(self) -> list[Acknowledged]:
        """What was acknowledged so far, in that order."""
        return [Acknowledged(entry["number"], entry["id"], entry["at"]) for entry in self.said() if "id" in entry]

    def errors(self) -> list[tuple[float, str]]:
        """Attempts that were not acknowledged, as (Unix time, why)."""
        return [(entry["at"], entry["error"]) for entry in self.said() if "error" in entry]

    def await_progress(self, items: int = 3) -> None:
        """Wait until so many more items were acknowledged; HafailoverError."""

        def stalled(_: object) -> str:
            last = self.errors()[-1:] or [(0.0, self.words or "no error")]
            return f"no work is acknowledged any more: {last[0][1]}"

        wait.until_more({"work": (lambda: len(self.acknowledged()), items)}, stalled)

    def goes_on(self, without: str = "") -> None:
        """Wait for ten more items."""
        self.await_progress(10)

    def end(self) -> list[str]:
        """Submit no more."""
        killed = self.stop()
        return [killed] if killed else []


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
