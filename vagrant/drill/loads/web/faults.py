"""What ``hafailover drill web`` does to Tomcats, Apaches and the database."""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping

from hafailover.crm.drill import database
from hafailover.vagrant import host
from hafailover.vagrant.drill import target
from hafailover.vagrant.drill.loads import faults
from hafailover.vagrant.drill.loads.faults import Fault, Stage
from hafailover.vagrant.drill.loads.web import load


def _signalled(which: str, number: int) -> Callable[[Stage], None]:
    """A signal to every process of the Tomcat or the Apache of the node."""

    def strike(stage: Stage) -> None:
        unit = getattr(load.site(stage.lab.name), f"{which}_unit")
        name, before = signal.Signals(number).name, _main(stage, unit)
        stage.lab.exec(stage.node, ["systemctl", "kill", "--kill-who=all", f"--signal={name}", unit], check=True)
        stage.goes_on()
        # Until its monitor has seen that it hangs, the cluster calls it healthy.
        what = f"{unit} was started anew on {stage.node}"
        host.wait(what, faults.SETTLES_WITHIN, lambda: True if _main(stage, unit) not in ("0", before) else None, 0.5)
        faults.settle(stage)
        stage.goes_on()

    return strike


def _main(stage: Stage, unit: str) -> str:
    """The pid of a unit's main process, "0" when it does not run."""
    return stage.lab.exec(stage.node, ["systemctl", "show", "-P", "MainPID", unit], check=True).stdout.strip()


def _stopped(which: str) -> Callable[[Stage], None]:
    """The Tomcat or the Apache leaves its node as planned, and comes back."""

    def strike(stage: Stage) -> None:
        clone = f"{getattr(load.site(stage.lab.name), which)}-clone"
        ban = ["crm_resource", "--resource", clone]
        stage.lab.exec(stage.node, [*ban, "--ban", "--node", stage.node], check=True)
        with faults.afterwards(lambda: stage.lab.exec(stage.node, [*ban, "--clear"], check=True)):
            faults.settle(stage)
            stage.goes_on()
        faults.settle(stage)
        stage.goes_on()

    return strike


def _kill_database(stage: Stage) -> None:
    aim = target.of_lab(stage.lab.name)
    stage.lab.kill(database.primary(stage.lab, aim), f"hafailover-mariadb-{aim.database}.service")
    stage.goes_on()


FAULTS: Mapping[str, Fault] = {
    "kill-tomcat": Fault("The JVM of a node is killed", _signalled("tomcat", signal.SIGKILL)),
    "hang-tomcat": Fault(
        "The JVM of a node is stopped by a signal and does not answer", _signalled("tomcat", signal.SIGSTOP)
    ),
    "stop-tomcat": Fault("The Tomcat of a node is stopped as planned and comes back", _stopped("tomcat"), planned=True),
    "kill-apache": Fault("The Apache of a node is killed", _signalled("apache", signal.SIGKILL)),
    "hang-apache": Fault(
        "The Apache of a node is stopped by a signal and does not answer", _signalled("apache", signal.SIGSTOP)
    ),
    "stop-apache": Fault("The Apache of a node is stopped as planned and comes back", _stopped("apache"), planned=True),
    "stop-node": Fault("Everything leaves a node as planned and comes back", faults.stand_by, planned=True),
    "move-database": Fault(
        "The database's primary is moved as planned", faults.move_database, each_node=False, planned=True
    ),
    "kill-database": Fault("The database's primary is killed", _kill_database, each_node=False),
}
