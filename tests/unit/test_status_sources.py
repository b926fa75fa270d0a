"""What the status asks besides Pacemaker: the database servers, and the network for the addresses; and what it makes of the answers."""

import socket
import time
from xml.etree import ElementTree

import pytest
from hafailover.agents.ocf import OcfError
from hafailover.crm import local, status_facts, status_offline, status_places, status_servers
from hafailover.crm.corosync_glance import link_addresses, quorum_device, settings, votes
from hafailover.crm.status import DEGRADED, DOWN, NOTE, OK, Lag, SemiSync
from hafailover.crm.status_facts import gather, gather_idle
from hafailover.crm.status_judge import judge
from hafailover.crm.status_places import Seen
from hafailover.crm.status_servers import Said, with_servers
from hafailover.crm.status_text import lag_words, render
from status_samples import load, status

# -- servers --------------------------------------------------------------------------------------------------------

SYNC = SemiSync(True, 1, 0)
PRIMARY = Said("0-1-100", semi_sync=SYNC, writable=True)


def lag_of(said, name="healthy", primary=PRIMARY):
    found = with_servers(status(name), {"db": {"db1": primary, "db2": said}})
    return found, found.services[0].instance("db2").lag


def test_a_replica_that_has_everything():
    found, lag = lag_of(Said("0-1-100", "0-1-100", "0-1-100", 0))
    assert lag == Lag(0, 0, 0, "")
    assert found.services[0].instance("db1").lag is None
    assert found.services[0].semi_sync == SYNC
    screen = render(found, judge(found))
    assert "  db2   replica  0 s  50     in sync" in screen
    assert "commits wait for a copy (1 replica can give it)" in " ".join(screen.split())
    assert [line for line in screen.splitlines() if len(line) > 80] == []


def test_a_replica_that_is_behind():
    found, lag = lag_of(Said("0-1-60", "0-1-90", "0-1-60", 12))
    assert lag == Lag(12, 10, 30, "")
    assert "12 s, 40 trx" in render(found, judge(found))
    assert judge(found).word == OK


@pytest.mark.parametrize(
    ("lag", "words"),
    [
        (None, "-"),
        (Lag(0, 0, 0), "0 s"),
        (Lag(5, None, 2), "5 s, 2 trx"),
        (Lag(None, 0, 7), "stopped, 7 trx"),
        (Lag(error="x"), "no answer"),
    ],
)
def test_lag_in_words(lag, words):
    assert lag_words(lag) == words


def test_without_the_primary_nobody_knows_what_is_to_be_received():
    found, lag = lag_of(Said("0-1-60", "0-1-90", "0-1-60", 0), primary=Said(error="cannot connect"))
    assert lag == Lag(0, None, 30, "")
    assert found.services[0].semi_sync is None
    assert found.services[0].instance("db1").lag.error == "cannot connect"


def test_a_server_that_does_not_answer_is_named_and_is_no_fault():
    found, lag = lag_of(Said(error="no answer in time"))
    assert lag.error == "no answer in time"
    verdict = judge(found)
    assert verdict.word == OK
    assert [one.what for one in verdict.problems if one.severity == NOTE] == [
        "the server of db on db2 did not answer db1"
    ]


def test_positions_that_cannot_be_read():
    assert "cannot be compared" in lag_of(Said("x", "not a gtid", "", 0))[1].error


def cib(nodes, credentials="/etc/none", port="1"):
    return ElementTree.fromstring(
        f"""<cib><configuration><resources><clone id="c"><primitive id="db" class="ocf" provider="hafailover" type="mariadb">
        <instance_attributes id="i"><nvpair id="1" name="nodes" value="{nodes}"/><nvpair id="2" name="port" value="{port}"/>
        <nvpair id="3" name="credentials" value="{credentials}"/></instance_attributes></primitive></clone></resources></configuration>
        <status><node_state uname="gone" in_ccm="false"/><node_state uname="here" in_ccm="true" crmd="online"/></status></cib>"""
    )


@pytest.fixture
def account(tmp_path):
    file = tmp_path / "db.cred"
    file.write_text("[replication]\nuser=u\npassword=p\n")
    file.chmod(0o600)
    return str(file)


