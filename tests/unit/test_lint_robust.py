"""No configuration breaks a rule of lint, and a big one takes the time that its size needs."""

from __future__ import annotations

import re

from hafailover.crm import lint
from hypothesis import given, settings
from hypothesis import strategies as st
from lint_cases import cib, colocation, group, location, primitive, vip
from test_lint_rules import facts, report


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_configuration_breaks_a_rule(data):
    """Pieces of the cases put together at random, with ids and references cut out."""
    from lint_cases import CASES

    text = data.draw(st.sampled_from(CASES)).cib
    other = data.draw(st.sampled_from(CASES)).cib
    cut = data.draw(
        st.sampled_from(
            ["id=", "name=", "rsc=", "first=", "then=", "with-rsc=", "interval=", "value=", "class=", "node=", "uname="]
        )
    )
    pieces = re.split(rf" {cut}\"[^\"]*\"", text)
    kept = data.draw(st.lists(st.booleans(), min_size=len(pieces) - 1, max_size=len(pieces) - 1))
    removed = re.findall(rf" {cut}\"[^\"]*\"", text)
    text = pieces[0] + "".join((was if keep else "") + piece for was, keep, piece in zip(removed, kept, pieces[1:]))
    inside = re.search("<constraints>(.*)</constraints>", other)[1]
    report(text.replace("</constraints>", f"{inside}</constraints>"))


def test_a_big_cluster_is_looked_at_in_the_time_that_its_size_needs():
    import time

    def needed(count):
        names = [f"p{number}" for number in range(count)]
        orders = "".join(f'<rsc_order id="o{one}" first="{one}" then="{two}"/>' for one, two in zip(names, names[1:]))
        places = "".join(location(f"l{name}", name, "n1") for name in names)
        addresses = "".join(
            vip(f"v{name}").replace("192.0.2.10", f"10.0.{at // 250}.{at % 250}") for at, name in enumerate(names)
        )
        apart = "".join(colocation(f"c{name}", f"v{name}", name) for name in names)
        text = cib(group("g", *(primitive(name) for name in names)) + addresses, orders + places + apart)
        looked = facts(text)
        begun = time.process_time()
        assert lint.examine(looked).broken == ()
        return time.process_time() - begun

    small = min(needed(60) for _ in range(2))
    assert needed(600) < max(0.5, 40 * small)


def test_a_clone_in_a_clone_in_a_clone():
    deep = "".join(f'<clone id="c{number}">' for number in range(200)) + primitive("p") + "</clone>" * 200
    report(cib(deep))
