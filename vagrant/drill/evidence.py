"""What is kept of a fault that did not end well: each node's journal, the configuration, power and fencing, the verdict."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hafailover.crm.drill import database
from hafailover.crm.drill.report import Run
from hafailover.crm.errors import HafailoverError
from hafailover.vagrant.lab import Lab

_TIMEOUT = 30.0


def collect(lab: Lab, directory: Path, since: float, run: Run) -> None:
    """Write into ``directory`` everything since the Unix time ``since`` that may tell why ``run`` failed."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "run.json").write_text(json.dumps(run.as_json(), indent=2) + "\n")
    power = [json.dumps(event._asdict()) for event in lab.power_log() if event.time >= since]
    (directory / "power.jsonl").write_text("".join(line + "\n" for line in power))
    for node in lab.nodes:
        _save(directory / f"{node}.journal", partial(lab.logs, node, since))
    _save(directory / "cib.xml", partial(database.cib_text, lab))
    for node in lab.data_nodes:
        _save(directory / f"{node}.status", partial(_status, lab, node))


def _status(lab: Lab, node: str) -> str:
    answer = lab.exec(node, ["hafailover", "status"], _TIMEOUT)
    return answer.stdout + answer.stderr


def _save(file: Path, ask: Callable[[], str]) -> None:
    try:
        text = ask()
    except HafailoverError as error:
        text = f"{error}\n"  # that nobody answered is evidence, too
    file.write_text(text)
