"""Make the checkout importable as hafailover.*, as bin/hafailover does; name checks that failed before the tests."""

from __future__ import annotations

import os
import pathlib
import signal
import sys
from types import ModuleType

import pytest

package = sys.modules.setdefault("hafailover", ModuleType("hafailover"))
package.__path__ = [str(pathlib.Path(__file__).resolve().parent.parent)]

# A test run that was started in the background inherits an ignored SIGINT, and so would every program under test.
signal.signal(signal.SIGINT, signal.default_int_handler)


# From the longest (a quarter of an hour) on; the others take less than two minutes.
LONG = (
    "scenarios", "stack_moves", "st2", "gluster", "stackstorm", "rejoin", "rabbitmq_start", "game_day", "stubborn", "alerts", "rabbitmq",
    "openstack", "disk", "gluster_forming", "adopt", "history", "drill", "start", "gluster_pair", "drill_random", "cloudstack", "grow",
    "nfsmount", "divergence", "doctor_pair", "tender", "stackstorm_stateless", "promote_status", "gluster_growing", "lab",
    "configuration", "changing",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin what takes long first, so that no worker is left alone with it at the end; modules stay together."""
    begin = [f"test_{name}.py" for name in LONG]

    def place(item: pytest.Item) -> int:
        if item.path.parent.name != "cluster":
            return len(begin) + 1
        return begin.index(item.path.name) if item.path.name in begin else len(begin)

    items.sort(key=place)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    failed = os.environ.get("HAFAILOVER_FAILED_CHECKS")
    if failed:
        terminalreporter.section("failed before the tests", red=True)
        terminalreporter.line(failed)
