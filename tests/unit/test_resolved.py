"""What a configuration means, as Pacemaker 2.1 reads it: values, templates, references, defaults, sets, names."""

from __future__ import annotations

import time

import pytest
from hafailover.crm import generate, topology, values
from hafailover.crm.errors import UsageError
from hafailover.crm.formats import cib
from hafailover.crm.resolved import INFINITY, Colocation, Location, Order, Resolved, Ticket
from topologies import EXAMPLES

DUMMY = 'class="ocf" provider="heartbeat" type="Dummy"'


def resolved(resources="", constraints="", properties="", more="", nodes=""):
    text = (
        f"<cib><configuration><crm_config>{properties}</crm_config><nodes>{nodes}</nodes><resources>{resources}</resources>"
        f"<constraints>{constraints}</constraints>{more}</configuration></cib>"
    )
    return Resolved(cib.read(cib.parse(text, "test")))


def dummies(*names):
    return "".join(f'<primitive id="{name}" {DUMMY}/>' for name in names)


def pairs(**given):
    return "".join(f'<nvpair id="{key}-{value}" name="{key}" value="{value}"/>' for key, value in given.items())


# -- values ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10", 10_000), ("10s", 10_000), ("10 sec", 10_000), ("10000ms", 10_000), ("10000msec", 10_000), ("PT10S", 10_000),
        ("5min", 300_000), ("5m", 300_000), ("1h", 3_600_000), ("1hr", 3_600_000), ("10000000us", 10_000), ("0", 0), ("0s", 0),
        ("P1DT1M", 86_460_000), ("P1W", 604_800_000), (" 7 ", 7_000), ("P", None), ("PT", None), ("", None), ("soon", None),
        ("10x", None), (None, None), ("-5s", None), ("9" * 5000, 999_999_999_999_999_999_000),
    ],
)  # fmt: skip
def test_times(text, expected):
    assert values.milliseconds(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("INFINITY", INFINITY), ("+INFINITY", INFINITY), ("-INFINITY", -INFINITY), ("-infinity", -INFINITY), ("100", 100),
        ("-5", -5), ("9999999999", INFINITY), (None, 0), ("x", 0), ("red", -INFINITY), ("inf", 0),
    ],
)  # fmt: skip
def test_scores(text, expected):
    assert values.score(text) == expected


def test_truth_and_roles():
    assert [values.boolean(word) for word in ("Yes", "ON", "1", "y", "TRUE")] == [True] * 5
    assert [values.boolean(word) for word in ("no", "off", "0", "N", "False")] == [False] * 5
    assert [values.boolean(word) for word in (None, "", "maybe", "2")] == [None] * 4
    assert [values.role(word) for word in ("Master", "slave", "Started", None, "Promoted", "odd")] == [
        "Promoted", "Unpromoted", "Started", "", "Promoted", "odd",
    ]  # fmt: skip


# -- values of a resource ------------------------------------------------------------------------------------------------------------


def test_a_template_gives_agent_values_and_the_operations_that_the_resource_does_not_have():
    here = resolved(
        f'<template id="t" {DUMMY}><meta_attributes id="tm">{pairs(a="t", b="t")}</meta_attributes><operations>'
        '<op id="t1" name="monitor" interval="9s"/><op id="t2" name="monitor" interval="8s" role="Master"/><op id="t3" name="stop" '
        'interval="0" timeout="33s"/></operations></template><primitive id="p" template="t"><meta_attributes id="pm">'
        f'{pairs(a="p")}</meta_attributes><operations><op id="p1" name="monitor" interval="5s" role="Slave"/></operations></primitive>'
    )
    assert list(here.resources) == ["p"]
    p = here.resources["p"]
    assert (p.agent, p.template, dict(p.meta)) == ("ocf:heartbeat:Dummy", "t", {"a": "p", "b": "t"})
    assert [(op.id, op.role, op.interval, op.timeout) for op in p.operations] == [
        ("p1", "Unpromoted", 5000, None), ("t2", "Promoted", 8000, None), ("t3", "", 0, 33000),
    ]  # fmt: skip


