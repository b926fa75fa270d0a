"""What becomes of the key alerts, who delivers, what a text can do, and the commands."""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import time
from pathlib import Path

import pytest
from alert_nodes import Cluster, Node, Web
from click.testing import CliRunner
from hafailover.agents import journal
from hafailover.crm import alerting, alerts_run, alerts_section, generate, render, yamldoc
from hafailover.crm import topology as topologies
from hafailover.crm.commands.alerts import command
from hafailover.crm.errors import HafailoverError, UsageError
from hafailover.crm.formats import cib, crmsh
from hafailover.hooks.alerts import config, event, peers, to_syslog
from hafailover.hooks.alerts.config import Recipient
from hafailover.hooks.alerts.peers import DELIVER, SETTLED, WAIT, Published, View
from hafailover.hooks.alerts.sending import Failed
from hypothesis import given, settings
from hypothesis import strategies as st
from mistakes import one_sentence

TOPOLOGY = """
version: 1
lab: true
cluster: {name: c1, secrets_dir: s, encryption: off}
nodes:
  db1: {id: 1, links: [192.0.2.11]}
  db2: {id: 2, links: [192.0.2.12]}
quorum: {two_node: true}
alerts:
"""
CHAT = "  chat: {type: slack, url: file:chat, events: [nodes, failures]}\n"
HOOK = (
    "  hook: {type: webhook, url: https://alerts.example.net/in, token: file:hook, template: {text: 'x {summary}'}}\n"
)


def load(text: str, file: str = "t.yml") -> topologies.Topology:
    return topologies.parse(yamldoc.parse(TOPOLOGY + text, file))


@pytest.fixture
def written(tmp_path):
    (tmp_path / "s").mkdir()
    for name, secret in (("chat", "https://hooks.example.com/T0PSECRET"), ("hook", "t0ken")):
        (tmp_path / "s" / name).write_text(secret + "\n")
        (tmp_path / "s" / name).chmod(0o600)
    return tmp_path / "t.yml"


def rendered(text: str, file: Path):
    return next(one for one in render.render(load(text, str(file)), "db1") if one.path == config.PATH)


# -- from the topology -------------------------------------------------------------------------------------------------------


def test_secrets_reach_one_file_and_nothing_else(written):
    wanted = load(CHAT + HOOK, str(written))
    file = rendered(CHAT + HOOK, written)
    assert (file.mode, file.owner, file.group, file.secret) == (0o640, "root", "haclient", True)
    assert b"T0PSECRET" in file.content
    assert b"t0ken" in file.content
    configuration = generate.configuration(wanted)
    texts = [cib.text(configuration), crmsh.text(configuration)]
    texts += [one.content.decode("latin-1") for one in render.render(wanted, "db1") if one.path != config.PATH]
    assert not any("T0PSECRET" in text or "t0ken" in text for text in texts)
    written.parent.joinpath("alerts.json").write_bytes(file.content)
    read = config.load(str(written.parent / "alerts.json"))
    assert read.node == "db1"
    assert read.recipients["chat"].events == {"nodes", "failures"}
    assert read.recipients["hook"].options["template"] == {"text": "x {summary}"}


def test_who_is_no_longer_named_is_forgotten(written):
    file = rendered("  {}\n", written)
    assert json.loads(file.content)["recipients"] == {}
    assert (file.mode, file.secret) == (0o644, False)


