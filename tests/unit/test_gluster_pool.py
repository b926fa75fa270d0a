"""What the nodes of a pool keep in Pacemaker, with a configuration that two of them write at the same time."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, Callable

import pytest
from hafailover.agents.gluster.pool import Pool, Refused
from hafailover.agents.gluster.store import Identity

EXISTS, NO_SUCH = 108, 105


class Cib:
    """The sets of properties, as cibadmin and crm_attribute read and write them. ``before``: what happens right before a creation."""

    def __init__(self) -> None:
        self.sets: dict[str, dict[str, str]] = {}
        self.quorate = True
        self.before: Callable[[], None] | None = None

    def run(self, argv: list[str], **options: Any) -> Any:
        rc, out = self._do(argv, options.get("input") or "")
        return SimpleNamespace(rc=rc, out=out, err="", timed_out=False)

    def _do(self, argv: list[str], xml: str) -> tuple[int, str]:
        if argv[0] == "corosync-quorumtool":
            return 0, f"Quorate:  {'Yes' if self.quorate else 'No'}\nNodeid Votes\n 1 1 a\n"
        if argv[0] == "crm_attribute":
            value = self.sets.get(argv[argv.index("-s") + 1], {}).get(argv[argv.index("-n") + 1])
            return (0, value) if value is not None else (NO_SUCH, "")
        name = (re.findall(r'cluster_property_set id="([^"]+)"', xml) or [""])[0]
        pairs = dict(re.findall(r'name="([^"]+)" value="([^"]+)"', xml))
        if "--create" in argv:
            before, self.before = self.before, None
            if before:
                before()
            if name in self.sets:
                return EXISTS, ""
            self.sets[name] = pairs
        elif "--modify" in argv:
            self.sets.setdefault(name, {}).update(pairs)
        elif "--delete" in argv:
            self.sets.pop(name, None)
        else:
            claims = {one: values for one, values in self.sets.items() if one.startswith("hafailover-gluster-maker-")}
            found = [
                f'<nvpair id="{one}-node" name="node" value="{values["node"]}"/>' for one, values in claims.items()
            ]
            return (0, "".join(found)) if found else (NO_SUCH, "")
        return 0, ""


def node(cib: Cib, name: str) -> Pool:
    context: Any = SimpleNamespace(node=name, run=cib.run, params={"nodes": "a:10.0.0.1 b:10.0.0.2 c:10.0.0.3"})
    return Pool(context)


def test_one_of_two_that_claim_at_once_wins() -> None:
    cib = Cib()
    a, b = node(cib, "a"), node(cib, "b")
    cib.before = lambda: assert_true(b.claim(""))
    assert not a.claim("")
    assert a.maker() == b.maker() == "b"
    assert b.claim("b"), "who holds it may ask again"


def assert_true(value: bool) -> None:
    assert value


def test_a_claim_is_taken_over_by_one_of_two() -> None:
    cib = Cib()
    a, b, c = (node(cib, name) for name in "abc")
    assert a.claim("")
    cib.before = lambda: assert_true(c.claim("a"))
    assert not b.claim("a")
    assert b.maker() == "c"
    assert not b.claim("a"), "it is another one's by now"
    assert b.claim("c")
    assert a.maker() == "b"
    assert len(cib.sets) == 1, "older claims are removed"


def test_nothing_is_recorded_without_quorum() -> None:
    cib = Cib()
    cib.quorate = False
    pool = node(cib, "a")
    for act in (
        lambda: pool.claim(""),
        lambda: pool.write("volume-v", "id"),
        lambda: pool.remember("a", Identity("u", "1")),
    ):
        with pytest.raises(Refused, match="no quorum"):
            act()
    assert cib.sets == {}


def test_who_is_who_and_what_was_made() -> None:
    cib = Cib()
    pool = node(cib, "a")
    assert pool.identity("a") == Identity()
    assert pool.members() == {}
    pool.remember("a", Identity("u1", "100000"))
    pool.remember("b", Identity("u2", "100000"))
    pool.write("volume-v", "id")
    assert node(cib, "c").identity("b") == Identity("u2", "100000")
    assert pool.members() == {"a": "u1", "b": "u2"}
    assert (pool.record("volume-v"), pool.record("volume-w")) == ("id", "")
