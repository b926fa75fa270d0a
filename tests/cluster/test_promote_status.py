"""``hafailover status`` and ``hafailover promote`` on a real pair: there and back, refused, called off, interrupted, and offline."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from typing import Any, Callable

import pytest
from following import Following
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.lab import Lab
from labs import lab_of, until

NAME = "promote"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_of(NAME, DEFAULT_TOPOLOGY) as made:
        healthy(made)
        sql(
            made,
            status(made)["services"][0]["primary"],
            "CREATE DATABASE proof; CREATE TABLE proof.rows (id INT PRIMARY KEY)",
        )
        yield made


@pytest.fixture
def pair(lab: Lab) -> tuple[str, str]:
    """(primary, replica) of a healthy cluster."""
    found = healthy(lab)["services"][0]
    return found["primary"], next(one["node"] for one in found["instances"] if one["node"] != found["primary"])


def status(lab: Lab, node: str | None = None) -> dict[str, Any]:
    done = lab.exec(node or lab.data_nodes[0], ["hafailover", "status", "-o", "json"])
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def healthy(lab: Lab) -> dict[str, Any]:
    return until("the cluster is healthy", lambda: (found := status(lab))["healthy"] and found)


def promote(lab: Lab, node: str, *options: str, on: str | None = None) -> tuple[int, dict[str, Any], str]:
    """(exit code, JSON, standard error) of a promote without a terminal."""
    done = lab.exec(on or node, ["hafailover", "promote", node, "--yes", "-o", "json", *options], timeout=240)
    return done.returncode, json.loads(done.stdout), done.stderr


def sql(lab: Lab, node: str, statement: str) -> str:
    done = lab.exec(node, ["mariadb", "-N", "-B"], input=statement)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def configuration(lab: Lab) -> str:
    """The CIB's configuration without our journal and without version counters."""
    text = lab.exec(lab.data_nodes[0], ["cibadmin", "--query", "--scope", "configuration"], check=True).stdout
    return re.sub(r'value="v=1 [^"]*"', "", text)


def scores(lab: Lab) -> dict[str, int]:
    return {one["node"]: one["score"] for one in status(lab)["services"][0]["instances"]}


@pytest.fixture
def stuck(lab: Lab, pair: tuple[str, str]) -> Iterator[Callable[[], None]]:
    """A replica that has received a row and cannot apply it; calling the fixture lets it go."""
    primary, replica = pair
    holder = lab.popen(
        replica, ["mariadb", "-e", "LOCK TABLES proof.rows WRITE; SELECT SLEEP(600)"], stderr=subprocess.DEVNULL
    )
    until(
        "the table is locked", lambda: "SLEEP" in sql(lab, replica, "SHOW FULL PROCESSLIST").upper().replace("SHOW", "")
    )
    number = int(sql(lab, primary, "SELECT COALESCE(MAX(id), 0) + 1 FROM proof.rows"))
    sql(lab, primary, f"INSERT INTO proof.rows VALUES ({number})")

    def release() -> None:
        rows = sql(
            lab, replica, "SELECT id FROM information_schema.processlist WHERE info LIKE 'SELECT SLEEP%'"
        ).split()
        for row in rows:
            sql(lab, replica, f"KILL CONNECTION {row}")

    try:
        yield release
    finally:
        holder.kill()
        holder.wait()
        until("the replica is free again", lambda: lab.exec(replica, ["mariadb", "-e", "SELECT 1"]).returncode == 0)
        release()


def following(lab: Lab, node: str, *options: str) -> Following:
    """A promote without a terminal."""
    return Following(lab, node, ["hafailover", "promote", node, "--yes", *options])


def test_every_node_tells_the_same(lab: Lab, pair: tuple[str, str]) -> None:
    for node in lab.cluster_nodes:
        done = lab.exec(node, ["hafailover", "status"])
        assert done.returncode == 0
        assert done.stdout.startswith(f"OK  {pair[0]} is primary of db, 1 replica in sync\n")
        assert [line for line in done.stdout.splitlines() if len(line) > 80] == []
        assert "\033" not in done.stdout
    assert lab.exec(lab.data_nodes[0], ["hafailover", "status", "--check"]).returncode == 0


