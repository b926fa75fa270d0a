"""The drill on a real lab: its verdict is "ok" when all is well, and every planted loss is reported.

The four drills themselves are the demonstration, and run there; here the instrument is tested.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from hafailover.crm import yamldoc
from hafailover.crm.drill import scenario, stacks
from hafailover.crm.drill.engine import Drill
from hafailover.vagrant import cgroups, state
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.drill import target
from labs import lab_of

PROGRAM = str(Path(__file__).resolve().parent.parent.parent / "bin" / "hafailover")
NAME = "drilltest"


@pytest.fixture(scope="module")
def lab():
    with lab_of(NAME, DEFAULT_TOPOLOGY) as made:
        yield made


@pytest.fixture
def drill(lab, tmp_path):
    return Drill(lab, target.of_lab(NAME), stacks.Hafailover(), tmp_path, lambda text: None)


def planted(*statements, node="primary"):
    steps = [{"write": "1s"}, {"sql": {"node": node, "statements": " ".join(statements)}}, {"write": "1s"}]
    return scenario.parse(yamldoc.parse(json.dumps({"summary": "planted", "steps": steps}), "planted"), "planted")


# The order matters: each leaves the lab as it was, but the last.
def test_a_harmless_statement_is_ok(drill):
    run = drill.run(planted("SELECT 1"))
    assert run.problems == []
    assert (run.lost, run.extra, run.concurrent_writers) == (0, 0, 0)
    assert run.acknowledged > 100
    assert min(run.details["probe_acknowledged"].values()) == 0 < max(run.details["probe_acknowledged"].values())


def test_a_row_deleted_on_the_primary_is_lost(drill):
    run = drill.run(planted("DELETE FROM hafailover_drill.ledger WHERE writer = 'client' AND seq = 60"))
    assert (run.lost, run.extra) == (1, 0)
    assert any("acknowledged rows are missing: 60" in problem for problem in run.problems)
    assert not run.ok


def test_a_row_missing_only_on_the_replica_is_lost_too(drill):
    run = drill.run(
        planted("SET sql_log_bin = 0; DELETE FROM hafailover_drill.ledger WHERE seq IN (60, 61)", node="replica")
    )
    assert run.lost == 2
    assert any("differs from the primary" in problem and "2 missing" in problem for problem in run.problems)


def test_a_row_of_a_probe_that_is_gone_is_reported(drill):
    run = drill.run(planted("DELETE FROM hafailover_drill.ledger WHERE writer <> 'client' LIMIT 3"))
    assert run.lost == 0
    assert any("3 rows acknowledged on the nodes are missing" in problem for problem in run.problems)


def test_a_row_that_nobody_wrote_and_a_row_that_is_there_twice_are_extra(drill):
    rows = "('client', 60, @@server_id), ('client', 123456789, @@server_id)"
    run = drill.run(planted(f"INSERT INTO hafailover_drill.ledger (writer, seq, server) VALUES {rows}"))
    assert (run.lost, run.extra) == (0, 2)
    assert not run.ok


class Untidy(stacks.Hafailover):
    """Moves the role in the way that leaves a constraint behind."""

    def switchover(self, lab, target, node, within):
        lab.exec(node, ["crm_resource", "--resource", target.clone, "--move", "--promoted", "--node", node], check=True)


def test_a_constraint_left_behind_is_reported(lab, tmp_path):
    drill = Drill(lab, target.of_lab(NAME), Untidy(), tmp_path, lambda text: None)
    try:
        run = drill.run(scenario.load("switchover"))
    finally:
        lab.exec("db1", ["crm_resource", "--resource", "db-clone", "--clear"], check=True)
    assert run.lost == 0 and run.before != run.after
    assert [problem for problem in run.problems if "cli-prefer" in problem], run.problems


def test_a_replica_that_takes_writes_is_a_second_writer(drill):
    run = drill.run(planted("SET GLOBAL read_only = OFF", node="replica"))
    assert run.concurrent_writers == 1
    assert any("accepted writes at the same time" in problem for problem in run.problems)


def start(*words):
    return subprocess.Popen(
        [sys.executable, PROGRAM, "drill", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "HAFAILOVER_LAB"},
    )


def test_without_a_lab_it_makes_its_own_and_removes_it():
    process = start("kill-primary", "--lab", "drillown", "-o", "json")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    [run] = json.loads(out)["runs"]
    assert run["ok"] and run["lost"] == 0 and run["concurrent_writers"] == 0
    assert run["from"] != run["to"] and run["rejoined_s"] > 0
    assert "drillown" not in state.names() and not cgroups.pids("drillown")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_drill_removes_its_lab_and_its_writers(number):
    process = start("kill-primary", "--lab", "drillown")
    for line in process.stderr:
        if "write 2s" in line:
            break
    time.sleep(0.5)
    children = psutil.Process(process.pid).children(recursive=True)
    assert any("writer.py" in " ".join(child.cmdline()) for child in children)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert "drillown" not in state.names() and not cgroups.pids("drillown")
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "say which scenario"),
        (["nonsense"], "unknown scenario 'nonsense'"),
        (["switchover", "-n", "0"], "-n"),
        (["switchover", "--agents", "x"], "--agents"),
        (["switchover", "--lab", "Bad Name"], "lab name"),
    ],
)
def test_wrong_usage_is_one_sentence_and_exit_code_2(words, said):
    process = start(*words)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said in err and "Traceback" not in err and out == ""