def test_what_is_not_said_comes_from_the_parents_and_then_from_the_defaults():
    here = resolved(
        f'<clone id="c"><meta_attributes id="cm">{pairs(promotable="yes", x="clone", y="clone")}</meta_attributes>'
        f'<instance_attributes id="ci">{pairs(ip="clone")}</instance_attributes><group id="g"><meta_attributes id="gm">{pairs(x="group")}'
        f"</meta_attributes>{dummies('p', 'q')}</group></clone>",
        more=f'<rsc_defaults><meta_attributes id="d">{pairs(y="default", z="default")}</meta_attributes></rsc_defaults>',
    )
    p, clone = here.resources["p"], here.resources["c"]
    assert {key: p.meta[key] for key in "xyz"} == {"x": "group", "y": "clone", "z": "default"}
    assert p.params == {"ip": "clone"}
    assert (p.parent, p.top, p.promotable, clone.promotable, clone.children) == ("g", "c", True, True, ("g",))
    assert [one.id for one in here.primitives_of("c")] == ["p", "q"]
    assert (here.effective_id("p"), here.effective_id("c"), here.effective_id("nothing")) == ("c", "c", "nothing")


def test_references_rules_scores_and_defaults_of_sets():
    here = resolved(
        f'<primitive id="p" {DUMMY}><instance_attributes id="one">{pairs(a="1", b="1")}</instance_attributes>'
        f'<instance_attributes id="two" score="5">{pairs(b="2")}</instance_attributes>'
        f'<instance_attributes id="three"><rule id="r" score="9"><expression id="e" attribute="#uname" operation="eq" value="n"/></rule>'
        f'{pairs(a="rule", c="rule")}</instance_attributes><instance_attributes id="last"><!-- a comment -->{pairs(a="last")}'
        f'</instance_attributes></primitive><primitive id="q" {DUMMY}><instance_attributes id-ref="two"/>'
        '<instance_attributes id="four"><nvpair id-ref="a-1"/><nvpair id-ref="a-1" name="other"/>'
        '<nvpair id="x" name="gone" value="#default"/></instance_attributes></primitive>'
    )
    assert dict(here.resources["p"].params) == {"a": "last", "b": "2"}
    assert here.resources["p"].uncertain == {"a", "c"}
    assert dict(here.resources["q"].params) == {"b": "2", "a": "1", "other": "1"}


def test_properties():
    here = resolved(
        properties=f'<cluster_property_set id="x" score="99">{pairs(a="x", b="x")}</cluster_property_set>'
        f'<cluster_property_set id="cib-bootstrap-options">{pairs(a="first")}</cluster_property_set>'
        f'<cluster_property_set id="y" score="100">{pairs(b="y")}</cluster_property_set>'
        '<cluster_property_set id="z" score="900"><rule id="r" score="1"><date_expression id="d" operation="gt" start="2020"/></rule>'
        f"{pairs(b='z')}</cluster_property_set>"
    )
    assert [here.property(name) for name in "abc"] == ["first", "y", None]
    assert here.uncertain_properties == {"b"}


def test_operations():
    here = resolved(
        f'<primitive id="p" {DUMMY}><operations id="ops"><op id="1" name="monitor" interval="10"/>'
        '<op id="2" name="monitor" interval="0" timeout="5"/><op id="3" name="monitor" interval="PT1M" enabled="off"/>'
        '<op id="4" name="stop" interval="0"><meta_attributes id="m"><nvpair id="n" name="on-fail" value="ignore"/></meta_attributes></op>'
        f'</operations></primitive><primitive id="q" {DUMMY}><operations id-ref="ops"/></primitive>',
        more=f'<op_defaults><meta_attributes id="d">{pairs(timeout="60s")}</meta_attributes></op_defaults>',
    )
    for name in "pq":
        one = here.resources[name]
        assert [op.timeout for op in one.operations] == [60_000, 5_000, 60_000, 60_000]
        assert [op.id for op in one.monitors()] == ["1"]
        assert one.operations[3].on_fail == "ignore"


def test_a_bundle():
    here = resolved(
        f'<bundle id="b"><podman image="i" promoted-max="1"/><network><port-mapping id="pm" port="80"/></network>{dummies("p")}</bundle>'
        f'<bundle id="b2"><docker image="i" replicas="2"/>{dummies("p2")}</bundle>'
    )
    b, p = here.resources["b"], here.resources["p"]
    assert (b.kind, b.promotable, b.children, p.parent, p.promotable) == ("bundle", True, ("p",), "b", True)
    assert here.resources["b2"].promotable is False
    assert here.effective_id("p") == "b"


def test_nodes():
    here = resolved(
        f'<primitive id="far" class="ocf" provider="pacemaker" type="remote"/><primitive id="vm" {DUMMY}><meta_attributes id="m">'
        f"{pairs(**{'remote-node': 'guest'})}</meta_attributes></primitive>",
        nodes='<node id="1" uname="n1"/><node id="2" uname="n2"/>',
    )
    assert list(here.nodes) == ["n1", "n2"]
    assert here.node_names == {"n1", "n2", "far", "guest"}


