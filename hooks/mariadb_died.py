"""Run by systemd when a MariaDB server's process has ended (``ExecStopPost=``): tell Pacemaker at once, not at the next monitor.

Two ways to tell. When a replica may take over, only the dead server's promotion score is lowered: Pacemaker demotes it (which succeeds at
once on a dead server) and promotes the peer without a stop in between, and the dead instance's next monitor restarts it as a replica.
Without such a replica the failure is reported, and the server is restarted in place. If this hook dies, the next monitor finds the
same: nothing but time is lost.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from hafailover.agents import journal, process
from hafailover.agents.mariadb.cluster import give_up, handing_over
from hafailover.agents.mariadb.decide import SCORE_NEVER, SCORE_PRIMARY, SCORE_REQUESTED
from hafailover.agents.mariadb.server import RUN_DIR
from hafailover.crm.pacemaker import Pacemaker, PacemakerError

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_PRIMARY = (str(SCORE_PRIMARY), str(SCORE_REQUESTED))
_TIMEOUT = 10.0  # seconds for each call to Pacemaker; systemd runs this hook with an empty environment


def _run(argv: Sequence[str], timeout: float | None = None, input: str | None = None) -> process.Result:
    program = process.find(argv[0], _PATH)
    if program is None:
        raise PacemakerError(f"{argv[0]} is not installed")
    return process.run(program, argv, timeout or _TIMEOUT, {"PATH": _PATH, "LC_ALL": "C"}, input)


def report(resource: str, pacemaker: Pacemaker, node: str) -> str:
    """Tell Pacemaker that ``resource`` died on ``node``; return what was done, for the log."""
    if handing_over(resource):
        return "mariadbd died; a monitor saw it first and the role is on its way"
    if pacemaker.published(f"master-{resource}").get(node) in _PRIMARY:
        heir = give_up(pacemaker, resource, node)
        if heir:
            return f"mariadbd died; {heir} may take over, so this node gives up the role"
    else:
        pacemaker.set_score(resource, node, SCORE_NEVER)  # a dead replica is nobody's heir
    pacemaker.report_failure(resource, node)
    return "mariadbd died; reported, to be restarted here"


def main() -> None:
    """Entry point: argv[1] is the resource's name."""
    resource = sys.argv[1]
    if os.path.exists(f"{RUN_DIR}/{resource}.planned"):
        return
    try:
        node = _run(["crm_node", "-n"]).out.strip()
        said = report(resource, Pacemaker(_run, _TIMEOUT), node)
    except (PacemakerError, OSError) as error:
        said = f"mariadbd died, and Pacemaker could not be told ({error}); its next monitor will find out"
    journal.send("notice", "hafailover-mariadb", said, {"HAFAILOVER_EVENT": "died", "HAFAILOVER_RESOURCE": resource})
