"""Two MariaDB servers on one node of the lab, run by the agent's own code. Only Pacemaker is replaced: by a piece of paper.

This is loaded inside a node (see ``trap_cases``), so that a guard of the agent can be taken away by replacing a function in this one
process. The servers listen on addresses of the loopback network, and each has the configuration that was rendered for the node.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, Callable

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
package = sys.modules.setdefault("hafailover", ModuleType("hafailover"))
package.__path__ = [str(CHECKOUT)]

from hafailover.agents import RUN_DIR  # noqa: E402
from hafailover.agents.mariadb import cluster as clusters  # noqa: E402
from hafailover.agents.mariadb import gtid, held, journal, life, roles, semisync, sql, standby, starting  # noqa: E402
from hafailover.agents.mariadb.cluster import Cluster, now  # noqa: E402
from hafailover.agents.mariadb.declaration import agent  # noqa: E402
from hafailover.agents.mariadb.server import Unit  # noqa: E402
from hafailover.agents.mariadb.sql import Connection, SqlError  # noqa: E402
from hafailover.crm.pacemaker import Membership, Pacemaker, View  # noqa: E402

HOME = pathlib.Path("/srv/servers")
RENDERED = pathlib.Path("/etc/mysql/hafailover-db.cnf")
CREDENTIALS = "/etc/hafailover/db.cred"
ADDRESSES = {"one": "127.0.0.11", "two": "127.0.0.12"}
PATIENCE = 120.0  # seconds; generous, so that a slow machine fails no test


def until(what: str, check: Callable[[], Any]) -> Any:
    """Poll until ``check`` returns something true, and return it."""
    end = time.monotonic() + PATIENCE
    while True:
        found = check()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {PATIENCE:.0f} s: {what}")
        time.sleep(0.05)


class Paper(Pacemaker):
    """What Pacemaker would keep, shared by both servers of this process: everybody is a member, there is always quorum."""

    properties: dict[str, str] = {}
    attributes: dict[tuple[str, str], str] = {}
    scores: dict[str, int] = {}

    def __init__(self, node: str) -> None:
        self._node = node

    def _key(self, name: str) -> str:
        for node in ADDRESSES:  # each server is an instance of its own here, and of the same one to Pacemaker
            name = name.replace(f"-{node}", "")
        return name

    def quorate(self) -> bool:
        return True

    def joined(self) -> frozenset[str]:
        return frozenset(ADDRESSES)

    def membership(self) -> Membership:
        return Membership(True, frozenset())

    def clean_down(self) -> frozenset[str]:
        return frozenset()

    def last_actions(self, resource: str) -> dict[str, tuple[str, str]]:
        return {}

    def two_node(self) -> bool:
        return False

    def view(self, group: str, name: str) -> View:
        return View(self.properties.get(name), self.joined(), frozenset())

    def property(self, group: str, name: str) -> str | None:
        return self.properties.get(name)

    def property_and_score(self, group: str, name: str, resource: str, node: str) -> tuple[str | None, int | None]:
        return self.properties.get(name), self.scores.get(node)

    def property_on(self, node: str, group: str, name: str, timeout: float) -> str | None:
        return self.properties.get(name)

    def write_property(self, group: str, name: str, value: str, weight: int = 1) -> None:
        self.properties[name] = value

    def published(self, name: str) -> Mapping[str, str]:
        return {node: value for (node, key), value in self.attributes.items() if key == self._key(name)}

    def publish(self, name: str, value: str) -> None:
        self.attributes[self._node, self._key(name)] = value

    def withdraw(self, name: str) -> None:
        self.attributes.pop((self._node, self._key(name)), None)

    def set_property(self, group: str, name: str, value: str) -> None:
        self.properties[name] = value

    def publish_for(self, node: str, name: str, value: str) -> None:
        self.attributes[node, self._key(name)] = value

    def refresh_attributes(self) -> None:
        pass

    def score(self, resource: str, node: str) -> int | None:
        return self.scores.get(node)

    def set_score(self, resource: str, node: str, score: int) -> None:
        self.scores[node] = score


# Wherever the agent makes a Cluster: its tools are run by a method of that Cluster.
clusters.Pacemaker = lambda run, members: Paper(run.__self__.node)  # type: ignore[assignment,misc]


class Server:
    """One of the two servers; its actions are the agent's."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.number = list(ADDRESSES).index(name) + 1
        self.directory = HOME / name
        self.datadir = self.directory / "data"
        self.errors = self.directory / "error.log"

    # -- making it ---------------------------------------------------------------------------------------------

    def make(self, **options: object) -> None:
        """Empty data, the rendered configuration and then ``options``; what an earlier program left is ended first."""
        self.remove()
        shutil.copytree(_template(), self.datadir)
        # The server takes the last of two settings.
        own = {
            "server_id": self.number,
            "bind_address": ADDRESSES[self.name],
            "log_error": self.errors,
            "innodb_buffer_pool_size": "32M",
            **options,
        }
        text = RENDERED.read_text() + "[mysqld]\n" + "".join(f"{key} = {value}\n" for key, value in own.items())
        (self.directory / "my.cnf").write_text(text)
        self.own()

    def own(self) -> None:
        """Give its files to the server's user."""
        subprocess.run(["chown", "-R", "mysql:mysql", self.directory], check=True, timeout=60)

    def remove(self) -> None:
        """End the server and remove everything it left."""
        if self.directory.exists():
            self.kill()
            shutil.rmtree(self.directory)
        for path in pathlib.Path(RUN_DIR).glob(f"{self.name}.*"):
            path.unlink()

    # -- the agent's view of it --------------------------------------------------------------------------------

    def context(self, action: str, promoted: str = "", interval: int = 0, role: str = "") -> Any:
        """A context as Pacemaker would make it; ``promoted`` is who is, as the notification says."""
        params = {
            "nodes": " ".join(f"{name}:{address}" for name, address in ADDRESSES.items()),
            "config": self.directory / "my.cnf",
            "credentials": CREDENTIALS,
            "datadir": self.datadir,
            "socket": self.directory / "mariadb.sock",
            "pid_file": self.directory / "mariadb.pid",
        }
        meta = {"on_node": self.name, "notify_promoted_uname": promoted or " ", "interval": interval, "role": role}
        environ = {"OCF_RESOURCE_INSTANCE": self.name, "PATH": os.environ["PATH"]}
        environ.update((f"OCF_RESKEY_{key}", str(value)) for key, value in params.items())
        environ.update((f"OCF_RESKEY_CRM_meta_{key}", str(value)) for key, value in meta.items())
        return agent.context(action, environ, PATIENCE)

    def cluster(self) -> Cluster:
        return Cluster(self.context("monitor"))

    def unit(self) -> Unit:
        return Unit(self.context("start"))

    def connect(self, timeout: float = 60.0) -> Connection:
        return sql.local(str(self.directory / "mariadb.sock"), timeout)

    # -- what Pacemaker would do with it -----------------------------------------------------------------------

    def start(self, promoted: str = "") -> None:
        """The agent's start, with ``promoted`` as the promoted node."""
        ctx = self.context("start", promoted)
        starting.start(ctx, self.cluster(), Unit(ctx))

    def monitor(self) -> None:
        """An unpromoted instance's monitor."""
        with self.connect() as server:
            ctx = self.context("monitor")
            standby.look(ctx, self.cluster(), Unit(ctx), server)

    def promote(self) -> None:
        """The agent's promote; OcfError when it refuses."""
        with self.connect() as server:
            ctx = self.context("promote")
            roles.promote(ctx, self.cluster(), Unit(ctx), server)

    def kill(self) -> None:
        """SIGKILL, and return when the process is gone and systemd has seen it."""
        self.unit().kill()
        self._await_end()

    def terminate(self) -> None:
        """SIGTERM, and return when the process is gone and systemd has seen it."""
        self.unit().stop()
        self._await_end()

    def _await_end(self) -> None:
        until("the unit has ended", lambda: self.unit().state() not in ("active", "deactivating"))

    # -- asking it ---------------------------------------------------------------------------------------------

    def run(self, *statements: str) -> None:
        with self.connect() as server:
            for statement in statements:
                server.run(statement)

    def value(self, expression: str) -> Any:
        with self.connect() as server:
            return server.row(f"SELECT {expression} AS v")["v"]

    def rows(self, statement: str) -> list[dict[str, Any]]:
        with self.connect() as server:
            return server.rows(statement)

    def ids(self) -> list[int]:
        return [row["id"] for row in self.rows("SELECT id FROM proof.rows ORDER BY id")]

    def insert(self, *ids: int) -> None:
        """Insert rows, each a transaction of its own that is answered when this returns."""
        with self.connect() as server:
            for number in ids:
                server.run("INSERT INTO proof.rows VALUES (%s, %s)", number, f"{self.name} {number} " + "x" * 1000)

    def status(self) -> dict[str, Any]:
        found = self.rows("SHOW SLAVE STATUS")
        return found[0] if found else {}

    def threads(self) -> list[str]:
        """State of the IO and of the SQL thread."""
        status = self.status()
        return [status.get("Slave_IO_Running", ""), status.get("Slave_SQL_Running", "")]

    def reached(self, other: Server) -> bool:
        """Whether this server holds all that ``other`` has in its binary log."""
        applied = gtid.latest(self.value("@@global.gtid_slave_pos"), self.value("@@global.gtid_binlog_pos"))
        return gtid.reached(applied, other.value("@@global.gtid_binlog_pos"))

    def has_received(self, other: Server) -> bool:
        return gtid.reached(self.status()["Gtid_IO_Pos"], other.value("@@global.gtid_binlog_pos"))

    def checksum(self) -> Any:
        return self.rows("CHECKSUM TABLE proof.rows")[0]["Checksum"]

    def log(self) -> str:
        return self.errors.read_text(errors="replace")