def test_pacemaker_tells_only_what_somebody_wants():
    (alert,) = alerts_section.deliveries(load(CHAT))
    assert (alert.path, alert.select, alert.recipients) == (alerting.AGENT, ("nodes", "resources"), ())
    assert alerts_section.deliveries(load("  {}\n")) == ()
    everything = load("  a: {type: syslog, events: [attributes]}\n  b: {type: syslog, events: [fencing]}\n")
    assert alerting.selected(everything) == ("fencing", "attributes")
    assert alerting.selected(load("  a: {type: syslog, events: [hooks]}\n")) == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("  a: {type: slack}", "lacks the key url"),
        ("  a: {type: slack, url: ftp://x/}", "is not an address of http or https"),
        ("  a: {type: slack, url: 'https://u:p@x/'}", "holds an account"),
        ("  a: {type: slack, url: 'https://x/ y'}", "holds spaces"),
        ("  a: {type: slack, url: 'https://x:99999/'}", "is no address"),
        ("  a: {type: slack, url: file:../x}", "is not a reference to a file"),
        ("  a: {type: webhook, url: http://x.example/, token: file:t}", "would send the token over the network"),
        ("  a: {type: webhook, url: https://x/, token: s3cret}", "is not a reference to a file"),
        ("  a: {type: webhook, url: https://x/, headers: {X-Api-Key: s3cret}}", "looks like a secret"),
        ("  a: {type: webhook, url: https://x/, headers: {Host: y}}", "is not yours to set"),
        ("  a: {type: webhook, url: https://x/, headers: {'A: b': y}}", "is not the name of a header"),
        ('  a: {type: webhook, url: https://x/, headers: {A: "b\\r\\nC: d"}}', "write"),
        ("  a: {type: webhook, url: https://x/, template: '{sumary}'}", "did you mean 'summary'?"),
        ("  a: {type: slack, url: https://x/, template: [a]}", "must be text for slack"),
        ("  a: {type: syslog, url: https://x/}", "means nothing for syslog"),
        ("  a: {type: mail}", "unknown value 'mail'"),
        ("  a: {type: syslog, events: [node]}", "unknown value 'node'"),
        ("  a: {type: syslog, timeout: 1h}", "between 500ms and 30s"),
        ("  a: {type: syslog, keep: 5}", "a whole number from 100"),
        ("  ../a: {type: syslog}", "cannot be used here"),
        ("  a: {type: amqp, url: http://x/}", "is not an address of amqp or amqps"),
    ],
)
def test_a_mistake_is_one_clear_sentence(text, said):
    with pytest.raises(UsageError) as caught:
        load(text + "\n")
    assert "s3cret" not in str(caught.value)
    one_sentence(str(caught.value), said)


def test_an_address_in_a_file_is_checked_without_telling_it(written):
    (written.parent / "s/chat").write_text("gopher://T0PSECRET\n")
    with pytest.raises(UsageError) as caught:
        rendered(CHAT, written)
    assert "alerts.chat.url: what file:chat holds is not an address" in str(caught.value)
    assert "T0PSECRET" not in str(caught.value)


# -- texts -----------------------------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300), st.text(max_size=60))
def test_whatever_an_event_holds_is_data(content, template):
    parsed = event.parse("1.2.3.4", content + b"\0desc={value}{desc}\0kind=resource", 5.0)
    told = parsed.told("c", "db1", 0)
    body = json.loads(json.dumps(event.fill({"text": template, "d": "{description}"}, told)))
    assert body["d"] == told["description"]
    assert set(body) == {"text", "d"}
    for key in ("summary", "description", "node"):
        assert not re.search(r"[\x00-\x1f\x7f\u202a-\u202e]", told[key])
    assert parsed.words() <= set(event.EVENTS)


def test_placeholders_are_filled_once_and_only_known_ones():
    told = event.parse("1", b"kind=test\0desc={node} {__class__} %s ${HOME} {0.x}\0node=n\0end=1", 5.0).told(
        "c", "r", 0
    )
    assert event.fill("{description}|{node}|{nothing}|{node.__class__}|{0}", told) == (
        "{node} {__class__} %s ${HOME} {0.x}|n|{nothing}|{node.__class__}|{0}"
    )


@pytest.mark.parametrize("at", ["", "0", "x", "-5", "9" * 30, "١٢"])
def test_a_time_that_is_none_is_the_files(at):
    parsed = event.parse("1", f"kind=node\0at={at}\0micro=zz\0end=1".encode(), 1_700_000_000.0)
    assert parsed.told("c", "r", 0)["time"]
    assert parsed.at == 1_700_000_000.0 or at == "١٢"


def test_order_is_of_numbers():
    names = ["10.5.1.9", "9.999999.7.1", "10.5.1.10", "junk", "10.000005.0.3"]
    assert sorted(names, key=event.order) == ["junk", "9.999999.7.1", "10.000005.0.3", "10.5.1.10", "10.5.1.9"]


# -- who delivers ------------------------------------------------------------------------------------------------------------------


