"""A server process that the cluster did not start: taken over while it runs, under the systemd unit that it already has.

A runtime drop-in makes its death an event for Pacemaker, as in our own unit, and keeps systemd from ever starting it again, writable and
behind the cluster's back. It lies in /run: after a reboot the unit is disabled, and the next start is in the cluster's own unit anyway.
"""

from __future__ import annotations

import os

from hafailover.agents.mariadb.server import DIED_HOOK, unit_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Result(Protocol):
        """A finished program."""

        rc: int
        out: str
        err: str

    class Run(Protocol):
        """Runs a program with no shell; never longer than ``timeout`` seconds."""

        def __call__(self, argv: list[str], timeout: float | None = None) -> Result:
            """Run ``argv``."""
            ...


SYSTEMD = "/run/systemd/system"


class AdoptionError(Exception):
    """The process cannot be taken over; the message says why."""


def drop_in(unit: str) -> str:
    """The path of the drop-in by which ``unit`` is taken over."""
    return f"{SYSTEMD}/{unit}.d/hafailover.conf"


def text(resource: str) -> str:
    """What the drop-in says."""
    return (
        f"# Written by hafailover: the server of this unit belongs to the cluster resource {resource}.\n"
        "[Unit]\n"
        "RefuseManualStart=yes\n"
        "Before=pacemaker.service\n"
        "[Service]\n"
        "Restart=no\n"
        f"ExecStopPost=+{DIED_HOOK} {resource}\n"
    )


def unit_of(pid: int) -> str:
    """The service unit in which ``pid`` runs, "" if it is in none or has ended."""
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    for line in lines:
        # systemd's own hierarchy, of the second or the first version of control groups
        number, controllers, path = line.split(":", 2)
        name = path.rpartition("/")[2]
        if (number == "0" or controllers == "name=systemd") and name.endswith(".service"):
            return name
    return ""


def is_adopted(resource: str, pid: int) -> bool:
    """Tell whether the process runs in a unit that was taken over for ``resource``."""
    unit = unit_of(pid)
    if not unit:
        return False
    try:
        with open(drop_in(unit)) as file:
            return f" {resource}\n" in file.read()
    except OSError:
        return False


def take_over(resource: str, pid: int, run: Run) -> str:
    """Take over the running process ``pid``; return its unit's name. AdoptionError when systemd does not follow.

    Doing it again changes nothing. Nor does it for the cluster's own unit: with the drop-in that could never be started again.
    """
    unit = unit_of(pid)
    if not unit:
        raise AdoptionError(f"mariadbd {pid} does not run in a systemd service")
    if unit == unit_name(resource):
        return unit
    path = drop_in(unit)
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with open(path + ".new", "w") as file:
        file.write(text(resource))
    os.rename(path + ".new", path)
    for argv in (["systemctl", "daemon-reload"], ["systemctl", "disable", "--quiet", unit]):
        done = run(argv, timeout=60)
        if done.rc:
            raise AdoptionError(f"{' '.join(argv)} failed: {done.err.strip() or done.rc}")
    shown = run(["systemctl", "show", "-P", "Restart", unit], timeout=10).out.strip()
    if shown != "no":
        raise AdoptionError(
            f"{unit} would still be restarted by systemd (Restart={shown}): another drop-in overrides {path}"
        )
    return unit
