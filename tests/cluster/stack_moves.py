"""The moves of a whole stack in a lab: the command on a node, where things are, and writers whose acknowledged writes are counted."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from following import Following
from hafailover.crm.drill import database, oracle
from hafailover.crm.drill.crew import Crew
from hafailover.crm.drill.ledger import Ledger, acknowledgements
from hafailover.vagrant.lab import Lab
from labs import shell, until

SQL_ADDRESS = "10.77.0.112"
MOVERS = ("st2", "files", "sql", "content", "single")


def status(lab: Lab, node: str | None = None) -> dict[str, Any]:
    done = lab.exec(node or lab.data_nodes[0], ["hafailover", "status", "-o", "json"], timeout=60)
    found: dict[str, Any] = json.loads(done.stdout) if done.stdout else {"healthy": False}
    return found


def healthy(lab: Lab) -> dict[str, Any]:
    return until("the cluster is healthy", lambda: (found := status(lab))["healthy"] and found, 300)


def primary(lab: Lab) -> str:
    return str(status(lab)["services"][0]["primary"])


def other(lab: Lab, node: str) -> str:
    return next(name for name in lab.data_nodes if name != node)


def words(node: str, *options: str) -> list[str]:
    return ["hafailover", "promote", node, "--stack", *options]


def promote(lab: Lab, node: str, *options: str, on: str | None = None) -> tuple[int, dict[str, Any], str]:
    """(exit code, JSON, standard error) of a move without a terminal."""
    done = lab.exec(on or node, words(node, "--yes", "-o", "json", *options), timeout=500)
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def refusals(told: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["says"] for check in told["checks"] if check["refuses"]}


def places(lab: Lab, asked: str | None = None) -> dict[str, str]:
    """Where everything is that is on one node, as Pacemaker says, and each address as the interfaces say."""
    found = status(lab, asked)
    at = {one["id"]: " ".join(one["nodes"]) for one in (*found["addresses"], *found["resources"])}
    at["content"] = at["content-disk"] if at["content-disk"] == at["content-server"] else "torn"
    at["primary"] = found["services"][0]["primary"] or ""
    for address in found["addresses"]:
        up = [node for node in lab.data_nodes if lab.states()[node].power == "on"]
        holders = [node for node in up if f" {address['ip']}/" in shell(lab, node, "ip -o -4 address")]
        assert holders == address["nodes"], address
    return {name: at[name] for name in (*MOVERS, "primary")}


def settled(lab: Lab) -> dict[str, str]:
    """The same, while things may be on their way: then {}."""
    try:
        return places(lab)
    except AssertionError:
        return {}


def ended(going: Following) -> tuple[int, str]:
    """Exit code, and what it has said as one line."""
    code, said = going.end(400)
    return code, " ".join(said.split())


def nothing_left(lab: Lab, asked: str | None = None) -> None:
    """No constraint, no raised score, and nobody who waits to remove one."""
    node = asked or lab.data_nodes[0]
    assert "cli-" not in shell(lab, node, "cibadmin -Q -o constraints")
    assert status(lab, node)["leftovers"] == []


def following(lab: Lab, node: str, on: str, *options: str) -> Following:
    return Following(lab, on, words(node, "--yes", *options))


class Written:
    """What a client outside wrote through the database's address while something happened."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.ledger = lab, Ledger()
        self.gap = 0.0

    def judge(self) -> None:
        """No acknowledged row is missing, and the servers come to hold the same; StackStorm writes into its own tables all the while."""
        attempts = self.ledger.attempts()
        ends = [one.end for one in acknowledgements(attempts)]
        assert len(ends) > 100
        self.gap = max(after - before for before, after in zip(ends, ends[1:]))
        end = time.monotonic() + 60
        while wrong := self._wrong():
            assert time.monotonic() < end, wrong
            time.sleep(1)

    def _wrong(self) -> list[str]:
        held = {one: database.contents(self.lab, one) for one in self.lab.data_nodes}
        servers = {node: server._replace(checksums={}, position="") for node, server in held.items()}
        return oracle.disagreements(oracle.compare(self.ledger.attempts(), servers, primary(self.lab)), ())


@contextmanager
def writing(lab: Lab) -> Iterator[Written]:
    """A ledger that is written all the while, and judged at the end."""
    password = secrets.token_hex(8)
    database.prepare(lab, primary(lab), password)
    written = Written(lab)
    login = {"user": database.USER, "password": password, "database": database.SCHEMA, "table": database.TABLE}
    with Crew(lab, written.ledger, login, {"host": SQL_ADDRESS, "port": 3306}, {}) as crew:
        until("the client writes", lambda: len(acknowledgements(written.ledger.attempts())) > 50)
        yield written
        many = len(acknowledgements(written.ledger.attempts()))
        until("the client writes again", lambda: len(acknowledgements(written.ledger.attempts())) > many + 50)
        crew.stop()
        assert crew.problems == []
    healthy(lab)
    written.judge()
