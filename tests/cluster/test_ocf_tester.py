"""The agents where they belong: under ocf-tester, crmsh, pcs and Pacemaker on a node of the lab."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest
from by_hand import passes_ocf_tester
from hafailover.crm.install import AGENTS_DIR, agents
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.lab import Lab
from labs import lab_of

NAME = "agents"
CHECKOUT = Path(__file__).resolve().parents[2]
AGENTS = agents()
each = pytest.mark.parametrize("name", sorted(AGENTS))

# Where Debian keeps the schemas that its tools check meta-data with.
OCF_1_1 = "/usr/share/pcs/data/ocf-1.1.rng"
STOCK = "/usr/share/resource-agents/metadata.rng"
DTD = "/usr/share/resource-agents/ra-api-1.dtd"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_of(NAME, DEFAULT_TOPOLOGY) as made:
        yield made


def run(lab: Lab, node: str, *argv: str, rc: int = 0, timeout: float = 120) -> str:
    done = lab.exec(node, argv, timeout=timeout)
    assert done.returncode == rc, done.stdout + done.stderr
    return done.stdout + done.stderr


def wait_until(what: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.2)


def where(lab: Lab, resource: str) -> str:
    """The node that a resource runs on, or nothing."""
    answer = lab.exec("db1", ["crm_resource", "-W", "-Q", "-r", resource])
    return answer.stdout.split()[0] if answer.returncode == 0 and answer.stdout.strip() else ""


def params(lab: Lab, resource: str) -> dict[str, str]:
    """The parameters of a primitive."""
    found = {}
    for name in (p for p in AGENTS[{"db": "mariadb"}.get(resource, resource)].parameters):
        answer = lab.exec("db1", ["crm_resource", "-r", resource, "-g", name])
        if answer.returncode == 0:
            found[name] = answer.stdout.strip()
    return found


@each
def test_metadata_satisfies_every_schema(lab: Lab, name: str) -> None:
    agent = f"/{AGENTS_DIR}/{name}"
    run(
        lab,
        "db1",
        "sh",
        "-c",
        f"{agent} meta-data >/tmp/{name}.xml && xmllint --noout --relaxng {OCF_1_1} /tmp/{name}.xml",
    )
    # The others are older than OCF 1.1 and know no reload-agent; their "reload" would reload every parameter that is not unique.
    run(
        lab,
        "db1",
        "sh",
        "-c",
        f"sed -e 's/ reloadable=\"1\"//' -e '/name=\"reload-agent\"/d' /tmp/{name}.xml >/tmp/{name}.old.xml",
    )
    for schema in (f"--relaxng {STOCK}", f"--dtdvalid {DTD}"):
        run(lab, "db1", "sh", "-c", f"xmllint --noout {schema} /tmp/{name}.old.xml")


@each
def test_crmsh_and_pcs_show_it(lab: Lab, name: str) -> None:
    agent = AGENTS[name]
    crm = run(lab, "db1", "crm", "ra", "info", f"ocf:hafailover:{name}")
    pcs = run(lab, "db1", "pcs", "resource", "describe", f"ocf:hafailover:{name}")
    assert f"{agent.shortdesc} (ocf:hafailover:{name})" in crm
    assert f"ocf:hafailover:{name} - {agent.shortdesc}" in pcs
    for parameter in agent.parameters.values():
        star = "*" if parameter.required else ""
        assert f"\n{parameter.name}{star} ({'string' if parameter.type == 'time' else parameter.type}" in crm
        assert f"\n  {parameter.name}{' (required)' if parameter.required else ''}: " in pcs
    for action in ("start", "stop", "monitor"):
        assert f"\n  {action}:" in pcs
        assert f"\n    {action} " in crm
    for word in ("warning", "error", "invalid"):
        assert word not in (crm + pcs).replace(agent.longdesc, "").lower().splitlines()[0]


def test_ocf_tester_passes_the_address(lab: Lab) -> None:
    passes_ocf_tester(lab, "db1", "vip", "tested", ip="10.77.0.150")
    assert "10.77.0.150" not in run(lab, "db1", "ip", "addr")


def test_monitors_cost_less_than_the_stock_agents(lab: Lab) -> None:
    command = [sys.executable, str(CHECKOUT / "bench/agent_cost.py"), "--lab", NAME, "-n", "15", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    # The least, not the median: on a crowded machine caches are cold, and the medians of both agents come to be the same.
    cost = {(c["monitor"], c["node"]): c["least_cpu_ms"] for c in json.loads(done.stdout)}
    for (monitor, node), milliseconds in cost.items():
        if "mariadb" in monitor:
            assert milliseconds < cost[monitor.replace("hafailover:mariadb", "heartbeat:mysql"), node]
        if monitor == "ocf:hafailover:vip":
            assert milliseconds < cost["ocf:heartbeat:IPaddr2", node] / 2


def test_address_that_is_up_is_in_the_journal(lab: Lab) -> None:
    (record, *_) = lab.journal(where(lab, "vip"), matches=["HAFAILOVER_EVENT=vip.up"])
    assert record["HAFAILOVER_RESOURCE"] == "vip"
    assert record["HAFAILOVER_ADDRESS"] == "10.77.0.100"
    assert 20 <= float(record["HAFAILOVER_DAD_MS"]) < 1000, "the budget, and what a busy machine adds"


def test_address_that_another_machine_has_is_refused_and_the_machine_named(lab: Lab) -> None:
    run(lab, "db1", "crm_resource", "-r", "vip", "--meta", "-p", "target-role", "-v", "Stopped")
    wait_until(lambda: where(lab, "vip") == "")
    interface = json.loads(lab.client_exec(["ip", "-j", "route", "get", "10.77.0.11"]).stdout)[0]["dev"]
    mac = json.loads(lab.client_exec(["ip", "-j", "link", "show", interface]).stdout)[0]["address"]
    lab.client_exec(["ip", "addr", "add", "10.77.0.100/32", "dev", interface], check=True)
    try:
        run(lab, "db1", "crm_resource", "-r", "vip", "--meta", "-d", "target-role")
        wait_until(lambda: mac in run(lab, "db1", "crm_mon", "-1", "--inactive"))
        shown = run(lab, "db1", "crm_mon", "-1", "--inactive")
        assert f"10.77.0.100 is already in use on the network of eth0, by {mac}" in shown
        wait_until(lambda: where(lab, "vip") == "")  # the start that was refused is followed by a stop
    finally:
        lab.client_exec(["ip", "addr", "del", "10.77.0.100/32", "dev", interface])
    run(lab, "db1", "crm_resource", "--cleanup", "-r", "vip")
    wait_until(lambda: where(lab, "vip"))


# The last one: it takes the database out of the cluster's hands.
def test_ocf_tester_passes_the_database(lab: Lab) -> None:
    node = where(lab, "vip")
    words = params(lab, "db")
    run(lab, node, "crm", "--wait", "resource", "stop", "db-clone")
    wait_until(lambda: where(lab, "db") == "")
    passes_ocf_tester(lab, node, "mariadb", "db", **words)
