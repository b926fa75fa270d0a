"""Run by systemd when a broker's process has ended (``ExecStopPost=``): tell Pacemaker at once, not at the next monitor.

If this hook dies, the next monitor finds the same: nothing but time is lost.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from hafailover.agents import journal, process
from hafailover.agents.rabbitmq.memo import RUN_DIR
from hafailover.crm.pacemaker import Pacemaker, PacemakerError

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_TIMEOUT = 10.0  # seconds for each call to Pacemaker; systemd runs this hook with an empty environment


def _run(argv: Sequence[str], timeout: float | None = None, input: str | None = None) -> process.Result:
    program = process.find(argv[0], _PATH)
    if program is None:
        raise PacemakerError(f"{argv[0]} is not installed")
    return process.run(program, argv, timeout or _TIMEOUT, {"PATH": _PATH, "LC_ALL": "C"}, input)


def main() -> None:
    """Entry point: argv[1] is the resource's name."""
    resource = sys.argv[1]
    if os.path.exists(f"{RUN_DIR}/{resource}.planned"):
        return
    try:
        node = _run(["crm_node", "-n"]).out.strip()
        Pacemaker(_run, _TIMEOUT).report_failure(resource, node)
        said = "the broker died; reported, to be started again"
    except (PacemakerError, OSError) as error:
        said = f"the broker died, and Pacemaker could not be told ({error}); its next monitor will find out"
    journal.send("notice", "hafailover-rabbitmq", said, {"HAFAILOVER_EVENT": "died", "HAFAILOVER_RESOURCE": resource})
