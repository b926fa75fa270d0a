"""Why something does not go to a node for any preference: known before, and what to do said with it."""

import pytest
from hafailover.crm.formats import cib
from hafailover.crm.resolved import Resolved
from hafailover.crm.stack import stack
from hafailover.crm.stack_checks import checks, plan
from hafailover.crm.stack_forecast import Forecast
from hafailover.crm.stack_pins import pins
from lxml import etree
from status_samples import status as recorded
from test_stack import NODES, SINGLE, foreseen, meta, now_of, primitive, scene, where, with_constraint

GROUP = f'<group id="g">{meta("g", resource_stickiness="INFINITY")}{primitive("a")}{primitive("b")}</group>'
DEFAULTS = (
    '<rsc_defaults><meta_attributes id="d"><nvpair id="d1" name="resource-stickiness" value="1000000"/></meta_attributes>'
    "</rsc_defaults>"
)


def location(inside, score="INFINITY"):
    return f'<rsc_location id="h" rsc="app" score="{score}" {inside}'


def found(resources, constraints="", defaults=""):
    root = cib.parse(
        f"<cib><configuration><crm_config/><nodes/><resources>{resources}</resources><constraints>{constraints}</constraints>{defaults}"
        "</configuration><status/></cib>",
        "t",
    )
    resolved = Resolved(cib.read(root))
    return dict(pins(resolved, stack(resolved).movers, "n2"))


def test_a_stickiness_that_nothing_outweighs():
    assert found(primitive("app", inside=meta("app", resource_stickiness="INFINITY"))) == {
        "app": "the resource-stickiness of app is INFINITY, which keeps it wherever it is: until it has moved, "
        "crm_resource -r app --meta -p resource-stickiness -v 100"
    }
    assert set(found(GROUP + primitive("app"))) == {"g"}
    assert set(found(primitive("app") + primitive("web"), defaults=DEFAULTS)) == {"app", "web"}
    assert found(primitive("app", inside=meta("app", resource_stickiness="999999"))) == {}


@pytest.mark.parametrize(
    ("xml", "pinned"),
    [
        (location('node="n1"/>'), True),
        (location('node="n2"/>'), False),
        (location('node="n1"/>', "999"), False),
        (location('node="n1"/>', "-INFINITY"), False),
    ],
)
def test_a_constraint_that_nothing_outweighs(xml, pinned):
    says = "constraint h wants app on n1 at any price (INFINITY)"
    assert found(primitive("app"), xml) == ({"app": says} if pinned else {})


def test_the_checklist_says_why_and_how_to_go_without_it():
    root = cib.parse(f"<cib><configuration><resources>{primitive('app')}</resources></configuration></cib>", "t")
    known, healthy = stack(Resolved(cib.read(root))), recorded("healthy")
    wanted = plan(healthy, known, "db2", {"app": "db1"})
    told = checks(healthy, wanted, Forecast(moved={"app": "db1"}), (), {}, frozenset(), {"app": "it is glued"})
    (says,) = [one.says for one in told if one.name == "forecast"]
    assert says.endswith("app would be on db1 (it is glued); without it: --leave app")
    torn = plan(healthy, known, "db2", {"app": ""})
    assert [one.says for one in checks(healthy, torn, Forecast(moved={"app": "db2"}), (), {}) if one.refuses] == [
        "app does not run on one node (app nowhere): hafailover status; without it: --leave app"
    ]


@pytest.mark.usefixtures("pacemaker")
@pytest.mark.parametrize("by", ["stickiness", "constraint"])
def test_pacemaker_does_not_move_what_is_pinned_and_moves_it_when_it_is_not(by):
    root = scene("stackstorm-pair").cib
    here = where(now_of(root), SINGLE)
    there = next(node for node in NODES["stackstorm-pair"] if node != here)
    xml = f'<rsc_location id="h" rsc="single" node="{here}" score="INFINITY"/>'
    new = with_constraint(root, xml) if by == "constraint" else cib.parse(etree.tostring(root), "t")
    if by == "stickiness":
        own = etree.SubElement(new.find(".//primitive[@id='single']"), "meta_attributes", id="sticky")
        etree.SubElement(own, "nvpair", id="sticky-1", name="resource-stickiness", value="INFINITY")
    for cib_, stays in ((new, True), (root, False)):
        known, ahead = foreseen(cib_, there)
        assert ahead.moved["single"] == (here if stays else there)
        assert ("single" in pins(Resolved(cib.read(cib_)), known.movers, there)) == stays
