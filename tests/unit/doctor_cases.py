"""What nodes tell the doctor, for the tests of its groups of checks."""

from hafailover.crm.doctor import FAIL, WARN, Letter, Seen

NOW = 1_800_000_000.0
GIB = 1 << 30


def seen(group, told, asked=None, missing=None):
    """db1 asks; ``told``: node → facts of one group."""
    nodes = tuple(dict.fromkeys(["db1", *told, *(missing or {})]))
    letters = {node: Letter(node, NOW, {group: facts}) for node, facts in told.items()}
    return Seen("db1", NOW, nodes, letters, missing or {}, asked or {})


def results(module, group, told, **more):
    return list(module.judge(seen(group, told, **more)))


def only(found, check, verdict):
    """The one result of this check and verdict, which also has what to do about it when something is wrong."""
    fitting = [one for one in found if (one.check, one.verdict) == (check, verdict)]
    assert len(fitting) == 1, found
    if verdict in (FAIL, WARN):
        assert fitting[0].why
        assert fitting[0].fix
    return fitting[0]


def verdicts(found):
    return {one.verdict for one in found}
