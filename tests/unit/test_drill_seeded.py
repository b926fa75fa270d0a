"""What a seed breaks: always the same, never what makes no sense, and always taken back."""

from __future__ import annotations

import itertools
import json

import pytest
from click.testing import CliRunner
from hafailover.crm.drill.actions import ACTIONS, FAULTS, Step, undo
from hafailover.crm.drill.report import Run
from hafailover.crm.errors import UsageError
from hafailover.vagrant.drill import counts, seeded
from hafailover.vagrant.drill.command import command
from hafailover.vagrant.drill.seeded import Act, Shape

PAIR, TRIO = Shape(1, True), Shape(2, False)
SHAPES = pytest.mark.parametrize("shape", [PAIR, TRIO], ids=["pair", "trio"])
MANY = range(1, 600)


def test_a_seed_means_the_same_for_ever():
    # Written down by hand once: whoever replays an old seed must get the faults of then.
    assert [seeded.describe(seeded.fault(1, number, PAIR)) for number in (2, 5, 7)] == [
        "pause quorum corosync-qnetd for 12 s",
        "power-off replica for 5 s, kill primary server after 2 s",
        "power-off primary for 20 s, power-off replica after 1 s for 8.7 s",
    ]


@SHAPES
def test_a_fault_does_not_depend_on_those_before_it(shape):
    forwards = [seeded.fault(3, number, shape) for number in MANY]
    backwards = [seeded.fault(3, number, shape) for number in reversed(MANY)]
    assert forwards == backwards[::-1]
    assert forwards != [seeded.fault(4, number, shape) for number in MANY]


@SHAPES
def test_every_kind_comes_alone_and_with_others(shape):
    drawn = [seeded.fault(1, number, shape) for number in MANY]
    possible = set(seeded.KINDS) - (set() if shape.device else {"quorum-device"})
    assert {act.kind for fault in drawn if len(fault.acts) == 1 for act in fault.acts} == possible
    assert {act.kind for fault in drawn if "+" in fault.kind for act in fault.acts} == possible
    outages = [fault for fault in drawn if fault.kind == "outage"]
    assert outages and all({act.node for act in fault.acts} == set(shape.servers) for fault in outages)


@SHAPES
def test_no_fault_has_a_forbidden_pair(shape):
    for seed, number in itertools.product(range(5), MANY):
        acts = seeded.fault(seed, number, shape).acts
        assert all(seeded.forbidden(*pair) is None for pair in itertools.combinations(acts, 2))


def act(kind, action, node, **more):
    return Act(kind, Step(action, {"node": node, **more}), 1000)


@pytest.mark.parametrize(
    ("first", "second", "allowed"),
    [
        (act("cut", "cut", "primary"), act("cut", "cut", "primary"), False),
        (act("cut", "cut", "primary"), act("cut", "cut", "replica"), True),
        (act("power-off", "power-off", "primary"), act("fill", "fill", "primary"), False),
        (act("fill", "fill", "primary"), act("power-off", "power-off", "primary"), True),
        (act("quorum-device", "cut", "quorum"), act("quorum-device", "power-off", "quorum"), False),
        (act("quorum-device", "cut", "quorum"), act("power-off", "power-off", "primary"), True),
        (act("request", "request", "replica"), act("request", "request", "replica2"), False),
        (act("request", "request", "replica"), act("kill-server", "kill", "primary", process="server"), True),
    ],
)
def test_pairs(first, second, allowed):
    assert (seeded.forbidden(first, second) is None) == allowed


@SHAPES
def test_whatever_stays_broken_is_taken_back_before_the_cluster_must_be_well(shape):
    for number in MANY:
        steps = list(seeded.scenario(seeded.fault(2, number, shape)).steps)
        assert [step.action for step in steps[-3:]] == ["write", "wait", "write"]
        assert steps[-2].parameters["until"] == "settled"
        for index, step in enumerate(steps):
            for back in undo(step):
                assert back in steps[index + 1 : -2], (number, step)


@SHAPES
def test_the_steps_are_those_that_a_scenario_file_may_have(shape):
    for number in MANY:
        for step in seeded.scenario(seeded.fault(2, number, shape)).steps:
            known = ACTIONS[step.action]
            assert set(known["required"]) <= step.parameters.keys() <= known["properties"].keys()
            for name, value in step.parameters.items():
                assert value in known["properties"][name].get("enum", [value])


def test_nothing_strikes_a_node_that_the_lab_does_not_have():
    def nodes(shape):
        return {
            step.parameters["node"]
            for n in MANY
            for step in seeded.scenario(seeded.fault(2, n, shape)).steps
            if step.action in FAULTS
        }

    assert nodes(PAIR) == {"primary", "replica", "quorum"}
    assert nodes(TRIO) == {"primary", "replica", "replica2"}


def test_a_kind_that_is_left_out_does_not_come():
    without = frozenset({"fill"})
    assert all(act.kind != "fill" for number in MANY for act in seeded.fault(1, number, PAIR, without).acts)


def plan(*words):
    done = CliRunner().invoke(command, ["random", "--plan", *words])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_plan_is_printed_without_a_lab():
    lines = plan("--seed", "1", "--duration", "1m").splitlines()
    assert lines[1].strip() == "2 quorum-device: pause quorum corosync-qnetd for 12 s"
    assert plan("--seed", "1", "--from", "2", "--duration", "1m").splitlines()[0] == lines[1]
    assert plan("--seed", "1", "--only", "2").splitlines() == [lines[1]]


def test_the_plan_as_json_has_every_step():
    [entry] = json.loads(plan("--seed", "1", "--only", "2", "-o", "json"))["plan"]
    assert (entry["number"], entry["kind"]) == (2, "quorum-device")
    assert {"pause": {"node": "quorum", "process": "corosync-qnetd", "optional": True}} in entry["steps"]


@pytest.mark.parametrize("words", [["--duration", "10"], ["--only", "0"], ["--without", "nonsense"], ["--seed", "-1"]])
def test_wrong_usage(words):
    done = CliRunner().invoke(command, ["random", *words])
    assert done.exit_code == 2 and "Traceback" not in done.output


def test_a_client_that_would_hardly_write_is_refused():
    done = CliRunner().invoke(command, ["random", "--interval", "2s"])
    assert isinstance(done.exception, UsageError) and "between 1ms and 500ms" in str(done.exception)


def run(kind, number, gap, **more):
    details = {"kind": kind, "number": number, "probe_acknowledged": {"db1": 2, "db2": 1}}
    return Run("x", "hafailover", "db1", "db2", write_gap=gap, acknowledged=10, details=details, **more)


def test_counts_are_by_kind_and_a_double_fault_counts_for_both():
    runs = [
        run("cut+fill", 1, 3.0, lost=0, concurrent_writers=0),
        run("cut", 2, 1.0, lost=2, concurrent_writers=0, problems=["2 rows"]),
        run("fill", 3, None, lost=None, problems=["not begun"]),
    ]
    document = counts.as_json(runs)
    assert (document["faults"], document["failed"], document["acknowledged"]) == (3, 2, 39)
    assert document["kinds"] == [
        {"kind": "cut", "faults": 2, "failed": 1, "lost": 2, "concurrent": 0, "median_gap": 2.0, "longest_gap": 3.0},
        {"kind": "fill", "faults": 2, "failed": 1, "lost": 0, "concurrent": 0, "median_gap": 3.0, "longest_gap": 3.0},
    ]
    said = counts.as_table(runs, 9)
    assert "seed 9: 3 faults, 39 writes acknowledged" in said
    assert "--seed 9 --only 2" in said and "--seed 9 --only 3" in said and "--only 1" not in said
