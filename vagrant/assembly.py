"""From bare machines to a cluster: boot them, give each its files, start Corosync and Pacemaker, apply the topology."""

from __future__ import annotations

import compileall
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from hafailover.crm import render
from hafailover.crm.errors import DONE, INCOMPLETE, HafailoverError
from hafailover.crm.files import FileEdit, RenderedFile
from hafailover.crm.services.tomcat import server_xml
from hafailover.crm.topology import Topology
from hafailover.vagrant import adapt, health, host, image, seed, state
from hafailover.vagrant.plan import QUORUM, SPARE, Machine, Plan
from hafailover.vagrant.provider import Progress
from hafailover.vagrant.standins import test_application
from hafailover.vagrant.standins.st2 import unit_files

if TYPE_CHECKING:
    from hafailover.vagrant.lab import Lab

_CLUSTER_TIMEOUT = 150.0


def package_sets(topology: Topology) -> list[str]:
    """The package sets that the topology's services need: a set is named like the service type."""
    known = image.package_sets()
    return sorted({service.type for service in topology.services.values() if service.type in known})


def tomcats(topology: Topology) -> list[str]:
    """The CATALINA_BASE of each of the topology's Tomcats that runs in a unit of its package, where an application can be deployed."""
    found = (
        service for service in topology.services.values() if service.type == "tomcat" and "home" not in service.options
    )
    return [server_xml(service).rpartition("/conf/")[0] for service in found]


def build(lab: Lab, topology: Topology, progress: Progress) -> None:
    """From nothing to a cluster with quorum and without resources. ``topology`` is the adapted one."""
    lab.provider.create(progress)
    secrets = state.directory(lab.name) / "secrets"
    secrets.mkdir(mode=0o700, exist_ok=True)
    topology = topology.with_secrets_dir(secrets)
    render.create_secrets(topology)
    render.create_outside_secrets(topology)
    _compile(lab.plan)
    progress(f"boot: {', '.join(lab.nodes)}")
    _parallel(lambda machine: _prepare(lab, topology, machine), lab.plan.machines)
    progress(f"cluster: Corosync and Pacemaker start on {', '.join(lab.cluster_nodes)}")
    first = lab.cluster_nodes[0]
    try:
        host.wait("all nodes are online with a DC and quorum", _CLUSTER_TIMEOUT, lambda: _formed(lab, first), 0.1)
    except HafailoverError as error:
        # The lab is about to be cleared away, and with it all that could explain this.
        raise HafailoverError("\n".join([str(error), *health.unformed(lab)])) from error


def apply(lab: Lab, progress: Progress) -> None:
    """Have the first node bring the topology into the cluster."""
    first = lab.cluster_nodes[0]
    argv = ["hafailover", "apply", render.TOPOLOGY_PATH, "--yes", "--wait=0"]
    progress(f"apply: {' '.join(argv)} on {first}")
    answer = lab.exec(first, argv, timeout=120)
    # Incomplete is what it says when not everything runs at once; that is waited for here.
    if answer.returncode not in (DONE, INCOMPLETE):
        raise HafailoverError(f"apply on {first} failed: {answer.stderr.strip() or answer.stdout.strip()}")


def await_health(lab: Lab, timeout: float, progress: Progress) -> None:
    """Wait until the lab has no problem; HafailoverError with what is left after ``timeout`` s. Tells what it waits for."""
    deadline = time.monotonic() + timeout
    told = ""
    while True:
        problems = lab.problems()
        if not problems:
            return
        waiting = "; ".join(problems[:3]) + (f" and {len(problems) - 3} more" if len(problems) > 3 else "")
        if time.monotonic() > deadline:
            raise HafailoverError(f"after {timeout:g} s still: {'; '.join(problems)}.")
        if waiting != told:
            progress(f"wait: {waiting}")
            told = waiting
        time.sleep(0.25)


def _compile(plan: Plan) -> None:
    """Compile the agents: nodes see the checkout read-only, so that every monitor there would compile its modules anew."""
    major, minor = sys.version_info[:2]
    if (Path(plan.image) / f"usr/bin/python{major}.{minor}").exists():
        for room in ("agents", "crm", "hooks", "vagrant/standins"):
            compileall.compile_dir(str(host.package_root() / room), quiet=2)


def _prepare(lab: Lab, topology: Topology, machine: Machine) -> None:
    """Boot one machine, give it its files and agents, start its daemons without waiting for them."""
    lab.power_on(machine.name)
    lab.await_boot(machine.name)
    contents = seed.files(machine, lab.plan)
    member = machine.role not in (QUORUM, SPARE)
    device = render.device_host(topology)
    if member:
        contents += render.render(topology, machine.name)
    elif machine.role == QUORUM and device:
        contents += render.render(topology, device)
    database = adapt.standins(topology)
    if database is not None and machine.role != QUORUM:
        contents += unit_files.files(lab.plan.checkout, database)
    links = dict(seed.links(machine, lab.plan))
    for base in tomcats(topology) if member else ():
        contents += test_application.files(base, adapt.database(topology))
        links.update(test_application.links(base))
    lab.unpack(machine.name, seed.archive(contents, links))
    if member:
        changed = [_edited(lab, machine, edit) for edit in render.edits(topology, machine.name) if not edit.undo]
        # An edit makes nothing of nothing where the program that would read the file is not installed.
        lab.unpack(machine.name, seed.archive([file for file in changed if file.content], {}))
    if machine.role != QUORUM:
        lab.exec(machine.name, ["hafailover", "install"], timeout=60, check=True)
    if any(file.path.startswith("/etc/systemd/system/") for file in contents):
        lab.exec(machine.name, ["systemctl", "daemon-reload"], timeout=60, check=True)
    units = seed.units(machine, lab.plan)
    if units:
        lab.exec(machine.name, ["systemctl", "--no-block", "start", *units], timeout=30, check=True)


def _edited(lab: Lab, machine: Machine, edit: FileEdit) -> RenderedFile:
    """The file that ``edit`` makes of the one on a node."""
    old = lab.exec(machine.name, ["cat", edit.path]).stdout.encode()
    return RenderedFile(edit.path, edit.edit(old), edit.mode, edit.owner, edit.group)


def _formed(lab: Lab, node: str) -> bool | None:
    # crmadmin would ask for the DC too, but it sits out its whole timeout when there is none yet.
    answer = lab.exec(node, health.REPORT, timeout=15)
    return True if answer.returncode == 0 and not health.membership(answer.stdout, lab.cluster_nodes) else None


def _parallel(work: Callable[[Machine], None], machines: Sequence[Machine]) -> None:
    with ThreadPoolExecutor(max_workers=max(4, len(machines))) as pool:
        for done in [pool.submit(work, machine) for machine in machines]:
            done.result()
