"""What an interrupt, an error or silence at an awkward moment makes of it: what is said is what is so."""

import signal

import pytest
from hafailover.crm import local, stack_run, stack_watch
from hafailover.crm.stack_preferences import Preferences
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stack_cluster import BACK, GONE, C, Cluster, Role, going

assert going  # a fixture
TWO = ("db-clone", "other-clone")


def interrupt():
    signal.raise_signal(signal.SIGINT)


def broken():
    raise OSError(24, "Too many open files")


def happening(what, *events, **options):
    role = Role(**options)
    role.events[what] = events
    return role


@pytest.mark.parametrize(("act", "why"), [(interrupt, "interrupted"), (broken, "[Errno 24] Too many open files")])
def test_what_happens_while_the_last_hooks_are_waited_for_takes_nothing_back(going, act, why):
    outcome, cluster, role, _ = going({}, happening("after db2", act))
    assert (outcome.result, outcome.exit_code, outcome.says) == ("incomplete", 4, "the stack is on db2")
    assert outcome.left_to_do == (f"{why} when all of it had arrived, so nothing was taken back: hafailover status",)
    assert (role.asked, cluster.changes) == (["db2"], GONE)
    assert [one.outcome.primary for one in outcome.databases] == ["db2"]


def test_nor_does_an_interrupt_while_the_address_is_looked_for(going):
    outcome, cluster, role, _ = going({}, happening("address", interrupt))
    assert (outcome.result, outcome.exit_code) == ("incomplete", 4)
    assert (role.asked, cluster.changes) == (["db2"], GONE)


def test_nor_does_one_at_the_end_when_the_last_database_had_gone_there_by_itself(going, monkeypatch):
    role = Role()
    monkeypatch.setattr(stack_run, "gather", lambda run, *_: interrupt())  # who has the role is asked at the end only
    outcome, cluster, role, _ = going({1.0: [lambda cluster: role.primaries.update(other="db2")]}, role, services=TWO)
    assert (outcome.result, outcome.exit_code) == ("incomplete", 4)
    assert (role.asked, cluster.changes) == (["db2"], GONE)


def test_an_address_that_nobody_could_look_for_is_told_and_moves_nothing_back(going):
    outcome, cluster, role, _ = going({}, happening("address", broken))
    (left,) = outcome.left_to_do
    assert "10.77.0.100 is on db2 could not be seen ([Errno 24] Too many open files)" in left
    assert (role.asked, cluster.changes) == (["db2"], GONE)


@pytest.mark.parametrize("act", [interrupt, broken])
def test_between_two_databases_the_one_that_has_moved_goes_back_with_its_hooks(going, act):
    outcome, cluster, role, _ = going({}, happening("after db2", act), services=TWO)
    assert (outcome.result, outcome.exit_code) == ("rolled back", 1), outcome
    assert role.asked == ["db2", "db1"]
    assert role.hooks == ["before db2", "after db2", "before db1", "after db1"]
    assert set(role.primaries.values()) == {"db1"}
    assert outcome.primaries == {"db": "db1", "other": "db1"}, "who it is now, not how the way there ended"
    assert cluster.changes == [*GONE, *BACK]


def test_a_database_that_cannot_go_back_is_told_as_where_it_is(going):
    outcome, _, role, _ = going({}, happening("after db2", broken, ends_back="rolled back"), services=TWO)
    assert (outcome.result, outcome.exit_code, role.asked) == ("incomplete", 4, ["db2", "db1"])
    assert "db2 is the primary of db, it was db1: hafailover status" in outcome.left_to_do


def test_a_critical_hook_keeps_a_database_from_going_back_and_is_told(going):
    role = Role(later="rolled back")
    role.against_hooks["db1"] = ["on db1: critical hook: no"]
    outcome, cluster, role, _ = going({}, role, services=TWO)
    assert (outcome.result, role.asked) == ("incomplete", ["db2", "db2"])
    assert "db stays on db2: on db1: critical hook: no" in outcome.left_to_do
    assert cluster.changes == [*GONE, *BACK]


def test_the_second_of_two_that_does_not_go_takes_the_first_back(going):
    outcome, cluster, role, _ = going({}, Role(later="rolled back"), services=TWO)
    assert (outcome.result, role.asked) == ("rolled back", ["db2", "db2", "db1"])
    assert cluster.changes == [*GONE, *BACK]


def test_an_interrupt_while_a_database_goes_back_does_not_leave_the_rest_where_it_is(going):
    role = happening("after db2", broken)
    role.events["before db1"] = [interrupt]
    outcome, cluster, role, _ = going({}, role, services=TWO)
    assert outcome.result == "rolled back"
    assert cluster.changes == [*GONE, *BACK]


def test_a_second_interrupt_ends_the_waiting_and_not_the_going_back(going):
    """Half of it here and half of it there is what nobody wants: the preferences stay until they end."""
    outcome, cluster, _, told = going({5.0: [C.interrupt], 6.0: [C.interrupt]})
    assert (outcome.result, outcome.exit_code) == ("incomplete", 4)
    assert cluster.changes == [GONE[0], BACK[0]]
    assert "interrupted" in told
    assert any("by preferences that end, and are removed, by themselves" in one for one in outcome.left_to_do)
    assert cluster.clock.now - 1000.0 < 9.0


def test_a_role_that_moved_by_itself_meanwhile_is_told(going):
    role = Role(against=("it lags",))
    outcome, _, _, _ = going({1.0: [C.fail, lambda cluster: role.primaries.update(db="db2")]}, role)
    assert outcome.result == "incomplete"
    assert "db2 is the primary of db, it was db1: hafailover status" in outcome.left_to_do


