"""The alert that records, the inbox, and the root side that believes nothing of what it finds there."""

import os
import stat
import subprocess
import time
from pathlib import Path

import pytest
from hafailover.agents import inbox, journal
from hafailover.crm.history import drain, handed_in
from hafailover.crm.history.drain import Drain
from hafailover.crm.history.handed_in import look
from hafailover.crm.history.store import Busy, Store
from history_cluster import nearly_full

AGENT = Path(__file__).parents[2] / "hooks/alert_history.sh"
ALERT = {
    "CRM_alert_kind": "resource", "CRM_alert_node": "db1", "CRM_alert_rsc": "db", "CRM_alert_task": "promote",
    "CRM_alert_rc": "0", "CRM_alert_target_rc": "0", "CRM_alert_desc": "ok", "CRM_alert_exec_time": "1200",
    "CRM_alert_timestamp_epoch": "1767225600", "CRM_alert_timestamp_usec": "4711", "CRM_alert_version": "2.1.5",
}  # fmt: skip
MANY = 'for number in $(seq "$1"); do CRM_alert_desc="$$ $number" sh "$0" || exit 1; done'


@pytest.fixture
def box(tmp_path, monkeypatch):
    path = tmp_path / "inbox"
    path.mkdir()
    monkeypatch.setattr(inbox, "DIRECTORY", str(path))
    return path


def run_alert(box, path=os.environ["PATH"], **environ):
    """One event as Pacemaker tells it; ``path``: where programs are."""
    env = {**ALERT, **environ, "PATH": str(path), "HAFAILOVER_INBOX": str(box)}
    argv = ["/bin/sh", AGENT]
    done = subprocess.run(
        argv, env=env, capture_output=True, text=True, timeout=30, check=False, restore_signals=False
    )  # a test of little memory limits files, whose signal Python ignores
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def told_in(box):
    (file,) = box.iterdir()
    return inbox.read(file.read_bytes())


def drained(tmp_path, box, keep=500):
    one = Drain(Store(str(tmp_path / "store")), None, "db1", keep, str(box))
    one.once()
    return one.store.everything(keep)


def test_many_alerts_at_once_while_it_is_drained_are_all_there_once(tmp_path, box):
    env = {**os.environ, **ALERT, "HAFAILOVER_INBOX": str(box)}
    argv = ["/bin/sh", "-c", MANY, AGENT, "40"]
    running = [subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    while any(one.poll() is None for one in running):
        drained(tmp_path, box)
    found = drained(tmp_path, box)
    assert all((one.returncode, one.stderr.read()) == (0, "") for one in running)
    assert sorted(record.facts["desc"] for record in found) == sorted(
        f"{one.pid} {number}" for one in running for number in range(1, 41)
    )
    assert [record.seq for record in sorted(found, key=lambda one: one.seq)] == list(range(1, 321))
    assert list(box.iterdir()) == []


@pytest.fixture
def few(tmp_path):
    """A search path with the one program that the recorder may start."""
    path = tmp_path / "few"
    path.mkdir()
    (path / "mv").symlink_to("/bin/mv")
    return path


def test_an_alert_starts_next_to_nothing(box, few):
    run_alert(box, path=few)
    (file,) = box.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert told_in(box) == {
        "kind": "resource", "happened": "1767225600004711", "node": "db1", "rsc": "db", "task": "promote", "rc": "0",
        "target_rc": "0", "exec_time": "1200", "desc": "ok",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"CRM_alert_kind": "attribute"}, False),
        ({"CRM_alert_kind": ""}, False),
        ({"CRM_alert_task": "monitor"}, False),
        ({"CRM_alert_task": "notify"}, False),
        ({"CRM_alert_task": "monitor", "CRM_alert_rc": "7"}, True),
        (
            {"CRM_alert_task": "monitor", "CRM_alert_rc": "7", "CRM_alert_status": "1", "CRM_alert_desc": "Cancelled"},
            False,
        ),
        ({"CRM_alert_kind": "fencing", "CRM_alert_node": "db2"}, True),
        ({"CRM_alert_kind": "node", "CRM_alert_desc": "lost"}, True),
    ],
)
def test_which_alerts_are_for_the_history(box, tmp_path, few, changes, told):
    run_alert(box, path=few if told else tmp_path / "nowhere", **changes)
    assert len(list(box.iterdir())) == told


@pytest.fixture
def complaints(tmp_path):
    """A search path whose ``logger`` writes into a file, and that file."""
    path = tmp_path / "logging"
    path.mkdir()
    (path / "logger").write_text(f'#!/bin/sh\necho "$*" 2>/dev/null >>{tmp_path}/complaints\n')
    (path / "logger").chmod(0o755)
    return f"{path}:{os.environ['PATH']}", tmp_path / "complaints"


