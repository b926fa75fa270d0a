"""The steps that break what carries the service, and mend it: power, cables, processes, disks, units."""

from __future__ import annotations

from collections.abc import Mapping

from hafailover.crm.drill.actions import Step
from hafailover.crm.drill.stage import Act, Stage


def kill(stage: Stage, step: Step) -> None:
    """Send the signal that the step names."""
    _signal(stage, step, step.parameters["signal"])


def pause(stage: Stage, step: Step) -> None:
    """Stop a process where it stands."""
    _signal(stage, step, "STOP")


def _signal(stage: Stage, step: Step, name: str) -> None:
    node, process = stage.node(step), step.parameters["process"]
    when = stage.breakage.signal(node, process, name)
    if when is None:
        stage.notes.append(f"no {process} runs on {node}")
    else:
        stage.strikes(step, when)


def resume(stage: Stage, step: Step) -> None:
    """Let a paused process go on."""
    stage.breakage.resume(stage.node(step), step.parameters["process"])


def stop_replication(stage: Stage, step: Step) -> None:
    """STOP SLAVE."""
    stage.breakage.stop_replication(stage.node(step))


def fill(stage: Stage, step: Step) -> None:
    """Fill the datadir's file system."""
    stage.strikes(step, stage.breakage.fill(stage.node(step)))


def free(stage: Stage, step: Step) -> None:
    """Give the room back, to a node that has power."""
    node = stage.node(step)
    if stage.place.states()[node].power == "off":
        stage.place.power_on(node)
    stage.place.await_boot(node)
    stage.breakage.free(node)


def restart(stage: Stage, step: Step) -> None:
    """Restart a unit."""
    stage.strikes(step, stage.breakage.restart(stage.node(step), step.parameters["unit"]))


def stop_cluster(stage: Stage, step: Step) -> None:
    """Stop Pacemaker and Corosync in good order, as before maintenance."""
    stage.breakage.stop_cluster(stage.node(step))


def start_cluster(stage: Stage, step: Step) -> None:
    """Start what a node starts at boot and is not running."""
    stage.breakage.start_cluster(stage.node(step))


def standby(stage: Stage, step: Step) -> None:
    """Send a node into standby, as before maintenance: everything leaves it in good order, and it stays a member."""
    stage.breakage.standby(stage.node(step), True)


def end_standby(stage: Stage, step: Step) -> None:
    """Let resources run there again."""
    stage.breakage.standby(stage.node(step), False)


def power_off(stage: Stage, step: Step) -> None:
    """Take a node's power."""
    stage.place.power_off(stage.node(step), hold=step.parameters["hold"])


def power_on(stage: Stage, step: Step) -> None:
    """Give it back."""
    stage.place.power_on(stage.node(step))


def cut(stage: Stage, step: Step) -> None:
    """Pull all cables."""
    stage.place.cut(stage.node(step))


def heal(stage: Stage, step: Step) -> None:
    """Put them back."""
    stage.place.heal(stage.node(step))


def cut_link(stage: Stage, step: Step) -> None:
    """Cut one link."""
    stage.breakage.cut_link(stage.node(step), step.parameters["link"])


def heal_link(stage: Stage, step: Step) -> None:
    """Put it back."""
    stage.breakage.heal_link(stage.node(step))


TABLE: Mapping[str, Act] = {
    "kill": kill,
    "pause": pause,
    "resume": resume,
    "stop-replication": stop_replication,
    "fill": fill,
    "free": free,
    "restart": restart,
    "stop-cluster": stop_cluster,
    "start-cluster": start_cluster,
    "standby": standby,
    "end-standby": end_standby,
    "power-off": power_off,
    "power-on": power_on,
    "cut": cut,
    "heal": heal,
    "cut-link": cut_link,
    "heal-link": heal_link,
}