def test_a_cluster_that_is_silent_is_not_waited_for_until_the_timeout(going):
    outcome, cluster, _, told = going({1.0: [C.vanish]}, timeout=300.0)
    assert outcome.says == "this node's cluster does not answer any more"
    assert cluster.clock.now - 1000.0 < 60.0
    assert "waiting: this node's cluster does not answer" in told


def test_a_node_that_is_cut_off_after_it_had_seen_all_of_it_back_does_not_say_so(going):
    outcome, _, _, _ = going({1.0: [C.fail], 2.2: [C.vanish]})
    assert (outcome.result, outcome.exit_code) == ("incomplete", 4)
    assert "hafailover status on another node" in outcome.left_to_do


def test_going_back_that_nobody_could_ask_for_is_not_waited_for_until_the_timeout(going):
    def deaf(cluster):
        cluster.refuses, cluster.takes = True, 1000.0

    outcome, cluster, _, _ = going({5.0: [deaf, C.fail]}, timeout=300.0)
    assert outcome.result == "incomplete"
    assert any("going back could not be asked for" in one for one in outcome.left_to_do)
    assert cluster.clock.now - 1000.0 < 60.0


def test_nobody_waits_for_a_node_that_is_gone_to_take_things_back(going):
    def lose_the_old_one(cluster):
        cluster.lost.add("db1")
        cluster.at = dict.fromkeys(cluster.at, "db2")
        cluster.fail("app", "db2")

    outcome, cluster, _, _ = going({2.0: [lose_the_old_one]}, timeout=300.0)
    assert outcome.result == "incomplete"
    assert "content is on db2, it was on db1: hafailover status" in outcome.left_to_do
    assert cluster.clock.now - 1000.0 < 60.0


@pytest.mark.parametrize(
    ("bar", "says"), [("standby", "is in standby now"), ("maintenance", "is in maintenance now"), ("shutdown", "is being shut down now")]
)  # fmt: skip
def test_a_node_that_somebody_takes_out_meanwhile_is_not_waited_for(going, bar, says):
    def take_out(cluster):
        cluster.bars["db2"] = f'{bar}="true"'

    outcome, cluster, _, _ = going({1.0: [take_out]}, takes=1000.0, timeout=300.0)
    assert (outcome.result, outcome.says) == ("rolled back", f"everything is back where it was: db2 {says}")
    assert cluster.clock.now - 1000.0 < 10.0


def test_a_cluster_that_is_still_acting_is_given_time_before_a_database_is_refused_for_it(going, monkeypatch):
    """What else moved with it (--accept elsewhere) may take longer than a moment; going back for that would cost more."""
    patience = []
    role = Role()
    role.started = lambda *of: patience.append(of[-1])
    going({}, role)
    assert patience == [60.0]


def test_without_a_first_look_nothing_is_asked_for(going, monkeypatch):
    """What had failed before would be taken for a failure on the way, and everything be called off for it."""
    monkeypatch.setattr(Cluster, "mon", lambda self: "no XML")
    outcome, cluster, _, _ = going({})
    assert cluster.changes == []
    assert outcome.exit_code == 4
    assert outcome.says == "this node's cluster does not answer"


def test_a_defect_of_our_own_leaves_no_preference_behind(going, monkeypatch):
    def defect(mon):
        raise ZeroDivisionError

    removed = []
    monkeypatch.setattr(Preferences, "remove", lambda self: removed.append(self.made))
    script = {1.0: [lambda cluster: monkeypatch.setattr(stack_watch, "seen", defect)]}
    with pytest.raises(ZeroDivisionError):
        going(script)
    assert removed == [True]


def test_interrupts_are_counted_once_they_are_held():
    with pytest.raises(KeyboardInterrupt), local.Interrupts() as interrupts:
        interrupt()
    with local.Interrupts() as interrupts:
        interrupts.hold()
        interrupt()
        signal.raise_signal(signal.SIGHUP)
        assert interrupts.came == 2
    with pytest.raises(KeyboardInterrupt):
        interrupt()


def _cut(cluster):
    cluster.refuses = True


def _lose_the_old_one(cluster):
    cluster.lost.add("db1")
    cluster.at = dict.fromkeys(cluster.at, "db2")


def _take_out(cluster):
    cluster.bars["db2"] = 'standby="true"'


def _hinder(cluster):
    cluster.takes = 1000.0


_EVENTS = (C.fail, C.degrade, C.interrupt, C.lose, C.vanish, _cut, _lose_the_old_one, _take_out, _hinder)
_ENDS = st.sampled_from(("done", "rolled back", "incomplete"))
_SCRIPTS = st.dictionaries(st.floats(0.0, 20.0), st.lists(st.sampled_from(_EVENTS), min_size=1, max_size=2), max_size=4)
_AT_HOOKS = st.dictionaries(
    st.sampled_from(("before db2", "after db2", "before db1", "after db1", "address")),
    st.lists(st.sampled_from((interrupt, broken)), max_size=1),
    max_size=2,
)


@given(_SCRIPTS, _AT_HOOKS, _ENDS, _ENDS, _ENDS, st.sampled_from(((), TWO[:1], TWO)))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_what_is_said_is_so(going, script, at_hooks, ends, later, back, services):
    role = Role(ends=ends, later=later, ends_back=back)
    role.events = {what: list(events) for what, events in at_hooks.items()}
    outcome, cluster, role, _ = going(script, role, services=services)
    where = {"done": "db2", "rolled back": "db1"}.get(outcome.result)
    if where:
        assert {cluster.at[name] for name in ("disk", "server", "files", "app")} == {where}
        assert set(role.primaries.values()) <= {where}
    if outcome.result == "done":
        assert outcome.left_to_do == ()
    if outcome.result == "incomplete":
        assert outcome.left_to_do
    if cluster.preferred:
        assert any("preferences" in one for one in outcome.left_to_do)
