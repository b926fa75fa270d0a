"""Resource agents for Pacemaker, declared once.

An agent names its parameters and actions; meta-data, dispatch, validation and documentation come from that::

    agent = Agent("vip", shortdesc="A virtual address", longdesc="...")
    agent.parameter("ip", required=True, unique=True, shortdesc="Address", longdesc="...")

    @agent.action("start", timeout="20s")
    def start(ctx: Context) -> int:
        ...
        return SUCCESS

A handler returns an OCF exit code or raises OcfError. What Pacemaker runs every few seconds is imported here: as few
and as cheap modules as will do (no dataclasses, enum, re, typing, subprocess, logging, argparse, pathlib).
"""

from __future__ import annotations

import os
import sys

from hafailover.agents import RUN_DIR, __version__, journal
from hafailover.agents.context import (
    DEGRADED,
    DEGRADED_PROMOTED,
    ERR_ARGS,
    ERR_CONFIGURED,
    ERR_GENERIC,
    ERR_INSTALLED,
    ERR_PERM,
    ERR_UNIMPLEMENTED,
    FAILED_PROMOTED,
    NOT_RUNNING,
    RUNNING_PROMOTED,
    SUCCESS,
    Context,
    Notify,
    OcfError,
)
from hafailover.agents.deadline import Deadline, seconds
from hafailover.agents.process import Result

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, NoReturn, Optional

    Handler = Callable[[Context], int]
    Check = Callable[[Any], Optional[str]]
else:
    import _signal as signal  # the signal module would build enums for 5 ms

__all__ = [
    "DEGRADED", "DEGRADED_PROMOTED", "ERR_ARGS", "ERR_CONFIGURED", "ERR_GENERIC", "ERR_INSTALLED", "ERR_PERM",
    "ERR_UNIMPLEMENTED", "FAILED_PROMOTED", "NOT_RUNNING", "RUNNING_PROMOTED", "SUCCESS",
    "Action", "Agent", "Context", "Deadline", "Notify", "OcfError", "Parameter", "Result",
]  # fmt: skip

RELOAD = "reload-agent"

_TRUE = ("1", "true", "yes", "on", "y", "t")
_FALSE = ("0", "false", "no", "off", "n", "f")


class Parameter:
    """One instance parameter. ``type`` is string, integer, boolean or time; a time becomes seconds as a float.

    A change of one that is ``reloadable`` makes Pacemaker call reload-agent; of any other, stop and start.
    """

    __slots__ = ("check", "default", "longdesc", "name", "reloadable", "required", "shortdesc", "type", "unique")

    def __init__(
        self,
        name: str,
        type: str,
        required: bool,
        unique: bool,
        default: str | None,
        shortdesc: str,
        longdesc: str,
        check: Check | None,
        reloadable: bool,
    ) -> None:
        self.name, self.type, self.required, self.unique, self.reloadable = name, type, required, unique, reloadable
        self.default, self.shortdesc, self.longdesc, self.check = default, shortdesc, longdesc, check

    def parse(self, text: str) -> Any:
        """The typed value of ``text``. ValueError with the reason if it is not allowed."""
        value: Any = text
        if self.type == "integer":
            try:
                value = int(text)
            except ValueError:
                raise ValueError("not a whole number") from None
        elif self.type == "boolean":
            if text.lower() not in _TRUE + _FALSE:
                raise ValueError("not a boolean; allowed: true, false")
            value = text.lower() in _TRUE
        elif self.type == "time":
            value = seconds(text)
        reason = self.check(value) if self.check else None
        if reason:
            raise ValueError(reason)
        return value


class Action:
    """One line of the advertised actions. Times are written as Pacemaker writes them ("20s")."""

    __slots__ = ("depth", "interval", "name", "role", "timeout")

    def __init__(self, name: str, timeout: str, interval: str | None, role: str | None, depth: int | None) -> None:
        self.name, self.timeout, self.interval, self.role, self.depth = name, timeout, interval, role, depth


class _Terminated(BaseException):
    """SIGTERM has come. Not an Exception: no handler may take it for a failure of what it just tried."""


