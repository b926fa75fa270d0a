"""Fixtures of more than one module; each module's own ``lab`` is the lab that they use."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hafailover.vagrant.lab import Lab
from pair import healthy
from stubborn import Writer

_RECENT = 400.0  # seconds
_LINES, _WIDTH = 70, 230
_TELLING = re.compile(r"hafailover|pacemaker-(controld|fenced|attrd)|corosync|warning|error|oom|killed", re.IGNORECASE)


@pytest.fixture
def writer(lab: Lab, tmp_path: Path) -> Iterator[Writer]:
    """A writer through the address of a healthy pair that has the tables of ``stubborn.make``."""
    healthy(lab)
    made = Writer(lab, tmp_path)
    try:
        made.progress()
        yield made
    finally:
        made.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep with a failure what its lab says of itself: the lab is gone when a person reads the report."""
    report = yield
    # Whatever goes wrong with a broken lab here, the failure is what is reported: an error in this hook would end the whole run.
    lab = getattr(item, "funcargs", {}).get("lab")
    if report.failed and isinstance(lab, Lab):
        node = lab.data_nodes[0]
        with contextlib.suppress(Exception):
            done = lab.exec(node, ["hafailover", "status"], timeout=60)
            report.sections.append((f"hafailover status on {node}", done.stdout + done.stderr))
        for node in lab.data_nodes:
            with contextlib.suppress(Exception):
                lines = [
                    line[:_WIDTH]
                    for line in lab.logs(node, time.time() - _RECENT).splitlines()
                    if _TELLING.search(line)
                ]
                report.sections.append((f"the journal of {node}", "\n".join(lines[-_LINES:])))
    if report.failed:
        _keep(item, report)
    return report


def _keep(item: pytest.Item, report: pytest.TestReport) -> None:
    """Write the whole report beside the tests' directories, too: what prints a run may keep only its end."""
    factory: pytest.TempPathFactory | None = getattr(item.config, "_tmp_path_factory", None)
    with contextlib.suppress(OSError):
        if factory is not None:
            place = factory.getbasetemp() / "failures"
            place.mkdir(exist_ok=True)
            name = re.sub(r"[^\w.-]+", "_", f"{item.nodeid}-{report.when}")[:200]
            parts = [report.longreprtext, *(f"-- {title} --\n{text}" for title, text in report.sections)]
            (place / f"{name}.txt").write_text("\n\n".join(parts))
