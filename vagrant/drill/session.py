"""What every drill command needs around it: progress, an orderly end when interrupted, and a lab."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path

from hafailover.crm import topology as topologies
from hafailover.crm.drill.engine import Say
from hafailover.crm.drill.interruption import interruptible as interruptible
from hafailover.crm.drill.interruption import undisturbed as undisturbed
from hafailover.crm.errors import RefusedError, UsageError
from hafailover.crm.progress import Progress as Progress
from hafailover.crm.progress import under_way
from hafailover.vagrant import host, state
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.lab import Lab, Options

# Seconds. Two brokers and two databases that begin at once take minutes on a machine that is busy with other things.
_UP_WITHIN = 400


@contextlib.contextmanager
def lab(
    name: str | None, say: Say, topology: Path | None = None, disk_mib: int = 0, default: Path | None = None
) -> Iterator[Lab]:
    """Yield the lab ``name``, or the only one that runs, or one made of ``topology`` for this drill and removed afterwards.

    ``default`` is what it is made of where no topology is named, and what one that is not named has to run. UsageError if it runs
    another topology than the one that was asked for.
    """
    wanted = topology or default or DEFAULT_TOPOLOGY
    asked = topology if name else topology or default
    known = state.names()
    running = [one for one in known if _runs(one)]
    if name is None and len(running) > 1:
        raise UsageError(f"there are several labs ({', '.join(running)}): say which with --lab NAME.")
    if name is None and running:
        name = running[0]
    if name is not None and name in running:
        found = state.read(name)
        if asked is not None and found is not None and found.topology != topologies.load(asked).text:
            way = "leave --topology out" if topology else f"say --lab {name} if you mean it"
            raise UsageError(f"lab {name} runs {found.topology_file}, not {asked}: {way}, or name another lab.")
        say(f"lab {name} is used as it is")
        yield Lab.open(name)
        return
    if name is not None and name in known:
        raise RefusedError(f"lab {name} is not complete; 'hafailover lab down {name}' removes what there is of it.")
    own = host.check_name(name) if name else next(one for one in _own_names() if one not in known)
    try:
        under_way(say, f"lab {own} is made")
        yield Lab.up(own, topologies.load(wanted), Options(timeout=_UP_WITHIN, disk_mib=disk_mib), say)
    finally:
        with undisturbed():
            say(f"lab {own} is removed")
            Lab.down(own)


def _own_names() -> Iterator[str]:
    yield "drill"
    for number in itertools.count(2):
        yield f"drill-{number}"


def _runs(name: str) -> bool:
    found = state.read(name)
    return found is not None and found.phase == state.UP and Lab.open(name).provider.alive()
