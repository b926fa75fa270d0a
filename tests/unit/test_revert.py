"""Taking changes back, on any configurations: nothing is lost, doubled or left."""

from changing import content
from hafailover.crm import revert, undo, undo_store
from hypothesis import given, settings
from hypothesis import strategies as some
from lxml import etree

IDS = [f"r{number}" for number in range(5)]
VALUES = some.sampled_from(["1", "2", "3"])


@some.composite
def configurations(draw):
    resources = []
    for name in draw(some.lists(some.sampled_from(IDS), unique=True, max_size=5)):
        pairs = "".join(
            f'<nvpair id="{name}-{key}" name="{key}" value="{draw(VALUES)}"/>'
            for key in sorted(draw(some.sets(some.sampled_from("abc"), max_size=3)))
        )
        sets = (
            f'<instance_attributes id="{name}-i">{pairs}</instance_attributes>'
            if pairs or draw(some.booleans())
            else ""
        )
        resources.append(f'<primitive id="{name}" class="ocf" provider="p" type="t">{sets}</primitive>')
    group = draw(some.integers(0, len(resources)))
    inside = f'<group id="g">{"".join(resources[:group])}</group>' if group else ""
    return etree.fromstring(
        f"<cib><configuration><crm_config/><resources>{inside}{''.join(resources[group:])}</resources></configuration></cib>"
    )


@settings(max_examples=40, deadline=None)
@given(configurations(), configurations())
def test_whatever_was_changed_is_taken_back(before, after):
    found = revert.revert(after, before, after)
    assert content(found.tree) == content(before)
    assert found.conflicts == ()
    assert bool(found.changes) == (content(before) != content(after))
    # And twice is once.
    assert revert.revert(found.tree, before, after).changes == ()


@settings(max_examples=40, deadline=None)
@given(configurations(), configurations(), configurations())
def test_changes_in_a_row_are_taken_back_one_by_one(first, second, third):
    kept = [
        undo_store.Entry(1, 0.0, "eve", "a", "", first, second),
        undo_store.Entry(2, 0.0, "eve", "b", "", second, third),
    ]
    taken = undo.chosen(kept, 1)
    found = undo.reverted(taken.entries, third)
    assert (content(found.tree), found.conflicts) == (content(first), ())
    undo.refuse(taken, third, False)


@settings(max_examples=40, deadline=None)
@given(configurations(), configurations(), configurations())
def test_taking_back_after_any_other_change_leaves_one_configuration_without_doubled_ids(before, after, live):
    tree = revert.revert(live, before, after).tree
    for name in IDS:
        there = [one for one in tree.iter("primitive") if one.get("id") == name]
        assert len(there) <= 2
    untouched = [one for one in IDS if _one(before, one) == _one(after, one) and _one(live, one) is not None]
    for name in untouched:
        if _parent(before, name) == _parent(after, name) == _parent(live, name):
            assert _one(tree, name) is not None


def _one(root, name):
    found = root.find(f".//primitive[@id='{name}']")
    return None if found is None else etree.tostring(found)


def _parent(root, name):
    found = root.find(f".//primitive[@id='{name}']")
    return None if found is None else found.getparent().tag
