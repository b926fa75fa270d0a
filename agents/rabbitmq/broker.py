"""The broker on this node: the distribution's systemd unit, started and stopped by the cluster alone."""

from __future__ import annotations

import os
import time

from hafailover.agents import proc, units
from hafailover.agents.ocf import ERR_GENERIC, ERR_INSTALLED, Context, OcfError
from hafailover.agents.rabbitmq import amqp, credentials
from hafailover.agents.rabbitmq.nodes import broker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG_DIR = "/etc/rabbitmq/conf.d"
_LIBRARIES = "/usr/lib/rabbitmq/lib"
_PROGRAM = "rabbitmq_server-"
_HOOK = "/usr/lib/hafailover/rabbitmq-died"
_LOOK = 0.25  # seconds between two looks at a broker that boots
_TO_ANSWER = 5.0  # seconds for one round trip
_STOP = 0.6  # of what is left of a stop's time, for an end in order


class Broker:
    """The unit, and how to look at it."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self.unit: str = ctx.params["unit"]
        self.node = ctx.node
        self._planned = f"/run/hafailover/{ctx.instance}.planned"
        self._joining = f"{CONFIG_DIR}/91-hafailover-{ctx.instance}-join.conf"

    # -- looking ---------------------------------------------------------------------------------------------------

    def state(self) -> units.State:
        """The unit as systemd sees it; OcfError."""
        return units.state(self._ctx, [self.unit])[self.unit]

    def round_trip(self, timeout: float = _TO_ANSWER) -> str | None:
        """A message there and back; None, or why publishers are blocked. amqp.Unanswered; amqp.Refusal; OcfError."""
        account = credentials.read(self._ctx)
        return amqp.round_trip(
            self._ctx.params["host"],
            self._ctx.params["port"],
            (account["user"], account["password"]),
            account["vhost"],
            f"hafailover.{self.node}",
            self._ctx.deadline.bound(timeout),
        )

    def answers(self) -> bool:
        """Whether it speaks AMQP to us, be it to refuse."""
        try:
            self.round_trip(2.0)
        except amqp.Unanswered:
            return False
        except amqp.Refusal:
            return True
        return True

    def since(self) -> int:
        """When its process began, as Unix time; 0 if there is none."""
        ticks = proc.started(self.state().pid)
        if ticks is None:
            return 0
        return int(time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + int(ticks) / os.sysconf("SC_CLK_TCK"))

    def check_version(self) -> None:
        """OcfError when it is not installed, or not of the major version that the configuration was made for."""
        try:
            names = [name for name in os.listdir(_LIBRARIES) if name.startswith(_PROGRAM)]
        except OSError:
            names = []
        if not names:
            raise OcfError(ERR_INSTALLED, "rabbitmq-server is not installed on this node; install its package")
        found = max(names)[len(_PROGRAM) :]
        wanted = self._ctx.params["version"]
        if wanted and wanted.partition(".")[0] != found.partition(".")[0]:
            raise OcfError(
                ERR_INSTALLED,
                f"RabbitMQ {found} is installed and the configuration was made for {wanted}; "
                f"set version: '{found.rpartition('.')[0]}' in the topology, and apply it",
            )

    # -- starting and stopping ------------------------------------------------------------------------------------------

    def keep(self) -> None:
        """Have systemd leave the end of the unit, and how long its start takes, to the cluster."""
        text = (
            "[Unit]\nBefore=pacemaker.service\n"  # at shutdown the cluster stops it first
            "[Service]\nRestart=no\nTimeoutStartSec=infinity\n"
            f"ExecStopPost=-+{_HOOK} {self._ctx.instance}\n"
        )
        units.drop_in(self._ctx, self.unit, text)

    def begin(self, host: str = "") -> None:
        """Start it without waiting; with ``host``, which only a blank broker heeds, as a member of the cluster of that node's broker."""
        ctx = self._ctx
        self.keep()
        if host:
            os.makedirs(CONFIG_DIR, mode=0o755, exist_ok=True)
            with open(self._joining, "w") as file:
                os.fchmod(file.fileno(), 0o644)  # the broker's user reads it, whatever Pacemaker's umask is
                file.write(
                    "cluster_formation.peer_discovery_backend = classic_config\n"
                    f"cluster_formation.classic_config.nodes.1 = {broker(host)}\n"
                    f"cluster_formation.classic_config.nodes.2 = {broker(self.node)}\n"
                )
        else:
            self.end_joining()
        self.expect_end()  # an end during the start is the start's to report
        units.begin(ctx, [self.unit])

    def end_joining(self) -> None:
        """Take back what made a blank broker join: another blank one must not, unasked."""
        if os.path.exists(self._joining):
            os.unlink(self._joining)

    def await_answer(self, enough: Callable[[], bool]) -> bool:
        """Wait until it has booted and answers; False when ``enough`` says so first. OcfError when it has ended."""
        begun = time.time()
        while True:
            now = self.state()
            # It takes connections before it has booted: its tools get no sensible answers at that moment.
            if now.active == "active" and self.answers():
                return True
            if now.dead:
                raise OcfError(ERR_GENERIC, f"the broker ended while it started: {self.last_words(begun - 1)}")
            if enough():
                return False
            time.sleep(_LOOK)

    def stop(self) -> None:
        """End it, in order if it can, and by SIGKILL if not; OcfError when a process of it survives that."""
        self.expect_end()
        self.end_joining()
        now = self.state()
        if now.load != "not-found" and not now.dead:
            units.stop(self._ctx, [self.unit], self._ctx.deadline.remaining() * _STOP)

    def expect_end(self) -> None:
        """From here on an end of the process is wanted, or somebody waits for it: nothing for the death hook to tell."""
        os.makedirs(os.path.dirname(self._planned), mode=0o755, exist_ok=True)
        with open(self._planned, "w"):
            pass

    def expect_life(self) -> None:
        """From here on an end of the process is a failure that Pacemaker is to hear of at once."""
        if os.path.exists(self._planned):
            os.unlink(self._planned)

    def last_words(self, since: float) -> str:
        """Why it ended: the telling line of its own logs, or what systemd has of it."""
        for name in (f"{broker(self.node)}.log", "rabbitmq-server.error.log", "rabbitmq-server.log"):
            path = f"{_LOGS}/{name}"
            try:
                if os.stat(path).st_mtime < since:
                    continue
                with open(path, "rb") as file:
                    file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
                    found = telling(file.read().decode("utf-8", "replace"))
            except OSError:
                continue  # its logs lie elsewhere
            if found:
                return f"{found} ({path})"
        return units.last_line(self._ctx, self.unit, since)


_LOGS, _TAIL = "/var/log/rabbitmq", 60000
_TELLING = (
    "inconsistent_cluster",
    "thinks it's clustered",
    "Error during startup: ",
    "Failed to start",
    "failed_to_",
    "exception exit",
)


def telling(log: str) -> str:
    """The last line of a broker's log that says why it did not start, without time and process; empty if none does."""
    for words in _TELLING:
        for line in reversed(log.splitlines()):
            if words in line:
                return " ".join(line.rpartition("> ")[2].split())[:300]
    return ""
