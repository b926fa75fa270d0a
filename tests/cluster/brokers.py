"""What the tests of a broker cluster ask and do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hafailover.vagrant.lab import Lab, Options
from labs import STACK, lab_of, until

UNIT = "rabbitmq-server.service"
MNESIA = "/var/lib/rabbitmq/mnesia"
_DISTRIBUTION = 25672
_TOPOLOGY = """
version: 1
lab: true
cluster: {{name: {name}, encryption: off, detection: {{token: 1s}}}}
nodes:
  mq1: {{id: 1, links: [10.79.0.1, 10.79.1.1]}}
  mq2: {{id: 2, links: [10.79.0.2, 10.79.1.2]}}
quorum: {{device: {{host: 10.79.0.9, tls: off}}}}
services:
  mq: {{type: rabbitmq, users: {{app: {{}}}}{options}}}
{sections}"""


@contextmanager
def pair_of(name: str, options: str = "", sections: str = "") -> Iterator[Lab]:
    """A lab with brokers on mq1 and mq2; ``options``: more of the service's, as YAML behind a comma. ``sections``: more of the topology."""
    text = _TOPOLOGY.format(name=name, options=options, sections=sections)
    with lab_of(name, text, Options(sets=STACK, timeout=300)) as made:
        yield made


def well(lab: Lab, node: str, members: list[str]) -> bool:
    """Whether the broker on ``node`` runs, is known to be well, and sees all ``members`` running."""
    if lab.states()[node].power != "on":
        return False
    script = (
        f"cd {MNESIA}/rabbit@{node} && cat cluster_nodes.config nodes_running_at_shutdown && ls /run/hafailover && "
        "ss -ltnH '( sport = :5672 )' | grep -c ."
    )
    done = lab.exec(node, ["sh", "-c", script], timeout=30)
    lines = done.stdout.split("\n")
    notes = [f"mq.{note}" in lines for note in ("idle", "booting", "unwell", "apart")]
    return done.returncode == 0 and "mq.since" in lines and not any(notes) and all(
        f"rabbit@{name}" in lines[0] and f"rabbit@{name}" in lines[1] for name in members
    )  # fmt: skip


def healthy(lab: Lab, members: list[str] | None = None) -> None:
    """Wait until every broker is well, and Pacemaker agrees."""
    names = members or lab.data_nodes

    def all_well() -> bool:
        return all(well(lab, node, names) for node in names) and (members is not None or not lab.problems())

    until("all brokers are well", all_well)


def events(lab: Lab, node: str, name: str, since: float) -> list[str]:
    """The messages of the agent's events of this name."""
    return [record["MESSAGE"] for record in lab.journal(node, since, [f"HAFAILOVER_EVENT=rabbitmq.{name}"])]


def reason(lab: Lab, node: str) -> str:
    """The exit reasons that Pacemaker holds of the resource on ``node``."""
    return str(
        lab.exec(node, ["cibadmin", "-Q", "-A", f"//node_state[@uname='{node}']//lrm_resource[@id='mq']"]).stdout
    )


def standby(lab: Lab, node: str, by: str, on: bool) -> None:
    """Put a node into standby, or take it out."""
    lab.exec(by, ["crm_standby", "-N", node, "-v", "on" if on else "off"], check=True)


def ended(lab: Lab, node: str) -> bool:
    """Whether no broker runs there."""
    return lab.exec(node, ["pgrep", "-x", "beam.smp"]).returncode != 0


def sever(lab: Lab, node: str, peer: str) -> None:
    """Cut the brokers' connection alone: Pacemaker goes on as if nothing was."""
    rules = "".join(
        f"  chain {hook} {{\n    type filter hook {hook} priority 0\n"
        f"    ip {side} {peer} tcp dport {_DISTRIBUTION} drop\n    ip {side} {peer} tcp sport {_DISTRIBUTION} drop\n  }}\n"
        for hook, side in (("input", "saddr"), ("output", "daddr"))
    )
    done = lab.exec(node, ["nft", "-f", "-"], input=f"table inet severed {{\n{rules}}}\n")
    assert done.returncode == 0, done.stderr


def mend(lab: Lab, node: str) -> None:
    """Undo ``sever``; nothing if it was not done."""
    lab.exec(node, ["nft", "delete", "table", "inet", "severed"])
