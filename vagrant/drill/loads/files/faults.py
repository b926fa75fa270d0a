"""What ``hafailover drill files`` breaks in a GlusterFS lab, one node at a time, and how it is given back."""

from __future__ import annotations

from collections.abc import Mapping

from hafailover.vagrant.drill.loads import faults
from hafailover.vagrant.drill.loads.faults import Fault, Stage


def _kill_bricks(stage: Stage) -> None:
    faults.kill(stage, "glusterfsd")
    stage.goes_on()


FAULTS: Mapping[str, Fault] = {
    "power-off": Fault("A node loses its power; it is given back when the others write on", faults.power_off),
    "cut": Fault("A node loses its network and is fenced", faults.cut),
    "kill-brick": Fault("The brick processes of a node are killed", _kill_bricks),
    "standby": Fault("A node is taken out of service as planned, and back", faults.stand_by),
}
