"""A lab as a program sees it: make it, look at it, break it, remove it."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hafailover.crm.errors import HafailoverError, IncompleteError, RefusedError
from hafailover.crm.history.words import Step
from hafailover.crm.topology import Topology
from hafailover.vagrant import adapt, assembly, health, host, image, state
from hafailover.vagrant.container import Containers
from hafailover.vagrant.plan import DATA, QUORUM, SPARE, Machine, Plan
from hafailover.vagrant.provider import NodeState, PowerEvent, Progress, Provider

_LOCK_TIMEOUT = 60.0


@dataclass(frozen=True)
class Options:
    """What a lab may be told beyond its topology; ``sets`` are package sets besides those its services need.

    ``spares`` are names of machines that are installed and in no cluster, to be added to one.
    ``disk_mib``: give each database's datadir a file system of its own of so many MiB, which can be filled; 0: none.
    """

    suite: str = image.DEFAULT_SUITE
    sets: tuple[str, ...] = ()
    extra: int = 0
    shares: tuple[str, ...] = ()
    timeout: float = 120.0
    disk_mib: int = 0
    spares: tuple[str, ...] = ()


def quiet(text: str) -> None:
    """A Progress that says nothing."""


class Lab:
    """One running lab. All errors are HafailoverError and its kinds."""

    def __init__(self, plan: Plan, provider: Provider) -> None:
        self.plan = plan
        self.name = plan.name
        self.provider = provider

    @classmethod
    def open(cls, name: str) -> Lab:
        """Attach to the lab ``name``; HafailoverError if there is none or it was never completed."""
        host.require()
        found = state.read(host.check_name(name))
        if found is None:
            rest = " only what is left of one; 'hafailover lab down' clears it away" if name in state.names() else ""
            raise HafailoverError(f"there is no lab {name!r};{rest or ' hafailover lab up makes one'}.")
        return cls(found.plan, Containers(found.plan))

    @classmethod
    def up(cls, name: str, topology: Topology, options: Options | None = None, progress: Progress = quiet) -> Lab:
        """Make the lab ``name`` of ``topology``, or return it if it runs and is healthy.

        RefusedError if a lab of that name runs another topology or is not healthy; IncompleteError if the
        cluster does not get healthy in time (the lab is left running, to be looked at); after any earlier
        failure nothing is left behind.
        """
        host.require()
        host.check_name(name)
        options = options or Options()
        plan = replace(
            adapt.plan(name, topology, options.extra, options.spares),
            shares=options.shares,
            checkout=str(host.package_root()),
            disks=adapt.datadirs(topology) if options.disk_mib else (),
            disk_mib=options.disk_mib,
            shared_disks=adapt.shared_disks(topology),
            own_disks=adapt.own_disks(topology),
        )
        with state.locked(name, _LOCK_TIMEOUT):
            if name in state.names():
                return cls._again(name, topology, plan)
            lab = cls._make(topology, plan, options, progress)
            try:
                assembly.apply(lab, progress)
                assembly.await_health(lab, options.timeout, progress)
            except HafailoverError as error:
                raise IncompleteError(
                    f"lab {name} runs but is not healthy: {error} Look with 'hafailover lab status {name}' and "
                    f"'hafailover lab logs NODE --lab {name}', remove it with 'hafailover lab down {name}'."
                ) from error
            state.write(replace(lab._state(topology), phase=state.UP))
            return lab

    @classmethod
    def _make(cls, topology: Topology, plan: Plan, options: Options, progress: Progress) -> Lab:
        sets = sorted({image.BASE_SET, *options.sets, *assembly.package_sets(topology)})
        plan = replace(plan, image=str(image.ensure(options.suite, sets, progress)))
        lab = cls(plan, Containers(plan))
        adapted, notes = adapt.adapt(topology, plan)
        for note in notes:
            progress(note)
        try:
            state.write(lab._state(topology))
            assembly.build(lab, adapted, progress)
        except BaseException:
            # Also on Ctrl-C: half a lab is of no use to anybody.
            lab.provider.destroy()
            raise
        return lab

    @classmethod
    def _again(cls, name: str, topology: Topology, plan: Plan) -> Lab:
        found = state.read(name)
        down = f"'hafailover lab down {name}' removes it"
        if found is None or found.phase != state.UP:
            raise RefusedError(f"lab {name} was begun and never completed; {down}.")
        if found.topology != topology.text or replace(found.plan, image="") != plan:
            raise RefusedError(
                f"lab {name} runs {found.topology_file} as it was then, or with other options; {down}, "
                "--lab NAME makes another one beside it."
            )
        lab = cls(found.plan, Containers(found.plan))
        problems = lab.problems()
        if problems:
            raise RefusedError(f"lab {name} is up but not healthy: {'; '.join(problems)}. {down[0].upper()}{down[1:]}.")
        return lab

    def _state(self, topology: Topology) -> state.State:
        return state.State(self.plan, state.STARTING, topology.text, topology.file, time.time())

    @staticmethod
    def down(name: str) -> bool:
        """Remove the lab ``name``, or what is left of it; False if there was nothing."""
        host.require()
        with state.locked(host.check_name(name), _LOCK_TIMEOUT):
            if name not in state.names():
                return False
            Containers(Plan(name, (), (), ())).destroy()
            return True

    @property
    def nodes(self) -> Mapping[str, Machine]:
        """Every machine of the lab by name."""
        return {machine.name: machine for machine in self.plan.machines}

    @property
    def cluster_nodes(self) -> list[str]:
        """The names of the machines that run Corosync and Pacemaker from the beginning."""
        return [machine.name for machine in self.plan.machines if machine.role not in (QUORUM, SPARE)]

    @property
    def data_nodes(self) -> list[str]:
        """The names of the topology's own nodes."""
        return [machine.name for machine in self.plan.machines if machine.role == DATA]

    @property
    def quorum_node(self) -> str | None:
        """The name of the machine that runs corosync-qnetd, if there is one."""
        return next((machine.name for machine in self.plan.machines if machine.role == QUORUM), None)

    def states(self) -> dict[str, NodeState]:
        """Power and cables of every node."""
        return self.provider.states()

    def problems(self) -> list[str]:
        """Everything that keeps the lab from being healthy, one sentence fragment each; empty if it is."""
        return health.problems(self)

    def command(self, node: str, argv: Sequence[str]) -> list[str]:
        """The command line for this machine that runs ``argv`` in a node."""
        self.plan.machine(node)
        return self.provider.command(node, argv)

    def exec(
        self,
        node: str,
        argv: Sequence[str],
        timeout: float = 60,
        input: str | None = None,
        *,
        check: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``argv`` in a node as root; HafailoverError if it hangs for ``timeout`` s or, with ``check``, fails."""
        return host.run(self.command(node, argv), timeout=timeout, input=input, check=check)

    def unpack(self, node: str, archive: bytes) -> None:
        """Unpack a tar archive at / of a node, owners by name."""
        argv = ["tar", "--extract", "--same-permissions", "--unlink-first", "--directory=/"]
        host.run(self.command(node, argv), timeout=30, input=archive)

    def popen(self, node: str, argv: Sequence[str], **keywords: Any) -> subprocess.Popen[Any]:
        """Start ``argv`` in a node; ``keywords`` are Popen's. Killing it needs its process group (it is a leader)."""
        return subprocess.Popen(
            self.command(node, argv), start_new_session=True, **{"env": host.ENVIRONMENT, **keywords}
        )

    def mariadb(
        self, node: str, options: Sequence[str], statements: str, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run the database's client program in a node as root, with ``statements`` on its standard input."""
        return self.exec(node, ["mariadb", *options], timeout, statements)

    def administers(self, node: str) -> bool:
        """Everywhere."""
        return True

    def know(self, user: str, password: str) -> None:
        """Root is root in every node."""

    def history(self, since: float) -> Sequence[Step]:
        """Nothing: the journals of all nodes can be read, and say more."""
        return ()

    def probe_popen(self, node: str, argv: Sequence[str], **keywords: Any) -> subprocess.Popen[Any]:
        """Start the program that watches a node's server inside of that node, where it sees one that is cut off."""
        return self.popen(node, argv, **keywords)

    def probe_address(self, node: str, socket: str, port: int) -> Mapping[str, Any]:
        """The server's own socket."""
        return {"unix_socket": socket}

    def tables(self) -> bool:
        """A lab has no tables that a drill may not compare."""
        return True

    def client_popen(self, argv: Sequence[str], **keywords: Any) -> subprocess.Popen[Any]:
        """Start ``argv`` on the lab's network outside of every node, with this machine's files and ``keywords`` of Popen."""
        return subprocess.Popen(self.provider.client_command(argv), **keywords)

    def client_exec(
        self, argv: Sequence[str], timeout: float = 60, input: str | None = None, *, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Like :meth:`exec`, on the lab's network outside of every node."""
        return host.run(self.provider.client_command(argv), timeout=timeout, input=input, check=check)

    def cut(self, node: str) -> None:
        """Isolate a node: all its network cables are pulled, the one to the power switch too."""
        self.provider.cut(self.plan.machine(node).name)

    def heal(self, node: str) -> None:
        """Put all its cables back."""
        self.provider.heal(self.plan.machine(node).name)

    def kill(self, node: str, target: int | str, number: int = signal.SIGKILL) -> None:
        """Send a signal to a process in a node (its pid there) or to the main process of a unit."""
        name = signal.Signals(number).name
        if isinstance(target, int) or target.isdigit():
            argv = ["kill", f"-{name[3:]}", str(target)]
        else:
            argv = ["systemctl", "kill", "--kill-who=main", f"--signal={name}", target]
        self.exec(node, argv, check=True)

    def power_off(self, node: str, *, hold: bool = False) -> None:
        """Take a node's power. Fencing may give it back, as with a real power switch, unless ``hold``."""
        self.provider.power_off(self.plan.machine(node).name, hold=hold)

    def power_on(self, node: str) -> None:
        """Give a node its power; it boots and joins the cluster by itself."""
        self.provider.power_on(self.plan.machine(node).name)

    def await_boot(self, node: str, timeout: float = 60.0) -> None:
        """Wait until a node that has power has booted; HafailoverError after ``timeout`` s."""

        def booted() -> bool | None:
            return True if self.states()[node].power == "on" else None

        try:
            host.wait(f"{node} has booted", timeout, booted)
        except HafailoverError as error:
            raise HafailoverError("\n".join([str(error), *health.last_words(self, node)])) from error

    def power_log(self) -> list[PowerEvent]:
        """Everything that happened to power and cables, oldest first."""
        return self.provider.power_log()

    def fence_log(self) -> list[tuple[float, str, str]]:
        """Fencing as (unix time, node, action off or on), oldest first: what one node had done to another."""
        names = set(self.nodes)
        return [
            (event.time, event.node, event.action)
            for event in self.power_log()
            if event.by in names and event.action in ("off", "on") and not event.refused
        ]

    def logs(self, node: str, since: float | str | None = None) -> str:
        """A node's journal as text, also when it is off; ``since`` is a unix time or what journalctl understands."""
        return host.run(
            self.provider.journal_command(self.plan.machine(node).name, [*_since(since), "--output=short-precise"]),
            timeout=60,
        ).stdout

    def journal(
        self, node: str, since: float | str | None = None, matches: Sequence[str] = ()
    ) -> Iterator[dict[str, Any]]:
        """A node's journal records, oldest first; ``matches`` are journalctl's ("FIELD=value")."""
        options = [*_since(since), "--output=json", "--all", *matches]
        text = host.run(self.provider.journal_command(self.plan.machine(node).name, options), timeout=60).stdout
        for line in text.splitlines():
            # A record that is being written may be cut off.
            with contextlib.suppress(ValueError):
                yield {key: _text(value) for key, value in json.loads(line).items()}


def _since(since: float | str | None) -> list[str]:
    if since is None:
        return []
    return [f"--since=@{since:.6f}" if isinstance(since, (int, float)) else f"--since={since}"]


def _text(value: Any) -> Any:
    """journalctl gives a field that is not UTF-8 as a list of bytes."""
    if isinstance(value, list) and all(isinstance(item, int) for item in value):
        return bytes(value).decode(errors="replace")
    return value
