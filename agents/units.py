"""systemd units that an agent runs its service in: look, stop, add to them, each within a bound."""

from __future__ import annotations

import os
import time

from hafailover.agents.context import ERR_GENERIC, OcfError
from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from hafailover.agents.context import Context

_PROPERTIES = ("Id", "LoadState", "ActiveState", "SubState", "MainPID", "Result", "Job")
_POLL = 0.1  # seconds between two looks; one costs 5 ms of processor time
_ASK = 10.0  # seconds for systemd's answer to a question
_STUCK = 3.0  # seconds that a killed process may take to die; longer ones are looked at
_TO_SAY_SO = 2.0
_RUNTIME = "/run/systemd/system"
_CGROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/systemd")  # unified, or systemd's own hierarchy beside the old ones
_OURS = "50-hafailover.conf"
_DIED = "/usr/lib/hafailover/service-died"

PLANNED = "planned"
"""The note of a resource (agents/memo.py) while its unit may end without being reported as dead."""


class State(NamedTuple):
    """A unit as systemd sees it: ``load`` (loaded, not-found, masked …), ``active`` (active, activating, deactivating,
    inactive, failed, reloading), ``sub``, ``pid`` of its main process (0: none), ``result`` of its last run, ``job`` (0: none).
    """

    load: str
    active: str
    sub: str
    pid: int
    result: str
    job: int

    @property
    def dead(self) -> bool:
        """No process of it is left, and none is about to be started."""
        return self.active in ("inactive", "failed") and not self.job


def service(name: str) -> str:
    """The unit's whole name; people leave out ``.service``, and so may a parameter."""
    return name if name.endswith(".service") else f"{name}.service"


def state(ctx: Context, names: Sequence[str]) -> dict[str, State]:
    """The state of each unit, in the order of ``names``; OcfError when systemd does not answer."""
    answer = ctx.run(["systemctl", "show", f"--property={','.join(_PROPERTIES)}", "--", *names], timeout=_ASK)
    if answer.timed_out or answer.rc != 0:
        raise OcfError(ERR_GENERIC, f"systemd does not tell the state of {', '.join(names)}: {_said(answer.err)}")
    found = parse(answer.out)
    if len(found) != len(names):
        raise OcfError(ERR_GENERIC, f"systemd told {len(found)} states when asked for {', '.join(names)}")
    # By place, not by Id: a unit that was asked for by an alias answers with its real name.
    return dict(zip(names, found))


def parse(text: str) -> list[State]:
    """The answers of ``systemctl show``, one for each unit, in the order they were asked for."""
    found = []
    for block in text.strip().split("\n\n"):
        values = dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
        if values:
            found.append(
                State(
                    values.get("LoadState", ""),
                    values.get("ActiveState", ""),
                    values.get("SubState", ""),
                    _number(values.get("MainPID", "")),
                    values.get("Result", ""),
                    _number(values.get("Job", "")),
                )
            )
    return found


def begin(ctx: Context, names: Sequence[str], verb: str = "start") -> None:
    """Have systemd start (or restart) units, without waiting for that. OcfError when it does not take the job."""
    ctx.run(["systemctl", "reset-failed", "--", *names], timeout=_ASK)  # or a start limit of their own stops them
    answer = ctx.run(["systemctl", "--no-block", verb, "--", *names], timeout=_ASK)
    if answer.rc != 0 or answer.timed_out:
        said = answer.err.strip() or "no answer"
        raise OcfError(ERR_GENERIC, f"systemd does not {verb} {', '.join(names)}: {said}")


def stop(
    ctx: Context,
    names: Sequence[str],
    patience: float,
    before_killing: Callable[[list[str]], None] | None = None,
) -> list[str]:
    """Stop units together; after ``patience`` seconds kill what is left of them. The names of those that were killed.

    ``before_killing`` is told the names of what is left, to keep what it can still tell.

    A killed process that hangs in the kernel, on a mount or disk that does not answer, counts as stopped: it can only die
    when it gets out. Waiting for it would have the node fenced, for the mount is let go of after its users have stopped.

    OcfError, in time to be read, when one runs in spite of all: only taking the node's power helps then, which Pacemaker
    does when a stop fails.
    """
    # A unit that is ordered before pacemaker.service, so that it outlives it at a shutdown, would otherwise wait for the very
    # end of Pacemaker, which waits for this stop.
    ctx.run(["systemctl", "--no-block", "--job-mode=ignore-dependencies", "stop", "--", *names], timeout=_ASK)
    left = await_death(ctx, names, min(patience, _time(ctx)))
    if not left:
        return []
    ctx.log("warning", f"{', '.join(left)}: not stopped within {patience:.0f} s; killing")
    if before_killing:
        before_killing(left)
    kill(ctx, left)
    stuck = await_death(ctx, left, min(_STUCK, _time(ctx)))
    alive = [name for name in stuck if not _hangs(ctx, name)]
    alive = await_death(ctx, alive, _time(ctx)) if alive else []
    if alive:
        raise OcfError(ERR_GENERIC, f"{', '.join(alive)} survives SIGKILL")
    if stuck:
        ctx.event(
            "unit.hangs",
            f"{', '.join(stuck)}: killed, and what is left hangs in the kernel until its mount or disk answers or is let go of",
            level="warning",
            units=" ".join(stuck),
        )
    return left


def kill(ctx: Context, names: Sequence[str]) -> None:
    """SIGKILL to every process of units, without waiting for their end."""
    ctx.run(["systemctl", "kill", "--kill-who=all", "--signal=KILL", "--", *names], timeout=_ASK)


