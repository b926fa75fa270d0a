"""A stack on its way against a cluster made of a few lines: it arrives, it fails, it is interrupted, it goes back or cannot."""

import pytest
from hafailover.crm.switchover_run import Step
from stack_cluster import APP, BACK, GONE, C, Cluster, Role, going

assert going  # a fixture


def test_all_of_it_goes_in_one_change_and_the_database_last(going):
    outcome, cluster, role, told = going({})
    assert (outcome.result, outcome.exit_code, outcome.left_to_do) == ("done", 0, ())
    assert cluster.changes == GONE
    assert role.asked == ["db2"]
    assert set(outcome.places.values()) == {"db2"}
    assert told.index("requested") < told.index("moved content") < told.index("done")


def test_what_is_there_already_is_not_touched(going):
    outcome, cluster, role, _ = going({}, moves=(APP,), services=())
    assert cluster.changes == [{"app": "db2"}, {}]
    assert role.asked == []
    assert outcome.result == "incomplete", "content is not there, and nobody asked for it to be"


def test_a_start_that_fails_brings_everything_back_before_the_database_was_asked(going):
    outcome, cluster, role, _ = going({1.0: [C.fail]})
    assert (outcome.result, outcome.exit_code) == ("rolled back", 1)
    assert outcome.says == "everything is back where it was: start of app failed on db2: no such file"
    assert outcome.left_to_do == (
        "start of app failed on db2: no such file: mend it, then crm_resource --cleanup -r app -N db2",
    )
    assert cluster.changes == [GONE[0], *BACK]
    assert role.asked == []
    assert set(cluster.at.values()) == {"db1"}


def test_what_only_says_that_it_is_degraded_stops_nothing(going):
    outcome, _, _, _ = going({1.0: [C.degrade]})
    assert outcome.result == "done"


def test_a_node_that_leaves_gives_everything_back(going):
    outcome, cluster, role, _ = going({5.0: [C.lose]}, takes=8.0)
    assert outcome.result == "rolled back"
    assert "db2 left the cluster" in outcome.says
    assert cluster.changes == [GONE[0], *BACK]
    assert role.asked == []


@pytest.mark.parametrize("when", [0.5, 5.0])
def test_an_interrupt_gives_everything_back(going, when):
    outcome, cluster, _, told = going({when: [C.interrupt]})
    assert (outcome.result, outcome.says) == ("rolled back", "everything is back where it was: interrupted")
    assert cluster.changes[-1] == {}
    assert "called off" in told


def test_a_second_interrupt_ends_the_waiting_and_still_removes_the_preferences(going):
    outcome, cluster, _, told = going({1.0: [C.fail], 2.0: [C.interrupt]}, takes=60.0)
    assert "interrupted" in told
    assert cluster.changes == [GONE[0], *BACK]
    assert outcome.result == "rolled back", "nothing had moved yet"


def test_too_late(going):
    outcome, _, _, _ = going({}, takes=500.0, timeout=10.0)
    assert outcome.result == "rolled back"
    assert (
        "it took too long: content, files, app are not on db2 (none of it was begun: a clock that is wrong"
        in outcome.says
    )


def test_what_does_not_come_back_in_time_is_told(going):
    def stay(cluster):
        cluster.takes = 1000.0

    outcome, cluster, _, _ = going({5.0: [stay, C.interrupt]})
    assert (outcome.result, outcome.exit_code) == ("incomplete", 4)
    assert "content is on db2, it was on db1: hafailover status" in outcome.left_to_do
    assert cluster.changes[-1] == {}


def test_without_quorum_nothing_is_written(going, monkeypatch):
    monkeypatch.setattr(Cluster, "mon", Cluster.mon)
    quorate = Cluster.__init__

    def without(self, *a, **k):
        quorate(self, *a, **k)
        self.quorum = False

    monkeypatch.setattr(Cluster, "__init__", without)
    outcome, cluster, _, _ = going({})
    assert (outcome.result, outcome.says) == ("rolled back", "nothing was moved: this partition has no quorum any more")
    assert cluster.changes == []


def test_a_database_that_may_not_go_any_more_takes_the_rest_back(going):
    outcome, cluster, role, _ = going({}, Role(against=("it lags",)))
    assert outcome.result == "rolled back"
    assert "db cannot be switched over any more: it lags" in outcome.says
    assert (role.asked, cluster.changes) == ([], [*GONE, *BACK])


def test_a_moment_of_lag_is_waited_for(going):
    """What was moved before the database would all have to go back, for a replica that a busy machine made slow."""
    outcome, cluster, role, _ = going({}, Role(against=("it lags",), looks=5))
    assert (outcome.result, role.asked, cluster.changes) == ("done", ["db2"], GONE)


def test_what_does_not_pass_is_not_waited_for(going):
    role = Role(against=("it is in maintenance",), named="managed", looks=5)
    outcome, _, _, _ = going({}, role)
    assert outcome.result == "rolled back" and "it is in maintenance" in outcome.says
    assert role.looks == 4


def test_a_database_that_was_rolled_back_takes_the_rest_back(going):
    outcome, cluster, _, _ = going({}, Role(ends="rolled back"))
    assert outcome.result == "rolled back"
    assert cluster.changes == [*GONE, *BACK]


def test_a_database_that_is_neither_here_nor_there_stops_everything(going):
    outcome, cluster, _, _ = going({}, Role(ends="incomplete"))
    assert (outcome.result, outcome.exit_code) == ("incomplete", 4)
    assert cluster.changes == GONE, "nothing more is moved"
    assert "the database is neither here nor there" in outcome.left_to_do


def test_the_cluster_goes_away(going):
    outcome, _, _, _ = going({1.0: [C.vanish]}, timeout=5.0)
    assert (outcome.result, outcome.exit_code) == ("incomplete", 4)
    assert "hafailover status on another node" in outcome.left_to_do
    assert any("could not be asked for" in one for one in outcome.left_to_do)


def test_a_step_has_a_name(going):
    outcome, _, _, _ = going({})
    assert all(isinstance(step, Step) and step.says for step in outcome.steps)
