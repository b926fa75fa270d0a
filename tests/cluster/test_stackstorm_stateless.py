"""StackStorm nodes that keep nothing: broker and database are outside of the cluster, and a node is added by a line and apply, under work.

StackStorm's own services are stand-ins (test equipment, vagrant/standins/st2) on a real RabbitMQ and MariaDB, which run on a machine that
is in no cluster. The content lies on each node's own disk: mounting an outside server's is test_nfsmount.py's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hafailover.crm.files import RenderedFile
from hafailover.vagrant import seed, state
from hafailover.vagrant.drill.loads.frame import await_health
from hafailover.vagrant.drill.loads.work import load as work
from hafailover.vagrant.drill.loads.work.drill import API_PORT
from hafailover.vagrant.drill.loads.work.oracle import Evidence, judge
from hafailover.vagrant.lab import Lab, Options
from hafailover.vagrant.standins.st2 import config, store
from labs import STACK, lab_of, shell, until

NAME = "stateless"
FILE = "/etc/hafailover/topology.yml"
OUTSIDE, NEW = "outside", "st2-4"
TOPOLOGY = """
version: 1
lab: true
cluster: {name: stateless, secrets_dir: secrets, encryption: off, detection: {token: 1s}}
nodes:
  st2-1: {id: 1, links: [10.77.0.21, 10.77.1.21]}
  st2-2: {id: 2, links: [10.77.0.22, 10.77.1.22]}
  st2-3: {id: 3, links: [10.77.0.23, 10.77.1.23]}
vips:
  st2: {ip: 10.77.0.110/24, follows: workers}
services:
  workers: {type: stackstorm, units: active-active, drain: 20s}
  single: {type: stackstorm, units: singleton, drain: 20s}
external:
  rabbitmq: {urls: ["amqp://outside:5672/"], user: st2, password: file:broker}
  mariadb: {host: outside}
"""
API = f"http://10.77.0.110:{API_PORT}"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_of(NAME, TOPOLOGY, Options(sets=STACK, spares=(OUTSIDE, NEW), timeout=300)) as made:
        serve_outside(made)
        yield made


def serve_outside(lab: Lab) -> None:
    """Start what a StackStorm of this kind finds elsewhere."""
    password = (state.directory(lab.name) / "secrets" / "broker").read_text().strip()
    shell(lab, OUTSIDE, "printf '[mariadbd]\\nbind-address = 0.0.0.0\\n' >/etc/mysql/mariadb.conf.d/99-outside.cnf")
    shell(lab, OUTSIDE, "systemctl start mariadb rabbitmq-server", timeout=180)
    shell(lab, OUTSIDE, "rabbitmqctl -q await_startup --timeout 120", timeout=180)
    lab.exec(OUTSIDE, ["rabbitmqctl", "-q", "add_user", "st2"], timeout=60, input=password + "\n", check=True)
    shell(lab, OUTSIDE, "rabbitmqctl -q set_permissions st2 '.*' '.*' '.*'")
    statements = [
        f"CREATE DATABASE {config.SCHEMA}",
        f"USE {config.SCHEMA}",
        *store.TABLES,
        f"CREATE USER '{config.ACCOUNT}'@'%' IDENTIFIED BY '{config.PASSWORD}'",
        f"GRANT ALL ON {config.SCHEMA}.* TO '{config.ACCOUNT}'@'%'",
    ]
    lab.exec(OUTSIDE, ["mariadb"], timeout=60, input=";\n".join(statements), check=True)


def add(lab: Lab) -> dict[str, Any]:
    """The topology with one more line."""
    data: dict[str, Any] = yaml.safe_load(shell(lab, "st2-1", f"cat {FILE}"))
    data["cluster"]["secrets_dir"] = "/etc/hafailover/secrets"
    links = [interface.address.partition("/")[0] for interface in lab.nodes[NEW].interfaces]
    data["nodes"][NEW] = {"id": 4, "links": links, "fence": {"agent": "fence_lab", "plug": NEW}}
    return data


def install(lab: Lab, data: dict[str, Any], node: str) -> None:
    secrets = [
        RenderedFile(f"/etc/hafailover/secrets/{path.name}", path.read_bytes(), 0o600)
        for path in (state.directory(lab.name) / "secrets").iterdir()
    ]
    written = RenderedFile(FILE, yaml.safe_dump(data, sort_keys=False).encode())
    lab.unpack(node, seed.archive([*secrets, written], {}))
    shell(lab, node, f"hafailover render {FILE} --install")


def worked(evidence: Evidence) -> set[str]:
    """The nodes that have done something."""
    return {execution.node for execution in evidence.executions.values() if execution.over}


def test_a_node_more_is_a_line_more_and_a_node_less_loses_nothing(lab: Lab) -> None:
    for node in (*lab.data_nodes, NEW):
        work.install_pack(lab, node)
    with work.Worker(lab, [API]) as worker:
        worker.await_progress(10)
        data = add(lab)
        for node in (*lab.data_nodes, NEW):
            install(lab, data, node)
        shell(lab, NEW, "systemctl enable --now corosync pacemaker")
        done = lab.exec("st2-1", ["hafailover", "apply", FILE, "--yes", "--wait=180"], timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        until("the new node works, too", lambda: NEW in worked(work.evidence(lab, OUTSIDE, [])))

        # Any node may die, also the one that everybody is talking to.
        victim = next(node for node in lab.data_nodes if "10.77.0.110" in shell(lab, node, "ip -br addr"))
        lab.power_off(victim, hold=True)
        worker.await_progress(10)
        lab.power_on(victim)
        lab.await_boot(victim)
        await_health(lab)
        since = time.time()
        worker.await_progress(10)
        worker.stop()
        found = work.await_done(lab, OUTSIDE, worker.acknowledged())
    verdict = judge(found)
    assert verdict.problems == (), verdict.lines()
    assert any(tick.at > since for tick in found.ticks), "timers and sensors go on"
