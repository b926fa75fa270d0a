"""The rejoin worker's program, in the unit hafailover-mariadb-RESOURCE-rejoin.service."""

from __future__ import annotations

import sys

from hafailover.agents.mariadb.cloning import worker


def main() -> None:
    """Entry point: argv[1] is the resource's name."""
    sys.exit(worker.run(sys.argv[1]))
