"""Every topology that there is, loaded by crmsh and pcs themselves (of the lab's image), makes the CIB that is generated."""

import shlex
from pathlib import Path

import pytest
from hafailover.crm import examples, generate, sbd, topology, yamldoc
from hafailover.crm.formats import cib, crmsh, pcs
from loaded import lines, load_all, pcs_own
from topologies import EXAMPLES

FENCING = sorted((Path(__file__).parent / "data" / "fencing").glob("*.yml"))
TOPOLOGIES = {
    **{path.stem: topology.load(path) for path in EXAMPLES},
    **{f"fencing-{path.stem}": topology.load(path) for path in FENCING},
    **{f"init-{name}": topology.parse(yamldoc.parse(examples.topology(name), name)) for name in examples.names()},
}
MADE = {name: generate.configuration(found) for name, found in TOPOLOGIES.items()}
PCS = {name: pcs.write(made).text for name, made in MADE.items()}


def shapes(name):
    """The commands for a topology, less the values, and the names of what is its own."""
    names = {one.get(key) for one in cib.tree(MADE[name]).iter() for key in ("id", "uname")}
    for line in PCS[name].splitlines():
        if line.startswith("pcs "):
            words = (word.partition("=")[0] if "=" in word else word for word in shlex.split(line))
            yield tuple("" if word.rpartition("%")[2] in names else word for word in words)


def covering():
    """As few topologies as have every shape of command, because pcs starts several programs for each of hundreds of commands."""
    seen = set()
    for name in sorted(MADE, key=lambda name: (-len(set(shapes(name))), name)):
        if not seen.issuperset(shapes(name)):
            seen.update(shapes(name))
            yield name


COVERING = sorted(covering())


@pytest.fixture(scope="module")
def by_crmsh(tmp_path_factory):
    texts = {name: (made, crmsh.text(made)) for name, made in MADE.items()}
    return load_all(tmp_path_factory.mktemp("crmsh"), "txt", texts)


@pytest.fixture(scope="module")
def by_pcs(tmp_path_factory):
    texts = {name: (MADE[name], PCS[name]) for name in COVERING}
    # pcs compares the property stonith-watchdog-timeout with them.
    settings = {
        name: next(file.content for file in sbd.files(TOPOLOGIES[name]) if file.path == TOPOLOGIES[name].sbd.settings)
        for name in COVERING
        if TOPOLOGIES[name].sbd
    }
    return load_all(tmp_path_factory.mktemp("pcs"), "sh", texts, settings)


@pytest.mark.parametrize("name", sorted(MADE))
def test_crmsh_loads_it_to_the_same_cib(name, by_crmsh):
    roots, done = by_crmsh
    assert done.returncode == 0, done.stderr
    assert lines(roots[name]) == lines(cib.tree(MADE[name]))


@pytest.mark.parametrize("name", sorted(MADE))
def test_pcs_has_words_for_it(name):
    assert pcs.write(MADE[name]).unsaid == ()


@pytest.mark.parametrize("name", COVERING)
def test_pcs_makes_the_same_cib_of_it(name, by_pcs):
    roots, done = by_pcs
    assert done.returncode == 0, done.stderr
    assert lines(roots[name], pcs_own) == lines(cib.tree(MADE[name]), pcs_own)
