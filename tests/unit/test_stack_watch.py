"""One look at where a stack is."""

import pytest
from hafailover.crm import stack_watch
from hafailover.crm.stack import Mover
from hafailover.crm.status_xml import parse
from stack_cluster import CONTENT


def look(resources):
    return stack_watch.seen(
        parse(f'<r><nodes><node name="n1" online="true"/></nodes><resources>{resources}</resources></r>')
    )


def instance(name, node="n1", role="Started", active="true", **more):
    extra = "".join(f' {key}="{value}"' for key, value in more.items())
    inner = f'<node name="{node}"/>' if node else ""
    return f'<resource id="{name}" role="{role}" active="{active}" managed="true"{extra}>{inner}</resource>'


@pytest.mark.parametrize(
    ("resources", "place"),
    [
        (instance("disk") + instance("server"), "n1"),
        (instance("disk") + instance("server", "n2"), ""),
        (instance("disk") + instance("server", "", "Stopped", "false"), ""),
        (instance("disk") + instance("server", role="Starting"), ""),
        (instance("disk") + instance("server", failed="true"), ""),
        (instance("disk"), ""),
    ],
)
def test_a_group_is_where_all_of_it_is_well(resources, place):
    assert look(resources).place(CONTENT) == place


def test_a_role_is_where_the_one_promoted_instance_is():
    role = Mover("s-clone", "Promoted", ("s",), "s-clone")
    both = instance("s", "n1", "Unpromoted") + instance("s", "n2", "Promoted")
    assert look(both).place(role) == "n2"
    assert look(instance("s", "n1", "Promoted") + instance("s", "n2", "Promoted")).place(role) == ""
    assert look(instance("s", "n1", "Unpromoted")).place(role) == ""
