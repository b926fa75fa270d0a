"""What of a cluster is brought to one node, what goes along, what stays, and what Pacemaker's own crm_simulate says about it."""

import time
from functools import cache

import pytest
from hafailover.crm import local, simulate_run, simulate_scene, simulate_state, stack_preferences
from hafailover.crm import topology as topologies
from hafailover.crm.formats import cib
from hafailover.crm.resolved import Resolved
from hafailover.crm.simulate_places import Place, places
from hafailover.crm.stack import Mover, stack
from hafailover.crm.stack_forecast import forecast, where
from hafailover.crm.stack_preferences import Existing, constraints, existing, with_preferences, without_preferences
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from topologies import EXAMPLES, parse

TOPOLOGIES = {path.stem: path for path in EXAMPLES}


def of(resources, constraints="", leave=()):
    """The stack of a configuration written as XML."""
    root = cib.parse(
        f"<cib><configuration><crm_config/><nodes/><resources>{resources}</resources><constraints>{constraints}</constraints>"
        "</configuration><status/></cib>",
        "t",
    )
    return stack(Resolved(cib.read(root)), frozenset(leave))


def primitive(name, agent="ocf:pacemaker:Dummy", inside=""):
    agent_class, provider, kind = agent.split(":") if agent.count(":") == 2 else (*agent.split(":"), "")
    if not kind:
        provider, kind = "", provider
    given = f' provider="{provider}"' if provider else ""
    return f'<primitive id="{name}" class="{agent_class}"{given} type="{kind}">{inside}</primitive>'


def meta(name, **pairs):
    inner = "".join(
        f'<nvpair id="{name}-{key}" name="{key.replace("_", "-")}" value="{value}"/>' for key, value in pairs.items()
    )
    return f'<meta_attributes id="{name}-meta">{inner}</meta_attributes>'


def clone(name, inner, **pairs):
    return f'<clone id="{name}">{meta(name, **pairs)}{inner}</clone>'


def tie(rsc, other, role="", score="INFINITY", rsc_role=""):
    roles = (f' with-rsc-role="{role}"' if role else "") + (f' rsc-role="{rsc_role}"' if rsc_role else "")
    return f'<rsc_colocation id="{rsc}-{other}" rsc="{rsc}" with-rsc="{other}" score="{score}"{roles}/>'


def roots(found):
    return {mover.id: mover.root for mover in found.movers}


DATABASE = clone("db-clone", primitive("db", "ocf:hafailover:mariadb"), promotable="true")


def test_only_what_is_on_one_node_moves_and_what_is_tied_goes_along():
    found = of(
        primitive("vip") + primitive("app") + primitive("web") + clone("mq-clone", primitive("mq")) + DATABASE
        + f'<group id="files">{primitive("disk")}{primitive("server")}</group>' + primitive("fence", "stonith:fence_x"),
        tie("vip", "db-clone", "Promoted") + tie("app", "files") + tie("web", "mq-clone") + tie("disk", "web", score="100"),
    )  # fmt: skip
    assert roots(found) == {"vip": "db-clone", "app": "files", "web": "web", "files": "files"}
    assert [mover.id for mover in found.roots] == ["web", "files"]
    assert found.databases == {"db-clone": "db"}
    assert found.stays == {"mq-clone": "runs on several nodes at a time"}
    assert next(mover for mover in found.movers if mover.id == "files").primitives == ("disk", "server")
    assert found.primitives(found.with_root("files")) == {"app"}


def test_a_member_of_a_group_binds_its_group():
    group = f'<group id="g">{primitive("a")}{primitive("b")}</group>'
    assert roots(of(group + primitive("c"), tie("c", "b"))) == {"g": "g", "c": "g"}
    assert roots(of(group + primitive("c"), tie("a", "c"))) == {"g": "c", "c": "c"}


