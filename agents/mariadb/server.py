"""The server process: a transient systemd unit, found again by pid *and* data directory.

It runs as a unit of its own so that its death is an event (``ExecStopPost=`` reports it within milliseconds) and so that it outlives
the agent. Exactly one server per data directory: systemd refuses a second unit of the name, and a foreign process on the same
directory is found before one is started.
"""

from __future__ import annotations

import os
import pwd
import time

from hafailover.agents import RUN_DIR, ocf, proc
from hafailover.agents.mariadb import decide, vital
from hafailover.agents.ocf import Context, Result
from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
else:
    import _signal as signal  # the signal module would build enums for 5 ms

_NAMES = ("mariadbd", "mysqld")
_DEATH = 60.0  # seconds that the kernel may take to give back the memory of a killed server
_STUCK = 15.0  # seconds in which a disk that still works has answered
_TO_SAY_SO = 10.0  # seconds before the end of a start in which it says that the server is still recovering
_TO_APPEAR = 5.0  # seconds in which a program that systemd has started becomes the server
DIED_HOOK = "/usr/lib/hafailover/mariadb-died"


class Process(NamedTuple):
    """A server process; ``started`` (clock ticks since boot) tells it from a later one with the same pid."""

    pid: int
    started: str

    @property
    def incarnation(self) -> str:
        """``boot.pid.start``: a name for this one run of the server, different after every restart and every boot."""
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read(4)
        return f"{boot}.{self.pid}.{self.started}"

    def uptime_at_start(self) -> float:
        """How many seconds the machine had been up when it began, by the clock of ``time.monotonic``."""
        return int(self.started) / os.sysconf("SC_CLK_TCK")


def _process(pid: int, datadir: str) -> Process | None:
    """The process ``pid`` if it is a MariaDB server on ``datadir``."""
    try:
        with open(f"/proc/{pid}/comm") as file:
            if file.read().strip() not in _NAMES:
                return None
        if os.readlink(f"/proc/{pid}/cwd") != datadir:
            return None
    except OSError:
        return None
    ticks = proc.started(pid)
    return None if ticks is None else Process(pid, ticks)


def unit_name(resource: str) -> str:
    """The unit in which the cluster itself starts the server of ``resource``."""
    return f"hafailover-mariadb-{resource}.service"


