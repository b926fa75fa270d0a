"""What the tests of a database pair ask and do, for tests that make their own labs."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from hafailover.agents.mariadb import journal
from hafailover.vagrant.lab import Lab
from labs import shell, until

UNIT = "hafailover-mariadb-db.service"
_PUBLISHED = ("reign", "position", "incarnation", "why", "final", "received", "diverged", "adopt")


def sql(lab: Lab, node: str, statement: str, timeout: float = 60) -> str:
    """Run statements as root through the socket; what they printed."""
    done = lab.exec(node, ["mariadb", "-N", "-B"], timeout=timeout, input=statement)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def status(lab: Lab, node: str) -> dict[str, Any]:
    """``hafailover status -o json`` on ``node``."""
    done = lab.exec(node, ["hafailover", "status", "-o", "json"], timeout=60)
    return json.loads(done.stdout) if done.stdout else {"healthy": False}


def healthy(lab: Lab) -> dict[str, Any]:
    """Wait until the cluster is healthy."""
    node = lab.data_nodes[0]
    return until("the cluster is healthy", lambda: (s := status(lab, node))["healthy"] and s)


def recorded(lab: Lab, node: str) -> journal.Journal:
    """The journal in the copy of ``node``."""
    argv = ["crm_attribute", "-t", "crm_config", "-s", "hafailover-db", "-n", "journal", "-G", "-q"]
    return journal.read(lab.exec(node, argv).stdout.strip())


def standing(lab: Lab, seen_from: str, node: str) -> str:
    """Why ``node`` may not be promoted, as a person on ``seen_from`` reads it."""
    for service in status(lab, seen_from).get("services", []):
        for instance in service["instances"]:
            if instance["node"] == node:
                return str(instance["reason"])
    return ""


def published(lab: Lab, node: str, what: str) -> str:
    """What ``node`` has published as ``what``; "" for nothing."""
    done = lab.exec(node, ["attrd_updater", "-Q", "-A", "-n", f"hafailover-db-{what}"])
    said = next((line for line in done.stdout.splitlines() if f'host="{node}"' in line), "")
    return said.partition('value="')[2].rpartition('"')[0]


def other(lab: Lab, node: str) -> str:
    """The other data node."""
    return next(name for name in lab.data_nodes if name != node)


def primary(lab: Lab) -> str:
    """The recorded primary."""
    return recorded(lab, lab.data_nodes[0]).primary


def promoted(lab: Lab, seen_from: str) -> str | None:
    """The node that Pacemaker has promoted, as ``seen_from`` sees it."""
    done = lab.exec(seen_from, ["crm_mon", "-1", "-r"], timeout=30)
    line = next((line for line in done.stdout.splitlines() if "Promoted: [" in line and "Un" not in line), "")
    names = line.partition("[")[2].partition("]")[0].split()
    return names[0] if names else None


def rows(lab: Lab, node: str) -> set[int]:
    """What the test's table holds on ``node``."""
    return {int(word) for word in sql(lab, node, "SELECT id FROM proof.rows").split()}


def writing(lab: Lab, node: str, number: int) -> subprocess.Popen[str]:
    """Start to insert one row; the process ends with 0 when the write was acknowledged."""
    return lab.popen(node, ["mariadb", "-e", f"INSERT INTO proof.rows VALUES ({number})"], stdin=subprocess.DEVNULL)


def assert_same_rows(lab: Lab, expected: set[int]) -> None:
    """Every data node comes to hold exactly these rows of the test's table."""
    for node in lab.data_nodes:
        until(f"{node} holds {sorted(expected)}", lambda node=node: rows(lab, node) == expected)


def on_its_own_disk(lab: Lab, node: str) -> None:
    """Have the server of ``node`` on a file system that can be filled, and that is not mounted any more after a reboot."""
    shell(lab, node, f"crm_standby -v on -N {node}")
    until(f"the server on {node} has ended", lambda: lab.exec(node, ["pgrep", "-x", "mariadbd"]).returncode == 1)
    shell(
        lab,
        node,
        "mkdir -p /root/data; mount -t tmpfs -o size=900m tmpfs /root/data; cp -a /var/lib/mysql/. /root/data/; "
        f"mount --bind /root/data /var/lib/mysql; chown mysql:mysql /var/lib/mysql; crm_standby -D -N {node}",
    )
    healthy(lab)


def never_used(lab: Lab) -> None:
    """Stop the database and forget that it ever ran: no journal, nothing published, every data directory empty."""
    first = lab.data_nodes[0]
    shell(lab, first, "crm_resource --meta -r db-clone -p target-role -v Stopped; crm_resource --wait -T 100")
    for node in lab.data_nodes:
        shell(lab, node, "! pidof mariadbd; rm -rf /run/hafailover/db.*; find /var/lib/mysql -mindepth 1 -delete")
        shell(
            lab,
            first,
            f"for a in {' '.join(_PUBLISHED)}; do attrd_updater -D -n hafailover-db-$a -N {node}; done; "
            f"crm_attribute --promotion=db -N {node} -l reboot -D || true",
        )
    lab.exec(first, ["crm_attribute", "-t", "crm_config", "-n", "journal", "-s", "hafailover-db", "-D"])
    until("the journal is gone", lambda: recorded(lab, first) == journal.NONE)


def begin(lab: Lab) -> None:
    """Let the cluster run the database again."""
    shell(lab, lab.data_nodes[0], "crm_resource --meta -r db-clone -d target-role")


def assert_same(lab: Lab, table: str) -> None:
    """Every data node holds the same rows of ``table``."""
    sums = [
        until(f"{node} has {table}", lambda node=node: sql(lab, node, f"CHECKSUM TABLE {table}"))
        for node in lab.data_nodes
    ]
    assert len(set(sums)) == 1, sums