def test_a_role_of_another_promotable_clone_moves_as_a_role():
    stateful = clone("drbd-clone", primitive("drbd", "ocf:linbit:drbd"), promotable="true")
    found = of(stateful + primitive("fs"), tie("fs", "drbd-clone", "Promoted"))
    role = found.roots[0]
    assert (role.id, role.role, role.primitives, role.words) == (
        "drbd-clone",
        "Promoted",
        ("drbd",),
        "the primary of drbd-clone",
    )
    assert roots(found)["fs"] == "drbd-clone"
    two = clone("two-clone", primitive("two"), promotable="true", promoted_max="2")
    found = of(two + primitive("ip"), tie("ip", "two-clone", "Promoted"))
    assert found.stays == {"two-clone": "has several primaries at a time"}
    assert roots(found) == {"ip": "ip"}


def test_what_stays_and_why():
    bundle = (
        '<bundle id="box"><docker image="x"/><network/><primitive id="in" class="ocf" provider="p" type="t"/></bundle>'
    )
    found = of(
        primitive("off", inside=meta("off", target_role="Stopped")) + primitive("far", "ocf:pacemaker:remote")
        + primitive("guest", inside=meta("guest", remote_node="g1")) + bundle + primitive("vip") + primitive("app"),
        tie("vip", "app") + tie("off", "app"),
        leave=["app"],
    )  # fmt: skip
    assert found.movers == ()
    assert found.stays == {
        "off": "is switched off (target-role)",
        "far": "is a node by itself, with all that runs on it",
        "guest": "is a node by itself, with all that runs on it",
        "box": "is a bundle; this command moves none",
        "app": "is to stay where it is (--leave)",
        "vip": "goes with app, which stays",
    }


def test_what_follows_a_database_that_is_left_stays_with_it():
    for name in ("db", "db-clone"):
        found = of(DATABASE + primitive("vip"), tie("vip", "db-clone", "Promoted"), leave=[name])
        assert (found.movers, found.databases) == ((), {})
        assert set(found.stays) == {"db-clone", "vip"}


@given(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from("abcde")), max_size=12))
@settings(max_examples=60, deadline=None)
def test_whatever_is_tied_to_whatever_the_root_is_its_own(pairs):
    """Chains and rings of any shape: every root is a mover that is told where to be, and nothing is its own follower."""
    pairs = [(one, two) for one, two in dict(pairs).items() if one != two]
    found = of("".join(primitive(name) for name in "abcde"), "".join(tie(*pair) for pair in pairs))
    told = {mover.id for mover in found.roots}
    assert {mover.root for mover in found.movers} == told
    assert all(mover.root == mover.id or mover.id not in told for mover in found.movers)


# -- preferences -----------------------------------------------------------------------------------------------------------------


MOVER, ROLE = Mover("app", "", ("app",), "app"), Mover("drbd-clone", "Promoted", ("drbd",), "drbd-clone")


def test_preferences_are_made_put_in_and_taken_out():
    root = cib.parse('<cib validate-with="pacemaker-3.7"><configuration><constraints/></configuration></cib>', "t")
    new = with_preferences(root, {MOVER: "n2", ROLE: "n2"}, 1795232955.0)
    rules = new.findall("configuration/constraints/rsc_location/rule")
    assert [rule.get("role") for rule in rules] == [None, "Promoted"]
    assert {one.get("end") for one in new.iter("date_expression")} == {"2026-11-21 03:49:15Z"}
    assert list(existing(new)) == [
        Existing("cli-prefer-app", "app", 1795232955.0, ours=True),
        Existing("cli-prefer-drbd-clone", "drbd-clone", 1795232955.0, ours=True),
    ]
    assert etree.tostring(without_preferences(new)) == etree.tostring(root)


def test_what_a_dead_command_has_left_gives_its_place_up():
    root = cib.parse("<cib><configuration/></cib>", "t")
    older = with_preferences(root, {MOVER: "n1", ROLE: "n1"}, 0.0)
    new = with_preferences(older, {MOVER: "n2"}, 1795232955.0)
    assert [one.get("value") for one in new.iter("expression")] == ["n1", "n2"]
    assert [one.id for one in existing(new)] == ["cli-prefer-drbd-clone", "cli-prefer-app"]