class Unit:
    """The systemd unit ``hafailover-mariadb-<instance>.service`` and the process in it."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.name = unit_name(ctx.instance)
        self.datadir = os.path.realpath(ctx.params["datadir"])
        self._planned = f"{RUN_DIR}/{ctx.instance}.planned"
        self._left = f"{RUN_DIR}/{ctx.instance}.left"

    def process(self) -> Process | None:
        """The running server on this data directory, whoever started it."""
        try:
            with open(self._ctx.params["pid_file"]) as file:
                found = _process(int(file.read()), self.datadir)
            if found:
                return found
        except (OSError, ValueError):
            pass  # no pid file: it is written late in start-up, and gone after a clean stop
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                found = _process(int(entry), self.datadir)
                if found:
                    return found
        return None

    def owns(self, process: Process) -> bool:
        """Tell whether ``process`` runs inside this unit, or in another that was taken over."""
        from hafailover.agents.mariadb import adopted  # asked when the server starts, not by its monitor

        return adopted.unit_of(process.pid) == self.name or adopted.is_adopted(self._ctx.instance, process.pid)

    def state(self) -> str:
        """systemd's ActiveState of the unit: active, activating, deactivating, inactive or failed."""
        return (
            self._ctx.run(["systemctl", "show", "-P", "ActiveState", self.name], timeout=10).out.strip() or "inactive"
        )

    def version(self) -> tuple[int, ...]:
        """The server program's version; OcfError when it is none, or one that is not supported."""
        answer = self._ctx.run([self._ctx.params["binary"], "--version"], timeout=30)
        printed = answer.out
        if answer.timed_out:  # an overloaded node is not one without a server, which Pacemaker would never try again
            raise ocf.OcfError(ocf.ERR_GENERIC, f"{self._ctx.params['binary']} --version did not answer within 30 s")
        try:
            version = decide.parse_version(printed)
        except ValueError as error:
            raise ocf.OcfError(ocf.ERR_INSTALLED, f"{self._ctx.params['binary']}: {error}") from None
        unsupported = decide.unsupported_version(version)
        if unsupported:
            raise ocf.OcfError(ocf.ERR_INSTALLED, unsupported)
        return version

    def start(self, options: tuple[str, ...], patience: float = float("inf")) -> bool:
        """Start the server; True when logins work, False when it still recovers after ``patience`` seconds or near the end of the action's.

        OcfError with the end of the error log when it did not start.
        """
        wait = self._ctx.deadline.remaining()
        self._mark_planned()  # an end during the start is the start's to report, not the death hook's
        result = self._launch((), options, min(patience, wait - min(_TO_SAY_SO, wait / 4)))
        state = self.state()
        self._mark_unplanned()
        if result.rc != 0 and state not in ("active", "activating"):
            from hafailover.agents.mariadb import disk  # rare

            why = disk.said_first(self.datadir, self.last_error() or result.err.strip())
            raise ocf.OcfError(ocf.ERR_GENERIC, f"mariadbd did not start: {why}")
        return state == "active"

    def begin(self, options: tuple[str, ...]) -> Process | None:
        """Start the server without waiting for its recovery; the process, or None when none has appeared."""
        self._mark_unplanned()
        result = self._launch(("--no-block",), options, self._ctx.deadline.bound(_TO_APPEAR))
        if result.rc != 0 and self.state() not in ("active", "activating"):
            raise ocf.OcfError(ocf.ERR_GENERIC, f"mariadbd cannot be started: {result.err.strip()}")
        end = time.monotonic() + self._ctx.deadline.bound(_TO_APPEAR)
        while True:
            process = self.process()
            if process is not None or time.monotonic() > end:
                return process
            time.sleep(0.02)

    def _launch(self, how: tuple[str, ...], options: tuple[str, ...], wait: float) -> Result:
        ctx = self._ctx
        self._prepare_directories()
        ctx.run(["systemctl", "reset-failed", self.name], timeout=10)
        properties = {
            "Type": "notify",
            "User": ctx.params["user"],
            "KillMode": "mixed",
            "TimeoutStartSec": "infinity",  # crash recovery may be long; the action's own deadline bounds the wait
            "TimeoutStopSec": "900",
            "LimitNOFILE": "65536",
            "OOMScoreAdjust": "-600",
            "UMask": "007",
            "Before": "pacemaker.service",  # at shutdown the cluster demotes and stops it first
            "ExecStopPost": f"+{DIED_HOOK} {ctx.instance}",
        }
        argv = [
            "systemd-run",
            "--quiet",
            "--collect",
            *how,
            f"--unit={self.name}",
            f"--description=MariaDB for {ctx.instance}",
        ]
        argv += [f"--property={key}={value}" for key, value in properties.items()]
        argv += [ctx.params["binary"], f"--defaults-file={ctx.params['config']}", f"--datadir={self.datadir}"]
        argv += [
            f"--socket={ctx.params['socket']}",
            f"--pid-file={ctx.params['pid_file']}",
            f"--port={ctx.params['port']}",
        ]
        argv += ["--read-only=ON", "--skip-slave-start=ON", "--event-scheduler=OFF", *options]
        return ctx.run(argv, timeout=wait)

    def settled(self, patience: float = float("inf")) -> bool:
        """Wait until a start or an end that is under way is over.

        False when the server still recovers after ``patience`` seconds or near the end of the action's time.

        OcfError when it is an end that does not come: a new server must wait for the old one to be gone.
        """
        wait = self._ctx.deadline.remaining()
        begin = time.monotonic()
        end = begin + wait - min(_TO_SAY_SO, wait / 4)
        while True:
            state = self.state()
            if state not in ("activating", "deactivating"):
                return True
            if state == "activating" and time.monotonic() > min(begin + patience, end):
                return False
            if time.monotonic() > end:
                raise ocf.OcfError(ocf.ERR_GENERIC, "mariadbd is still ending; the next start waits on")
            time.sleep(0.1)

    def said(self, process: Process, words: str) -> list[str]:
        """The lines with ``words`` in what the server has logged in this life."""
        argv = ["journalctl", "-q", "-o", "cat", "-u", self.name, f"_PID={process.pid}", "-b"]
        return [line for line in self._ctx.run(argv, timeout=10).out.splitlines() if words in line]

    def said_since(self, at: float, words: str) -> list[str]:
        """The lines with ``words`` in what the server has logged since the Unix time ``at``."""
        argv = ["journalctl", "-q", "-o", "cat", "-u", self.name, f"--since=@{at:.6f}"]
        return [line for line in self._ctx.run(argv, timeout=10).out.splitlines() if words in line]

    def stop(self) -> None:
        """Stop the server: TERM, then KILL when half of the remaining time is gone; return when the process has ended."""
        self._mark_planned()
        process = self.process()
        if process is None:
            self.require_gone()
            if self._ctx.run(["systemctl", "stop", self.name], timeout=5).timed_out:
                self._ctx.run(["systemctl", "kill", "--signal=KILL", self.name], timeout=5)
            return
        self._signal(process, signal.SIGTERM)
        if not self._wait_gone(process, self._ctx.deadline.remaining() / 2):
            self._ctx.log("warning", f"mariadbd {process.pid} does not end on TERM; killing it")
            self.kill()

    def kill(self) -> None:
        """End the server at once, without the commit that TERM would give to unacknowledged transactions.

        OcfError, in time to be read, when it does not end: then only taking the node's power helps, which Pacemaker does when stop fails.
        """
        self.silence()
        self.require_gone()

    def require_gone(self) -> None:
        """OcfError when a thread of a killed server still hangs in the kernel."""
        left = self.remainder()
        if left is not None:
            raise ocf.OcfError(
                ocf.ERR_GENERIC,
                f"mariadbd {left.pid} survives SIGKILL, a thread of it hangs in the kernel: is the disk of {self.datadir} gone?",
            )

    def silence(self) -> Process | None:
        """Kill the server; it runs nothing any more, so nobody gets an answer from it. Return what hangs in the kernel, or None.

        A thread that waits for a disk that does not answer cannot be ended, but the signal reaches it before it could return to the
        program. OcfError when the kernel does not deliver the signal.
        """
        self._mark_planned()
        process = self.process() or self.remainder()
        if process is None:
            return None
        self._signal(process, signal.SIGKILL)
        if self._wait_gone(process, self._ctx.deadline.bound(_DEATH), _STUCK):
            return None
        with open(self._left, "w") as file:
            file.write(f"{process.pid} {process.started}")
        if vital.hangs_dead(process):
            return process
        raise ocf.OcfError(ocf.ERR_GENERIC, f"mariadbd {process.pid} still runs after SIGKILL")

    def remainder(self) -> Process | None:
        """What is left of a server that was killed and of which a thread hangs in the kernel, or None."""
        try:
            with open(self._left) as file:
                pid, started = file.read().split()
        except (OSError, ValueError):
            return None
        left = Process(int(pid), started)
        return None if vital.gone(left) else left

    def _wait_gone(self, process: Process, seconds: float, stuck: float = float("inf")) -> bool:
        """Wait until it has ended; no longer than ``stuck`` seconds for one that hangs in the kernel all that time."""
        begin = moved = time.monotonic()
        while not vital.gone(process):
            at = time.monotonic()
            if not vital.stuck(process):
                moved = at
            if at - begin > max(0.1, seconds) or at - moved > stuck:
                return False
            time.sleep(0.02)
        return True

    @staticmethod
    def _signal(process: Process, number: int) -> None:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:  # it has just ended, which is what was wanted
            return

    def _mark_planned(self) -> None:
        """Tell the unit's death hook that this end is wanted; must be there before the signal is sent."""
        os.makedirs(RUN_DIR, mode=0o755, exist_ok=True)
        with open(self._planned, "w"):
            pass

    def _mark_unplanned(self) -> None:
        if os.path.exists(self._planned):
            os.unlink(self._planned)

    def _prepare_directories(self) -> None:
        owner = pwd.getpwnam(self._ctx.params["user"])
        for path in {os.path.dirname(self._ctx.params["socket"]), os.path.dirname(self._ctx.params["pid_file"])}:
            if not os.path.isdir(path):
                os.makedirs(path, mode=0o755)
                os.chown(path, owner.pw_uid, owner.pw_gid)

    def last_error(self) -> str:
        """The last telling error in the server's log, or an empty text."""
        log = self._ctx.run(["journalctl", "-q", "-o", "cat", "-n", "40", "-u", self.name], timeout=10)
        errors = [line.partition("[ERROR]")[2].strip() for line in log.out.splitlines() if "[ERROR]" in line]
        telling = [error for error in errors if error != "Aborting"]
        return telling[-1] if telling else ""