def test_no_inbox_no_harm(tmp_path, monkeypatch, complaints):
    monkeypatch.setattr(inbox, "DIRECTORY", str(tmp_path / "nowhere"))
    assert inbox.put({"kind": "event"}) is False
    path, said = complaints
    run_alert(tmp_path / "nowhere", path)
    assert said.read_text().endswith("the inbox is missing, full, or closed to hacluster: resource db promote on db1\n")


def test_an_alert_finds_the_inbox_full(box, complaints):
    path, said = complaints
    for number in range(inbox.MOST):
        (box / f"{number}").touch()
    run_alert(box, path)
    assert len(list(box.iterdir())) == inbox.MOST
    assert "full" in said.read_text()


def test_a_full_inbox_takes_no_more_and_that_is_told(tmp_path, box):
    for _ in range(inbox.MOST + 20):
        inbox.put({"kind": "event", "event": "toy.up"})
    assert len(list(box.iterdir())) == inbox.MOST
    found = drained(tmp_path, box, keep=2000)
    assert sum(record.kind == "lost" for record in found) == 1
    assert len(found) == inbox.MOST + 1
    assert list(box.iterdir()) == []


def test_what_memory_takes_only_a_part_of_is_not_handed_in(box, complaints):
    with nearly_full(100):
        assert inbox.put({"kind": "event", "event": "toy.up", "text": "x" * 500}) is False
        assert inbox.put({"kind": "event", "event": "toy.up"}) is True
    with nearly_full(0):
        assert inbox.put({"kind": "event", "event": "toy.up"}) is False
        run_alert(box, complaints[0])
        assert complaints[1].exists()
    assert not list(box.glob(".*"))
    assert len(list(box.iterdir())) == 1, "half a record would have been one"


@pytest.mark.parametrize("letter", ["x", "\U0001f600", "\0"])
def test_no_field_takes_the_others_with_it(box, letter):
    many = dict.fromkeys("abcdefghijklm", letter * 5000)
    assert inbox.put({"kind": "event", **many, "user": "ann"})
    (file,) = box.iterdir()
    found = inbox.read(file.read_bytes())
    assert file.stat().st_size <= inbox.LONGEST
    assert found["user"] == "ann" and set(found) == {"at", "kind", "user", *many}


def test_more_fields_than_there_is_room_for_are_left_out_whole(box):
    assert inbox.put({"kind": "event", **{f"key{number}": "0123456789" for number in range(2000)}})
    (file,) = box.iterdir()
    found = inbox.read(file.read_bytes())
    assert found["kind"] == "event" and set(found.values()) == {"event", found["at"], "0123456789"}


HOSTILE_TEXT = "a\x1b]0;owned\x07\x1b[2J\u202e\nb\r`touch /tmp/x`$(id)"


def test_what_an_alert_says_is_data(tmp_path, box):
    long = "\U0001f600" * 9999
    hostile = {"CRM_alert_desc": HOSTILE_TEXT, "CRM_alert_timestamp_epoch": "1e9", "CRM_alert_rsc": long}
    run_alert(
        box, **hostile, CRM_alert_status=long, CRM_alert_interval="%s%n", CRM_alert_node="*", CRM_alert_nodeid="-e"
    )
    (record,) = drained(tmp_path, box)
    assert record.facts["desc"] == "a\ufffd]0;owned\ufffd\ufffd[2J\ufffd\ufffdb\ufffd`touch /tmp/x`$(id)"
    assert record.facts["interval"] == "%s%n" and record.facts["node"] == "*" and record.facts["nodeid"] == "-e"
    assert record.facts["rsc"] == record.facts["status"] == "\U0001f600" * 75
    assert abs(record.at / 1e6 - time.time()) < 60


def test_an_alert_with_more_to_say_than_is_read_is_cut(box):
    names = ("node", "nodeid", "rsc", "task", "interval", "rc", "status", "exec_time", "desc")
    run_alert(box, **{f"CRM_alert_{name}": "x" * 9999 for name in names})
    told = told_in(box)
    assert {name: len(told[name]) for name in names} == {**dict.fromkeys(names, 300), "desc": 2000}


