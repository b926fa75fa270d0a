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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    failed = os.environ.get("HAFAILOVER_FAILED_CHECKS")
    if failed:
        terminalreporter.section("failed before the tests", red=True)
        terminalreporter.line(failed)
