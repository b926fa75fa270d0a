"""A node's own copy: broken, cut off, of wrong modes, set back, on a disk that takes no more; and how large it may become."""

import os
from pathlib import Path

import pytest
from hafailover.crm.history import drain, handed_in, records
from hafailover.crm.history.drain import Drain
from hafailover.crm.history.records import Record
from hafailover.crm.history.store import Store
from history_cluster import nearly_full

WRITER = "db1~aaaa"


def made(first, last, kind="event", size=10):
    return [Record(WRITER, n, n, n, kind, {"text": "x" * size, "src": f"{n}"}) for n in range(first, last + 1)]


@pytest.fixture
def store(tmp_path):
    (tmp_path / "store").mkdir(mode=0o700)
    return Store(str(tmp_path / "store"))


def log(store):
    return Path(store.directory) / f"{WRITER}.log"


@pytest.mark.parametrize("rest", [b"\0" * 200_000, b"\xff" * 200_000, b"{" * 70_000 + b"\n"])
def test_what_a_crash_left_behind_hides_no_number(store, rest):
    store.append(WRITER, made(1, 9), 50)
    with open(log(store), "ab") as file:
        file.write(rest)
    assert store.last(WRITER).seq == 9
    store.append(WRITER, made(10, 10), 50)
    assert [record.seq for record in store.of(WRITER, 50)] == list(range(1, 11))


def directory(path):
    path.mkdir()


def link(path):
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize("broken", [directory, link])
def test_a_file_that_cannot_be_read_keeps_nobody_from_the_others(store, tmp_path, broken, no_journal):
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "1").write_text("kind=event\0event=toy.up\0text=new\0")
    store.append(WRITER, made(1, 3), 50)
    other = Path(store.directory) / "db2~bbbb.log"
    broken(other)
    Drain(store, None, "db1", 50, str(tmp_path / "inbox")).once()
    assert [record.facts["text"] for record in store.everything(50)][-1] == "new"
    assert not os.path.lexists(other) and os.path.lexists(f"{other}.broken")
    broken(other)
    assert store.last("db2~bbbb") is None, "also the second time"
    assert not os.path.lexists(other)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"", b"../../etc~aaaa\n", b"{}[]", b"[1]", b"[" * 100_000])
@pytest.mark.parametrize("name", ["writer", "keep", "skew"])
def test_small_files_that_are_broken_are_made_anew(store, tmp_path, name, content):
    class Ahead:
        """A cluster in which db2's clock is a minute ahead."""

        def published(self, _name):
            letter = drain.mailbox.Letter(drain.time.time_ns() // 1000 + 60_000_000, {}, ())
            return {"db2": drain.mailbox.write(letter)}

        def publish(self, _name, _text):
            pass

    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "1").write_text("kind=event\0event=toy.up\0text=new\0")
    (Path(store.directory) / name).write_bytes(content)
    one = Drain(store, Ahead(), "db1", drain.limit(store.directory, None), str(tmp_path / "inbox"))
    one.once()
    assert sorted(record.kind for record in store.everything(50)) == ["clock", "event"]


@pytest.mark.parametrize("node", ["n" * 64, "a:b", "_x", "", "\u00e4", "db 1/../x", "db1"])
def test_any_name_that_pacemaker_takes_is_a_writers(store, tmp_path, node):
    (tmp_path / "inbox").mkdir()
    for number in range(2):
        (tmp_path / "inbox" / f"{number}").write_text("kind=event\0event=toy.up\0text=new\0")
        Drain(store, None, node, 50, str(tmp_path / "inbox")).once()
    assert [record.seq for record in store.everything(50)] == [1, 2], "and it stays the same writer"
    assert len(store.writers()) == 1


def test_a_copy_that_others_could_read_is_closed_again(store):
    os.chmod(store.directory, 0o755)
    with store.lock(1):
        assert os.stat(store.directory).st_mode & 0o777 == 0o700


def test_who_lost_the_numbers_but_not_the_name_takes_another(store):
    name = store.writer("db1")
    store.append(name, [Record(name, 1, 1, 1, "event", {})], 50)
    assert store.writer("db1") == name
    os.unlink(Path(store.directory) / f"{name}.log")
    assert store.writer("db1") != name


def test_another_name_is_had_some_times_and_then_once_a_day(store):
    for _ in range(8):
        name = store.writer("db1")
        store.append(name, [Record(name, 1, 1, 1, "event", {})], 50)
        last = store.another()
    assert last is False
    os.utime(Path(store.directory) / "writer", (1, 1))
    assert store.another() is True


def test_a_crash_before_the_inbox_is_cleared_doubles_nothing_though_more_came_than_is_kept(
    store, tmp_path, monkeypatch
):
    box = tmp_path / "inbox"
    box.mkdir()
    for number in range(300):
        (box / f"{number:04d}").write_text(f"kind=event\0event=toy.up\0text={number} {'x' * 300}\0")
    one = Drain(store, None, "db1", 50, str(box))
    with monkeypatch.context() as patch:
        patch.setattr(handed_in, "clear", lambda directory, names: None)
        one.once()
    assert len(os.listdir(box)) == 300
    one.once()
    assert os.listdir(box) == []
    assert [record.seq for record in store.everything(50)] == list(range(251, 301))


def test_a_file_stays_as_small_as_what_is_kept(store):
    for first in range(1, 20_000, 200):
        store.append(WRITER, made(first, first + 199, size=900), 50)
        assert log(store).stat().st_size < (50 * 1.2 + 2 * 200) * 1100
    assert len(store.of(WRITER, 50)) == 50


def test_where_there_is_no_room_for_two_there_may_be_for_one_more(store, monkeypatch):
    store.append(WRITER, made(1, 200, size=900), 500)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_replace", full)
    with pytest.raises(OSError, match="No space"):
        store.append(WRITER, made(201, 201), 50)  # far more than is kept: it must not grow for ever
    store.append(WRITER, made(201, 201), 150)
    assert store.last(WRITER).seq == 201


# -- how much is kept -----------------------------------------------------------------------------------------------


class Cluster:
    answer = ""

    def alert_parameter(self, _alert, _name):
        return self.answer


def test_a_limit_that_could_not_be_stored_does_not_cut_the_history_down(store):
    cluster = Cluster()
    cluster.answer = "2000"
    assert drain.limit(store.directory, cluster) == 2000
    keep = Path(store.directory) / "keep"
    os.utime(keep, (1, 1))

    with nearly_full(0):
        assert drain.limit(store.directory, cluster) == 2000
    assert drain.limit(store.directory, None) == 2000, "an empty file would say 500, and 1500 records would be dropped"


def test_where_nobody_has_said_a_limit_nothing_is_dropped_that_may_be_kept(store):
    assert drain.limit(store.directory, None) == records.MOST
    cluster = Cluster()
    assert drain.limit(store.directory, cluster) == records.KEEP
    os.utime(Path(store.directory) / "keep", (1, 1))
    cluster.answer = "9" * 5000
    assert drain.limit(store.directory, cluster) == records.MOST


def test_a_file_of_the_future_that_nobody_finishes_is_removed(tmp_path):
    (tmp_path / ".unfinished").write_text("kind=event\0")
    os.utime(tmp_path / ".unfinished", (2**32, 2**32))
    assert handed_in.look(str(tmp_path)).strange == 1
    assert os.listdir(tmp_path) == []