def _time(ctx: Context) -> float:
    """Seconds that may be waited, so that the outcome can still be told."""
    return max(0.0, ctx.deadline.remaining() - _TO_SAY_SO)


def await_death(ctx: Context, names: Sequence[str], seconds: float) -> list[str]:
    """Wait until all units are dead; those that are not after ``seconds``. OcfError when systemd does not answer."""
    end = time.monotonic() + seconds
    while True:
        left = [name for name, now in state(ctx, names).items() if not now.dead]
        if not left or time.monotonic() > end:
            return left
        time.sleep(_POLL)


def _hangs(ctx: Context, name: str) -> bool:
    """Whether all processes of a killed unit hang in the kernel."""
    from hafailover.agents import proc

    group = ctx.run(["systemctl", "show", "--property=ControlGroup", "--value", "--", name], timeout=_ASK).out.strip()
    pids = {pid for root in _CGROUPS for pid in _members(f"{root}{group}")} if group else set()
    return bool(pids) and all(proc.hang(pid) for pid in pids)


def _members(directory: str) -> list[int]:
    """The processes of a control group and those below it; none when there is no such group."""
    found = []
    for where, _, files in os.walk(directory):
        if "cgroup.procs" in files:
            with open(f"{where}/cgroup.procs") as file:
                found += [int(line) for line in file]
    return found


def boot_warning(ctx: Context, name: str) -> str | None:
    """What a person should know of a unit that systemd would start at boot, before and beside the cluster, or None."""
    answer = ctx.run(["systemctl", "is-enabled", "--", name], timeout=_ASK)
    if answer.out.strip() != "enabled":
        return None
    return f"{name} is enabled at boot, so it may run where the cluster does not want it; run: systemctl disable {name}"


def kept_by_the_cluster(ctx: Context) -> list[str]:
    """The beginning of a drop-in: the cluster restarts the unit, at a shutdown stops it before systemd does, and is told at once
    when it ends, unless the resource has the note PLANNED.
    """
    hook = f"ExecStopPost=-+{_DIED} {ctx.instance} {ctx.agent}"
    return ["[Unit]", "Before=pacemaker.service", "[Service]", "Restart=no", hook]


def unit_file(ctx: Context, name: str, text: str) -> None:
    """Give systemd a unit of ours until the next boot. OSError; OcfError when systemd does not read it."""
    changed = _write(f"{_RUNTIME}/{name}", text)
    if (changed or _is_unread(ctx, [name])) and ctx.run(["systemctl", "daemon-reload"], timeout=60).rc != 0:
        raise OcfError(ERR_GENERIC, f"systemd did not read the unit {name}")


def drop_in(ctx: Context, name: str, text: str) -> bool:
    """Have systemd add ``text`` to a unit until the next boot; whether that was a change. OSError; OcfError."""
    return drop_ins(ctx, {name: text})


def drop_ins(ctx: Context, texts: Mapping[str, str]) -> bool:
    """Have systemd add a text to each unit until the next boot; whether anything changed. OSError; OcfError."""
    # One reload for all: each reads every unit file of the machine anew.
    changed = [name for name, text in texts.items() if _write_drop_in(name, text)]
    if not changed and not _is_unread(ctx, texts):
        return False
    if ctx.run(["systemctl", "daemon-reload"], timeout=60).rc != 0:
        raise OcfError(ERR_GENERIC, f"systemd did not read the additions to {', '.join(texts)}")
    return True


def _is_unread(ctx: Context, names: Iterable[str]) -> bool:
    """Whether systemd has not read what is written: an agent may have been killed between writing and telling it."""
    # A template is no unit; an instance tells for it.
    instances = [name.replace("@.", "@1.") for name in names]
    shown = ctx.run(["systemctl", "show", "--property=NeedDaemonReload", "--", *instances], timeout=_ASK)
    return "=yes" in shown.out


def _write_drop_in(name: str, text: str) -> bool:
    return _write(f"{_RUNTIME}/{name}.d/{_OURS}", text)


def _write(path: str, text: str) -> bool:
    try:
        with open(path) as file:
            if file.read() == text:
                return False
    except FileNotFoundError:
        pass
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with open(f"{path}.new", "w") as file:
        os.fchmod(file.fileno(), 0o644)  # Pacemaker's umask would hide it from others, and systemd warn of it each time
        file.write(text)
    os.replace(f"{path}.new", path)
    return True


def log(ctx: Context, name: str, since: float | None = None, count: int = 20) -> list[str]:
    """The last lines that a unit's own programs logged (since a Unix time), without empty ones."""
    moment = [] if since is None else [f"--since=@{since:.6f}"]
    # Programs write to their output, or to syslog. The hook that runs in the unit when it ended writes to the journal itself, and would
    # have the last word.
    own = [f"_SYSTEMD_UNIT={name}", "_TRANSPORT=stdout", "_TRANSPORT=syslog"]
    answer = ctx.run(["journalctl", "-q", "-o", "cat", "-n", str(count), *moment, *own], timeout=_ASK)
    return [line.strip() for line in answer.out.splitlines() if line.strip()]


def last_line(ctx: Context, name: str, since: float | None = None) -> str:
    """The last that a unit logged (since a Unix time), for an exit reason."""
    lines = log(ctx, name, since)
    return lines[-1] if lines else "it logged nothing; see: journalctl -u " + name


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0


def _said(text: str) -> str:
    return " ".join(text.split()) or "it did not answer in time"