def test_a_server_that_hangs_holds_nothing_up(account):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        begun = time.monotonic()
        look = status_servers.Look(cib("here:127.0.0.1 gone:192.0.2.1", account, silent.getsockname()[1]), limit=0.3)
        said = look.said()
        assert time.monotonic() - begun < 2.0
    assert list(said["db"]) == ["here"], "who is away is not asked"
    assert said["db"]["here"].error


def test_who_may_not_read_the_account_is_told_so(monkeypatch):
    assert "cannot read the credentials" in status_servers.Look(cib("here:127.0.0.1")).hidden[0]

    def refuse(_):
        raise OcfError(1, "it is open to others")

    monkeypatch.setattr("hafailover.agents.mariadb.replication.login", refuse)
    assert status_servers.Look(cib("here:127.0.0.1")).hidden == (
        "how far the replicas of db are behind: it is open to others",
    )


def test_a_configuration_that_nobody_could_mean_is_no_error(account):
    look = status_servers.Look(cib("nonsense", account))
    assert (look.said(), look.hidden) == ({}, ())
    assert status_servers.Look(cib("here:127.0.0.1", account, port="x")).said() == {}


# -- addresses ------------------------------------------------------------------------------------------------------

MACS = {b"\x02\0\0\0\0\x01": "db1", b"\x02\0\0\0\0\x02": "db2"}
ONE, TWO, OTHER = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02", b"\x02\0\0\0\0\x09"


def seen(here, others, asked_from="db1", **changes):
    """The healthy cluster, whose address is on db1, after the network was asked."""
    found = status("healthy")._replace(seen_by=asked_from)
    address = found.addresses[0]._replace(**changes)
    made = status_places._address(address, asked_from, {address.ip: Seen(here, others)}, MACS)
    return found._replace(addresses=(made,))


def test_an_address_where_it_belongs():
    for found in (seen(True, ()), seen(False, (ONE,), "db2")):
        assert found.addresses[0].seen == ("db1",)
        assert judge(found).word == OK


def test_a_node_may_have_it_on_an_interface_that_nobody_knows_of():
    assert seen(False, (OTHER,), "db2").addresses[0].seen == ("db1",)


@pytest.mark.parametrize(
    ("here", "others", "asked_from", "severity", "what"),
    [
        (True, (TWO,), "db1", DOWN, "is on db2"),
        (True, (ONE,), "db2", DOWN, "is on db2"),
        (False, (TWO,), "db1", DOWN, "is on db2"),
        (False, (), "db1", DOWN, "is not on db1"),
        (True, (OTHER,), "db1", DEGRADED, "is on another machine (02:00:00:00:00:09)"),
        (False, (OTHER,), "db1", DOWN, "is on another machine (02:00:00:00:00:09)"),
        (False, (), "db2", NOTE, "nobody answers for"),
    ],
)
def test_an_address_that_is_elsewhere(here, others, asked_from, severity, what):
    found = seen(here, others, asked_from)
    problems = [
        one
        for one in judge(found).problems
        if what in f"{one.what} ".replace("nobody answers for ", "nobody answers for")
    ]
    assert [one.severity for one in problems if one.severity == severity], judge(found).problems
    assert all(one.advice for one in problems)
    if what.startswith("is on"):
        assert "ALSO SEEN ON" in render(found, judge(found))


def test_on_its_way_an_address_is_in_two_minds():
    moving = seen(True, (TWO,))._replace(idle=False)
    assert judge(moving).word == OK


def test_without_the_network_only_this_machine_tells():
    assert seen(True, None).addresses[0].seen == ("db1",)
    assert seen(False, None, "db2").addresses[0].seen is None
    assert seen(False, None).addresses[0].seen == ()


CONF = """nodelist {
    node {
        name: db1
        nodeid: 1
        ring0_addr: 10.0.0.1
        ring1_addr: 10.1.0.1
    }
    # node {
    node {
        ring0_addr: 10.0.0.2
        name: db2
    }
    node {
        ring0_addr: 10.0.0.3
    }
}
"""


