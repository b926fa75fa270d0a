"""The agents of the resource-agents package, set up as their documentation says, for comparison."""

from __future__ import annotations

import contextlib
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from hafailover.crm import model
from hafailover.crm.drill import database
from hafailover.crm.drill.place import Place
from hafailover.crm.drill.target import Target
from hafailover.crm.errors import HafailoverError
from hafailover.vagrant import host
from hafailover.vagrant.drill.swap import Swap

_DATADIR = "/var/lib/mysql-drill"
_CONFIG = "/etc/mysql/drill.cnf"
_PID_FILE = "/run/mysqld/drill.pid"
_USER = "drill_replication"
_PREPARE_TIMEOUT = 120.0

# One server of its own, beside ours that is stopped meanwhile. Its GTID position must not be empty: ocf:heartbeat:mariadb
# takes an empty one for an error and never elects a first primary.
_PREPARE = """
set -e
rm -rf {datadir}
cat > {config} <<'END'
[mysqld]
user = mysql
datadir = {datadir}
socket = {socket}
port = {port}
bind_address = 0.0.0.0
log_bin = mariadb-bin
relay_log = mariadb-relay-bin
server_id = {server_id}
log_slave_updates = ON
binlog_format = ROW
sync_binlog = 1
innodb_flush_log_at_trx_commit = 1
read_only = ON
END
mariadb-install-db --defaults-file={config} --auth-root-authentication-method=socket --skip-test-db >/dev/null
install -d -o mysql -g mysql /run/mysqld
mariadbd --defaults-file={config} --skip-log-bin --skip-networking --pid-file={pid_file} >/dev/null 2>&1 &
server=$!
tries=0
until mariadb-admin --socket={socket} ping >/dev/null 2>&1; do
  tries=$((tries + 1)); [ $tries -lt 600 ] || exit 1; sleep 0.05
done
mariadb --socket={socket} <<'END'
{accounts}
SET GLOBAL gtid_slave_pos = '0-99-1';
END
mariadb-admin --socket={socket} shutdown
wait $server
"""

_PRIVILEGES = (
    "SUPER, REPLICATION SLAVE, BINLOG MONITOR, SLAVE MONITOR, PROCESS, RELOAD, READ_ONLY ADMIN, CONNECTION ADMIN,"
    " REPLICATION SLAVE ADMIN, REPLICATION MASTER ADMIN, BINLOG ADMIN"
)

_REMOVE = f"rm -rf {_DATADIR} {_CONFIG}"


