"""What an action is given: its parameters, its place in the cluster, its deadline, and bounded ways to act."""

from __future__ import annotations

import os
import sys

from hafailover.agents import journal, process
from hafailover.agents.deadline import Deadline

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

SUCCESS = 0
ERR_GENERIC = 1
ERR_ARGS = 2
ERR_UNIMPLEMENTED = 3
ERR_PERM = 4
ERR_INSTALLED = 5
ERR_CONFIGURED = 6
NOT_RUNNING = 7
RUNNING_PROMOTED = 8
FAILED_PROMOTED = 9
DEGRADED = 190
DEGRADED_PROMOTED = 191

_META = "OCF_RESKEY_CRM_meta_"
_ROLES = {"Master": "Promoted", "Slave": "Unpromoted"}  # what Pacemaker before 2.1 calls them
# Where cluster tools lie; an agent started from a bare environment must find them, too.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class OcfError(Exception):
    """An action's outcome that is not success: an OCF exit code and a sentence for people."""

    def __init__(self, rc: int, reason: str) -> None:
        super().__init__(reason)
        self.rc = rc
        self.reason = reason


class Notify:
    """A clone notification: ``type`` ("pre" or "post"), ``operation``, and the nodes in each list."""

    __slots__ = (
        "active", "demote", "inactive", "operation", "promote", "promoted", "start", "stop", "type", "unpromoted",
    )  # fmt: skip

    def __init__(self, environ: Mapping[str, str]) -> None:
        def nodes(name: str, older: str = "") -> tuple[str, ...]:
            text = environ.get(f"{_META}notify_{name}_uname")
            if text is None and older:
                text = environ.get(f"{_META}notify_{older}_uname")
            return tuple((text or "").split())  # Pacemaker writes an empty list as one space

        self.type = environ.get(_META + "notify_type", "")
        self.operation = environ.get(_META + "notify_operation", "")
        self.promoted = nodes("promoted", "master")
        self.unpromoted = nodes("unpromoted", "slave")
        self.active = nodes("active")
        self.inactive = nodes("inactive")
        self.start = nodes("start")
        self.stop = nodes("stop")
        self.promote = nodes("promote")
        self.demote = nodes("demote")


class Context:
    """One run of one action of one resource on this node."""

    def __init__(
        self, agent: str, action: str, params: dict[str, Any], timeout: float, environ: Mapping[str, str]
    ) -> None:
        self.agent = agent
        self.action = action
        self.params = params
        self.deadline = Deadline(timeout)
        self.environ = environ
        # A clone's instance is called name:number; all that is stored or logged goes by the name.
        self.instance = environ.get("OCF_RESOURCE_INSTANCE", "default").split(":")[0]
        self._node: str | None = None

    # -- where and why ----------------------------------------------------------------------------------------

    @property
    def interval(self) -> float:
        """Seconds between recurring runs; 0 for a single one."""
        text = self.environ.get(_META + "interval", "0")
        return int(text) / 1000 if text.isdecimal() else 0.0

    @property
    def is_probe(self) -> bool:
        """Pacemaker asks whether the resource happens to run here; not running is no failure."""
        return self.action in ("monitor", "status") and self.interval == 0

    @property
    def role(self) -> str:
        """The role Pacemaker expects: "Promoted", "Unpromoted", "Started", "Stopped", or "" if it did not say."""
        text = self.environ.get(_META + "role", "").capitalize()
        return _ROLES.get(text, text)

    @property
    def check_level(self) -> int:
        """The depth of a monitor or validation (OCF_CHECK_LEVEL)."""
        text = self.environ.get("OCF_CHECK_LEVEL", "0")
        return int(text) if text.isdecimal() else 0

    @property
    def notify(self) -> Notify:
        """What the cluster is about to do or has done to the clone (start, promote, demote and notify only)."""
        return Notify(self.environ)

    @property
    def node(self) -> str:
        """This node's name in the cluster."""
        if self._node is None:
            self._node = self.environ.get(_META + "on_node") or self._ask_node()
        return self._node

    def _ask_node(self) -> str:
        if process.find("crm_node", self._path()):
            answer = self.run(["crm_node", "-n"], timeout=5)
            if answer.rc == 0 and answer.out.strip():
                return answer.out.strip()
        return os.uname().nodename

    # -- acting -----------------------------------------------------------------------------------------------

    def run(
        self,
        argv: Sequence[str],
        timeout: float | None = None,
        input: str | None = None,
        env: Mapping[str, str | None] | None = None,
    ) -> process.Result:
        """Run a program, without a shell, for at most ``timeout`` seconds and never beyond the action's deadline.

        At the end of its time it is killed with its descendants; the result then says ``timed_out``. ``input`` is its
        standard input, ``env`` is added to its environment (None removes a variable), where the locale is C.
        Raises OcfError: ERR_INSTALLED if there is no such program, ERR_PERM if it may not be executed.
        """
        program = self.require(argv[0])
        limit = self.deadline.bound(float("inf") if timeout is None else timeout)
        wanted = {**self.environ, "PATH": self._path(), "LC_ALL": "C", "LANGUAGE": "C", **(env or {})}
        environment = {name: value for name, value in wanted.items() if value is not None}
        try:
            return process.run(program, argv, limit, environment, input)
        except PermissionError as error:
            raise OcfError(ERR_PERM, f"cannot execute {program}: {error.strerror}") from error
        except OSError as error:
            raise OcfError(ERR_INSTALLED, f"cannot execute {program}: {error.strerror}") from error

    def require(self, binary: str) -> str:
        """The full name of ``binary``; OcfError ERR_INSTALLED if it is not on this node."""
        name = process.find(binary, self._path())
        if name is None:
            raise OcfError(ERR_INSTALLED, f"{binary} is not installed on this node; install its package")
        return name

    def _path(self) -> str:
        path = self.environ.get("PATH", "")
        return f"{path}:{_PATH}" if path else _PATH

    # -- telling ----------------------------------------------------------------------------------------------

    def log(self, level: str, text: str) -> None:
        """Write to the journal; ``level`` is debug, info, notice, warning, error or critical."""
        if level != "debug" or self.environ.get("HA_debug", "0") != "0":
            self._record(level, text, {})

    def event(self, name: str, text: str, *, level: str = "notice", **fields: object) -> None:
        """Record that something happened to the resource: a message, and fields that drills and history read."""
        record = {"HAFAILOVER_EVENT": name, "HAFAILOVER_ACTION": self.action}
        record.update((f"HAFAILOVER_{key.upper()}", str(value)) for key, value in fields.items())
        self._record(level, text, record)

    def _record(self, level: str, text: str, fields: Mapping[str, str]) -> None:
        identifier = f"hafailover-{self.agent}"
        sent = journal.send(level, identifier, text, {"HAFAILOVER_RESOURCE": self.instance, **fields})
        if not sent or os.isatty(2):  # Pacemaker logs an agent's standard error; a person at a terminal reads it
            sys.stderr.write(f"{identifier}: {level}: {text}\n")
