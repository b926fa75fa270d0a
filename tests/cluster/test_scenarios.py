"""Every scenario that comes with the program, but the long ones, in one lab: each begins and ends with a healthy pair.

The long ones, or all: hafailover drill --long, hafailover drill --all.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hafailover.crm import topology as topologies
from hafailover.crm import yamldoc
from hafailover.crm.drill import scenario, stacks
from hafailover.crm.drill.engine import Drill
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.drill import evidence, target
from hafailover.vagrant.lab import Lab, Options

NAME = "scenarios"
INTERVAL = 0.02  # seconds; every machine's replicas keep up with that
# A busy machine may stall a commit for a second; that is no reason to call the replica stale just before the fault.
TOPOLOGY = topologies.parse(
    yamldoc.parse(
        DEFAULT_TOPOLOGY.read_text().replace("{type: mariadb}", "{type: mariadb, stall: 5s}"), "scenarios.yml"
    )
)
SCENARIOS = [name for name in scenario.known() if not scenario.load(name).long]


class Story:
    """What the drill told, with the seconds since the scenario began."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._began = time.monotonic()

    def __call__(self, text: str) -> None:
        self.lines.append(f"{time.monotonic() - self._began:6.1f} s  {text}")

    def begin(self) -> None:
        self._began = time.monotonic()
        self.lines.clear()


class Stage:
    """The lab and the drill on it. One that a scenario has left in disorder is replaced: it must not spoil the next."""

    def __init__(self, ledgers: Path) -> None:
        self.story = Story()
        self._ledgers = ledgers
        self._number = 0
        self.lab, self.drill = self._make()

    def _make(self) -> tuple[Lab, Drill]:
        Lab.down(NAME)
        self._number += 1
        lab = Lab.up(NAME, TOPOLOGY, Options(disk_mib=scenario.DISK_MIB))
        directory = self._ledgers / str(self._number)
        directory.mkdir()
        drill = Drill(lab, target.of_lab(NAME), stacks.Hafailover(), directory, self.story, INTERVAL)
        drill.begin()
        return lab, drill

    def renew(self) -> None:
        self.lab, self.drill = self._make()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    try:
        yield Stage(tmp_path_factory.mktemp("ledgers"))
    finally:
        Lab.down(NAME)


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(stage: Stage, tmp_path: Path, name: str) -> None:
    item, began = scenario.load(name), time.time()
    stage.story.begin()
    run = stage.drill.run(item)
    if run.ok:
        return
    evidence.collect(stage.lab, tmp_path / name, began, run)
    told = [f"{name}: {item.summary}", f"right outcome: {item.outcome}", *stage.story.lines, "but:", *run.problems]
    stage.renew()
    pytest.fail("\n".join([*told, f"evidence: {tmp_path / name}"]), pytrace=False)