def lost(at: float, node: str = "db3", kind: str = "node") -> event.Event:
    return event.parse("n", f"kind={kind}\0at={at:.0f}\0node={node}\0desc=lost\0end=1".encode(), at)


def settled(when: float, **more: float) -> Published:
    return Published(**{"at": when, "since": 0, "upto": when, "holding": 0, **more}, keys={lost(when).same(): when})


NOW = 10_000.0
BOTH = {"db1": 1, "db2": 2}


@pytest.mark.parametrize(
    ("me", "at", "members", "published", "expected"),
    [
        ("db1", NOW - 1, BOTH, {}, DELIVER),
        ("db2", NOW - 1, BOTH, {}, WAIT),
        ("db2", NOW - 61, BOTH, {}, DELIVER),
        ("db2", NOW - 1, {"db2": 2}, {}, DELIVER),
        # The clocks of two nodes differ.
        ("db2", NOW - 61, BOTH, {"db1": settled(NOW - 55)}, SETTLED),
        ("db2", NOW - 61, BOTH, {"db1": settled(NOW - 40)}, SETTLED),
        # It was another loss of the same node: the first node has worked past neither.
        ("db2", NOW - 30, BOTH, {"db1": settled(NOW - 300)}, WAIT),
        # It is still at an older one, and tries.
        ("db2", NOW - 900, BOTH, {"db1": settled(NOW - 2000, at=NOW - 20, holding=NOW - 1000)}, WAIT),
        # It has not tried for too long.
        ("db2", NOW - 900, BOTH, {"db1": settled(NOW - 2000, at=NOW - 200, holding=NOW - 1000)}, DELIVER),
        # It joined after the event, so what it has settled later says nothing.
        ("db2", NOW - 900, BOTH, {"db1": settled(NOW - 100, since=NOW - 500)}, DELIVER),
        # A node that took over while this one, the first, was away.
        ("db1", NOW - 900, BOTH, {"db2": settled(NOW - 905)}, SETTLED),
        # A node whose clock is an hour ahead: that it has worked past something says nothing, its keys do.
        ("db1", NOW - 5, BOTH, {"db2": Published(NOW + 3600, 0, NOW + 3600, 0, {})}, DELIVER),
        ("db2", NOW - 5, BOTH, {"db1": settled(NOW + 3600)}, WAIT),
        # What one has said oneself before a restart of the service does not count.
        ("db1", NOW - 900, BOTH, {"db1": settled(NOW - 905)}, DELIVER),
    ],
)
def test_who_delivers(me, at, members, published, expected):
    assert peers.verdict(me, lost(at), View(members, published), NOW) == expected


def test_what_is_published_is_read_and_nonsense_is_not():
    said = Published(3.0, 1.0, 2.5, 2.25, {"abc": 2.0})
    assert peers.read(said.text()) == said
    for text in ("", "2 1 1 1 1 x", "1 a b c d e", "1 1 1", "1 1 1 1 1 x:y"):
        assert peers.read(text) is None


# -- other ways ----------------------------------------------------------------------------------------------------------------------


TOLD = event.parse("1", b"kind=node\0node=db.1#*\0desc=lost\0end=1", 5.0).told("c1", "db1", 2)


def test_syslog(monkeypatch):
    got = []
    monkeypatch.setattr(journal, "send", lambda *args: got.append(args) or True)
    to_syslog.sender(Recipient("a", "syslog", frozenset(), 1, 1, 1, {})).send(TOLD)
    ((level, _, text, fields),) = got
    assert (level, text) == ("warning", "node db.1#* is lost (2 earlier events were dropped)")
    assert fields["HAFAILOVER_NODE"] == "db.1#*"
    monkeypatch.setattr(journal, "send", lambda *args: False)
    with pytest.raises(Failed):
        to_syslog.sender(Recipient("a", "syslog", frozenset(), 1, 1, 1, {})).send(TOLD)


# -- the commands ----------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def node(tmp_path, monkeypatch):
    web = Web()
    cluster = Cluster(tmp_path / "c")
    cluster.members("db1", "db2")
    made = Node(cluster, "db1", {"hook": web.recipient()})
    made.web = web
    for name in ("HAFAILOVER_ALERTS", "HAFAILOVER_ALERTS_CONFIG"):
        monkeypatch.setenv(name, made.environment[name])
    monkeypatch.setattr(alerts_run.local, "installed", lambda program: False)
    monkeypatch.setattr(alerts_run, "_USER", "nobody-of-the-kind")  # hacluster cannot enter a directory of tests
    yield made
    made.end(signal.SIGKILL)
    web.server.shutdown()


