"""A switchover against a cluster made of a few lines: it goes well, it is called off, it is interrupted, it cannot be seen any more."""

import re
import signal

import pytest
from hafailover.crm import local, switchover_run
from hafailover.crm.probe import both_writable, longest_gap
from hafailover.crm.status_facts import gather
from hafailover.crm.status_read import read
from hafailover.crm.switchover_probes import Probes
from hafailover.crm.switchover_run import Switchover
from status_samples import load

RECORD = load("healthy")
LIVES = {"db1": "1.1.1", "db2": "2.2.2"}


class Clock:
    """Stands in for the time module: sleeping takes no time, but moves the clock."""

    def __init__(self):
        self.now = 1000.0
        self.passes = lambda: None

    def monotonic(self):
        return self.now

    def time(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.passes()


class Cluster:
    """Two nodes and an address. ``script``: seconds after the request → what happens to the cluster then."""

    def __init__(self, clock, script):
        self.clock, self.script = clock, sorted(script.items())
        clock.passes = self.live
        self.roles = {"db1": "Promoted", "db2": "Unpromoted"}
        self.scores = {"db1": 100, "db2": 50}
        self.address, self.epoch, self.primary, self.sync = "db1", 3, "db1", "db2"
        self.failures, self.constraints, self.why = [], "", "ok"
        self.asked, self.answers, self.written = None, True, []

    # -- what happens --
    def demote(self):
        self.roles["db1"], self.address = "Unpromoted", ""

    def promote(self):
        self.roles["db2"], self.primary, self.sync, self.epoch = "Promoted", "db2", "", self.epoch + 1

    def up(self):
        self.address = "db2"

    def regain(self):
        self.sync = "db1"

    def lower(self):
        self.scores.update(db1=50, db2=100)

    def back(self):
        self.roles, self.address, self.primary, self.sync = (
            {"db1": "Promoted", "db2": "Unpromoted"},
            "db1",
            "db1",
            "db2",
        )

    def fail(self):
        self.failures.append('<failure op_key="db_promote_0" node="db2" exitstatus="error" exitreason="disk full" exitcode="1" '
                             'call="9" status="complete" task="promote" interval="0"/>')  # fmt: skip

    def refuse(self):
        self.scores["db2"], self.why = -1000000, "db9 has received more"

    def interrupt(self):
        raise KeyboardInterrupt

    def vanish(self):
        self.answers = False

    def live(self):
        while self.asked is not None and self.script and self.clock.now - self.asked >= self.script[0][0]:
            for event in self.script.pop(0)[1]:
                event(self)

    # -- what the tools print --
    def run(self, argv, timeout=None, input=None):
        if not self.answers:
            return local.Result(102, "", "Connection refused")
        return local.Result(0, getattr(self, argv[0])(argv), "")

    def crm_attribute(self, argv):
        return str(self.scores[argv[argv.index("-N") + 1]])

    def attrd_updater(self, argv):
        name = argv[argv.index("-n") + 1]
        if name == "master-db":
            node = argv[argv.index("-N") + 1]
            self.scores[node] = int(argv[-1].removeprefix("--update="))
            self.written.append(self.scores[node])
            self.asked = self.clock.now if self.asked is None else self.asked
            return ""
        values = {"incarnation": LIVES, "told": {"db2": f"why={self.why}"}}.get(name.rpartition("-")[2], {})
        return "".join(f'name="{name}" host="{node}" value="{value}"\n' for node, value in values.items())

    def crm_node(self, argv):
        return "db1\n"

    def crmadmin(self, argv):
        return '<pacemaker-result><crmd node_name="db1" state="S_IDLE"/></pacemaker-result>'

    def crm_mon(self, argv):
        database = "".join(
            f'<resource id="db" role="{role}" active="true" managed="true"><node name="{node}"/></resource>'
            for node, role in self.roles.items()
        )
        address = (
            f'<resource id="vip" role="Started" active="true" managed="true"><node name="{self.address}"/></resource>'
            if self.address
            else '<resource id="vip" role="Stopped" active="false" managed="true"/>'
        )
        scores = "".join(
            f'<node name="{node}"><attribute name="master-db" value="{score}"/></node>'
            for node, score in self.scores.items()
        )
        nodes = "".join(f'<node name="{node}" online="true" type="member"/>' for node in self.roles)
        return (
            '<pacemaker-result api-version="2.25"><summary><current_dc present="true" name="db1" with_quorum="true"/>'
            f'<cluster_options stonith-enabled="true"/></summary><nodes>{nodes}</nodes>'
            f'<resources>{address}<clone id="db-clone">{database}</clone></resources><node_attributes>{scores}</node_attributes>'
            f"<failures>{''.join(self.failures)}</failures></pacemaker-result>"
        )

    def cibadmin(self, argv):
        sync = f"{self.sync}@{LIVES[self.sync]}" if self.sync else ""
        entry = f'value="v=1 epoch={self.epoch} primary={self.primary} gtid=0-1-9 sync={sync} at=900 by=regain"'
        return re.sub(r'value="v=1 [^"]*"', entry, RECORD.cib).replace(
            "</constraints>", self.constraints + "</constraints>"
        )


class Recorder:
    def __init__(self):
        self.steps, self.waits = [], []

    def step(self, step):
        self.steps.append(step.name)

    def wait(self, text):
        self.waits.append(text)


def perform(monkeypatch, script, timeout=60.0, cluster=None):
    clock = Clock()
    monkeypatch.setattr(switchover_run, "time", clock)
    cluster = cluster or Cluster(clock, script)
    found = read(gather(cluster.run))
    recorder = Recorder()
    probes = Probes(None, None, (), "no credentials here")
    outcome = Switchover(cluster.run, found, found.services[0], "db2", probes, recorder.step, recorder.wait).perform(
        timeout
    )
    return outcome, cluster, recorder


C = Cluster
GOOD = {0.2: [C.demote], 0.6: [C.promote], 1.0: [C.up], 3.0: [C.regain], 7.0: [C.lower]}


def test_it_goes_well(monkeypatch):
    outcome, cluster, recorder = perform(monkeypatch, GOOD)
    assert (outcome.result, outcome.exit_code, outcome.primary) == ("done", 0, "db2")
    assert recorder.steps == ["requested", "demoted", "promoted", "address", "in sync"]
    assert outcome.left_to_do == ()
    assert outcome.write_gap_note == "not measured: no credentials here"
    assert cluster.written == [1000], "the agent lowers the score, nobody else"


def test_a_score_that_the_agent_does_not_lower_is_lowered_in_the_end(monkeypatch):
    outcome, cluster, _ = perform(monkeypatch, {key: value for key, value in GOOD.items() if key != 7.0}, timeout=20)
    assert cluster.written == [1000, 100]
    assert outcome.result == "done"


def test_an_old_primary_that_does_not_follow_is_left_to_do(monkeypatch):
    outcome, _cluster, recorder = perform(
        monkeypatch, {key: value for key, value in GOOD.items() if key != 3.0}, timeout=20
    )
    assert (outcome.result, outcome.exit_code, outcome.primary) == ("incomplete", 4, "db2")
    assert "db1 is not in sync yet (STALE" in outcome.left_to_do[0]
    assert any("waiting for db1 to follow" in text for text in recorder.waits)


def test_a_constraint_that_appeared_is_told(monkeypatch):
    def ban(cluster):
        cluster.constraints = '<rsc_location id="cli-ban-x" rsc="vip" node="db1" score="-INFINITY"/>'

    outcome, _, _ = perform(monkeypatch, {**GOOD, 2.0: [ban]})
    assert outcome.result == "incomplete"
    assert outcome.left_to_do == ("a constraint appeared meanwhile: cli-ban-x",)


def test_a_refusal_by_the_agent_is_rolled_back(monkeypatch):
    outcome, cluster, recorder = perform(monkeypatch, {0.2: [C.demote], 0.6: [C.refuse], 2.0: [C.back]})
    assert (outcome.result, outcome.exit_code, outcome.primary) == ("rolled back", 1, "db1")
    assert "refused: db9 has received more" in outcome.says
    assert cluster.written == [1000], "the agent has set its own score meanwhile"
    assert "called off" in recorder.steps


def test_a_failed_promotion_is_rolled_back_and_told(monkeypatch):
    outcome, cluster, _ = perform(monkeypatch, {0.2: [C.demote], 0.6: [C.fail], 3.0: [C.back]})
    assert outcome.result == "rolled back"
    assert cluster.written == [1000, 101], "the old primary was closed: the request is let go, not reversed"
    assert outcome.left_to_do == (
        "promote of db failed on db2 (disk full): mend it, then crm_resource --cleanup -r db -N db2",
    )


def test_too_late_before_anything_happened(monkeypatch):
    outcome, cluster, _ = perform(monkeypatch, {}, timeout=5)
    assert (outcome.result, outcome.primary) == ("rolled back", "db1")
    assert outcome.says == "it took too long; db1 is the primary of db as before"
    assert cluster.written == [1000, 50]


def test_too_late_while_it_is_being_promoted(monkeypatch):
    outcome, cluster, _ = perform(monkeypatch, {0.2: [C.demote], 9.0: [C.promote, C.up]}, timeout=5)
    assert cluster.written == [1000, 101]
    assert (outcome.result, outcome.exit_code, outcome.primary) == ("incomplete", 4, "db2")
    assert "it took too long, but db2 is the primary of db now" in outcome.says


def test_promoted_in_the_very_moment_it_was_called_off_keeps_the_role(monkeypatch):
    outcome, cluster, _ = perform(monkeypatch, {5.2: [C.demote, C.promote, C.up]}, timeout=5)
    assert cluster.written == [1000, 50, 101]
    assert outcome.primary == "db2"


def test_nobody_is_primary_in_the_end(monkeypatch):
    outcome, _cluster, _ = perform(monkeypatch, {0.2: [C.demote]}, timeout=5)
    assert (outcome.result, outcome.exit_code, outcome.primary) == ("incomplete", 4, "")
    assert outcome.says == "it took too long; nobody is the primary of db"
    assert "db has no primary" in outcome.left_to_do[-1]


def test_the_address_stays_away(monkeypatch):
    outcome, _, _ = perform(monkeypatch, {0.2: [C.demote], 0.6: [C.promote]}, timeout=5)
    assert (outcome.result, outcome.primary) == ("incomplete", "db2")
    assert "the address vip is not with the primary db2" in outcome.left_to_do[0]


@pytest.mark.parametrize(
    ("script", "written", "result"),
    [
        ({0.5: [C.interrupt]}, [1000, 50], "rolled back"),
        ({0.2: [C.demote], 0.5: [C.interrupt], 2.0: [C.promote, C.up]}, [1000, 101], "incomplete"),
        ({**GOOD, 2.0: [C.interrupt]}, [1000], "incomplete"),
    ],
)
def test_interrupted(monkeypatch, script, written, result):
    outcome, cluster, _ = perform(monkeypatch, script)
    assert outcome.result == result
    assert cluster.written[: len(written)] == written
    assert outcome.primary == ("db1" if result == "rolled back" else "db2")


def test_a_second_interrupt_ends_the_waiting(monkeypatch):
    outcome, cluster, recorder = perform(monkeypatch, {0.2: [C.demote], 0.5: [C.interrupt], 3.0: [C.interrupt]})
    assert cluster.written == [1000, 101]
    assert (outcome.result, outcome.primary) == ("incomplete", "")
    assert "interrupted" in recorder.steps


@pytest.mark.parametrize(
    ("script", "primary"), [(GOOD, "db2"), ({0.2: [C.demote], 0.6: [C.fail], 3.0: [C.back]}, "db1")]
)
@pytest.mark.parametrize("where", ["_note_killed", "_status_now"])
def test_no_interrupt_keeps_it_from_saying_who_is_primary(monkeypatch, script, primary, where):
    """Not between two waits either: an exit without a word is taken for "all is as before"."""
    real = getattr(Switchover, where)

    def interrupted(self):
        signal.raise_signal(signal.SIGINT)
        return real(self)

    monkeypatch.setattr(Switchover, where, interrupted)
    outcome, _, _ = perform(monkeypatch, script)
    assert outcome.primary == primary
    assert outcome.result == ("rolled back" if primary == "db1" else "incomplete")


@pytest.mark.parametrize("before", [{0.5: [C.interrupt]}, {0.2: [C.demote], 0.6: [C.fail], 0.8: [C.back]}])
def test_what_was_seen_before_this_node_was_cut_off_is_not_told_as_what_is_so(monkeypatch, before):
    outcome, _, _ = perform(monkeypatch, {**before, 1.3: [C.vanish]})
    assert (outcome.result, outcome.exit_code, outcome.primary) == ("incomplete", 4, "")
    assert "not known from here" in outcome.says


def test_this_nodes_cluster_goes_away(monkeypatch):
    outcome, _, recorder = perform(monkeypatch, {0.4: [C.vanish]}, timeout=15)
    assert (outcome.result, outcome.exit_code, outcome.primary) == ("incomplete", 4, "")
    assert "waiting: this node's cluster does not answer" in recorder.waits
    assert "not known from here" in outcome.says
    assert any("could not be taken back" in item and "-v 50" in item for item in outcome.left_to_do)


def test_it_goes_away_after_the_role_has_moved(monkeypatch):
    outcome, _, _ = perform(monkeypatch, {0.2: [C.demote, C.promote, C.up], 2.0: [C.vanish]}, timeout=5)
    assert outcome.result == "incomplete"
    assert "hafailover status on another node" in outcome.left_to_do[0]


# -- the gap --------------------------------------------------------------------------------------------------------


class Seen:
    """A probe that has already been: (asked, answered) of the writable answers, and when it closed."""

    host = "10.0.0.1"

    def __init__(self, writable, closed=()):
        self.writable, self.closed = list(writable), list(closed)

    def writable_after(self, moment):
        return next((answered for asked, answered in self.writable if asked >= moment), None)

    def closed_after(self, moment):
        return next((at for at in self.closed if at >= moment), None)


def every(start, end, step=0.01):
    count = round((end - start) / step)
    return [(start + index * step, start + index * step + 0.001) for index in range(count + 1)]


def test_the_gap_is_the_longest_time_between_two_writable_answers():
    probe = Seen(every(9.0, 10.1) + every(10.45, 12.0))
    gap, note = longest_gap([probe], 10.0, 12.0)
    assert gap == pytest.approx(0.35, abs=0.011)
    assert note == ""


def test_without_an_address_any_servers_answer_counts():
    gap, _ = longest_gap([Seen(every(9.0, 10.1)), Seen(every(10.3, 12.0))], 10.0, 12.0)
    assert gap == pytest.approx(0.2, abs=0.011)


def test_no_gap_without_an_answer_on_either_side():
    assert longest_gap([Seen([])], 10.0, 12.0)[0] is None
    assert longest_gap([Seen(every(9.0, 9.9))], 10.0, 12.0) == (
        None,
        "no writable answer came since the switchover was asked for",
    )


def test_events_are_exact():
    old, new, vip = (
        Seen(every(9.0, 10.1), [10.12]),
        Seen(every(10.3, 12.0)),
        Seen(every(9.0, 10.1) + every(10.4, 12.0), [10.12]),
    )
    found = {name: at for name, at, _ in Probes(old, new, [vip]).events(10.0, "db1", "db2")}
    assert found == {"demoted": 10.12, "promoted": pytest.approx(10.301), "address": pytest.approx(10.401)}


def test_two_writers_are_noticed():
    assert both_writable(Seen(every(9.0, 10.5)), Seen(every(10.3, 12.0)), 10.0)
    assert not both_writable(Seen(every(9.0, 10.1)), Seen(every(10.3, 12.0)), 10.0)
