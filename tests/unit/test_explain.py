"""``hafailover explain`` and ``promote --accept-data-loss``: the words, and what refuses the decision."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from hafailover.agents.mariadb import journal
from hafailover.agents.mariadb.decide import Replica
from hafailover.crm import accept_loss_run, explain_offline, local
from hafailover.crm.accept_loss import losses, position_words, refusal
from hafailover.crm.colour import plain
from hafailover.crm.errors import HafailoverError, IncompleteError, RefusedError
from hafailover.crm.explain import MAY, MAY_NOT, PRIMARY, UNKNOWN, as_json, explain
from hafailover.crm.explain_text import render, render_offline
from hafailover.crm.status import Failure
from hafailover.crm.switchover import Answer, Answers
from status_samples import DIRECTORY, load, status

GOOD = Replica(
    source="10.77.0.11", io="Yes", sql=True, received="0-1-9", applied="0-1-9", io_errno=0, sql_errno=0, error=""
)
PRIMARY_ANSWER = Answer("db1", writable=True, state="0-1-421", position="0-1-421")
REPLICA_ANSWER = Answer("db2", replica=GOOD, state="0-1-9", position="0-1-9")
BOTH = Answers({"db1": PRIMARY_ANSWER, "db2": REPLICA_ANSWER})


def explained(found, answers=BOTH, published=None):
    return explain(found, found.services[0], answers, published or {})


def case(node, found, answers=BOTH, published=None):
    return next(one for one in explained(found, answers, published).cases if one.node == node)


def with_journal(name, **changes):
    """A recorded status with another promotion journal."""
    found = status(name)
    service = found.services[0]
    return found._replace(services=(service._replace(journal=service.journal._replace(**changes)),))


def without_primary(scores=(None, None), **changes):
    """Both servers run as replicas and nobody is promoted."""
    found = with_journal("healthy", **changes)
    service = found.services[0]
    there = tuple(
        one._replace(role="Unpromoted", score=score, standing="cannot be promoted", reason="its own word")
        for one, score in zip(service.instances, scores)
    )
    return found._replace(services=(service._replace(primary=None, promoted=(), instances=there),))


def test_a_healthy_pair():
    found = explained(status("healthy"))
    assert [(one.node, one.verdict) for one in found.cases] == [("db1", PRIMARY), ("db2", MAY)]
    assert found.cases[1].sentence == "db2 can be promoted: it holds every acknowledged write"
    assert found.outlook == ""
    assert found.journal.startswith("db1 is the primary of epoch 7, which opened at GTID 0-1-6; db2 held every")


def test_a_stale_replica_with_what_it_misses():
    found = case("db2", with_journal("healthy", sync={}, by="degrade"))
    assert found.verdict == MAY_NOT
    assert found.reason.startswith("STALE since ")
    assert found.reason.endswith(", db1 acknowledged 412 writes alone")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer("db1", writable=True, position="0-1-10"), "1 write alone"),
        (Answer("db1", writable=True, position="0-1-9"), "which db1 confirms next"),
        (Answer("db1", error="connection refused"), "db1 was primary last and does not answer"),
    ],
)
def test_what_a_stale_replica_misses_as_far_as_it_is_known(answer, says):
    found = with_journal("healthy", sync={}, by="degrade")
    assert says in case("db2", found, Answers({"db1": answer, "db2": REPLICA_ANSWER})).reason


def test_a_replica_that_has_restarted():
    found = with_journal("healthy", sync={"db2": "another.1.1"})
    assert "its server has restarted since it was called in sync" in case("db2", found).reason


def test_the_rules_of_the_agent_decide():
    broken = Answer("db2", replica=GOOD._replace(sql=False, sql_errno=1062, error="Duplicate entry"), state="0-1-9")
    found = case("db2", status("healthy"), Answers({"db1": PRIMARY_ANSWER, "db2": broken}))
    assert (found.verdict, found.reason) == (MAY_NOT, "the SQL thread stopped: Duplicate entry (error 1062)")
    errant = Answer("db2", replica=GOOD, state="0-1-9,0-2-11")
    found = case("db2", status("healthy"), Answers({"db1": PRIMARY_ANSWER, "db2": errant}))
    assert found.reason == "holds 0-2-11, which did not come from the primary"


def test_a_primary_that_is_none():
    found = case("db1", with_journal("healthy", primary="db2"))
    assert (found.verdict, found.reason) == (UNKNOWN, "promoted, but the journal records db2")
    found = case("db1", status("healthy"), Answers({"db1": Answer("db1"), "db2": REPLICA_ANSWER}))
    assert found.reason == "promoted, but its server is read-only"


def test_how_a_server_came_back_and_what_was_salvaged():
    came = {"hafailover-db-told": {"db2": "rejoin=truncated 7 Successfully truncated binlog file"}}
    found = status("healthy", published={**load("healthy").published, **came})
    saved = {"salvage": {"db2": "b.2.2 done 50 0-1-74 0 received before the restart"}}
    facts = "\n".join(case("db2", found, published=saved).facts)
    assert "came back by GTID, after its unacknowledged tail was removed (epoch 7)" in facts
    assert "50 transactions received before the server's restart (up to 0-1-74) were applied" in facts


def test_nobody_may_be_promoted():
    found = explained(status("no-quorum"), Answers({}, "no credentials"))
    assert [one.verdict for one in found.cases] == [MAY_NOT, MAY_NOT]
    assert found.cases[0].reason == "this partition has no quorum"
    assert found.outlook.startswith("Nobody is primary, and nobody may be. It waits for db2.")
    assert "--accept-data-loss" in found.outlook


@pytest.mark.parametrize("name", ["healthy", "no-quorum", "primary-unclean", "standby", "sql-stopped", "switching"])
def test_it_fits_on_the_screen_and_into_json(name):
    found = explained(status(name))
    lines = list(render([found], None, plain))
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if line.startswith("db1 ")] != []
    assert not [line for line in render([found], "db2", plain) if line.startswith("db1 ")]
    data = json.loads(json.dumps(as_json([found], "db1", 1.0)))
    assert [one["node"] for one in data["services"][0]["cases"]] == ["db1", "db2"]


def test_offline_from_the_cib_on_disk(monkeypatch, tmp_path):
    monkeypatch.setattr(explain_offline, "ask_everybody", lambda service: BOTH)
    (found,) = explain_offline.look(1.0, str(DIRECTORY / "healthy.cib.xml"))
    assert found.conclusion == "db1 is writable now, so it is the primary; ask there"
    assert max(map(len, render_offline([found], "Pacemaker does not run on this node", plain))) <= 80
    assert explain_offline.as_json([found], "why", "db1", 1.0)["available"] is False
    with pytest.raises(HafailoverError, match="no configuration of a cluster on this node"):
        explain_offline.look(1.0, str(tmp_path / "cib.xml"))


# -- accepting a loss ----------------------------------------------------------------------------------------------


def refused(found, node="db2", answers=BOTH, published=None):
    return refusal(found, found.services[0], node, explained(found, answers), published or {})


def alone(**changes):
    """The old primary is away, and the replica that is left is stale."""
    found = status("no-quorum")
    entry = journal.Journal(5, "db2", "0-2-50", {}, 1000, "degrade")
    there = tuple(one._replace(pending="") for one in found.services[0].instances)
    service = found.services[0]._replace(journal=entry, instances=there)._replace(**changes)
    return found._replace(services=(service,), quorum=found.quorum._replace(quorate=True))


def test_a_loss_is_accepted_only_when_nobody_may_be_promoted():
    assert "is the primary" in refused(status("healthy"))
    assert "can be promoted without any loss" in refused(status("switching"))
    assert "no quorum" in refused(status("no-quorum"), "db1")
    assert refused(alone(), "db1") is None
    assert "does not run on db2" in refused(alone(), "db2")
    assert "db1 was primary last and is back: wait for it" in refused(without_primary(sync={}), "db2")
    assert "damaged" in refused(alone(journal_error="the promotion journal is damaged"), "db1")
    maintained = status("maintenance-and-ban")
    service = maintained.services[0]._replace(primary=None, promoted=())
    assert "maintenance mode" in refused(maintained._replace(services=(service,)), "db2")
    applying = {"salvage": {"db1": "b.1.1 applying 50 0-2-74 0 received before the restart"}}
    assert "still applying" in refused(alone(), "db1", published=applying)


def test_no_loss_is_accepted_while_the_last_primary_is_about_to_start():
    found = alone()

    def joined(**changes):
        back = [one._replace(online=True, **changes) if one.name == "db2" else one for one in found.nodes]
        return found._replace(nodes=tuple(back))

    calm = {"standby": False, "maintenance": False, "pending": False, "unclean": False, "shutting_down": False}
    assert "db2 was primary last and is in the cluster again" in refused(joined(**calm), "db1")
    assert refused(joined(**{**calm, "standby": True}), "db1") is None
    failed = Failure("db", "db2", "start", 1, "complete", "the disk is gone", 1.0, lasting=True, fails=1, threshold=1)
    assert refused(joined(**calm)._replace(failures=(failed,)), "db1") is None


def test_what_would_be_lost():
    found = alone()
    (loss,) = losses(found, found.services[0], "db1", Answers({"db1": Answer("db1", state="0-1-9")}))
    assert loss.number is None
    assert loss.says.startswith("unknown: db2 has been down")
    assert "primary of epoch 5, which opened at GTID 0-2-50" in loss.says
    (loss,) = losses(found, found.services[0], "db1", BOTH)
    assert (loss.number, loss.says) == (0, "nothing: the other holds all of its data")
    (loss,) = losses(found, found.services[0], "db2", BOTH)
    assert (loss.number, loss.says) == (412, "412 transactions, up to 0-1-421")
    branch = Answers({"db1": Answer("db1", state="0-1-9,0-1-9"), "db2": Answer("db2", state="0-1-8,0-2-9")})
    (loss,) = losses(found, found.services[0], "db1", branch)
    assert (loss.number, loss.says) == (1, "1 transaction, up to 0-2-9")


def test_where_the_chosen_server_stands():
    assert position_words(REPLICA_ANSWER) == "it stands at GTID 0-1-9"
    assert "does not run yet" in position_words(Answer("db2", error="connection refused"))
    assert "does not run yet" in position_words(None)


class Tools:
    """Pacemaker's tools on a cluster of db1 and a witness, with the journal in each member's copy."""

    def __init__(self, base, quorate=("1", "1"), deaf=""):
        self.copies = {"db1": base, "witness": base}
        self.quorate, self.deaf, self.written, self.published = list(quorate), deaf, [], []

    def __call__(self, argv, timeout=None, input=None):
        out = ""
        if argv[:2] == ["crm_node", "-q"]:
            out = self.quorate.pop(0)
        elif argv[0] == "attrd_updater":
            self.published.append(argv[1:])
        elif argv[:2] == ["cibadmin", "--modify"]:
            self.written.append(input)
            text = input.partition(' value="')[2].partition('"')[0]
            self.copies = {
                name: copy if name == self.deaf else journal.read(text) for name, copy in self.copies.items()
            }
        elif "-N" in argv:
            text = journal.write(self.copies[argv[argv.index("-N") + 1]])
            out = f'<nvpair id="hafailover-db-journal" name="journal" value="{text}"/>'
        else:
            out = "\n".join(f'<node_state uname="{name}" crmd="online" join="member"/>' for name in self.copies)
        return SimpleNamespace(rc=0, out=out, err="")


def test_the_decision_is_written_like_every_promotion():
    service = alone().services[0]
    tools = Tools(service.journal)
    entry = accept_loss_run.record(tools, service, "db1", "0-1-40")
    assert (entry.epoch, entry.primary, entry.gtid, entry.sync, entry.by) == (
        1005,
        "db1",
        "0-1-40",
        {},
        journal.ACCEPTED,
    )
    assert len(tools.written) == 1
    assert 'admin_epoch="admin_epoch+=1000000"' in tools.written[0]
    assert tools.published == [["-p", "-N", "db1", "-n", "hafailover-db-reign", "-U", "1005"]]


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"quorate": ("0",)}, RefusedError, "no quorum"),
        ({"base": journal.Journal(6, "db2", "", {}, 1, "promote")}, RefusedError, "things have changed"),
        ({"quorate": ("1", "0")}, IncompleteError, "no quorum"),
        ({"deaf": "witness"}, IncompleteError, "witness does not have the mark"),
    ],
)
def test_a_decision_that_cannot_be_confirmed(changes, error, says):
    service = alone().services[0]
    tools = Tools(changes.pop("base", service.journal), **changes)
    with pytest.raises(error, match=says):
        accept_loss_run.record(tools, service, "db1", "0-1-40")
    assert bool(tools.written) == (error is IncompleteError)


def test_a_decision_that_is_interrupted_bars_nobody():
    """A reign without a record would be taken for the trace of a lost one."""

    class Interrupted(Tools):
        def __call__(self, argv, timeout=None, input=None):
            if argv[:2] == ["cibadmin", "--modify"]:
                raise KeyboardInterrupt
            return super().__call__(argv, timeout, input)

    service = alone().services[0]
    tools = Interrupted(service.journal)
    with pytest.raises(KeyboardInterrupt):
        accept_loss_run.record(tools, service, "db1", "0-1-40")
    assert not tools.published


def test_waiting_for_the_promotion(monkeypatch):
    said = []
    found = status("healthy")
    monkeypatch.setattr(accept_loss_run, "gather", lambda run, *_: None)
    monkeypatch.setattr(accept_loss_run, "read", lambda facts: found)
    assert accept_loss_run.await_promotion(local.run, found.services[0], "db1", 1.0, said.append)
    assert not accept_loss_run.await_promotion(local.run, found.services[0], "db2", 0.0, said.append)
    assert said == ["db2: in sync"]