def test_the_nodes_addresses():
    assert list(link_addresses(CONF)) == [("10.0.0.1", "db1"), ("10.1.0.1", "db1"), ("10.0.0.2", "db2")]
    assert list(link_addresses("")) == []


# -- silence --------------------------------------------------------------------------------------------------------


def test_a_coordinator_that_is_silent_is_named(monkeypatch):
    monkeypatch.setattr("hafailover.crm.status_facts._read", lambda _: CONF)
    record = load("healthy")
    answers = {"cibadmin": record.cib, "crm_mon": record.mon, "crm_node": "db1\n"}

    def run(argv, timeout=None, input=None):
        if argv[0] in ("crmadmin", "corosync-quorumtool"):
            assert timeout <= 2.0
            return local.Result(124, "", "it did not answer")
        return local.Result(0, answers.get(argv[0], ""), "")

    begun = []
    facts = gather(run, then=begun.append)
    assert [one.tag for one in begun] == ["cib"]
    assert facts.coordinator_state == ""
    assert len(facts.silent) == 2
    assert any(one.startswith("the coordinator db") for one in facts.silent)
    from hafailover.crm.status_read import read

    found = read(facts)
    assert found.idle is None
    assert "Not known here" in render(found, judge(found))


@pytest.mark.parametrize(
    ("states", "seen", "said"),
    [
        (["S_IDLE"], "S_IDLE", 0),
        ([""], "", 0),
        (["S_POLICY_ENGINE", "S_TRANSITION_ENGINE", "S_IDLE"], "S_IDLE", 1),
        (["S_TRANSITION_ENGINE"] * 99, "S_TRANSITION_ENGINE", 1),
    ],
)
def test_who_comes_while_the_cluster_acts_waits_a_moment_and_no_longer(monkeypatch, states, seen, said):
    left, told, clock = [*states], [], [0.0]
    monkeypatch.setattr(status_facts, "gather", lambda run: load("healthy", coordinator_state=left.pop(0)))
    monkeypatch.setattr(status_facts.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(status_facts.time, "sleep", lambda seconds: clock.append(clock.pop() + seconds))
    assert gather_idle(local.run, told.append, 10.0).coordinator_state == seen
    assert len(told) == said and clock[0] <= 10.0


def test_votes_of_corosync_quorumtool():
    assert votes(load("healthy").quorumtool) == (3, 3, 2)
    assert votes("") == (None, None, None)


def test_who_may_not_ask_is_told_how_to_be_let_in(tmp_path):
    def run(argv, timeout=None, input=None):
        return local.Result(0, "active\n", "")

    found = status_offline.look(run, "this user may not ask the cluster", str(tmp_path / "none"), denied=True)
    screen = " ".join(status_offline.render(found).split())
    assert "usermod -aG haclient USER" in screen
    assert "corosync active" in screen


def test_what_an_agent_says_moves_no_cursor():
    found = status("sql-stopped")
    service = found.services[0]
    bad = tuple(
        one._replace(reason="\033[2J\033[Hall is well\r\n\x07") if one.reason else one for one in service.instances
    )
    found = found._replace(services=(service._replace(instances=bad),))
    screen = render(found, judge(found))
    assert all(one.isprintable() or one == "\n" for one in screen)


def test_a_glance_at_corosync_conf_minds_sections_alone():
    text = "# node {\nquorum {\n  device {\n    model: net\n    net {\n      host: 10.0.0.9\n    }\n  }\n}\n}\nnodelist {\n"
    text += "  node {\n    ring0_addr: 10.0.0.1\n  }\n  node {\n    ring0_addr: 10.0.0.2\n    name: b\n  }\n}\n"
    assert quorum_device(text) == ("net", "10.0.0.9")
    assert list(link_addresses(text)) == [("10.0.0.2", "b")], "a node without a name is nobody's"
    assert quorum_device("quorum {\n  provider: corosync_votequorum\n}\n") is None
    assert [number for number, *_ in settings("a: 1\nx {\n b: 2\n}\nc: 3\nx {\n d: 4\n}\n")] == [0, 1, 0, 2]