def test_somebody_without_rights_is_told_how_to_get_them(lab: Lab) -> None:
    nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", "hafailover"]
    done = lab.exec(lab.data_nodes[0], [*nobody, "promote", "db1", "--yes"])
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1
    assert "root" in done.stderr
    done = lab.exec(lab.data_nodes[0], [*nobody, "status"])
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("UNKNOWN  this user may not ask the cluster")
    assert "pacemaker         active" in done.stdout


def test_a_dry_run_changes_nothing(lab: Lab, pair: tuple[str, str]) -> None:
    before = lab.exec(pair[0], ["cibadmin", "--query", "--scope", "configuration"]).stdout
    done = lab.exec(pair[0], ["hafailover", "promote", pair[1], "--dry-run"])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "REFUSED" not in done.stdout
    assert "unknown" not in done.stdout
    assert lab.exec(pair[0], ["cibadmin", "--query", "--scope", "configuration"]).stdout == before
    assert status(lab)["services"][0]["primary"] == pair[0]


def test_without_a_terminal_it_wants_yes_and_a_typo_is_noticed(lab: Lab, pair: tuple[str, str]) -> None:
    done = lab.exec(pair[0], ["hafailover", "promote", pair[1]])
    assert done.returncode == 2
    assert "--yes" in done.stderr
    done = lab.exec(pair[0], ["hafailover", "promote", "bd2", "--yes"])
    assert done.returncode == 2
    assert "did you mean db2" in done.stderr
    assert lab.exec(pair[0], ["hafailover", "promote", pair[0], "--yes"]).stdout.startswith("Nothing to do")


def test_there_from_the_new_and_back_from_the_old_primary(lab: Lab, pair: tuple[str, str]) -> None:
    """The command may run on either node: on one the address leaves it, on the other it arrives."""
    before = configuration(lab)
    first, second = pair
    for target, on in ((second, second), (first, second)):
        code, told, err = promote(lab, target, on=on)
        assert (code, told["result"], told["primary"], told["left_to_do"]) == (0, "done", target, []), err
        names = [step["name"] for step in told["steps"]]
        assert names == ["requested", "demoted", "promoted", "address", "in sync"]
        times = [step["after_s"] for step in told["steps"]]
        assert times == sorted(times)
        assert 0 < told["write_gap_s"] <= times[-2] + 1
        found = healthy(lab)
        assert found["services"][0]["primary"] == target
        assert found["addresses"][0]["nodes"] == [target]
        assert found["leftovers"] == []
    assert configuration(lab) == before


def test_refused_while_the_replica_is_broken(lab: Lab, pair: tuple[str, str]) -> None:
    primary, replica = pair
    sql(lab, replica, "STOP SLAVE SQL_THREAD")
    try:
        before = scores(lab)
        code, told, err = promote(lab, replica)
        assert (code, told["result"], told["exit_code"]) == (3, "refused", 3)
        assert {"replication", "in-sync"} <= {check["name"] for check in told["checks"] if check["refuses"]}
        assert "refused, nothing was changed" in err
        assert status(lab)["services"][0]["primary"] == primary
        until("its agent says so, too", lambda: scores(lab)[replica] == -1000000)
        assert max(before[replica], scores(lab)[replica]) <= 100, "nobody asked for it"
        told = status(lab)
        assert (told["verdict"], told["healthy"]) == ("DEGRADED", False)
        assert "the SQL thread stopped" in told["problems"][0]["why"]
    finally:
        sql(lab, replica, "START SLAVE SQL_THREAD")
    healthy(lab)


def test_refused_while_the_replica_cannot_apply(lab: Lab, pair: tuple[str, str], stuck: Callable[[], None]) -> None:
    code, told, _ = promote(lab, pair[1], "--dry-run")
    assert code == 3
    assert [check["name"] for check in told["checks"] if check["refuses"]] == ["lag"]
    stuck()
    assert promote(lab, pair[1], "--dry-run")[0] == 0


