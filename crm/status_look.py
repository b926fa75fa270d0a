"""One look at the whole stack: Pacemaker, Corosync, the database servers, the network and what is outside, all asked at the same time."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, NamedTuple
from xml.etree.ElementTree import Element

from hafailover.crm import status_external
from hafailover.crm.status_facts import GLANCE, Facts, database_resources, gather

if TYPE_CHECKING:
    from hafailover.crm.pacemaker import Run
    from hafailover.crm.status import Problem, Status, Verdict

_HINTS = 1.2  # seconds after the rest; what they say can wait until the server has time
_TURN = 0.0005  # seconds; with Python's 5 ms a thread that has an answer waits for the one that loads modules
_FOR_ROOT = (
    "which accounts may write in spite of read_only: only root may ask this node's server",
    "who on the network answers for the addresses: only root may ask",
)


class Look(NamedTuple):
    """What was seen, and what it comes to."""

    status: Status
    verdict: Verdict


def look(run: Run, root: bool) -> Look:
    """Look once; ``root``: whether this user is. ClusterDown when this node's cluster cannot be asked, HafailoverError."""
    sys.setswitchinterval(_TURN)
    outside = status_external.begin()
    meanwhile = _Meanwhile(root)
    facts: list[Facts] = []
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            facts.append(gather(run, GLANCE, then=meanwhile.begin))
        except BaseException as error:  # it is raised again by who waits
            errors.append(error)

    asking = threading.Thread(target=ask, daemon=True)  # Ctrl-C does not wait for it
    asking.start()
    # Loaded while the programs run, which takes them as long as this; first what is begun as soon as one of them has answered.
    _load()
    from hafailover.crm.status_judge import judge
    from hafailover.crm.status_read import read

    asking.join()
    if errors:
        raise errors[0]
    status = meanwhile.finish(read(facts[0]))
    status = status._replace(external=status_external.end(outside))
    verdict = judge(status)
    return Look(status, verdict._replace(problems=(*verdict.problems, *meanwhile.hints())))


def _load() -> None:
    from hafailover.agents.mariadb import replication, sql  # noqa: F401
    from hafailover.agents.vip import neighbours, netlink, place  # noqa: F401
    from hafailover.crm import privileged, status_places, status_servers  # noqa: F401


class _Meanwhile:
    """What is asked as soon as the configuration is known, while Pacemaker's programs still run."""

    def __init__(self, root: bool) -> None:
        self._root = root
        self._hints: tuple[Problem, ...] = ()

    def begin(self, cib: Element) -> None:
        """Begin to ask what this configuration names."""
        from hafailover.crm import status_places, status_servers

        self._places = status_places.Look(cib, self._root)  # first: it listens for a while
        self._servers = status_servers.Look(cib)
        names = [primitive.get("id", "") for _, primitive in database_resources(cib)]
        self._hinting = threading.Thread(target=self._hint, args=(names,), daemon=True)
        self._hinting.start()

    def _hint(self, names: list[str]) -> None:
        from hafailover.crm import privileged

        self._hints = privileged.hints(names)

    def finish(self, status: Status) -> Status:
        """``status`` with what came of it."""
        from hafailover.crm.status_servers import with_servers

        status = with_servers(self._places.finish(status), self._servers.said())
        return status._replace(hidden=(*self._servers.hidden, *(() if self._root else _FOR_ROOT)))

    def hints(self) -> tuple[Problem, ...]:
        """What only a person who looks wants to know; nothing while the server is slow to say."""
        self._hinting.join(_HINTS)
        return self._hints
