"""Runs the hooks of one event on one node, each within its time, and tells what came of them.

Started by the database's agent, or its peer service, as
``hooks-run RESOURCE EVENT node=… old=… new=… epoch=… [here] [planned] [within=SECONDS]``.
Exit code 1 when a critical one failed; the last line of standard error says which.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from hafailover.agents import RUN_DIR, journal, nodes, process
from hafailover.agents.mariadb import hooks, outside, told
from hafailover.agents.mariadb import journal as promotion_journal
from hafailover.agents.mariadb.journal import JournalError
from hafailover.agents.ocf import OcfError
from hafailover.crm.pacemaker import Pacemaker, PacemakerError
from hafailover.hooks import trusted
from hafailover.hooks.alerts import spool
from hafailover.hooks.alerts.event import clean

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER
_TAIL = 300  # characters of a hook's output that are told
_OK, _WARNED, _FAILED, _REFUSED, _RUNNING = "ok", "warned", "failed", "refused", "running"


class Run:
    """One event's hooks."""

    def __init__(self, resource: str, event: str, given: Mapping[str, str]) -> None:
        self.resource, self.event, self.given = resource, event, given
        self.found = hooks.configured(resource) or {"hooks": {}, "cluster": "", "addresses": [], "port": ""}
        self.node = given["node"]
        self.pacemaker = Pacemaker(_tool, 5.0)
        self.epoch = int(given.get("epoch") or 0) or self._ask_epoch()

    def perform(self) -> list[str]:
        """Run them in order; one sentence for each critical one that failed."""
        chosen = hooks.chosen(self.found, self.event, "here" in self.given)
        end = time.monotonic() + float(self.given.get("within") or hooks.seconds(chosen))
        if self.event != hooks.PRE_PROMOTE:  # nobody can write while those run, and nobody asks how they stand
            self._tell(_RUNNING, "")
        failed: list[str] = []
        warned: list[str] = []
        for hook in chosen:
            began = time.monotonic()
            wrong = self._one(hook, min(float(hook["timeout"]), hooks.LONGEST, end - began))
            took = f"{time.monotonic() - began:.1f} s"
            name = f"{self.event} hook {hook['name']}"
            if wrong is None:
                self._log("notice", f"{name} of {self.resource} has succeeded ({took})", hook["name"])
                continue
            sentence = f"{'critical ' if hook['critical'] else ''}{name}: {wrong}"
            (failed if hook["critical"] else warned).append(sentence)
            self._log("error" if hook["critical"] else "warning", f"{sentence} ({took})", hook["name"])
            self._alert(sentence)
        bad = _REFUSED if self.event == hooks.PRE_PROMOTE and "planned" in self.given else _FAILED
        self._tell(bad if failed else _WARNED if warned else _OK, "; ".join([*failed, *warned]))
        return failed

    def _one(self, hook: Mapping[str, Any], limit: float) -> str | None:
        """Run a hook; what is wrong, or None."""
        if limit <= 0:
            return "not run: those before it took all the time"
        try:
            wrong = trusted.against(hook["command"][0])
            if wrong is not None:
                return wrong
            result = process.run(hook["command"][0], hook["command"], limit, self._environment(), None)
        except OSError as error:
            return f"cannot be run: {error.strerror}"
        finally:
            _end_children()
        said = clean((result.err.strip() or result.out.strip())[-_TAIL:])
        if result.timed_out:
            return f"killed after {limit:.1f} s{f': {said}' if said else ''}"
        if result.rc:
            how = f"ended with {result.rc}" if result.rc > 0 else f"ended by signal {-result.rc}"
            return f"{how}{f': {said}' if said else ''}"
        return None

    def _environment(self) -> dict[str, str]:
        """Nothing of ours but this reaches a hook (docs/hooks.md)."""
        old, new = self.given.get("old", ""), self.given.get("new", "")
        links = self._links()
        return {
            "PATH": _PATH,
            "LC_ALL": "C.UTF-8",
            "HAFAILOVER_EVENT": self.event,
            "HAFAILOVER_SERVICE": self.resource,
            "HAFAILOVER_CLUSTER": str(self.found["cluster"]),
            "HAFAILOVER_NODE": self.node,
            "HAFAILOVER_OLD": old,
            "HAFAILOVER_NEW": new,
            "HAFAILOVER_OLD_ADDRESS": links.get(old, ""),
            "HAFAILOVER_NEW_ADDRESS": links.get(new, ""),
            "HAFAILOVER_ADDRESS": " ".join(self.found["addresses"]),
            "HAFAILOVER_PORT": str(self.found["port"]),
            "HAFAILOVER_EPOCH": str(self.epoch),
            "HAFAILOVER_PLANNED": "yes" if "planned" in self.given else "no",
        }

    def _links(self) -> dict[str, str]:
        try:
            return nodes.addresses(outside.environment(self.resource).get("OCF_RESKEY_nodes", ""))
        except (OcfError, ValueError):
            return {}

    def _ask_epoch(self) -> int:
        try:
            text = self.pacemaker.property(f"hafailover-{self.resource}", "journal")
            return promotion_journal.read(text).epoch
        except (PacemakerError, JournalError, OSError):
            return 0

    def _tell(self, state: str, text: str) -> None:
        """Publish how this event's hooks stand, beside those of the other events. A full disk keeps no hook from being run."""
        try:
            self._keep(state, text)
        except OSError as error:
            self._log("warning", f"how the hooks stand could not be kept: {error.strerror}", "")
            self._publish({self.event: [self.epoch, state, _plain(text)[:400]]})

    def _keep(self, state: str, text: str) -> None:
        os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
        with open(f"{RUN_DIR}/{self.resource}.hooks.json", "a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # two events of one switchover may end at the same moment
            file.seek(0)
            try:
                known = json.loads(file.read() or "{}")
            except ValueError:
                known = {}
            known[self.event] = [self.epoch, state, _plain(text)[:400]]
            file.truncate(0)
            json.dump(known, file)
            file.flush()
            self._publish(known)

    def _publish(self, known: Mapping[str, Sequence[Any]]) -> None:
        words = " ".join(f"{event}={epoch}:{state}" for event, (epoch, state, _) in sorted(known.items()))
        said = "; ".join(text for _, (_, _, text) in sorted(known.items()) if text)
        try:
            told.tell(
                self.resource,
                {told.HOOKS: f"{words} | {said}"},
                lambda text: self.pacemaker.publish(told.attribute(self.resource), text),
            )
        except (PacemakerError, OSError) as error:
            self._log("warning", f"how the hooks stand could not be published: {error}", "")

    def _alert(self, sentence: str) -> None:
        fields = {"kind": "hook", "node": self.node, "resource": self.resource, "task": self.event, "desc": sentence}
        root = os.environ.get("HAFAILOVER_ALERTS") or spool.ROOT
        if os.path.isdir(f"{root}/inbox"):
            try:
                spool.write(root, fields, time.time())
            except OSError as error:
                self._log("warning", f"nobody could be alerted: {error.strerror}", "")

    def _log(self, level: str, text: str, name: str) -> None:
        fields = {"HAFAILOVER_EVENT": "hook", "HAFAILOVER_RESOURCE": self.resource, "HAFAILOVER_HOOK": name}
        journal.send(level, "hafailover-hooks", text, fields)


def main() -> None:
    """Entry point."""
    resource, event, *words = sys.argv[1:]
    given = {key: value for key, _, value in (word.partition("=") for word in words)}
    # What a hook leaves behind becomes our child when its parent ends, and is found.
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    failed = Run(resource, event, given).perform()
    if failed:
        sys.stderr.write("; ".join(failed) + "\n")
        sys.exit(1)


def _end_children() -> None:
    """End everything below this process."""
    for _ in range(20):
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            left = [int(word) for word in file.read().split()]
        if not left:
            return
        for pid in left:
            process.kill_tree(pid)
        for pid in left:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue
        time.sleep(0.01)


def _plain(text: str) -> str:
    """What an attribute's value may hold without confusing those who read the answer of attrd_updater."""
    return "".join(letter if letter not in '"<>&|\\' else "'" for letter in clean(text))


def _tool(argv: Sequence[str], timeout: float | None = None, input: str | None = None) -> process.Result:
    path = f"{os.environ.get('HAFAILOVER_PATH', '')}:{_PATH}"
    program = process.find(argv[0], path)
    if program is None:
        raise PacemakerError(f"{argv[0]} is not installed")
    return process.run(program, argv, timeout or 5.0, {"PATH": path, "LC_ALL": "C"}, input)
