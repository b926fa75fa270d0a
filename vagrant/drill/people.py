"""The steps that people do: write, ask for a switchover, run statements past the address."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping

from hafailover.vagrant.drill import database
from hafailover.vagrant.drill.actions import Step
from hafailover.vagrant.drill.stage import Act, Restore, Stage

REQUEST_TIMEOUT = 120.0
"""Seconds after which a switchover that was only asked for is ended."""


def write(stage: Stage, step: Step) -> None:
    """Let the clients write; they do so all the time."""
    time.sleep(step.seconds("for"))


def switchover(stage: Stage, step: Step) -> None:
    """Move the role and wait for it."""
    stage.stack.switchover(stage.lab, stage.target, stage.node(step), step.seconds("within"))


def request(stage: Stage, step: Step) -> None:
    """Ask for a switchover and go on; what is left of it at the end is ended."""
    node = stage.node(step)
    argv = ["timeout", f"{REQUEST_TIMEOUT:g}", "hafailover", "promote", node, "--yes"]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = stage.lab.popen(node, argv, **quiet)
    stage.requests.append(process)
    stage.restores.append(Restore("a switchover that was asked for", node, lambda: end(process)))


def end(process: subprocess.Popen[str]) -> None:
    """End a process of ours with its children (it leads a group), and wait for it."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def sql(stage: Stage, step: Step) -> None:
    """Run statements as root on a server, past the address."""
    database.sql(stage.lab, stage.node(step), step.parameters["statements"])


TABLE: Mapping[str, Act] = {
    "write": write,
    "switchover": switchover,
    "request": request,
    "sql": sql,
}
