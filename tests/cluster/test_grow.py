"""A running pair gets a third and a fourth node and loses them again: a line in the topology and apply, under a writer."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hafailover.crm.files import RenderedFile
from hafailover.vagrant import seed, state
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.lab import Lab, Options
from labs import lab_of, shell, until
from pair import UNIT, healthy, recorded, sql, status
from stubborn import Writer

NAME = "growtest"
FILE = "/etc/hafailover/topology.yml"
TABLES = """
CREATE DATABASE proof; CREATE TABLE proof.acked (id INT PRIMARY KEY);
CREATE USER app@'%' IDENTIFIED BY ''; GRANT SELECT, INSERT ON proof.* TO app@'%';
"""

Written = Mapping[str, Any]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_of(NAME, DEFAULT_TOPOLOGY, Options(spares=("db3", "w1"))) as made:
        healthy(made)
        sql(made, "db1" if status(made, "db1")["services"][0]["primary"] == "db1" else "db2", TABLES)
        copy_secrets(made)
        yield made


def copy_secrets(lab: Lab) -> None:
    """What an operator does with scp: the secrets of the topology lie on every machine."""
    files = [
        RenderedFile(f"/etc/hafailover/secrets/{path.name}", path.read_bytes(), 0o600)
        for path in (state.directory(lab.name) / "secrets").iterdir()
    ]
    for node in ("db1", "db2", "db3", "w1"):
        lab.unpack(node, seed.archive(files, {}))


def written(lab: Lab) -> dict[str, Any]:
    """The pair's topology, as the lab runs it."""
    data: dict[str, Any] = yaml.safe_load(shell(lab, "db1", f"cat {FILE}"))
    data["cluster"]["secrets_dir"] = "/etc/hafailover/secrets"
    return data


def having(lab: Lab, pair: Written, *names: str, device: str | None) -> dict[str, Any]:
    """The pair's topology with further nodes, of which only db3 has the database, and with or without the device."""
    data = copy.deepcopy(dict(pair))
    for number, name in enumerate(names, 3):
        links = [interface.address.partition("/")[0] for interface in lab.nodes[name].interfaces]
        data["nodes"][name] = {"id": number, "links": links, "fence": {"agent": "fence_lab", "plug": name}}
    data["services"]["db"]["on"] = ["db1", "db2", *(name for name in names if name == "db3")]
    if device:
        data["quorum"]["device"]["algorithm"] = device
    else:
        del data["quorum"]
    return data


def put(lab: Lab, data: Written, node: str) -> None:
    lab.unpack(node, seed.archive([RenderedFile(FILE, yaml.safe_dump(dict(data), sort_keys=False).encode())], {}))


def install(lab: Lab, data: Written, *nodes: str) -> None:
    for node in nodes:
        put(lab, data, node)
        shell(lab, node, f"hafailover render {FILE} --install")


def apply(lab: Lab, *options: str) -> tuple[int, str]:
    """The exit code of apply on db1 and all it said."""
    done = lab.exec("db1", ["hafailover", "apply", FILE, *options], timeout=300)
    return done.returncode, done.stdout + done.stderr


class Meanwhile:
    """Runs commands on nodes some seconds after apply has begun to wait for what they do."""

    def __init__(self, lab: Lab, script: str, *nodes: str) -> None:
        self._thread = threading.Thread(target=self._run, args=(lab, script, nodes))
        self.failed: list[BaseException] = []

    def _run(self, lab: Lab, script: str, nodes: tuple[str, ...]) -> None:
        try:
            time.sleep(3)
            for node in nodes:
                shell(lab, node, script)
        except BaseException as error:
            self.failed.append(error)

    def __enter__(self) -> Meanwhile:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        assert not self.failed, self.failed


START = "systemctl enable --now corosync pacemaker"
STOP = "systemctl disable --now corosync-qdevice pacemaker corosync"
VOTE = "systemctl reset-failed corosync-qdevice || true; systemctl enable corosync-qdevice; systemctl restart corosync-qdevice"


def offline(lab: Lab) -> set[str]:
    """The nodes that have left in order."""
    line = next((one for one in shell(lab, "db1", "crm_mon -1").splitlines() if "OFFLINE: [" in one), "")
    return set(line.partition("[")[2].partition("]")[0].split())


def in_sync(lab: Lab, node: str) -> bool:
    service = status(lab, "db1")["services"][0]
    return any(one["node"] == node and one["standing"] == "in sync" for one in service["instances"])