def test_a_promotion_that_fails_is_rolled_back(lab: Lab, pair: tuple[str, str], stuck: Callable[[], None]) -> None:
    """The new primary's server dies while it applies the rest: the old one serves again."""
    primary, replica = pair
    going = following(lab, replica, "--accept", "lag")
    going.await_line(f"{primary} accepts no more writes")
    lab.kill(replica, "hafailover-mariadb-db.service", signal.SIGKILL)
    code, said = going.end()
    assert code == 1, said
    assert f"{primary} is the primary of db as before" in " ".join(said.split())
    lab.exec(primary, ["crm_resource", "--cleanup", "-r", "db"], check=True)
    found = healthy(lab)
    assert found["services"][0]["primary"] == primary
    until("the agents have set their own scores", lambda: scores(lab) == {primary: 100, replica: 50})


def test_an_interrupt_takes_the_request_back(lab: Lab, pair: tuple[str, str], stuck: Callable[[], None]) -> None:
    """The old primary is closed already, so the promotion is not undone but let go; what comes of it is told, and no score stays raised."""
    primary, replica = pair
    before = configuration(lab)
    going = following(lab, replica, "--accept", "lag")
    going.await_line(f"{primary} accepts no more writes")
    lab.kill(replica, going.pid, signal.SIGINT)
    going.await_line("called off: interrupted")
    stuck()
    code, said = going.end()
    assert code == 4, said
    assert f"interrupted, but {replica} is the primary of db now" in " ".join(said.split())
    healthy(lab)
    until("the agents have set their own scores", lambda: scores(lab) == {replica: 100, primary: 50})
    assert configuration(lab) == before


def test_two_people_at_once(lab: Lab, pair: tuple[str, str]) -> None:
    primary, replica = pair
    # The replica takes long for it, and nobody holds it up whose session could be ended.
    # (@@server_id would not tell them apart: a statement is replicated under its origin's.)
    number, name = sql(lab, primary, "SELECT COALESCE(MAX(id), 0) + 1, @@hostname FROM proof.rows").split()
    late = f"INSERT INTO proof.rows SELECT {number} FROM DUAL WHERE @@hostname = '{name}' OR SLEEP(25) = 0"
    sql(lab, primary, f"SET SESSION binlog_format = STATEMENT; {late}")
    going = following(lab, replica, "--accept", "lag")
    going.await_line(f"{primary} accepts no more writes")
    for node in pair:
        code, told, err = promote(lab, node, on=primary)
        assert (code, told["result"]) == (3, "refused"), err
        assert "is being changed on" in err and f"promote {replica}" in err
    code, said = going.end()
    assert code == 0, said
    assert healthy(lab)["services"][0]["primary"] == replica


def test_a_node_without_its_cluster_says_so(lab: Lab, pair: tuple[str, str]) -> None:
    primary, replica = pair
    lab.exec(replica, ["systemctl", "stop", "pacemaker"], timeout=90, check=True)
    try:
        told = status(lab, replica)
        assert (told["available"], told["healthy"], told["verdict"]) == (False, False, "UNKNOWN")
        assert told["last_known"]["journals"]["db"]["primary"] == primary
        assert told["units"]["pacemaker"] == "inactive"
        done = lab.exec(replica, ["hafailover", "status"])
        assert done.returncode == 1
        assert done.stdout.startswith("UNKNOWN  Pacemaker does not run on this node")
        done = lab.exec(replica, ["hafailover", "promote", replica, "--yes"])
        assert done.returncode == 1
        assert "Pacemaker does not run on this node" in done.stderr
        seen = status(lab, primary)
        assert (seen["verdict"], seen["services"][0]["primary"]) == ("DEGRADED", primary)
    finally:
        lab.exec(replica, ["systemctl", "start", "pacemaker"], timeout=90, check=True)
    healthy(lab)
