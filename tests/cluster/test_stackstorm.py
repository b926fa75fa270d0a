"""The StackStorm pair as a whole, from its topology, under work: every acknowledged item done, every tick once, whatever breaks.

StackStorm's own services are stand-ins (test equipment, vagrant/standins/st2); the cluster, its fencing, the brokers, the databases,
the shared disk and the NFS server are real.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hafailover.vagrant import command
from hafailover.vagrant.drill.loads.frame import await_health
from hafailover.vagrant.drill.loads.work.drill import WorkDrill
from hafailover.vagrant.lab import Lab, Options
from labs import lab_of, shell

NAME = "stackstorm"
TOPOLOGY = Path(command.__file__).with_name("topologies") / "stackstorm-pair.yml"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_of(NAME, TOPOLOGY, Options(timeout=300)) as made:
        yield made


def content(lab: Lab, node: str) -> str:
    """Checksums of everything in the content directories, as a node sees them."""
    return shell(lab, node, "cd /opt/stackstorm && find packs virtualenvs -type f -exec sha256sum {} + | sort -k2")


@pytest.mark.parametrize(
    ("fault", "number"),
    [
        ("power-off", 0),
        ("kill-broker", 1),
        ("hang-content", 1),
        ("power-off", 1),
        ("stop-all", 0),
    ],
)
def test_no_work_is_lost_and_nothing_fires_twice(lab: Lab, fault: str, number: int) -> None:
    node = lab.data_nodes[number]
    await_health(lab)
    shell(lab, node, f"mkdir -p /opt/stackstorm/packs/{fault} && date >/opt/stackstorm/packs/{fault}/note{number}")
    done = WorkDrill(lab).run(fault, node, print)
    assert done.problems == (), done
    assert done.acknowledged and done.lost == 0
    assert {"st2timersengine", "st2sensorcontainer"} <= set(done.missed_ticks), "both fired"
    before, after = (content(lab, one) for one in lab.data_nodes)
    assert before == after
    assert f"packs/{fault}/note{number}" in before