class Heartbeat:
    """``ocf:heartbeat:TYPE`` with ``ocf:heartbeat:IPaddr2``; our servers are stopped and their data stay untouched."""

    writable = True
    repairs = False

    def __init__(self, kind: str) -> None:
        self.name = f"heartbeat-{kind}"
        self._kind = kind
        self._swap: Swap | None = None
        self._target: Target | None = None

    def install(self, lab: Place, target: Target) -> Target:
        """Stop our resources, make a new pair of servers, start the stock agents on it."""
        self._swap = Swap(lab)
        self._target = replace(target, database="drill-db", clone="drill-db-clone", address="drill-vip")
        self._swap.take_out(target)
        self._put_in(lab)
        return self._target

    def renew(self, lab: Place) -> None:
        """Replace the servers by a new pair: these agents cannot always bring an old primary back."""
        if self._swap is not None and self._target is not None:
            self._take_out(lab)
            self._put_in(lab)

    def remove(self, lab: Place) -> None:
        """Stop the stock agents, remove their data, start ours again."""
        if self._swap is not None and self._target is not None:
            self._take_out(lab)
            self._swap.put_back()

    def _put_in(self, lab: Place) -> None:
        assert self._swap is not None and self._target is not None
        target, password = self._target, secrets.token_urlsafe(24)
        with ThreadPoolExecutor(len(target.nodes)) as pool:
            for done in [pool.submit(self._prepare, lab, target, node, password) for node in target.nodes]:
                done.result()
        self._swap.put_in(target, self._server(target, password), self._address(target))

    def _take_out(self, lab: Place) -> None:
        assert self._swap is not None and self._target is not None
        self._swap.delete(self._target)
        for node in self._target.nodes:
            lab.exec(node, ["sh", "-c", _REMOVE], check=True)
            for attribute in ("readable", f"{self._target.database}-gtid"):
                lab.exec(node, ["attrd_updater", "--delete", "--name", attribute])
        with contextlib.suppress(HafailoverError):
            # There only if the agent has promoted a server.
            state = '<cluster_property_set id="mysql_replication"/>'
            database.ask_any(lab, ["cibadmin", "--delete", "--scope", "crm_config", "--xml-text", state])

    def switchover(self, lab: Place, target: Target, node: str, within: float) -> None:
        """Move the role as crm_resource does, then remove the constraint that this leaves."""
        move = ["crm_resource", "--resource", target.clone, "--move", "--promoted", "--node", node]
        lab.exec(node, move, check=True)
        try:
            host.wait(f"{node} is promoted", within, lambda: _is_promoted(lab, target, node), 0.2)
        finally:
            lab.exec(node, ["crm_resource", "--resource", target.clone, "--clear"], check=True)

    def trusts(self, score: int | None) -> bool:
        """These agents set scores for other reasons than data."""
        return True

    def complaints(self, lab: Place) -> list[str]:
        """None: there is no one to ask."""
        return []

    def _prepare(self, lab: Place, target: Target, node: str, password: str) -> None:
        accounts = "".join(
            f"CREATE USER '{_USER}'@'{where}' IDENTIFIED BY '{password}';\n"
            f"GRANT {_PRIVILEGES} ON *.* TO '{_USER}'@'{where}';\n"
            for where in ("%", "localhost")
        )
        script = _PREPARE.format(
            datadir=_DATADIR,
            config=_CONFIG,
            socket=target.socket,
            port=target.port,
            server_id=sorted(target.nodes).index(node) + 1,
            pid_file=_PID_FILE,
            accounts=accounts,
        )
        lab.exec(node, ["sh", "-s"], timeout=_PREPARE_TIMEOUT, input=script, check=True)

    def _server(self, target: Target, password: str) -> model.Primitive:
        parameters = {
            "config": _CONFIG,
            "datadir": _DATADIR,
            "pid": _PID_FILE,
            "socket": target.socket,
            "log": "/var/log/mysql/drill.err",
            "replication_user": _USER,
            "replication_passwd": password,
            "replication_port": str(target.port),
        }
        if self._kind == "mariadb":
            parameters["node_list"] = " ".join(target.nodes)
        name = target.database
        operations = (
            model.operation(name, "start", "0", timeout="120s"),
            model.operation(name, "stop", "0", timeout="120s"),
            model.operation(name, "promote", "0", timeout="120s"),
            model.operation(name, "demote", "0", timeout="120s"),
            model.operation(name, "notify", "0", timeout="90s"),
            # Ours run this often, too.
            model.operation(name, "monitor", "2s", timeout="30s", role="Promoted"),
            model.operation(name, "monitor", "3s", timeout="30s", role="Unpromoted"),
        )
        # The first failure moves the role: a restart in place takes these agents three times as long.
        meta = {"migration-threshold": "1", "failure-timeout": "15s"}
        return model.primitive(name, ("ocf", "heartbeat", self._kind), parameters, operations, meta)

    def _address(self, target: Target) -> model.Primitive:
        name = target.address
        operations = (
            model.operation(name, "start", "0", timeout="20s"),
            model.operation(name, "stop", "0", timeout="20s"),
            model.operation(name, "monitor", "10s", timeout="20s"),
        )
        parameters = {"ip": target.ip, "cidr_netmask": str(target.prefix)}
        return model.primitive(name, ("ocf", "heartbeat", "IPaddr2"), parameters, operations)


def _is_promoted(lab: Place, target: Target, node: str) -> bool | None:
    return True if list(database.cluster(lab, target).promoted) == [node] else None
