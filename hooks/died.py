"""What the hooks have in common that systemd runs when a server's process has ended (``ExecStopPost=``).

They tell Pacemaker at once, not at its next monitor. If such a hook dies, the next monitor finds the same: nothing but time is lost.
"""

from __future__ import annotations

import os

from hafailover.agents import RUN_DIR, journal, process
from hafailover.crm.pacemaker import Pacemaker, PacemakerError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Callable

    Report = Callable[[str, Pacemaker, str], str]
    """Tell Pacemaker that a resource's server died on a node; return what was done, for the log. PacemakerError."""

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_TIMEOUT = 10.0  # seconds for each call to Pacemaker; systemd runs hooks with an empty environment


def tell(agent: str, server: str, resource: str, report: Report, node: str = "") -> None:
    """Have ``report`` tell of the death of ``resource``'s ``server`` unless it was planned, and log what came of it.

    ``node`` is this node's name where it is known; to ask for it takes as long as half of what has to be done.
    """
    if os.path.exists(f"{RUN_DIR}/{resource}.planned"):
        return
    try:
        node = node or _run(["crm_node", "-n"]).out.strip()
        said = report(resource, Pacemaker(_run, _TIMEOUT), node)
    except (PacemakerError, OSError) as error:
        said = f"{server} died, and Pacemaker could not be told ({error}); its next monitor will find out"
    journal.send("notice", f"hafailover-{agent}", said, {"HAFAILOVER_EVENT": "died", "HAFAILOVER_RESOURCE": resource})


def _run(argv: Sequence[str], timeout: float | None = None, input: str | None = None) -> process.Result:
    program = process.find(argv[0], _PATH)
    if program is None:
        raise PacemakerError(f"{argv[0]} is not installed")
    return process.run(program, argv, timeout or _TIMEOUT, {"PATH": _PATH, "LC_ALL": "C"}, input)
