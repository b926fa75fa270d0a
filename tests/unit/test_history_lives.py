"""A disk that begins anew, is copied, or is set back: no number is used twice, and nothing is lost."""

import os

from history_cluster import FENCED, Cluster, event


def test_a_disk_that_begins_anew_is_another_writer_and_learns_everything(tmp_path):
    cluster = Cluster(tmp_path)
    cluster.tell("db1", event(1), FENCED)
    cluster.settle()
    for path in (tmp_path / "db1" / "store").iterdir():
        path.unlink()
    cluster.tell("db1", event(2))
    cluster.settle()
    one, *others = cluster.lists()
    assert others == [one, one]
    assert len({record.writer for record in one}) == 2 and len(one) == 3


def test_a_copied_machine_is_another_writer(tmp_path):
    cluster = Cluster(tmp_path)
    cluster.tell("db1", event(1))
    cluster.run("db1")
    os.makedirs(tmp_path / "db2" / "store")
    for path in (tmp_path / "db1" / "store").iterdir():
        (tmp_path / "db2" / "store" / path.name).write_bytes(path.read_bytes())
    cluster.tell("db2", event(2))
    cluster.settle()
    assert sorted(record.node for record in cluster.lists()[0]) == ["db1", "db2"]
    assert cluster.lists()[0] == cluster.lists()[1]


def test_a_disk_that_was_set_back_uses_no_number_twice(tmp_path):
    cluster = Cluster(tmp_path)
    cluster.tell("db1", event("kept"))
    cluster.settle()
    store = tmp_path / "db1" / "store"
    snapshot = {path: path.read_bytes() for path in store.iterdir()}
    cluster.tell("db1", event("later"))
    cluster.settle()
    for path in store.iterdir():
        path.unlink()
    for path, content in snapshot.items():
        path.write_bytes(content)
    cluster.attributes.cut({"db1"}, {"db2", "db3"})  # db2 and db3 show nothing yet when it writes
    cluster.attributes.heal()
    for node in ("db2", "db3"):
        cluster.run(node)
    cluster.tell("db1", event("again"))
    cluster.settle()
    one, *others = cluster.lists()
    assert others == [one, one]
    assert [record.facts["text"] for record in one] == ["event kept", "event later", "event again"]