class Agent:
    """A resource agent: parameters, actions with their handlers, and the program that Pacemaker starts."""

    def __init__(self, name: str, *, shortdesc: str, longdesc: str, version: str = __version__) -> None:
        self.name, self.shortdesc, self.longdesc, self.version = name, shortdesc, longdesc, version
        self.parameters: dict[str, Parameter] = {}
        self.actions: list[Action] = []
        self._handlers: dict[str, Handler] = {}

    # -- declaring --------------------------------------------------------------------------------------------

    def parameter(
        self,
        name: str,
        type: str = "string",
        *,
        shortdesc: str,
        longdesc: str,
        required: bool = False,
        unique: bool = False,
        default: object | None = None,
        check: Check | None = None,
        reloadable: bool = False,
    ) -> None:
        """Declare a parameter. ``check`` takes the typed value and returns what is wrong with it, or None.

        ``reloadable``: every action reads it anew, so that a change needs no restart. An agent that keeps a copy somewhere
        declares the action reload-agent to renew it; without that the action has nothing to do.
        """
        if type not in ("string", "integer", "boolean", "time"):
            raise ValueError(f"parameter {name}: unknown type {type}")
        if isinstance(default, bool):
            default = "true" if default else "false"
        text = None if default is None else str(default)
        self.parameters[name] = Parameter(name, type, required, unique, text, shortdesc, longdesc, check, reloadable)

    def action(
        self,
        name: str,
        *,
        timeout: str,
        interval: str | None = None,
        role: str | None = None,
        depth: int | None = None,
    ) -> Callable[[Handler], Handler]:
        """Declare the decorated function as the handler of an action; may be stacked to advertise an action twice."""

        def declare(handler: Handler) -> Handler:
            self.actions.append(Action(name, timeout, interval, role, depth))
            self._handlers[name] = handler
            return handler

        return declare

    @property
    def reloads(self) -> bool:
        """Whether some parameter may change without a restart."""
        return any(parameter.reloadable for parameter in self.parameters.values())

    # -- running ----------------------------------------------------------------------------------------------

    def main(self) -> NoReturn:
        """Do what ``sys.argv[1]`` says and exit with its OCF code. Never returns."""
        signal.signal(signal.SIGTERM, _terminate)
        try:
            rc = self.run(sys.argv[1:], os.environ)
        except (_Terminated, KeyboardInterrupt):
            rc = self._fail(os.environ, ERR_GENERIC, f"{' '.join(sys.argv[1:2])} was ended by a signal")
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:  # whoever asked does not listen any more; the exit code still counts
                continue
        os._exit(rc)  # skips taking the interpreter apart, 2 ms

    def run(self, argv: Sequence[str], environ: Mapping[str, str]) -> int:
        """The OCF exit code of the action ``argv[0]`` under the environment ``environ``."""
        if len(argv) != 1:
            sys.stderr.write(self.usage())
            return ERR_ARGS
        action = argv[0]
        if action in ("usage", "help", "--help", "-h"):
            sys.stdout.write(self.usage())
            return SUCCESS
        if action == "meta-data":
            from hafailover.agents import ocf_xml

            sys.stdout.write(ocf_xml.metadata(self))
            return SUCCESS
        name = "monitor" if action == "status" and "status" not in self._handlers else action
        trivial = name == "validate-all" or (name == RELOAD and self.reloads)
        handler = self._handlers.get(name, _only_parameters if trivial else None)
        if handler is None:
            sys.stderr.write(self.usage())
            return self._fail(environ, ERR_UNIMPLEMENTED, f"{self.name} has no action {action}")
        try:
            return self._perform(name, handler, environ)
        except OcfError as error:
            return self._fail(environ, error.rc, error.reason)
        except Exception as error:  # the last resort: a person gets a sentence, the journal gets the rest
            import traceback

            reason = f"{action} failed unexpectedly: {type(error).__name__}: {error}"
            rc = self._fail(environ, ERR_GENERIC, reason + " (details are in the journal)")
            if not self._log(environ, "error", traceback.format_exc()):
                traceback.print_exc()  # no journal takes it, and without it the fault could not be found
            return rc

    def context(self, action: str, environ: Mapping[str, str], timeout: float) -> Context:
        """What an action under ``environ`` would be given, ending in ``timeout`` seconds; OcfError for bad parameters."""
        params, problems = self._read(environ)
        if problems:
            raise OcfError(ERR_CONFIGURED, "; ".join(problems))
        return Context(self.name, action, params, timeout, environ)

    def _perform(self, action: str, handler: Handler, environ: Mapping[str, str]) -> int:
        params, problems = self._read(environ)
        ctx = Context(self.name, action, params, self._timeout(action, environ), environ)
        try:
            if problems and not (action == "stop" and self._required_are_there(params)):
                raise OcfError(ERR_CONFIGURED, "; ".join(problems))
            for problem in problems:
                ctx.log("warning", f"stop goes on with the default: {problem}")
            rc = handler(ctx)
            _restate(ctx, "")
            return rc
        except OcfError as error:
            # What is not installed, or not described, cannot be running. Saying so lets Pacemaker place the
            # resource elsewhere; an error from a probe or a stop would block it, or have the node fenced.
            if error.rc in (ERR_CONFIGURED, ERR_INSTALLED) and (ctx.is_probe or action == "stop"):
                ctx.log("warning", f"{action}: {error.reason}; so it is not running here")
                return SUCCESS if action == "stop" else NOT_RUNNING
            _restate(ctx, error.reason if error.rc in (DEGRADED, DEGRADED_PROMOTED) else "")
            raise

    def _read(self, environ: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
        """Typed values, and a sentence for each bad one, which then has its default's value."""
        values: dict[str, Any] = {}
        problems = []
        for name, parameter in self.parameters.items():
            text = environ.get("OCF_RESKEY_" + name, "").strip()
            values[name] = None if parameter.default is None else parameter.parse(parameter.default)
            if text:
                try:
                    values[name] = parameter.parse(text)
                except ValueError as error:
                    problems.append(f"parameter {name}: {text!r} is {error}")
            elif parameter.required:
                problems.append(f"parameter {name} is required: {parameter.shortdesc}")
        return values, problems

    def _required_are_there(self, params: Mapping[str, Any]) -> bool:
        return all(params[name] is not None for name, parameter in self.parameters.items() if parameter.required)

    def _timeout(self, action: str, environ: Mapping[str, str]) -> float:
        """Seconds until Pacemaker kills the action; what it advertises if it was started by hand."""
        text = environ.get("OCF_RESKEY_CRM_meta_timeout", "")
        if text.isdecimal() and int(text) > 0:
            return int(text) / 1000
        advertised = [seconds(entry.timeout) for entry in self.actions if entry.name == action]
        return max(advertised) if advertised else 20.0

    # -- telling ----------------------------------------------------------------------------------------------

    def usage(self) -> str:
        """One paragraph for a person at a shell."""
        always = {"meta-data", "usage", "validate-all", *([RELOAD] if self.reloads else [])}
        names = sorted({*(entry.name for entry in self.actions), *always})
        parameters = " ".join(f"OCF_RESKEY_{name}" for name in self.parameters)
        return f"usage: {self.name} ({'|'.join(names)})\nParameters come from the environment: {parameters}\n"

    def _fail(self, environ: Mapping[str, str], rc: int, reason: str) -> int:
        """Give the reason for ``rc``, which is returned, to Pacemaker and to the journal."""
        line = " ".join(reason.split())  # Pacemaker keeps one line
        sys.stderr.write(f"{environ.get('OCF_EXIT_REASON_PREFIX', 'ocf-exit-reason:')}{line}\n")
        self._log(environ, "error" if rc < DEGRADED else "warning", line)
        return rc

    def _log(self, environ: Mapping[str, str], level: str, text: str) -> bool:
        instance = environ.get("OCF_RESOURCE_INSTANCE", "default").split(":")[0]
        return journal.send(level, f"hafailover-{self.name}", text, {"HAFAILOVER_RESOURCE": instance})


def _only_parameters(ctx: Context) -> int:
    """validate-all or reload-agent of an agent that has nothing to add: the parameters were read without complaint."""
    return SUCCESS


def _restate(ctx: Context, reason: str) -> None:
    """Keep why a monitor is degraded (``reason``; "" when it is not), for Pacemaker records only the first one. A stop forgets it."""
    recurring = ctx.action == "monitor" and ctx.interval > 0
    if not (recurring or ctx.action == "stop") or not (reason or os.path.exists(f"{RUN_DIR}/{ctx.instance}.degraded")):
        return  # what nearly always is so: nothing is imported for it
    from hafailover.agents import restated

    try:
        if recurring:
            restated.restate(ctx, reason)
        else:
            restated.forget(ctx)
    except (OSError, OcfError) as error:
        ctx.log("info", f"the reason cannot be told anew: {error}")


def _terminate(number: int, frame: object) -> None:
    raise _Terminated
