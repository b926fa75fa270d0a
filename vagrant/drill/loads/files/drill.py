"""hafailover drill files: break a GlusterFS lab while files are written on every node, and read every one of them on every node."""

from __future__ import annotations

import time
import uuid
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

from hafailover.crm.errors import UsageError
from hafailover.vagrant.drill.loads import wait
from hafailover.vagrant.drill.loads.files import oracle
from hafailover.vagrant.drill.loads.files.faults import FAULTS
from hafailover.vagrant.drill.loads.files.load import Writers, read
from hafailover.vagrant.drill.loads.frame import TOPOLOGIES, LoadDrill, Struck
from hafailover.vagrant.drill.loads.result import NODE, Column, Run, seconds
from hafailover.vagrant.drill.target import topology_of
from hafailover.vagrant.lab import Lab

_HEALED = 600.0


class Volume(NamedTuple):
    """A mounted volume of a lab: its name, where it is mounted, on which nodes."""

    name: str
    mount: str
    nodes: tuple[str, ...]


def volume(name: str) -> Volume:
    """The first volume of the topology of the lab ``name`` that is mounted; UsageError when there is none."""
    wanted = topology_of(name)
    for service in wanted.services.values():
        if service.type == "glusterfs":
            for found, options in service.options["volumes"].items():
                if "mount" in options:
                    return Volume(found, options["mount"], service.nodes)
    raise UsageError(f"lab {name} has no GlusterFS volume that is mounted; gluster-volume.yml makes one that has.")


@dataclass(frozen=True)
class FilesRun(Run):
    """``lost`` counts acknowledged files that some node did not read as they were written. ``gap`` is the longest time in which a writer of
    a node that the fault is not about had nothing acknowledged; ``back`` is from the fault until the cluster was healthy, ``healed``
    until every copy was whole."""

    acknowledged: int = 0
    lost: int | None = None
    refused: int | None = None
    gap: float | None = seconds()
    back: float | None = seconds()
    healed: float | None = seconds()


class FilesDrill(LoadDrill[Writers, FilesRun]):
    """Break a GlusterFS volume on purpose while files are written through its mount on every node, and account for each.

    On each node a program writes a numbered file ten times a second, has it on the disks (fsync), and only then counts it as acknowledged.
    Each FAULT strikes each node in turn (without one: power-off). Afterwards every copy must be whole, nothing in split-brain, and every
    node must read every acknowledged file with its checksum.

    Exit code 0: nothing was lost and all came back; 1: something is not as it must be; 2: wrong usage.

    \b
    Example:
      hafailover drill files
      hafailover drill files power-off cut kill-brick standby -n 3 -o json
    """

    name = "files"
    topology = TOPOLOGIES / "gluster-volume.yml"
    faults = FAULTS
    default = ("power-off",)
    result = FilesRun
    columns = (
        NODE,
        Column("acked", lambda run: run.acknowledged),
        Column("lost", lambda run: run.lost),
        Column("refused", lambda run: run.refused),
        Column("gap s", lambda run: run.gap),
        Column("back s", lambda run: run.back),
        Column("healed s", lambda run: run.healed),
    )

    def __init__(self, lab: Lab) -> None:
        super().__init__(lab)
        self._volume = volume(lab.name)
        self.nodes = self._volume.nodes

    def load(self) -> AbstractContextManager[Writers]:
        """A writer on every node, in a directory of this run's own."""
        directory = f"{self._volume.mount}/drill-{uuid.uuid4().hex[:8]}"
        # By one of them: several that make it at once may leave it in split-brain, without any fault of a node.
        self.lab.exec(self.nodes[0], ["mkdir", directory], timeout=60, check=True)
        return Writers(self.lab, self._volume.nodes, directory)

    def await_ready(self) -> None:
        """Also wait until every copy is whole."""
        super().await_ready()
        self._await_whole()

    def judged(self, writers: Writers, struck: Struck) -> FilesRun:
        """When every copy is whole, what every node reads."""
        self._await_whole()
        healed = time.time() - struck.at
        written, refused = writers.written(), writers.errors()
        lost, said = oracle.missing(
            written, {node: read(self.lab, node, writers.directory) for node in self._volume.nodes}
        )
        gap = oracle.gap(written, struck.node)
        elsewhere = [f"refused: {error}" for error in refused if not error.startswith(f"{struck.node}-")]
        return FilesRun(
            struck.fault,
            struck.node,
            (*struck.problems, *said, *elsewhere[:1]),
            acknowledged=len(written),
            lost=lost,
            refused=len(refused),
            gap=gap and gap.seconds,
            back=struck.back,
            healed=healed,
        )

    def _await_whole(self) -> None:
        """HafailoverError with what is left to heal after ten minutes."""
        argv = ["gluster", "--mode=script", "volume", "heal", self._volume.name, "info", "summary"]

        def left() -> str | None:
            done = self.lab.exec(self._volume.nodes[0], argv, timeout=120, check=True)
            now = oracle.healing(done.stdout)
            away = ", ".join(now.away) or "nobody"
            what = f"{now.pending} entries to heal, {now.split} in split-brain, away: {away}"
            return None if now.done else f"volume {self._volume.name} is not whole: {what}"

        wait.until_none(left, _HEALED, 1.0)
