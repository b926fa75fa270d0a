"""Run by systemd when a service's unit has ended: it is reported to Pacemaker, to be started again."""

from __future__ import annotations

import sys

from hafailover.crm.pacemaker import Pacemaker
from hafailover.hooks import died


def report(resource: str, pacemaker: Pacemaker, node: str) -> str:
    """Tell Pacemaker that ``resource`` died on ``node``; return what was done, for the log."""
    pacemaker.report_failure(resource, node)
    return f"{resource} died; reported, to be started again"


def main() -> None:
    """Entry point: argv[1] is the resource's name, argv[2] its agent's."""
    died.tell(sys.argv[2], sys.argv[1], sys.argv[1], report)
