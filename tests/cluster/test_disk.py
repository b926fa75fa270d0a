"""What disks do to a real pair: one hangs in the kernel, one is full.

Every case ends with the same proof: one primary, both servers hold the same rows, and none that a client saw acknowledged is missing.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hafailover.vagrant.lab import Lab
from labs import until
from pair import on_its_own_disk, other
from stubborn import RUNS, Writer, ask, end, events, make, primary, promoted, prove, reason, session, switchover

NAME = "disktest"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    try:
        yield make(NAME, tmp_path_factory.mktemp("disk"), "")
    finally:
        Lab.down(NAME)


def test_a_server_that_survives_sigkill(lab: Lab, writer: Writer) -> None:
    """A thread hangs in the kernel: the peer serves at once, for a killed server answers nobody, and the node is fenced."""
    old = primary(lab)
    heir = other(lab, old)
    since = time.time() - 1
    lab.exec(old, ["mkdir", "-p", "/root/hanging"], check=True)
    lab.exec(old, ["chmod", "755", "/root"], check=True)
    program = (Path(__file__).parent / "programs" / "hanging_disk.py").read_text()
    lab.exec(old, ["tee", "/root/hanging.py"], input=program, check=True)
    disk = lab.popen(old, ["python3", "/root/hanging.py", "/root/hanging"], stdin=subprocess.DEVNULL)
    try:
        until("it is mounted", lambda: lab.exec(old, ["mountpoint", "-q", "/root/hanging"]).returncode == 0)
        with session(lab, old, "SELECT LOAD_FILE('/root/hanging/hang');", "root"):
            until("a thread reads", lambda: ask(lab, old, RUNS.format("SELECT LOAD_FILE")))
            outcome = until("nothing stands in the way", lambda: moved(lab, heir))
        assert promoted(lab, heir) == heir, outcome
        until("the node is fenced", lambda: any(node == old and at > since for at, node, _ in lab.fence_log()))
        assert events(lab, old, since, "stuck")
        said = [record["MESSAGE"] for record in lab.journal(old, since) if "survives SIGKILL" in record["MESSAGE"]]
        assert said, "the reason is told"
    finally:
        end(disk)
        lab.power_on(old)
    lab.await_boot(old)
    prove(lab, writer)


def moved(lab: Lab, heir: str) -> dict[str, Any] | None:
    """The outcome of a switchover, None when it was refused, as it is while the cluster is just acting."""
    outcome = switchover(lab, heir)
    return None if outcome["result"] == "refused" else outcome


def test_a_full_disk_moves_the_primary(lab: Lab, writer: Writer) -> None:
    """The server answers every SELECT and no commit; its role moves to a replica with space, and it comes back when there is some."""
    for node in (other(lab, primary(lab)), primary(lab)):
        on_its_own_disk(lab, node)
    old = primary(lab)
    heir = other(lab, old)
    writer.progress()
    since = time.time() - 1
    try:
        fill(lab, old)
        until("the replica has taken over", lambda: promoted(lab, heir) == heir)
        # Most often the server waits for space for ever, and the monitor gives its role away. Now and then InnoDB ends itself first.
        assert "disk is full" in "".join(events(lab, old, since, "hand-over")) or "No space left" in lab.logs(
            old, since
        )
        writer.progress()
        # Now both are full, and nothing may move. A server that was just promoted gives back what it had received. Pacemaker keeps the
        # reason of the first of several degraded monitors, which may be that the other server does not replicate.
        filled = time.time()
        until(
            "it is reported",
            lambda: fill(lab, heir) or "disk is full" in failed_actions(lab, heir) + logs(lab, heir, filled),
        )
        for _ in range(10):
            assert promoted(lab, heir) != old  # and nobody, where InnoDB has ended itself
            time.sleep(0.5)
    finally:
        free(lab, heir)
        free(lab, old)
    lab.exec(heir, ["crm_resource", "--cleanup", "-r", "db"], timeout=60)
    prove(lab, writer)


def test_a_full_disk_of_a_replica_bars_it(lab: Lab, writer: Writer) -> None:
    first = primary(lab)
    replica = other(lab, first)
    fill(lab, replica)
    try:
        until("it is barred", lambda: "disk is full" in reason(lab, replica))
        writer.progress()
        assert promoted(lab, first) == first
    finally:
        free(lab, replica)
    prove(lab, writer)


def logs(lab: Lab, node: str, since: float) -> str:
    """What the agent logged."""
    return "\n".join(record["MESSAGE"] for record in lab.journal(node, since, ["SYSLOG_IDENTIFIER=hafailover-mariadb"]))


def failed_actions(lab: Lab, node: str) -> str:
    return lab.exec(node, ["crm_mon", "-1"], timeout=30).stdout


def fill(lab: Lab, node: str) -> None:
    """Take all space that is left, without giving back what was taken before."""
    lab.exec(
        node,
        ["sh", "-c", "dd if=/dev/zero of=/var/lib/mysql/filling bs=64k oflag=append conv=notrunc 2>/dev/null; sync"],
    )


def free(lab: Lab, node: str) -> None:
    lab.exec(node, ["rm", "-f", "/var/lib/mysql/filling"], check=True)