@pytest.mark.parametrize(
    ("schema", "word"), [("pacemaker-2.10", "Master"), ("pacemaker-3.6", "Master"), ("pacemaker-3.7", "Promoted"), ("none", "Promoted")]
)  # fmt: skip
def test_older_schemas_get_the_older_word(schema, word):
    root = cib.parse(f'<cib validate-with="{schema}"><configuration/></cib>', "t")
    assert with_preferences(root, {ROLE: "n2"}, 0.0).find(".//rule").get("role") == word


def test_a_preference_of_a_person_is_known_by_its_missing_end():
    root = cib.parse(
        '<cib><configuration><constraints><rsc_location id="cli-prefer-app" rsc="app" node="n1" score="INFINITY"/>'
        '<rsc_location id="mine" rsc="app" node="n1" score="1"/></constraints></configuration></cib>',
        "t",
    )
    assert list(existing(root)) == [Existing("cli-prefer-app", "app", None)]
    assert len(without_preferences(root).findall(".//rsc_location")) == 2, "only ours are taken out"


@pytest.mark.usefixtures("pacemaker")
def test_pacemaker_takes_them(tmp_path):
    scene_ = scene("stackstorm-pair")
    wanted = stack(Resolved(cib.read(scene_.cib))).roots
    new = with_preferences(scene_.cib, dict.fromkeys(wanted, "st2-node"), time.time() + 60)
    file = tmp_path / "cib.xml"
    file.write_bytes(etree.tostring(new))
    checked = local.run(["crm_verify", "--xml-file", str(file)])
    assert checked.rc == 0, checked.err


# -- Pacemaker's simulation ------------------------------------------------------------------------------------------------------


@cache
def scene(name):
    return simulate_scene.of_topology(topologies.load(TOPOLOGIES[name]))


def foreseen(root, node, leave=()):
    """(what there is, the forecast) of bringing everything of the element cib to ``node``."""
    found = stack(Resolved(cib.read(root)), frozenset(leave))
    now = places(simulate_run.react(root, ()).before, ())
    moves = [mover for mover in found.roots if where(now, mover) != node]
    primaries = {clone: now[name].promoted[0] for clone, name in found.databases.items()}
    return found, forecast(root, found, moves, {c: p for c, p in primaries.items() if p != node}, node)


NODES = {
    "stackstorm-pair": ("st2-node", "st2-secondary"),
    "cloudstack-pair": ("cs1", "cs2"),
    "openstack-controllers": ("controller01-dev", "controller02-dev"),
    "content-pair": ("st2-1", "st2-2"),
}


@pytest.mark.usefixtures("pacemaker")
@pytest.mark.parametrize("name", ["stackstorm-pair", "cloudstack-pair", "openstack-controllers", "mariadb-trio"])
def test_every_example_goes_to_each_node_stays_there_and_nothing_else_stops(name):
    root = scene(name).cib
    nodes = [node.get("uname") for node in root.iterfind("configuration/nodes/node")]
    for node in nodes:
        found, ahead = foreseen(root, node)
        if any(
            node not in dict(pair.split(":") for pair in one.params.get("nodes", "").split())
            for one in Resolved(cib.read(root)).resources.values()
            if one.id in found.databases.values()
        ):
            continue
        assert (ahead.error, ahead.due, ahead.disturbed, ahead.fenced) == ("", (), (), ())
        assert (ahead.with_databases, ahead.drifts) == ((), ())
        assert set(ahead.moved.values()) <= {node}
        assert set(ahead.databases.values()) <= {node}
        assert set(ahead.led.values()) <= {node}


def with_constraint(root, xml):
    new = cib.parse(etree.tostring(root), "t")
    new.find("configuration/constraints").append(etree.fromstring(xml))
    return new


