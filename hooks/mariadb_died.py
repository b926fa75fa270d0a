"""Run by systemd when a MariaDB server's process has ended.

Two ways to tell Pacemaker. When a replica may take over, only the dead server's promotion score is lowered: Pacemaker demotes it (which
succeeds at once on a dead server) and promotes the peer without a stop in between, and the dead instance's next monitor restarts it as a
replica. Without such a replica the failure is reported, and the server is restarted in place.
"""

from __future__ import annotations

import sys

from hafailover.agents.mariadb import outside
from hafailover.agents.mariadb.cluster import give_up, handing_over
from hafailover.agents.mariadb.decide import SCORE_NEVER, SCORE_PRIMARY, SCORE_REQUESTED
from hafailover.agents.ocf import OcfError
from hafailover.crm.pacemaker import Pacemaker
from hafailover.hooks import died

_PRIMARY = (str(SCORE_PRIMARY), str(SCORE_REQUESTED))


def report(resource: str, pacemaker: Pacemaker, node: str) -> str:
    """Tell Pacemaker that ``resource`` died on ``node``; return what was done, for the log."""
    if handing_over(resource):
        return "mariadbd died; a monitor saw it first and the role is on its way"
    scores = pacemaker.published(f"master-{resource}")
    if scores.get(node) in _PRIMARY:
        heir = give_up(pacemaker, resource, node, scores)
        if heir:
            return f"mariadbd died; {heir} may take over, so this node gives up the role"
    else:
        pacemaker.set_score(resource, node, SCORE_NEVER)  # a dead replica is nobody's heir
    pacemaker.report_failure(resource, node)
    return "mariadbd died; reported, to be restarted here"


def main() -> None:
    """Entry point: argv[1] is the resource's name."""
    resource = sys.argv[1]
    try:
        node = outside.node(resource)
    except (OcfError, OSError, ValueError):  # never started by Pacemaker since boot, or not readable: the tool is asked
        node = ""
    died.tell("mariadb", "mariadbd", resource, report, node)
