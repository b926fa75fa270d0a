"""Scenario files: the ones that come with the program load, and a wrong one says where it is wrong."""

from __future__ import annotations

import pytest
from hafailover.crm.drill import scenario
from hafailover.crm.drill.actions import FAULTS, Step, undo
from hafailover.crm.errors import UsageError
from hafailover.crm.yamldoc import parse as yaml

GOOD = "summary: x\nsteps:\n  - cut: primary\n"


def load(text: str) -> scenario.Scenario:
    return scenario.parse(yaml(text, "case.yml"), "case")


def test_the_four_drills_come_with_the_program():
    assert {"switchover", "kill-primary", "power-off-primary", "cut-primary"} <= set(scenario.known())


@pytest.mark.parametrize("name", sorted(scenario.known()))
def test_every_scenario_that_comes_with_the_program_loads_and_breaks_something(name):
    loaded = scenario.load(name)
    assert loaded.name == name and loaded.summary
    assert any(step.action in FAULTS for step in loaded.steps)


def test_a_short_step_means_the_same_as_a_long_one():
    assert (
        load(GOOD).steps
        == load("summary: x\nsteps:\n  - cut: {node: primary}\n").steps
        == [Step("cut", {"node": "primary"})]
    )


def test_defaults_and_durations():
    step = load(GOOD + "  - wait: takeover\n").steps[1]
    assert step.parameters == {"until": "takeover", "node": "primary", "within": "60s"}
    assert step.seconds("within") == 60.0
    assert load(GOOD + "  - write: 500ms\n").steps[1].seconds("for") == 0.5


def test_no_word_about_fencing_allows_any_and_an_empty_list_allows_none():
    assert load(GOOD).expect.fenced is None
    assert load(GOOD + "expect: {fenced: []}\n").expect.fenced == frozenset()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "  - explode: primary\n", "case.yml:4: steps[1].explode: unknown key 'explode'"),
        (GOOD + "  - wait: {until: doomsday}\n", "case.yml:4: steps[1].wait.until: unknown value 'doomsday'"),
        (GOOD + "  - wait: {until: takeover, within: 3}\n", "case.yml:4: steps[1].wait.within"),
        (GOOD + "  - cut: 7\n", "case.yml:4: steps[1].cut.node"),
        (GOOD + "expect: {primary: gone}\n", "case.yml:4: expect.primary"),
        ("summary: x\nsteps: []\n", "case.yml:2: steps: is empty"),
        ("summary: x\nsteps: 3\n", "case.yml:2: steps"),
        ("steps:\n  - cut: primary\n", "summary: is missing"),
        ("summary: x\nsteps:\n  - write: 1s\n", "nothing breaks"),
        ("[1, 2]\n", "case.yml:1"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text, message):
    with pytest.raises(UsageError) as caught:
        load(text)
    assert message in str(caught.value)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UsageError, match=r"unknown scenario 'swichover'.*did you mean 'switchover'"):
        scenario.load("swichover")


def test_a_missing_file_is_a_sentence():
    with pytest.raises(UsageError, match="cannot be read"):
        scenario.load("/nonexistent/mine.yml")


@pytest.mark.parametrize(
    ("step", "taken_back"),
    [
        ("cut: replica", [Step("heal", {"node": "replica"}), Step("power-on", {"node": "replica"})]),
        ("power-off: db2", [Step("power-on", {"node": "db2"})]),
        ("fill: replica", [Step("free", {"node": "replica"})]),
        ("pause: primary", [Step("resume", {"node": "primary", "process": "server"})]),
        (
            "pause: {node: quorum, process: corosync-qnetd}",
            [Step("resume", {"node": "quorum", "process": "corosync-qnetd"})],
        ),
        ("kill: {node: primary, signal: STOP}", [Step("resume", {"node": "primary", "process": "server"})]),
        ("kill: {node: primary, process: corosync}", [Step("start-cluster", {"node": "primary"})]),
        ("kill: primary", []),
        ("stop-replication: replica", []),
        ("restart: {node: primary, unit: pacemaker}", []),
    ],
)
def test_what_takes_a_fault_back(step, taken_back):
    [loaded] = load(f"summary: x\nsteps:\n  - {step}\n").steps
    assert loaded.action in FAULTS
    assert undo(loaded) == taken_back


