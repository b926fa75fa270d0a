"""Faults that a seed chooses, on a real lab: they really strike, they are taken back, and every write is accounted for."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hafailover.crm import yamldoc
from hafailover.crm.drill import scenario, stacks
from hafailover.crm.drill.breakage import Breakage
from hafailover.crm.drill.engine import Drill
from hafailover.crm.errors import HafailoverError
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.drill import target
from hafailover.vagrant.lab import Options
from labs import lab_of

PROGRAM = str(Path(__file__).resolve().parent.parent.parent / "bin" / "hafailover")
NAME = "drillrandom"
DATADIR = "/var/lib/mysql"
# On a machine that is busy otherwise a replica could not catch up with the usual hundred writes a second.
INTERVAL = 0.1


@pytest.fixture(scope="module")
def lab():
    with lab_of(NAME, DEFAULT_TOPOLOGY, Options(disk_mib=768)) as made:
        yield made


def drill(lab, tmp_path, say=lambda text: None):
    return Drill(lab, target.of_lab(NAME), stacks.Hafailover(), tmp_path, say, INTERVAL)


def steps(*wanted):
    text = json.dumps({"summary": "planted", "steps": list(wanted)})
    return scenario.parse(yamldoc.parse(text, "planted"), "planted")


def inside(lab, node, script):
    return lab.exec(node, ["sh", "-c", script], check=True).stdout.strip()


def free_kib(lab, node):
    return int(inside(lab, node, f"df --output=avail {DATADIR} | tail -1"))


def states(lab, node, name):
    return set(inside(lab, node, f"ps -o state= -C {name}").split())


def start(*words):
    return subprocess.Popen(
        [sys.executable, PROGRAM, "drill", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if name != "HAFAILOVER_LAB"},
    )


# A server goes on up to 60 s after its disk has room again, and then has to catch up.
SETTLED = {"wait": {"until": "settled", "within": "480s"}}


def test_a_full_disk_is_full_a_paused_process_stands_and_both_are_taken_back(lab, tmp_path):
    seen = {}

    def look(text):
        if text == "write 777ms":
            seen.update(free=free_kib(lab, run_on["replica"]), states=states(lab, run_on["primary"], "pacemakerd"))

    run_on = dict(zip(("primary", "replica"), roles(lab)))
    run = drill(lab, tmp_path, look).run(
        steps(
            {"write": "1s"},
            {"fill": "replica"},
            {"pause": {"node": "primary", "process": "pacemakerd"}},
            {"write": "777ms"},
            {"free": "replica"},
            {"resume": {"node": "primary", "process": "pacemakerd"}},
            SETTLED,
            {"write": "1s"},
        )
    )
    assert run.problems == []
    assert seen["free"] == 0 and seen["states"] == {"T"}
    assert free_kib(lab, run_on["replica"]) > 100_000
    assert "T" not in states(lab, run_on["primary"], "pacemakerd")


def roles(lab):
    primary = lab.exec("db1", ["crm_resource", "-W", "-r", "vip", "-Q"], check=True).stdout.split()[-1]
    return primary, next(node for node in lab.data_nodes if node != primary)


def test_what_a_scenario_leaves_broken_is_mended_and_reported(lab, tmp_path):
    run = drill(lab, tmp_path).run(
        steps({"pause": {"node": "replica"}}, {"kill": {"node": "quorum", "process": "pacemakerd"}})
    )
    assert any("no pacemakerd runs on quorum" in problem for problem in run.problems)
    assert "T" not in states(lab, roles(lab)[1], "mariadbd")


def test_an_interrupted_drill_takes_everything_back(lab, tmp_path):
    file = tmp_path / "long.yml"
    file.write_text(
        json.dumps({"summary": "x", "steps": [{"fill": "replica"}, {"pause": "replica"}, {"write": "60s"}]})
    )
    process = start(str(file), "--lab", NAME, "--keep", str(tmp_path / "kept"))
    for line in process.stderr:
        if "write 60s" in line:
            break
    time.sleep(0.5)
    replica = roles(lab)[1]
    assert states(lab, replica, "mariadbd") == {"T"} and free_kib(lab, replica) == 0
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert "T" not in states(lab, replica, "mariadbd") and free_kib(lab, replica) > 100_000


def test_faults_of_a_seed_are_carried_out_and_accounted_for(lab):
    process = start(
        "random", "--seed", "1", "--from", "2", "--duration", "15s", "--interval", "100ms", "--lab", NAME, "-o", "json"
    )
    out, err = process.communicate(timeout=580)
    assert process.returncode == 0, err
    document = json.loads(out)
    # How many fit in is the machine's business.
    assert [run["details"]["number"] for run in document["runs"]] == list(range(2, 2 + len(document["runs"])))
    assert document["runs"][0]["details"]["kind"] == "quorum-device"
    for run in document["runs"]:
        assert run["ok"] and (run["lost"], run["extra"], run["concurrent_writers"]) == (0, 0, 0)
        assert run["acknowledged"] > 20
    assert document["counts"]["faults"] == len(document["runs"])
    assert document["counts"]["acknowledged"] >= sum(run["acknowledged"] for run in document["runs"])
    assert lab.problems() == []


def test_a_disk_that_is_the_machines_own_is_never_filled(lab):
    with pytest.raises(HafailoverError, match="not a small file system of its own"):
        Breakage(lab, replace(target.of_lab(NAME), datadir="/var/lib")).fill("db1")
