"""The units that deliver alerts and write the history down, and the directories that they work in.

They are the same on every node and with every topology: a node without recipients never has anything to deliver.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

from hafailover.agents import inbox

_SYSTEM = "usr/lib/systemd/system"
_TMPFILES = "usr/lib/tmpfiles.d/hafailover-alerts.conf"
_SPOOL = "/var/lib/hafailover/alerts"
_TIMEOUT = 30  # seconds for systemd to answer


class Unit(NamedTuple):
    """A file for systemd: its path below the root, and its text without our mark."""

    path: Path
    text: str


# What is secret in /etc/hafailover says so itself; the service, which is not root, has to get at its own file there.
# Members of haclient may leave events, as the alert agent does; what they are told by others is nobody else's business.
_DIRECTORIES = f"""d /etc/hafailover 0755 root root
d /var/lib/hafailover 0755 root root
d {_SPOOL} 2770 hacluster haclient
d {_SPOOL}/inbox 2770 hacluster haclient
d {_SPOOL}/queue 2770 hacluster haclient
d {_SPOOL}/state 2770 hacluster haclient
"""

_PATH = f"""[Unit]
Description=Alerts of the cluster to be delivered

[Path]
DirectoryNotEmpty={_SPOOL}/inbox
DirectoryNotEmpty={_SPOOL}/queue
Unit=hafailover-alerts.service
"""

# It begins as root, for the code may lie where only root can read, and becomes hacluster before it reads anything of others. It has no /tmp
# of its own: it writes nothing there (it cannot), and a checkout there would be out of its sight.
_SERVICE = f"""[Unit]
Description=Delivery of the cluster's alerts
StartLimitIntervalSec=0

[Service]
ExecStart=/usr/lib/hafailover/alerts-deliver
Environment=HAFAILOVER_ALERTS_USER=hacluster
CapabilityBoundingSet=CAP_SETUID CAP_SETGID CAP_DAC_READ_SEARCH
UMask=0007
Restart=on-failure
RestartSec=5s
TimeoutStopSec=40s
MemoryMax=256M
TasksMax=64
Nice=5
NoNewPrivileges=yes
ProtectHome=read-only
ProtectSystem=strict
ReadWritePaths={_SPOOL}
"""

_AT_BOOT = "[Unit]\nWants=hafailover-alerts.path\n"

_HISTORY = "hafailover-history"
_HISTORY_TMPFILES = f"usr/lib/tmpfiles.d/{_HISTORY}.conf"
_HISTORY_DIRECTORIES = f"d {inbox.DIRECTORY} {inbox.MODE:o} root {inbox.GROUP}\n"
_HISTORY_PATH = f"""[Unit]
Description=What happens to the cluster, to be written down
StartLimitIntervalSec=0

[Path]
DirectoryNotEmpty={inbox.DIRECTORY}
"""
_HISTORY_TIMER = """[Unit]
Description=Exchanges with the other nodes what happened to the cluster

[Timer]
OnBootSec=20
OnUnitInactiveSec=120
AccuracySec=10
"""
# It is started as often as something happens, and ends. In that second what belongs together arrives, and a failover that has begun has the
# processor for itself. One that fails leaves the inbox as it was, and would be started again at once.
_HISTORY_SERVICE = """[Unit]
Description=Writes down what happens to the cluster
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=/bin/sh -c "sleep 1; /usr/lib/hafailover/history-drain || { sleep 10; exit 1; }"
TimeoutStartSec=660
UMask=0077
Nice=10
IOSchedulingPriority=7
CPUWeight=20
IOWeight=20
MemoryMax=256M
LogLevelMax=notice
"""

_DOCTOR = "hafailover-doctor"
_DOCTOR_TIMER = """[Unit]
Description=This node looks at itself, and shows the other nodes what it saw

[Timer]
OnBootSec=60
OnUnitInactiveSec=600
RandomizedDelaySec=30
"""
# It is asked for by other nodes, too.
_DOCTOR_SERVICE = """[Unit]
Description=What hafailover doctor tells of this node
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=/usr/lib/hafailover/doctor-show
TimeoutStartSec=60
UMask=0077
Nice=10
IOSchedulingPriority=7
CPUWeight=20
IOWeight=20
MemoryMax=256M
LogLevelMax=notice
"""

UNITS = (
    Unit(Path(_SYSTEM) / f"{_DOCTOR}.timer", _DOCTOR_TIMER),
    Unit(Path(_SYSTEM) / f"{_DOCTOR}.service", _DOCTOR_SERVICE),
    Unit(Path(_SYSTEM) / f"timers.target.d/{_DOCTOR}.conf", f"[Unit]\nWants={_DOCTOR}.timer\n"),
    Unit(Path(_HISTORY_TMPFILES), _HISTORY_DIRECTORIES),
    Unit(Path(_SYSTEM) / f"{_HISTORY}.path", _HISTORY_PATH),
    Unit(Path(_SYSTEM) / f"{_HISTORY}.timer", _HISTORY_TIMER),
    Unit(Path(_SYSTEM) / f"{_HISTORY}.service", _HISTORY_SERVICE),
    Unit(Path(_SYSTEM) / f"paths.target.d/{_HISTORY}.conf", f"[Unit]\nWants={_HISTORY}.path\n"),
    Unit(Path(_SYSTEM) / f"timers.target.d/{_HISTORY}.conf", f"[Unit]\nWants={_HISTORY}.timer\n"),
    Unit(Path(_TMPFILES), _DIRECTORIES),
    Unit(Path(_SYSTEM) / "hafailover-alerts.path", _PATH),
    Unit(Path(_SYSTEM) / "hafailover-alerts.service", _SERVICE),
    # Wanted by what every boot reaches: what was left in a queue is delivered though Pacemaker may not have been started yet.
    Unit(Path(_SYSTEM) / "paths.target.d/hafailover-alerts.conf", _AT_BOOT),
)


def begin() -> list[str]:
    """Have this machine's systemd take the units in; what it did not do, for a person. Nothing where systemd does not run."""
    if not Path("/run/systemd/system").is_dir():
        return []
    left = []
    for argv in (
        ["systemd-tmpfiles", "--create", f"/{_TMPFILES}", f"/{_HISTORY_TMPFILES}"],
        ["systemctl", "daemon-reload"],
        [
            "systemctl",
            "restart",
            "--no-block",
            "hafailover-alerts.path",
            f"{_HISTORY}.path",
            f"{_HISTORY}.timer",
            f"{_DOCTOR}.timer",
        ],
        ["systemctl", "try-restart", "--no-block", "hafailover-alerts.service"],
    ):
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            left.append(f"not done: {' '.join(argv)}: {error}")
            continue
        if done.returncode:
            left.append(f"not done: {' '.join(argv)}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return left


def end() -> None:
    """Stop them, before their files are removed."""
    if Path("/run/systemd/system").is_dir():
        alerts = ("hafailover-alerts.path", "hafailover-alerts.service")
        argv = ["systemctl", "stop", *alerts, f"{_HISTORY}.path", f"{_HISTORY}.timer", f"{_DOCTOR}.timer"]
        subprocess.run(argv, capture_output=True, timeout=60, check=False)