def test_a_step_that_takes_back_is_recognised_as_the_one_that_a_fault_needs():
    # Written out in a file it has to be equal to what undo() returns, or it would be done twice.
    pause, resume = load(
        "summary: x\nsteps:\n  - pause: {node: db1, process: pacemakerd}\n  - resume: {node: db1, process: pacemakerd}\n"
    ).steps
    assert undo(pause) == [resume]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("pause: {node: primary, process: init}", "steps[0].pause.process: unknown value 'init'"),
        ("restart: {node: primary}", "steps[0].restart.unit: is missing"),
        ("restart: {node: primary, unit: mariadb}", "steps[0].restart.unit: unknown value 'mariadb'"),
        ("fill: {node: primary, optional: perhaps}", "steps[0].fill.optional"),
    ],
)
def test_what_is_wrong_in_the_steps_that_break_processes_and_disks(step, message):
    with pytest.raises(UsageError) as caught:
        load(f"summary: x\nsteps:\n  - {step}\n")
    assert message in str(caught.value)


def test_what_a_scenario_expects_and_says_of_itself():
    loaded = load(
        GOOD + "outcome: all is well\nlong: true\n"
        "expect: {rebuilt: [replica], order: [fenced, promoted], reigns: 2, fenced: [primary]}\n"
    )
    assert (loaded.outcome, loaded.long, loaded.fills) == ("all is well", True, False)
    assert loaded.expect.rebuilt == {"replica"}
    assert (loaded.expect.order, loaded.expect.reigns) == (("fenced", "promoted"), 2)
    assert load(GOOD + "  - fill: primary\n").fills
    assert (load(GOOD).long, load(GOOD).expect.rebuilt, load(GOOD).expect.reigns) == (False, None, None)


def test_the_steps_of_people_and_the_looks_have_their_defaults():
    steps = load(
        GOOD + "  - hold: settled\n  - writers: pause\n  - run: {node: primary, command: 'true'}\n"
        "  - session: {node: replica, statements: DO 1}\n  - repair: {}\n  - switchover: replica\n"
    ).steps[1:]
    assert [(step.action, dict(step.parameters)) for step in steps] == [
        ("hold", {"that": "settled", "node": "primary", "for": "0s"}),
        ("writers", {"do": "pause"}),
        ("run", {"node": "primary", "command": "true", "exit": 0, "within": "60s"}),
        ("session", {"node": "replica", "statements": "DO 1", "as": "client", "times": 1}),
        ("repair", {}),
        ("switchover", {"node": "replica", "within": "60s", "times": 1}),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD + "  - hold: doomsday\n", "steps[1].hold.that: unknown value 'doomsday'"),
        (GOOD + "  - writers: kill\n", "steps[1].writers.do: unknown value 'kill'"),
        (GOOD + "  - run: {node: primary}\n", "steps[1].run.command: is missing"),
        (GOOD + "  - run: {node: primary, command: x, exit: 300}\n", "steps[1].run.exit"),
        (GOOD + "  - session: {node: primary, statements: x, as: nobody}\n", "steps[1].session.as"),
        (GOOD + "  - edit: {node: primary, file: relative, pattern: x, replacement: y}\n", "steps[1].edit.file"),
        (GOOD + "expect: {order: [fenced, buried]}\n", "expect.order"),
        (GOOD + "long: perhaps\n", "long"),
        (GOOD + "  - wait: says\n", "steps[1].wait: until says needs a text"),
        (GOOD + "  - wait: {until: settled, text: x}\n", "steps[1].wait: until settled takes no text"),
        (GOOD + "  - edit: {node: primary, file: /x, pattern: '(', replacement: y}\n", "steps[1].edit.pattern"),
    ],
)
def test_what_is_wrong_in_the_steps_of_people_and_in_the_looks(text, message):
    with pytest.raises(UsageError) as caught:
        load(text)
    assert message in str(caught.value)
