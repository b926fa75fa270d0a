"""Where a drill takes place: what it needs from a lab or from a real cluster."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from hafailover.crm.history.words import Step


class Power(Protocol):
    """A node's power (off, booting, on), and whether it is cut off the network."""

    @property
    def power(self) -> str:
        """In one word."""

    @property
    def cut(self) -> bool:
        """Whether it is."""


class PowerEvent(Protocol):
    """Something that happened to a node's power: ``time`` in Unix seconds, ``action`` such as off, on, cut."""

    @property
    def time(self) -> float:
        """When it was done."""

    @property
    def node(self) -> str:
        """Whose."""

    @property
    def action(self) -> str:
        """What."""


class Place(Protocol):
    """Nodes that can be looked at, worked on and broken. All errors are HafailoverError and its kinds."""

    name: str

    @property
    def nodes(self) -> Mapping[str, Any]:
        """Every machine by name."""

    @property
    def cluster_nodes(self) -> list[str]:
        """Those that run Corosync and Pacemaker."""

    @property
    def data_nodes(self) -> list[str]:
        """Those that hold data, or can be asked for those that do."""

    @property
    def quorum_node(self) -> str | None:
        """The machine with the quorum device, if it is one of ours."""

    def states(self) -> Mapping[str, Power]:
        """Power and cables of every node."""

    def problems(self) -> list[str]:
        """Everything that keeps the cluster from being healthy, one sentence fragment each; empty if it is."""

    def exec(
        self, node: str, argv: Sequence[str], timeout: float = 60, input: str | None = None, *, check: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run ``argv`` on a node as root; HafailoverError if it hangs for ``timeout`` s or, with ``check``, fails."""

    def mariadb(
        self, node: str, options: Sequence[str], statements: str, timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Run the client program against the server of a node, with ``statements`` on its standard input."""

    def administers(self, node: str) -> bool:
        """Whether that is done as an administrator there."""

    def know(self, user: str, password: str) -> None:
        """The account by which servers are asked that cannot be administered."""

    def history(self, since: float) -> Sequence[Step]:
        """What the cluster itself has written down since then (Unix seconds), where a journal does not say more."""

    def popen(self, node: str, argv: Sequence[str], **keywords: Any) -> subprocess.Popen[Any]:
        """Start ``argv`` on a node; ``keywords`` are Popen's. It leads a process group."""

    def probe_popen(self, node: str, argv: Sequence[str], **keywords: Any) -> subprocess.Popen[Any]:
        """Start the program that watches a node's server, where that is done."""

    def probe_address(self, node: str, socket: str, port: int) -> Mapping[str, Any]:
        """Where that program finds the server: ``{"unix_socket"}`` or ``{"host", "port"}``."""

    def client_popen(self, argv: Sequence[str], **keywords: Any) -> subprocess.Popen[Any]:
        """Start ``argv`` where the client is."""

    def cut(self, node: str) -> None:
        """Isolate a node from all others."""

    def heal(self, node: str) -> None:
        """Take that back."""

    def power_off(self, node: str, *, hold: bool = False) -> None:
        """Take a node's power; with ``hold`` nobody else gives it back."""

    def power_on(self, node: str) -> None:
        """Give a node its power; it boots and joins the cluster."""

    def await_boot(self, node: str, timeout: float = 60.0) -> None:
        """Wait until a node that has power has booted; HafailoverError after ``timeout`` s."""

    def power_log(self) -> Sequence[PowerEvent]:
        """Everything that is known to have happened to power and cables, oldest first."""

    def fence_log(self) -> list[tuple[float, str, str]]:
        """Fencing as (Unix time, node, action off or on), oldest first."""

    def logs(self, node: str, since: float | str | None = None) -> str:
        """A node's journal as text."""

    def journal(
        self, node: str, since: float | str | None = None, matches: Sequence[str] = ()
    ) -> Iterable[dict[str, Any]]:
        """A node's journal records, oldest first; ``matches`` are journalctl's ("FIELD=value")."""

    def tables(self) -> bool:
        """Whether the tables of others may be read, to compare them; on a real cluster they are nobody's business."""