def test_a_pair_grows_to_four_and_shrinks_again_under_a_writer(lab: Lab, tmp_path: Path) -> None:
    healthy(lab)
    pair = having(lab, written(lab), device="ffsplit")
    first = recorded(lab, "db1").primary
    server = shell(lab, first, f"systemctl show -P MainPID {UNIT}")
    epoch = recorded(lab, "db1").epoch
    began = time.time()
    writer = Writer(lab, tmp_path)
    try:
        writer.progress()

        # What would cost the cluster its quorum, or its membership, is refused with the reason.
        trio = having(lab, pair, "db3", device=None)
        put(lab, trio, "db1")
        code, said = apply(lab, "--yes")
        assert code == 3 and "this machine's /etc/corosync/corosync.conf is not what the topology makes" in said
        install(lab, trio, "db1")
        code, said = apply(lab, "--yes")
        assert code == 3 and "db2 has not shown that its corosync.conf is what the topology makes" in said
        install(lab, having(lab, pair, "db3", device="lms"), "db1", "db2")
        code, said = apply(lab, "--yes")
        assert code == 3 and "Take quorum.device out of the topology for this step" in said
        assert "db3" not in shell(lab, "db1", "corosync-cmapctl nodelist.")

        # A third server, in two goes: the first one finds the new machine not there.
        install(lab, trio, "db1", "db2")
        code, said = apply(lab, "--dry-run")
        assert code == 0 and "would wait until db3 has joined" in said and "clone-max of db-clone: 2 → 3" in said
        code, said = apply(lab, "--yes", "--wait=2")
        assert code == 4 and "db3 has not joined" in said and "run hafailover apply again" in said
        install(lab, trio, "db3")
        with Meanwhile(lab, START, "db3"):
            code, said = apply(lab, "--yes", "--wait=180")
        assert code == 0, said
        assert "the cluster would reload db on db1" in said and "would start db on db3" in said
        until("the new replica is in sync", lambda: in_sync(lab, "db3"))

        # A member without the database; the device is back, and counts when its daemons have started.
        four = having(lab, pair, "db3", "w1", device="ffsplit")
        install(lab, four, "db1", "db2", "db3", "w1")
        with Meanwhile(lab, f"test $(hostname) != w1 || {START}; {VOTE}", "w1", "db1", "db2", "db3"):
            code, said = apply(lab, "--yes", "--wait=180")
        assert code == 0, said
        assert "Total votes:      5" in shell(lab, "db1", "corosync-quorumtool -s")

        # And back again. What is removed has to be stopped first, and keeps its data.
        install(lab, trio, "db1", "db2", "db3")
        code, said = apply(lab, "--yes")
        assert code == 3 and "w1 is no longer in the topology and still runs in the cluster" in said
        shell(lab, "w1", STOP)
        until("w1 has left", lambda: "w1" in offline(lab))
        code, said = apply(lab)
        assert code == 2 and "this would remove w1 from the cluster; nothing was changed" in said
        code, said = apply(lab, "--yes")
        assert code == 0 and "w1 is removed" in said, said
        install(lab, pair, "db1", "db2")
        shell(lab, "db3", STOP)
        until("db3 has left", lambda: "db3" in offline(lab))
        with Meanwhile(lab, VOTE, "db1", "db2"):
            code, said = apply(lab, "--yes", "--wait=180")
        assert code == 0 and "db3 is removed" in said, said
        assert apply(lab) == (0, "nothing to do: the cluster has this configuration already\n")
        assert {node["name"] for node in status(lab, "db1")["nodes"]} == {"db1", "db2"}
        assert "Total votes:      3" in shell(lab, "db1", "corosync-quorumtool -s")
        assert "ibdata1" in shell(lab, "db3", "ls /var/lib/mysql")
        writer.progress()
    finally:
        writer.close()

    # Nobody noticed: the same server is primary all the time, and keeps its address.
    healthy(lab)
    assert recorded(lab, "db1").primary == first and recorded(lab, "db1").epoch == epoch
    assert shell(lab, first, f"systemctl show -P MainPID {UNIT}") == server
    assert lab.fence_log() == []
    for node in lab.data_nodes:
        said = lab.logs(node, began)
        assert "Quorum lost" not in said
        assert "removed 10.77.0.100/24" not in said
    found = {int(word) for word in sql(lab, first, "SELECT id FROM proof.acked").split()}
    assert writer.acked() <= found
