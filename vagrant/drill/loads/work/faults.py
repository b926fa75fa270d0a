"""What ``hafailover drill work`` breaks in a StackStorm lab, one node at a time, and how it is given back."""

from __future__ import annotations

from collections.abc import Mapping

from hafailover.crm.errors import HafailoverError
from hafailover.vagrant import host
from hafailover.vagrant.drill.loads import faults
from hafailover.vagrant.drill.loads.faults import Fault, Stage
from hafailover.vagrant.lab import Lab

_STOPPED_WITHIN = 240.0


def _kill_broker(stage: Stage) -> None:
    faults.kill(stage, "beam.smp", "rabbitmq")
    stage.goes_on()


def _hang_content(stage: Stage) -> None:
    """The mounts of one node hang while the cluster has to leave it."""
    lab, node = stage.lab, stage.node
    control = _mounts(lab, node)
    boots = lab.states()[node].boots
    for name in control:
        lab.exec(node, ["sh", "-c", f"mkdir -p /run/labnfs && echo hang >{name}"], check=True)
    with faults.afterwards(lambda: _unhang(lab, node, control)):
        lab.exec(node, ["crm_standby", "-v", "on", "-N", node], check=True)
        with faults.afterwards(lambda: lab.exec(node, ["crm_standby", "-D", "-N", node], check=True)):
            host.wait(f"nothing runs on {node}", _STOPPED_WITHIN, lambda: _empty(lab, node), 0.5)
            stage.goes_on()
    if lab.states()[node].boots != boots:
        raise HafailoverError(f"{node} was fenced, although everything on it could be stopped")


def _mounts(lab: Lab, node: str) -> list[str]:
    """The files that command the stand-in mounts of a node."""
    script = "awk '$3 ~ /^fuse.labnfs/ {print $2}' /proc/mounts"
    places = lab.exec(node, ["sh", "-c", script], check=True).stdout.split()
    if not places:
        raise HafailoverError(f"{node} has nothing mounted from the file server")
    return [f"/run/labnfs/{place.strip('/').replace('/', '-')}" for place in places]


def _unhang(lab: Lab, node: str, control: list[str]) -> None:
    if lab.states()[node].power == "on":
        lab.exec(node, ["rm", "-f", *control], check=True)


def _empty(lab: Lab, node: str) -> bool | None:
    """Whether no resource is active on ``node`` any more."""
    other = next(name for name in lab.cluster_nodes if name != node)
    answer = lab.exec(other, ["crm_mon", "--one-shot", "--output-as=xml", f"--node={node}"], timeout=30).stdout
    return True if answer and 'active="true"' not in answer else None


def _stop_all(stage: Stage) -> None:
    """Everything stops in good order, node by node, and the nodes return in the reverse order."""
    lab = stage.lab
    nodes = [stage.node, *(node for node in lab.cluster_nodes if node != stage.node)]
    for node in nodes:
        lab.exec(node, ["systemctl", "stop", "pacemaker", "corosync"], timeout=_STOPPED_WITHIN, check=True)
    for node in reversed(nodes):
        lab.exec(node, ["systemctl", "start", "corosync", "corosync-qdevice", "pacemaker"], timeout=120, check=True)
    stage.goes_on()


FAULTS: Mapping[str, Fault] = {
    "power-off": Fault("A node loses its power; it is given back when the other one works", faults.power_off),
    "cut": Fault("A node loses its network and is fenced", faults.cut),
    "kill-broker": Fault("The message broker of a node is killed", _kill_broker),
    "hang-content": Fault("A node's content hangs while the cluster has to leave the node", _hang_content),
    "move-database": Fault("The database's primary is moved, as planned", faults.move_database, each_node=False),
    "stop-all": Fault(
        "The cluster is stopped on all nodes and started in the reverse order", _stop_all, each_node=False
    ),
}
