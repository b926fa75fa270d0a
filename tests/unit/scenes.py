"""Where simulations of the tests begin."""

from functools import cache

from hafailover.crm import simulate_scene
from hafailover.crm import topology as topologies
from topologies import EXAMPLES, parse

TOPOLOGIES = {path.stem: path for path in EXAMPLES}


@cache
def scene(name):
    return simulate_scene.of_topology(topologies.load(TOPOLOGIES[name]))


@cache
def pair():
    return simulate_scene.of_topology(parse())