def fill(box, tmp_path):
    """What somebody with the rights of an alert could put there, and worse."""
    (tmp_path / "secret").write_text("kind=event\0text=secret\0")
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("mine")
    (box / "link").symlink_to(tmp_path / "secret")
    (box / "dangling").symlink_to(tmp_path / "nothing")
    (box / "linked-directory").symlink_to(tmp_path / "kept")
    os.link(tmp_path / "secret", box / "second-name")
    os.mkfifo(box / "pipe")
    os.mknod(box / "device", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    (box / "huge").write_bytes(b"")
    os.truncate(box / "huge", 1 << 40)
    (box / "binary").write_bytes(os.urandom(4096))
    (box / "no-kind").write_text("text=a\0")
    (box / "\x1b[2J\nname").write_text("kind=node\0node=db1\0")
    deep = box / "deep"
    deep.mkdir()
    here = os.getcwd()
    try:
        os.chdir(deep)
        for _ in range(3000):  # deeper than Python recurses, and than a path may be long
            os.mkdir("d" * 100)
            os.chdir("d" * 100)
    finally:
        os.chdir(here)
    (box / ".unfinished").write_text("kind=event\0")
    (box / ".old").mkdir()
    os.utime(box / ".old", (1, 1))
    inbox.put({"kind": "event", "event": "toy.up", "text": "good"})


def test_hostile_files_neither_harm_nor_stop_it(tmp_path, box):
    fill(box, tmp_path)
    began = time.monotonic()
    found = drained(tmp_path, box)
    assert time.monotonic() - began < 20
    assert sorted(record.kind for record in found) == ["event", "node"]
    assert [record.facts["text"] for record in found if record.kind == "event"] == ["good"]
    assert [path.name for path in box.iterdir()] == [".unfinished"]
    assert (tmp_path / "secret").exists() and (tmp_path / "kept" / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_what_alerts_may_hand_in_and_what_nobody_may(tmp_path, box, monkeypatch):
    monkeypatch.setattr(handed_in, "_alerters", lambda: frozenset({12345}))
    for number, (uid, kind) in enumerate(
        [(12345, "node"), (12345, "audit"), (12345, "event"), (54321, "node"), (0, "audit")]
    ):
        (box / f"{number}").write_text(f"kind={kind}\0node=db1\0")
        os.chown(box / f"{number}", uid, uid)
    assert {name: told["kind"] for name, told in look(str(box)).told.items()} == {"0": "node", "4": "audit"}
    os.chown(box, 12345, 12345)
    assert look(str(box)).told == {}, "an inbox that root has not made is not looked into"


def test_an_inbox_that_is_a_link_is_not_followed(tmp_path, box):
    inbox.put({"kind": "event", "event": "toy.up"})
    (tmp_path / "other").symlink_to(box)
    assert look(str(tmp_path / "other")).told == {}
    assert len(look(str(box)).told) == 1


def test_a_full_disk_keeps_what_was_handed_in(tmp_path, box, monkeypatch):
    inbox.put({"kind": "event", "event": "toy.up"})

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "append", full)
        with pytest.raises(OSError, match="No space left"):
            drained(tmp_path, box)
    assert len(list(box.iterdir())) == 1
    assert len(drained(tmp_path, box)) == 1


def test_one_at_a_time(tmp_path):
    store = Store(str(tmp_path / "store"))
    with store.lock(1):
        began = time.monotonic()
        with pytest.raises(Busy), store.lock(0.2):
            pass
        assert 0.2 <= time.monotonic() - began < 5
    with store.lock(0):
        pass


def test_what_agents_journal_as_an_event_is_handed_in(box, toy, no_journal, capsys):
    ctx = toy.context(OCF_RESOURCE_INSTANCE="ip:0")
    ctx.log("warning", "no event")
    ctx.event("toy.up", "two\nlines", level="warning", address="192.0.2.1")
    (file,) = box.iterdir()
    told = inbox.read(file.read_bytes())
    assert told.pop("at").isdecimal()
    assert told == {
        "kind": "event", "level": "warning", "agent": "toy", "text": "two\nlines", "event": "toy.up", "action": "start",
        "address": "192.0.2.1", "resource": "ip",
    }  # fmt: skip


def test_the_limit_is_the_clusters(tmp_path):
    class Pacemaker:
        asked = 0

        def alert_parameter(self, alert, name):
            Pacemaker.asked += 1
            return answer

    directory = str(tmp_path / "store")
    answer = "77"
    assert drain.limit(directory, Pacemaker()) == 77
    assert drain.limit(directory, Pacemaker()) == 77 and Pacemaker.asked == 1
    os.utime(tmp_path / "store" / "keep", (1, 1))
    answer = "10; rm"
    assert drain.limit(directory, Pacemaker()) == 500
    os.utime(tmp_path / "store" / "keep", (1, 1))
    answer = "1"
    assert drain.limit(directory, Pacemaker()) == 50


def test_events_go_where_the_journal_goes(box, no_journal):
    journal.send("notice", "hafailover-mariadb", "died", {"HAFAILOVER_EVENT": "died", "HAFAILOVER_RESOURCE": "db"})
    (file,) = box.iterdir()
    assert inbox.read(file.read_bytes())["resource"] == "db"