# -- constraints -------------------------------------------------------------------------------------------------------------------


def ordered(constraints):
    return [
        (one.first, one.first_action, one.then, one.then_action)
        for one in resolved(dummies(*"abcd"), constraints).orders
    ]


def sets(*texts):
    made = []
    for index, text in enumerate(texts):
        names, _, attributes = text.partition("|")
        refs = "".join(f'<resource_ref id="{name}"/>' for name in names.split())
        made.append(f'<resource_set id="s{index}" {attributes}>{refs}</resource_set>')
    return "".join(made)


def test_orders():
    here = resolved(
        dummies("a", "b"),
        '<rsc_order id="o1" first="a" then="b"/><rsc_order id="o2" first="a" first-action="promote" then="b" score="0"/>'
        '<rsc_order id="o3" first="a" first-action="stop" then="b" then-action="start" kind="serialize" symmetrical="true"/>'
        '<rsc_order id="o4" first="a" then="b" symmetrical="no" score="INFINITY"/><rsc_order id="o5" first="a" then="gone"/>',
    )
    assert here.orders == (
        Order("o1", "a", "start", "b", "start", "Mandatory", True),
        Order("o2", "a", "promote", "b", "promote", "Optional", True),
        Order("o3", "a", "stop", "b", "start", "Serialize", False),
        Order("o4", "a", "start", "b", "start", "Mandatory", False),
    )
    assert here.dangling == (("o5", "gone"),)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a b c"], ["ab", "bc"]),
        (["a b c|sequential='false'"], []),
        (["a b", "c d"], ["ab", "cd", "bc"]),
        (["a b|sequential='false'", "c d"], ["cd", "ac", "bc"]),
        (["a b", "c d|sequential='false'"], ["ab", "bc", "bd"]),
        (["a b|sequential='false' require-all='false'", "c"], ["ac", "bc"]),
    ],
)
def test_sets_of_an_order(given, expected):
    found = ordered(f'<rsc_order id="o">{sets(*given)}</rsc_order>')
    assert [first + then for first, _, then, _ in found] == expected


def test_the_action_of_a_set_and_any_of_several():
    given = sets("a|action='promote' require-all='false'", "b")
    here = resolved(dummies("a", "b"), f'<rsc_order id="o">{given}</rsc_order>')
    assert here.orders == (Order("o", "a", "promote", "b", "start", "Mandatory", True, False),)


@pytest.mark.parametrize(
    ("given", "score", "expected"),
    [
        (["a b c"], "INFINITY", ["ba", "cb"]),
        (["a b c|ordering='listed'"], "INFINITY", ["ab", "bc"]),
        (["a b c"], "-100", ["ba", "ca", "cb"]),
        (["a b c|sequential='false'"], "INFINITY", []),
        (["a b", "c d"], "INFINITY", ["ba", "dc", "ad"]),
        (["a b|sequential='false'", "c d"], "INFINITY", ["dc", "ad", "bd"]),
        (["a b", "c d|sequential='false'"], "INFINITY", ["ba", "ac", "ad"]),
    ],
)
def test_sets_of_a_colocation(given, score, expected):
    here = resolved(dummies(*"abcd"), f'<rsc_colocation id="c" score="{score}">{sets(*given)}</rsc_colocation>')
    assert [one.rsc + one.with_rsc for one in here.colocations] == expected


def test_colocations():
    here = resolved(
        f'{dummies("a")}<clone id="c"><meta_attributes id="m">{pairs(promotable="true")}</meta_attributes>{dummies("p")}</clone>',
        '<rsc_colocation id="1" rsc="a" with-rsc="p" with-rsc-role="Master" score="INFINITY"/>'
        '<rsc_colocation id="2" rsc="a" rsc-role="Started" with-rsc="c"/>',
    )
    assert here.colocations == (Colocation("1", "a", "", "c", "Promoted", INFINITY),)