@pytest.mark.usefixtures("pacemaker")
def test_a_ban_is_not_overridden():
    root = scene("stackstorm-pair").cib
    here = where(now_of(root), SINGLE)
    there = next(node for node in NODES["stackstorm-pair"] if node != here)
    banned = with_constraint(root, f'<rsc_location id="b" rsc="single" node="{there}" score="-INFINITY"/>')
    _, ahead = foreseen(banned, there)
    assert ahead.moved["single"] == here
    assert {**ahead.moved, "single": there} == dict.fromkeys({*ahead.moved, "single"}, there)


@pytest.mark.usefixtures("pacemaker")
@pytest.mark.parametrize(("score", "drifts"), [(50, False), (500, True)])
def test_what_weighs_more_than_the_stickiness_brings_it_home_again(score, drifts):
    root = scene("stackstorm-pair").cib
    here = where(now_of(root), SINGLE)
    there = next(node for node in NODES["stackstorm-pair"] if node != here)
    at_home = with_constraint(root, f'<rsc_location id="h" rsc="single" node="{here}" score="{score}"/>')
    _, ahead = foreseen(at_home, there)
    assert ahead.moved["single"] == there
    assert ahead.drifts == ((f"single stops on {there}",) if drifts else ())


SINGLE = Mover("single", "", ("single",), "single")


def now_of(root):
    return places(simulate_run.react(root, ()).before, ())


@pytest.mark.usefixtures("pacemaker")
def test_what_an_order_stops_on_other_nodes_is_told():
    """A clone whose instances wait for a resource that moves is restarted everywhere."""
    root = scene("stackstorm-pair").cib
    here = next(iter(now_of(root)["content-disk"].running))
    there = next(node for node in NODES["stackstorm-pair"] if node != here)
    symmetrical = with_constraint(root, '<rsc_order id="o" first="content" then="mq-clone" kind="Mandatory"/>')
    _, ahead = foreseen(symmetrical, there)
    assert {f"mq stops on {node}" for node in NODES["stackstorm-pair"]} <= set(ahead.disturbed)


@pytest.mark.usefixtures("pacemaker")
def test_a_role_goes_to_the_node_and_stays():
    root = simulate_scene.of_topology(parse()).cib
    resources = root.find("configuration/resources")
    resources.append(
        etree.fromstring(clone("state-clone", primitive("state", "ocf:pacemaker:Stateful"), promotable="true"))
    )
    root = simulate_state.running(root).cib
    now = now_of(root)
    here = now["state"].promoted[0]
    there = next(node for node in ("db1", "db2") if node != here)
    _, ahead = foreseen(root, there, leave=["db"])
    assert ahead.moved == {"state-clone": there}
    assert (ahead.disturbed, ahead.drifts) == ((), ())


@pytest.mark.usefixtures("pacemaker")
def test_a_cib_that_cannot_be_simulated_is_an_error_and_no_guess(monkeypatch):
    monkeypatch.setattr(local, "run", lambda argv, timeout=None, input=None: local.Result(78, "", "it is broken"))
    ahead = forecast(scene("stackstorm-pair").cib, of(primitive("a")), [MOVER], {}, "n2")
    assert "it is broken" in ahead.error


def test_a_mover_that_is_torn_is_nowhere():
    both = Mover("g", "", ("a", "b"), "g")
    assert where({"a": Place((), ("n1",)), "b": Place((), ("n1",))}, both) == "n1"
    assert where({"a": Place((), ("n1",)), "b": Place((), ("n2",))}, both) == ""
    assert where({}, both) == ""
    assert where({"drbd": Place(("n2",), ("n1",))}, ROLE) == "n2"


def test_constraints_name_what_a_dead_command_has_left_as_crm_resource_does():
    """crm_resource --clear --expired finds it by these names (seen with 2.1.5)."""
    location = constraints({MOVER: "n2"}, 0.0, "abcd")[0]
    assert location.get("id") == "cli-prefer-app"
    assert location.find("rule").get("id") == f"{stack_preferences.MARK}abcd-app"
    assert location.find("rule/expression").get("id") == "cli-prefer-expr-app"
    assert location.find("rule/date_expression").get("id") == "cli-prefer-lifetime-end-app"