def _template() -> pathlib.Path:
    template = HOME / "template"
    if not template.exists():
        template.parent.mkdir(parents=True, exist_ok=True)
        made = template.with_name(f"template.{os.getpid()}")
        argv = ["mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=socket", "--skip-test-db"]
        subprocess.run([*argv, f"--datadir={made}"], check=True, stdout=subprocess.DEVNULL, timeout=300)
        made.rename(template)
    return template


def pair(**options: object) -> tuple[Server, Server]:
    """``one``, promoted, and ``two``, its replica in sync, both with the further server ``options``; commits wait for ``two``."""
    one, two = Server("one"), Server("two")
    Paper.properties.clear(), Paper.attributes.clear(), Paper.scores.clear()
    for server in (one, two):
        held.release(server.name)
        server.make(**options)
        server.start()
    one.promote()
    one.run("CREATE DATABASE proof", "CREATE TABLE proof.rows (id INT PRIMARY KEY, text TEXT)")
    two.monitor()
    until("two replicates", lambda: two.threads() == ["Yes", "Yes"] and two.reached(one))
    with one.connect() as server, two.connect() as replica:
        semisync.enforce(server)
        until("two acknowledges", lambda: server.semi_sync().clients == 1)
        cluster = one.cluster()
        base = cluster.journal()
        process = two.unit().process()
        assert process is not None
        cluster.records.write(base.regained({"two": life.of(process, replica)}, now()), base)
    return one, two


def recorded() -> journal.Journal:
    return journal.read(Paper.properties.get("journal"))


@contextlib.contextmanager
def locked(server: Server) -> Iterator[Connection]:
    """Within this, nobody can change or add a row on ``server``: what it receives is not applied."""
    with server.connect(timeout=3600) as session:
        session.run("SET SESSION sql_log_bin=0")
        session.run("BEGIN")
        session.run("SELECT * FROM proof.rows FOR UPDATE")
        yield session


class Writing(threading.Thread):
    """A client that inserts one row and waits for the answer; ``answer`` is "OK", an error's text, or None until there is one."""

    def __init__(self, server: Server, number: int) -> None:
        super().__init__(daemon=True)
        self._server, self._number = server, number
        self.answer: str | None = None
        self.start()

    def run(self) -> None:
        try:
            with self._server.connect(timeout=3600) as session:
                session.run("INSERT INTO proof.rows VALUES (%s, 'waits')", self._number)
            self.answer = "OK"
        except SqlError as error:
            self.answer = str(error)

    def outcome(self) -> str:
        """The answer, waited for."""
        until(f"the client that writes {self._number} is answered", lambda: self.answer)
        return str(self.answer)