def test_locations():
    rule = '<rule id="r{0}" score="{1}" role="Master"><expression id="e{0}" attribute="{2}" operation="eq" value="n1"/></rule>'
    date = '<rule id="r9" score="-INFINITY"><date_expression id="d" operation="lt" end="2001-01-01"/></rule>'
    here = resolved(
        dummies("a", "web1", "web2"),
        '<rsc_location id="1" rsc="a" node="n1" score="50"/><rsc_location id="2" rsc-pattern="^web" node="n2" score="-INFINITY"/>'
        f'<rsc_location id="3" rsc="a">{rule.format(3, "INFINITY", "#uname")}</rsc_location>'
        f'<rsc_location id="4" rsc="a">{rule.format(4, "5", "site")}</rsc_location><rsc_location id="5" rsc="a">{date}</rsc_location>'
        f'<rsc_location id="6" node="n1" score="1">{sets("a web1")}</rsc_location>'
        '<rsc_location id="7" rsc-pattern="(a+)+$" node="n1" score="1"/>',
    )
    assert here.locations == (
        Location("1", "a", "", "n1", 50, False),
        Location("2", "web1", "", "n2", -INFINITY, False),
        Location("2", "web2", "", "n2", -INFINITY, False),
        Location("3", "a", "Promoted", "n1", INFINITY, False),
        Location("4", "a", "Promoted", None, 5, True),
        Location("5", "a", "", None, -INFINITY, True),
        Location("6", "a", "", "n1", 1, False),
        Location("6", "web1", "", "n1", 1, False),
    )


def test_templates_and_tags_stand_for_several():
    resources = (
        f'{dummies("a", "x")}<template id="t" {DUMMY}/><primitive id="p" template="t"/><primitive id="q" template="t"/>'
    )
    here = resolved(
        resources,
        '<rsc_order id="o" first="a" then="t"/><rsc_colocation id="c" rsc="both" with-rsc="a" score="1"/>'
        f'<rsc_order id="s">{sets("t", "x")}</rsc_order>',
        more='<tags><tag id="both"><obj_ref id="p"/><obj_ref id="x"/></tag></tags>',
    )
    assert [one.first + one.then for one in here.orders] == ["ap", "aq", "px", "qx"]
    assert [one.rsc + one.with_rsc for one in here.colocations] == ["pa", "xa"]
    assert here.dangling == ()


def test_a_set_that_refers_to_another():
    here = resolved(
        dummies("a", "b"),
        f'<rsc_order id="o">{sets("a b")}</rsc_order><rsc_colocation id="c" score="1"><resource_set id-ref="s0"/></rsc_colocation>',
    )
    assert [one.rsc + one.with_rsc for one in here.colocations] == ["ba"]


def test_tickets():
    here = resolved(dummies("a"), '<rsc_ticket id="1" rsc="a" ticket="t" loss-policy="fence" rsc-role="Master"/>')
    assert here.tickets == (Ticket("1", "t", "a", "Promoted", "fence"),)


# -- as a whole --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_examples_name_nothing_that_is_not_there(file):
    made = generate.configuration(topology.load(file))
    here = Resolved(made)
    assert here.dangling == () and here.orders
    assert {one.id for one in made.primitives()} <= set(here.resources)
    assert all(one.interval > 0 for name in here.resources for one in here.resources[name].monitors())


def test_an_empty_and_a_strange_configuration():
    assert resolved().resources == {} and resolved().orders == ()
    strange = resolved(
        '<group id="g"/><clone id="c"/><primitive id="p" template="none"/><primitive id="t" template="t"/><bundle id="b"/><bundle/>'
        f'<clone id="outer"><clone id="inner">{dummies("x")}</clone></clone>{dummies("x")}<what id="w"/><!-- {dummies("y")} -->',
        '<rsc_order id="o"/><rsc_colocation id="c1"><resource_set/></rsc_colocation><rsc_location id="l"/><rsc_ticket id="t1"/>',
    )
    assert {"g", "c", "p", "outer", "x", "b"} <= set(strange.resources)
    assert (strange.orders, strange.colocations, strange.locations, strange.tickets) == ((), (), (), ())


def test_a_big_one_takes_no_longer_than_its_size():
    def built(count):
        names = [f"p{index}" for index in range(count)]
        constraints = f'<rsc_order id="o">{sets(" ".join(names))}</rsc_order>'
        whole = f'<group id="g">{dummies(*names)}</group>'
        begun = time.process_time()
        here = resolved(whole, constraints)
        assert len(here.orders) == count - 1 and len(here.resources) == count + 1
        return time.process_time() - begun

    small = min(built(400) for _ in range(3))
    assert built(4000) < max(0.2, 40 * small)


def test_a_product_that_no_cluster_can_hold_is_refused():
    names = [f"p{index}" for index in range(1100)]
    half = " ".join(names) + "|sequential='false'"
    many = f'<rsc_order id="o">{sets(half, half)}</rsc_order>'
    with pytest.raises(UsageError, match="1210000 pairs"):
        _ = resolved(dummies(*names), many).orders
