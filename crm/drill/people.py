"""The steps that people do: write, ask for a switchover, run commands and statements, keep sessions open."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from hafailover.crm import waiting
from hafailover.crm.drill import database
from hafailover.crm.drill.actions import Step
from hafailover.crm.drill.stage import Act, Restore, Stage
from hafailover.crm.errors import HafailoverError

REQUEST_TIMEOUT = 120.0
"""Seconds after which a switchover that was only asked for is ended."""
_GUEST = ["/usr/bin/python3", "-I", str(Path(__file__).resolve().with_name("guest.py"))]
_GUESTS_WITHIN = 60.0
_ROOT = {"user": "root", "password": ""}
_SHOWN = 300  # characters


def write(stage: Stage, step: Step) -> None:
    """Let the clients write; they do so all the time."""
    time.sleep(step.seconds("for"))


def writers(stage: Stage, step: Step) -> None:
    """Let no writer begin another write, or let them go on."""
    if stage.crew is None:
        return
    if step.parameters["do"] == "pause":
        stage.crew.pause()
    else:
        stage.crew.resume()


def switchover(stage: Stage, step: Step) -> None:
    """Move the role and wait for it; then back, when the old primary is in sync."""
    target, within = stage.node(step), step.seconds("within")
    for number in range(1, step.parameters["times"] + 1):
        if number > 1:
            before = target
            target = next(node for node in stage.target.nodes if node != before)
            _await_replica(stage, target, within)
        stage.stack.switchover(stage.place, stage.target, target, within)


def _await_replica(stage: Stage, node: str, within: float) -> None:
    why: str | None = "not looked at"

    def in_sync() -> bool | None:
        nonlocal why
        why = stage.conditions.why_not_replica(node)
        return True if why is None else None

    try:
        waiting.wait("in sync", within, in_sync, 0.25)
    except HafailoverError:
        raise HafailoverError(f"{node} is not a replica in sync within {within:g} s ({why})") from None


def request(stage: Stage, step: Step) -> None:
    """Ask for a switchover and go on; what is left of it at the end is ended."""
    node = stage.node(step)
    argv = ["timeout", f"{REQUEST_TIMEOUT:g}", "hafailover", "promote", node, "--yes"]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = stage.place.popen(node, argv, **quiet)
    stage.requests.append(process)
    stage.restores.append(Restore("a switchover that was asked for", "", lambda: end(process)))


def end(process: subprocess.Popen[str]) -> None:
    """End a process of ours with its children (it leads a group), and wait for it."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def sql(stage: Stage, step: Step) -> None:
    """Run statements as root on a server, past the address."""
    node, undo = stage.node(step), step.parameters.get("undo")
    database.sql(stage.place, node, step.parameters["statements"])
    if undo:
        stage.restores.append(Restore("statements", node, lambda: _unsql(stage, node, undo)))


def _unsql(stage: Stage, node: str, statements: str) -> None:
    database.sql(stage.place, node, statements)


def run(stage: Stage, step: Step) -> None:
    """Run a command and compare its exit code and what it printed."""
    node, wanted = stage.node(step), step.parameters["exit"]
    command, says = stage.words(step.parameters["command"]), step.parameters.get("says")
    done = stage.place.exec(node, ["sh", "-c", command], step.seconds("within"))
    said = " ".join((done.stdout + " " + done.stderr).split())
    if done.returncode != wanted:
        raise HafailoverError(f"{node}: {command}: exit code {done.returncode} instead of {wanted}: …{said[-_SHOWN:]}")
    if says and stage.words(says) not in said:
        raise HafailoverError(f"{node}: {command} does not say {stage.words(says)!r} but: …{said[-_SHOWN:]}")


def session(stage: Stage, step: Step) -> None:
    """Open sessions in a node and keep them open until they are ended, or the scenario is."""
    node, login = stage.node(step), _ROOT
    if step.parameters["as"] == "client":
        if stage.crew is None:
            raise HafailoverError("session: these agents have no database")
        login = {name: stage.crew.login[name] for name in ("user", "password")}
    process: subprocess.Popen[str] = stage.place.popen(
        node, _GUEST, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    stage.sessions.setdefault(node, []).append(process)
    stage.restores.append(Restore("sessions", "", lambda: end(process)))
    statements = [text.strip() for text in step.parameters["statements"].split(";") if text.strip()]
    told = {**login, "unix_socket": stage.target.socket, "statements": statements, "times": step.parameters["times"]}
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps(told) + "\n")
    process.stdin.flush()
    readable, _, _ = select.select([process.stdout], [], [], _GUESTS_WITHIN)
    line = process.stdout.readline() if readable else ""
    if not line:
        raise HafailoverError(f"session: {node} did not open one within {_GUESTS_WITHIN:g} s")
    answer = json.loads(line)
    # A full server lets the first of them in when somebody leaves: an agent may just have its last connection, the administrator's.
    if not answer["open"] and not answer["full"]:
        raise HafailoverError(f"session: {node}: {answer['error']}")
    if answer["refused"]:
        stage.notes.append(
            f"{node} refused {answer['refused']} of {step.parameters['times']} sessions: {answer['error']}"
        )


def end_sessions(stage: Stage, step: Step) -> None:
    """End the sessions that this scenario holds open on a node, with their connections."""
    for process in stage.sessions.pop(stage.node(step), []):
        end(process)


def privileged_writer(stage: Stage, step: Step) -> None:
    """Let root write on a server, past the address, over one session; what is acknowledged to it counts like all else."""
    if stage.crew is None:
        raise HafailoverError("privileged-writer: these agents have no database")
    node = stage.node(step)
    stage.crew.join(f"root@{node}", node, {**_ROOT, "unix_socket": stage.target.socket})


TABLE: Mapping[str, Act] = {
    "write": write,
    "writers": writers,
    "switchover": switchover,
    "request": request,
    "sql": sql,
    "run": run,
    "session": session,
    "end-sessions": end_sessions,
    "privileged-writer": privileged_writer,
}