def invoke(*argv: str):
    return CliRunner().invoke(command, argv)


def test_a_test_arrives(node):
    node.start()
    done = invoke("test", "hook")
    assert (done.exit_code, done.output) == (0, "delivered to hook\n")
    assert node.web.got[0][0]["kind"] == "test"
    shown = invoke("status")
    assert shown.exit_code == 0
    assert re.match(r"hook \(webhook\): 0 waiting; 1 delivered, last \d\d:\d\d:\d\d\n$", shown.output)


def test_a_test_that_fails_says_why_and_status_too(node):
    node.web.status = 500
    node.start()
    done = invoke("test", "hook")
    assert isinstance(done.exception, HafailoverError)
    assert "not delivered yet to hook, and tried on: 127.0.0.1 answers 500" in str(done.exception)
    shown = invoke("status", "-o", "json")
    assert shown.exit_code == 1
    told = json.loads(shown.output)
    assert (told["well"], told["recipients"][0]["waiting"]) == (False, 1)
    node.web.status = 200
    assert invoke("retry").output.startswith("1 event waiting; trying now.")
    node.run()
    assert invoke("status").exit_code == 0


def test_nobody_delivers(node):
    done = invoke("test", "hook", "--timeout", "1")
    assert "nobody takes events from the inbox" in str(done.exception)
    (one,) = (node.root / "inbox").iterdir()
    os.utime(one, (time.time() - 60, time.time() - 60))
    shown = invoke("status")
    assert shown.exit_code == 1
    assert shown.output.startswith("Nobody delivers: the oldest of 1 events")


def test_no_such_recipient_and_no_configuration(node):
    done = invoke("test", "hok")
    assert "did you mean 'hook'?" in str(done.exception)
    node.config.unlink()
    for argv in (["status"], ["retry"], ["test", "x"]):
        assert "name recipients in the topology" in str(invoke(*argv).exception)


def test_where_pacemaker_may_not_write_status_says_so(node, monkeypatch):
    entry = pwd.getpwnam("nobody")
    monkeypatch.setattr(alerts_run, "_USER", "nobody")
    # Temporary directories are for their owner alone: that is seen first, and told of the outermost one.
    shown = invoke("status")
    assert shown.exit_code == 1
    assert shown.output.startswith("Nothing arrives: nobody may not enter ")
    places = {Path(node.root / "inbox"): (0o770, entry.pw_uid)}
    real = Path.stat

    def stat(path, **more):
        mode, owner = places.get(path, (0o755, 0))
        return os.stat_result((mode, 0, 0, 0, owner, 0, *real(path, **more)[6:]))

    monkeypatch.setattr(Path, "stat", stat)
    assert invoke("status").exit_code == 0
    places[Path(node.root / "inbox")] = (0o755, 0)
    told = json.loads(invoke("status", "-o", "json").output)
    assert told["well"] is False and told["closed"].startswith("nobody may not write into ")


def test_what_is_no_event_does_not_stay(node):
    (node.root / "inbox/1.1.1.1").symlink_to("/etc/passwd")
    os.mkfifo(node.root / "inbox/1.1.1.2")
    (node.root / "inbox/1.1.1.3").mkdir()
    node.alert(kind="node", node="db9", desc="lost")
    node.run()
    assert list((node.root / "inbox").iterdir()) == []
    assert [body["node"] for body, _ in node.web.got] == ["db9"]


def test_a_look_that_was_cancelled_is_no_failure():
    given = {"kind": "resource", "task": "monitor", "resource": "db", "node": "db1", "rc": "7", "target_rc": "0"}
    told = [
        event.parse("1.2.3.4", "".join(f"{k}={v}\0" for k, v in {**given, "status": status}.items()).encode(), 5.0)
        for status in ("0", "1", "2")
    ]
    assert ["failures" in one.words() for one in told] == [True, False, True]
    assert told[1].summary() == "monitor of db on db1 was cancelled"
