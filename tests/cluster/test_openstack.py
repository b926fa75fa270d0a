"""Two OpenStack controllers from their topology: database, broker and cache go on when the one with the address is lost, and nothing that
happens to a cache is a reason for anything else to move."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from by_hand import passes_ocf_tester
from hafailover.crm import firewall as fragments
from hafailover.crm import topology as topologies
from hafailover.crm import yamldoc
from hafailover.crm.install import AGENTS_DIR
from hafailover.vagrant import command
from hafailover.vagrant.drill.loads.controllers.drill import ControllersDrill
from hafailover.vagrant.drill.loads.frame import await_health
from hafailover.vagrant.drill.target import topology_of
from hafailover.vagrant.lab import Lab, Options
from labs import lab_of, reason, shell, until
from pair import primary, sql

NAME = "openstack"
TOPOLOGY = Path(command.__file__).with_name("topologies") / "openstack-controllers.yml"
AGENT = f"/{AGENTS_DIR}/memcached"
UNIT = "memcached.service"
ADDRESS = {"controller01-dev": "192.168.60.101", "controller02-dev": "192.168.60.102"}
FIREWALL = """
table inet guard {{
    include "/etc/hafailover/firewall.nft"
    chain input {{
        type filter hook input priority filter; policy drop;
        ct state established,related accept
        iif lo accept
        meta l4proto {{ 1, 58 }} accept
        {before}
        jump hafailover
    }}
}}
"""
LISTED = " ".join(f"{node}:{address}" for node, address in ADDRESS.items())


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_of(NAME, TOPOLOGY, Options(timeout=400)) as made:
        yield made


@pytest.fixture
def still(lab: Lab) -> Iterator[None]:
    """Whatever the test does to a cache, nothing else moves and nobody is fenced."""
    await_health(lab)
    before = primary(lab), lab.fence_log(), beams(lab)
    yield
    await_health(lab)
    assert (primary(lab), lab.fence_log(), beams(lab)) == before


def beams(lab: Lab) -> list[str]:
    """The brokers and databases; a command to a broker is a beam.smp of its own, for a moment."""
    units = "systemctl show -P MainPID rabbitmq-server.service; pgrep -x mariadbd"
    return [shell(lab, node, units) for node in ADDRESS]


def other(node: str) -> str:
    return next(name for name in ADDRESS if name != node)


def pid(lab: Lab, node: str) -> str:
    return shell(lab, node, f"systemctl show -P MainPID {UNIT}")


def asked(lab: Lab, node: str, words: str, by: str = "") -> str:
    """What a cache answers to one command that is sent from the other node; nothing when nobody answers."""
    script = f"printf '{words}\\r\\nquit\\r\\n' | socat -t 3 - TCP:{ADDRESS[node]}:11211,connect-timeout=3 || true"
    return shell(lab, by or other(node), script).replace("\r", "")


def events(lab: Lab, node: str, name: str, since: float) -> list[str]:
    return [record["MESSAGE"] for record in lab.journal(node, since, [f"HAFAILOVER_EVENT=memcached.{name}"])]


def reasons(lab: Lab, node: str) -> str:
    return shell(lab, node, "crm_mon -1rf | grep -A9 'Failed Resource' || true")


@contextmanager
def program(lab: Lab, node: str, script: str) -> Iterator[None]:
    """Something that does this in a node, and lives until it is left."""
    argv = ["python3", "-c", f"import os, socket, sys; {script}; sys.stdin.read()"]
    process = lab.popen(node, argv, stdin=subprocess.PIPE)
    try:
        yield
    finally:
        process.stdin.close()
        process.wait(timeout=30)


def by_hand(lab: Lab, node: str, action: str, **environ: str) -> tuple[int, str]:
    """Run the agent on a node as Pacemaker would; its exit code and what it said."""
    known = {"OCF_ROOT": "/usr/lib/ocf", "OCF_RESOURCE_INSTANCE": "hand", "OCF_RESKEY_nodes": LISTED, **environ}
    done = lab.exec(node, ["env", *(f"{name}={value}" for name, value in known.items()), AGENT, action])
    return done.returncode, done.stderr


def test_caches_listen_for_the_other_controller_within_their_limits(lab: Lab) -> None:
    for node, address in ADDRESS.items():
        settings = dict(
            line.split()[1:3] for line in asked(lab, node, "stats settings").splitlines() if line[:4] == "STAT"
        )
        assert settings["inter"] == f"{address},127.0.0.1"
        assert settings["udpport"] == "0"
        files = int(shell(lab, node, f"awk '/Max open files/ {{print $4}}' /proc/{pid(lab, node)}/limits"))
        assert files >= int(settings["maxconns"]) > 8192, "and its own come out of that"
        assert not shell(lab, node, "ss -Hlunp | grep memcached || true")


def test_a_replica_refuses_writes_and_each_may_replicate_from_the_other(lab: Lab) -> None:
    first = primary(lab)
    sql(
        lab,
        first,
        "CREATE SCHEMA IF NOT EXISTS keystone; CREATE OR REPLACE TABLE keystone.token (id INT PRIMARY KEY);"
        "CREATE OR REPLACE USER keystone@'%' IDENTIFIED BY 'keystone'; GRANT ALL ON keystone.* TO keystone@'%';",
    )
    until("the replica has the account", lambda: "keystone" in sql(lab, other(first), "SELECT user FROM mysql.user"))
    for node, rc in ((first, 0), (other(first), 1)):
        insert = [
            "mariadb",
            "-h",
            ADDRESS[node],
            "-ukeystone",
            "-pkeystone",
            "-e",
            "INSERT INTO keystone.token VALUES (1)",
        ]
        done = lab.exec(other(node), insert)
        assert done.returncode == rc, done.stderr
    assert "read-only" in done.stderr
    for node in ADDRESS:
        grants = sql(lab, node, "SELECT user FROM mysql.user WHERE Repl_slave_priv = 'Y' AND user = 'hafailover_repl'")
        assert grants, f"the account for replication is missing on {node}"


@pytest.fixture
def firewall(lab: Lab) -> Iterator[None]:
    """Both controllers and the machine that votes let in what their fragments say, and nothing else."""
    assert lab.quorum_node is not None
    text = fragments.device_fragment(topology_of(lab.name))
    written = ["sh", "-c", f"mkdir -p /etc/hafailover && cat >{fragments.PATH}"]
    assert lab.exec(lab.quorum_node, written, input=text).returncode == 0
    guarded = [*ADDRESS, lab.quorum_node]
    for node in guarded:
        done = lab.exec(node, ["nft", "-f", "-"], input=FIREWALL.format(before=""))
        assert done.returncode == 0, done.stderr
    yield
    for node in guarded:
        shell(lab, node, "nft delete table inet guard")


def test_nft_takes_every_fragment_and_those_of_several_clusters_in_one_table(lab: Lab) -> None:
    examples = [topologies.load(file) for file in sorted(TOPOLOGY.parent.glob("*.yml"))]
    six = TOPOLOGY.read_text().replace("192.168.62.", "fd00:62::").replace("192.168.60.0/24", "fd00:60::/64")
    examples.append(topologies.parse(yamldoc.parse(six, "six.yml")))
    tables = [fragments.fragment(wanted, node) for wanted in examples for node in wanted.nodes]
    tables.append("\n".join(fragments.device_fragment(wanted) for wanted in examples if wanted.quorum.device))
    for text in tables:
        done = lab.exec(primary(lab), ["nft", "-c", "-f", "-"], input=f"table inet checked {{\n{text}}}\n")
        assert (done.returncode, done.stderr) == (0, ""), text
    assert "ip6 saddr" in tables[-2] and tables[-1].count("dport 5403") > 3


def lint(lab: Lab, node: str) -> tuple[int, dict[str, list[str]]]:
    """The exit code of lint on a node, and what each rule has found."""
    done = lab.exec(node, ["hafailover", "lint", "/etc/hafailover/topology.yml", "-o", "json"])
    found: dict[str, list[str]] = {}
    for one in json.loads(done.stdout)["findings"]:
        found.setdefault(one["rule"], []).append(one["text"])
    return done.returncode, found


def test_power_off_of_the_controller_with_the_address(lab: Lab) -> None:
    over(lab, "power-off")


@pytest.mark.usefixtures("firewall")
def test_death_of_all_its_services_and_back_behind_a_firewall(lab: Lab) -> None:
    for node in ADDRESS:
        assert lint(lab, node) == (0, {})
    # A vote needs a new connection, which is let in by the quorum device's own fragment.
    shell(lab, primary(lab), "systemctl restart corosync-qdevice")
    until("it votes again", lambda: "Connected" in shell(lab, primary(lab), "corosync-qdevice-tool -s"))
    over(lab, "kill")
    over(lab, "move")


def test_lint_names_the_rule_that_drops_what_is_needed_and_who_is_silent(lab: Lab) -> None:
    node = primary(lab)
    refused = FIREWALL.format(before="tcp dport 25672 drop\ntcp dport 11211 meta mark 7 accept\ntcp dport 11211 drop")
    assert lab.exec(node, ["nft", "-f", "-"], input=refused).returncode == 0
    try:
        code, found = lint(lab, node)
    finally:
        shell(
            lab,
            node,
            "nft delete table inet guard; cp /etc/hafailover/firewall.nft /root; echo >>/etc/hafailover/firewall.nft",
        )
    assert code == 1
    dropped = found.pop("firewall-drops")
    assert len(dropped) == 1 and dropped[0].startswith("tcp 25672 (mq: between brokers) from ")
    assert "of chain input of table inet guard" in dropped[0]
    assert "tcp 11211" in found.pop("firewall-unclear")[0]
    assert found == {}
    shell(lab, node, f"crm resource unmanage cache-clone; systemctl stop {UNIT}")
    try:
        code, found = lint(lab, node)
    finally:
        shell(
            lab, node, f"systemctl start {UNIT}; cp /root/firewall.nft /etc/hafailover; crm resource manage cache-clone"
        )
        shell(lab, node, "crm_resource --cleanup -r cache")
    assert code == 0
    assert found == {
        "firewall-file": ["/etc/hafailover/firewall.nft is another one"],
        "port-silent": ["nothing listens on tcp 11211 (cache: memcached)"],
    }


def over(lab: Lab, fault: str) -> None:
    """Strike the controller with the address under load: nothing is lost, and the other one has it then.

    Where all services die at once, and the database is back before the broker has been restarted, it may go on where it was.
    """
    done = ControllersDrill(lab).run(fault, None, print)
    assert done.problems == (), done
    assert fault == "kill" or done.after == other(done.node)
    assert done.lost == {"database": 0, "messages": 0}
    assert min(done.acknowledged.values()) > 50
    assert done.cache["failed"] == 0 and done.cache["hits"] > 50


@pytest.mark.usefixtures("still")
def test_a_cache_that_dies_is_started_at_once_and_said_to_be_empty(lab: Lab) -> None:
    node, since = primary(lab), time.time()
    asked(lab, node, "set there 0 0 2\\r\\nis")
    assert "VALUE there" in asked(lab, node, "get there")
    before = pid(lab, node)
    lab.kill(node, UNIT)
    until("it is started again", lambda: pid(lab, node) not in ("0", before))

    def told() -> bool:
        # Of the one before no monitor may have known yet: the tests above restart it, too.
        found = events(lab, node, "emptied", since)
        return bool(found) and f" ended and was started again as {pid(lab, node)}: " in found[-1]

    until("the monitor tells", told)
    assert "VALUE" not in asked(lab, node, "get there")


@pytest.mark.usefixtures("still")
def test_a_cache_that_hangs_is_restarted_in_place(lab: Lab) -> None:
    node = primary(lab)
    before = pid(lab, node)
    shell(lab, node, f"kill -STOP {before}")
    until("it is replaced", lambda: pid(lab, node) not in ("0", before))
    until("it answers", lambda: "VERSION" in asked(lab, node, "version"))
    assert "it has not answered in 2 monitors" in shell(lab, node, "journalctl -q -t hafailover-memcached -o cat")
    shell(lab, node, "crm_resource --cleanup -r cache")


@pytest.mark.usefixtures("still")
def test_a_port_that_somebody_else_has_is_named_and_the_other_cache_goes_on(lab: Lab) -> None:
    node, since = primary(lab), time.time()
    with program(
        lab, node, f"os.system('systemctl stop {UNIT}'); taken = socket.create_server(('{ADDRESS[node]}', 11211))"
    ):
        until("the start fails", lambda: "cache start" in reasons(lab, node))
        assert "(port 11211 is taken by python3 " in shell(lab, node, "journalctl -q -t hafailover-memcached -o cat")
        assert "VERSION" in asked(lab, other(node), "version", by=node)
        assert not events(lab, other(node), "started", since)
    shell(lab, node, "crm_resource --cleanup -r cache")


@pytest.mark.usefixtures("still")
def test_a_cache_without_connections_left_is_degraded_and_not_restarted(lab: Lab) -> None:
    node = other(primary(lab))
    few = "cp /etc/memcached.conf /root; sed -i 's/^-c .*/-c 64/' /etc/memcached.conf"
    shell(lab, node, f"{few}; systemctl restart {UNIT}")
    until("it answers", lambda: "VERSION" in asked(lab, node, "version"))
    before = pid(lab, node)
    told = "journalctl -q -t hafailover-memcached -o cat | grep -c 'all its connections are taken' || true"
    with program(lab, other(node), f"held = [socket.create_connection(('{ADDRESS[node]}', 11211)) for _ in range(64)]"):
        until("it says so, more often than a silence is borne", lambda: int(shell(lab, node, told)) > 2)
        assert pid(lab, node) == before
        assert "all its connections are taken" in reason(lab, node, node, "cache")
    shell(lab, node, f"cp /root/memcached.conf /etc; systemctl restart {UNIT}; crm_resource --cleanup -r cache")


def test_not_even_a_stop_that_fails_has_a_node_fenced(lab: Lab) -> None:
    node = primary(lab)

    def planned(resource: str) -> str:
        """What Pacemaker does next when a stop of ``resource`` fails on a node that goes into standby."""
        return shell(
            lab,
            node,
            "cd /root; cibadmin -Q >now.xml; "
            f"CIB_file=now.xml crm_attribute -N {node} -n standby -v on -l forever; "
            f"crm_simulate -x now.xml -S -F {resource}_stop_0@{node}=1 -O failed.xml >/dev/null; crm_simulate -x failed.xml -S",
        )

    assert f"Fencing {node}" in planned("mq"), "the check would see it"
    assert "Fencing" not in planned("cache")


# The last ones: the caches are out of the cluster's hands.
def test_ocf_tester_passes_it(lab: Lab) -> None:
    node = next(iter(ADDRESS))
    shell(lab, node, "crm --wait resource stop cache-clone")
    until("it has ended", lambda: pid(lab, node) == "0")
    passes_ocf_tester(lab, node, "memcached", "tested", nodes=LISTED)
    shell(lab, node, "sed -i.mine 's/^-l .*/-l 127.0.0.1/' /etc/memcached.conf")
    code, words = by_hand(lab, node, "start")
    assert code == 1 and f"it listens on 127.0.0.1 and not on {ADDRESS[node]}" in words
    shell(
        lab, node, "mv /etc/memcached.conf.mine /etc/memcached.conf; sed -i 's/^-c .*/-c 1000000/' /etc/memcached.conf"
    )
    code, words = by_hand(lab, node, "start")
    assert code == 1 and "raise LimitNOFILE of its unit above -c" in words
    assert shell(lab, node, f"systemctl is-active {UNIT} || true") == "inactive"


def test_wrong_parameters_and_what_is_not_installed_are_said(lab: Lab) -> None:
    node = next(iter(ADDRESS))
    for environ, rc, said in (
        ({"OCF_RESKEY_nodes": "nonsense"}, 6, "'nonsense' is not name:address"),
        ({"OCF_RESKEY_nodes": "elsewhere:192.168.60.9"}, 5, f"does not name {node}"),
        ({"OCF_RESKEY_port": "99999"}, 6, "between 1 and 65535"),
        ({"OCF_RESKEY_binary": "/usr/bin/nothing"}, 5, "/usr/bin/nothing is not installed"),
        ({"OCF_RESKEY_unit": "nothing.service"}, 5, "nothing.service: its unit is not installed"),
    ):
        code, words = by_hand(lab, node, "start", **environ)
        assert code == rc and said in words, words
        assert by_hand(lab, node, "monitor", **environ)[0] == 7
        assert by_hand(lab, node, "stop", **environ)[0] == 0
