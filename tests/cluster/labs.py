"""What every test with a lab of its own does: make it, wait for things in it, run scripts in its nodes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable

from hafailover.crm import topology as topologies
from hafailover.crm import yamldoc
from hafailover.vagrant.lab import Lab, Options

# One image for all tests of StackStorm's parts: building it takes longer than a test.
STACK = ("mariadb", "nfs-mount", "nfs-server", "rabbitmq")
GLUSTER = ("glusterfs",)
PATIENCE = 180.0  # seconds; generous, so that a slow machine fails no test


@contextmanager
def lab_of(name: str, topology: Path | str, options: Options | None = None) -> Iterator[Lab]:
    """A healthy lab, removed afterwards; ``topology`` is a file, or the text of one."""
    wanted = (
        topologies.load(topology)
        if isinstance(topology, Path)
        else topologies.parse(yamldoc.parse(topology, f"{name}.yml"))
    )
    Lab.down(name)
    try:
        yield Lab.up(name, wanted, options or Options())
    finally:
        Lab.down(name)


def until(what: str, check: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """Poll until ``check`` returns something true, and return it."""
    end = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        found = check()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        # A dear question takes its processor time from what it waits for.
        time.sleep(max(0.3, 2 * (time.monotonic() - began)))


def shell(lab: Lab, node: str, script: str, timeout: float = 120) -> str:
    """Run a script in a node; its output. AssertionError when it fails."""
    done = lab.exec(node, ["bash", "-euc", script], timeout=timeout)
    assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


def reason(lab: Lab, asked: str, node: str, resource: str, rc: int | None = None, over: bool = False) -> str:
    """Why the resource has failed or is degraded on ``node`` (with ``rc``, when it is given), as status tells it; "" when it is well.

    ``over``: also what it has recovered from, and a start that failed and was followed by its stop.
    """
    done = lab.exec(asked, ["hafailover", "status", "-o", "json"], timeout=60)
    if done.returncode:
        return ""  # it has just booted
    return "\n".join(
        one["reason"]
        for one in json.loads(done.stdout)["failures"]
        if (one["resource"], one["node"]) == (resource, node) and (one["lasting"] or over) and rc in (None, one["rc"])
    )
