"""What each scenario does to a real cluster is said by name, and where it cannot be run it is said why."""

from __future__ import annotations

import pytest
from hafailover.crm.drill import actions, possible, scenario
from hafailover.crm.drill.possible import Means
from hafailover.crm.errors import UsageError
from hafailover.crm.yamldoc import parse

ROLES = {"primary": "db1", "replica": "db2"}
BOTH = frozenset(ROLES.values())
REAL = [name for name in scenario.known() if scenario.load(name).cluster]


def means(here="db1", ssh=False, **changes):
    reached = BOTH if ssh else frozenset((here,))
    return Means(here, reached, reached, BOTH, {"db1": 2, "db2": 2})._replace(**changes)


def against(name, **changes):
    return " | ".join(possible.against(scenario.load(name), ROLES, means(**changes)))


def test_the_scenarios_for_real_clusters_are_these():
    assert REAL == [
        "cut-link", "cut-primary", "kill-primary", "power-off-primary", "power-off-replica", "stop-primary", "stop-replica", "switchover",
    ]  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_what_is_broken_is_named_with_its_node(name):
    found = possible.breaks(scenario.load(name), ROLES)
    assert found and all("db1" in sentence or "db2" in sentence for sentence in found)
    assert not any(
        "{" in sentence or "primary" in sentence.split() for sentence in possible.restores(scenario.load(name), ROLES)
    )


@pytest.mark.parametrize("name", REAL)
def test_whatever_a_fault_leaves_broken_has_a_sentence_that_says_how_it_is_restored(name):
    loaded = scenario.load(name)
    left = [step for step in loaded.steps if actions.undo(step)]
    assert len(possible.restores(loaded, ROLES)) >= len(left)


@pytest.mark.parametrize("name", ["switchover", "kill-primary", "stop-primary", "power-off-replica", "cut-link"])
def test_what_can_be_done_from_the_primary_alone(name):
    assert against(name) == ""


def test_a_drill_does_not_switch_itself_off():
    assert "take the power of db1, and this drill with it" in against("power-off-primary")
    assert "take the power of db1, and this drill with it" in against("cut-primary", ssh=True)
    assert against("power-off-primary", here="db2", ssh=True) == ""


def test_what_needs_another_node_says_which_and_how():
    assert "stop-cluster needs a program to be run on db2: run it there, or let root in from db1 by ssh" in against(
        "stop-replica"
    )
    assert "its schema has to be made on db1" in against("power-off-primary", here="db2")
    assert against("power-off-primary", here="db2", administers=BOTH) == ""


def test_a_node_that_nobody_can_fence_is_not_switched_off():
    assert "no fence device that works covers db2" in against("power-off-replica", fences=frozenset(("db1",)))


def test_the_only_link_is_not_cut():
    assert "db1 has only one link" in against("cut-link", links={"db1": 1, "db2": 1})
    assert "db1 has only one link" in against("cut-link", links={})


def test_without_a_replica_there_is_nothing_to_drill():
    found = possible.against(scenario.load("stop-replica"), {"primary": "db1"}, means())
    assert "there is no replica" in found


def test_a_real_machine_is_given_the_time_to_boot():
    usual, patient = scenario.load("power-off-primary"), possible.patient(scenario.load("power-off-primary"), 900)
    waits = {step.parameters["until"]: step.seconds("within") for step in patient.steps if step.action == "wait"}
    assert waits == {"takeover": 120, "rejoined": 900}
    assert [step.action for step in patient.steps] == [
        step.action for step in usual.steps
    ] and patient.expect == usual.expect


@pytest.mark.parametrize(
    "step",
    ["sql: {node: primary, statements: DROP SCHEMA x}", "run: {node: primary, command: reboot}", "fill: primary",
     "kill: {node: primary, process: corosync}", "kill: {node: primary, signal: STOP}", "hide: {node: primary, programs: '*'}"],
)  # fmt: skip
def test_a_scenario_for_a_real_cluster_holds_nothing_that_cannot_be_taken_back(step):
    text = f"summary: x\ncluster: true\nsteps:\n  - kill: primary\n  - {step}\n"
    with pytest.raises(UsageError, match="is nothing for a real cluster"):
        scenario.parse(parse(text, "x.yml"), "x")
