import pytest
from hafailover.crm import applied, generate
from hafailover.crm.errors import RefusedError
from hafailover.crm.formats import cib
from hafailover.crm.merge import merge
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from topologies import changed, parse

EMPTY = """<cib epoch="1" num_updates="0" admin_epoch="0" validate-with="pacemaker-3.7"><configuration>
<crm_config/><nodes><node id="1" uname="db1"/><node id="2" uname="db2"/></nodes><resources/><constraints/>
</configuration><status/></cib>"""


def live(text=EMPTY):
    return cib.parse(text, "live")


def wanted(*replacements):
    return cib.tree(generate.configuration(parse(changed(*replacements))))


def merged(start, *replacements):
    return merge(start, wanted(*replacements))


def told(result):
    return [str(change) for change in result.changes]


def canonical(root):
    return etree.tostring(root.find("configuration"), method="c14n")


def add(root, section, xml):
    root.find(f"configuration/{section}").append(etree.fromstring(xml))
    return root


@pytest.fixture
def applied_once():
    return merged(live()).tree


def find(root, xpath):
    return root.find(f"configuration//{xpath}")


def test_a_second_time_there_is_nothing_to_do(applied_once):
    again = merged(applied_once)
    assert again.changes == ()
    assert canonical(again.tree) == canonical(applied_once)


def test_the_live_cib_is_not_touched():
    start = live()
    before = canonical(start)
    merged(start)
    assert canonical(start) == before


def test_everything_wanted_is_there_and_is_told():
    result = merged(live())
    assert "add clone db-clone (ocf:hafailover:mariadb)" in " ".join(told(result))
    for element in wanted().find("configuration").iter("nvpair", "op", "primitive", "clone", "rsc_order"):
        assert dict(find(result.tree, f"{element.tag}[@id='{element.get('id')}']").attrib) == dict(element.attrib)


FOREIGN = {
    "crm_config": [
        '<cluster_property_set id="hafailover-db"><nvpair id="hafailover-db-j" name="hafailover-db-j" value="j"/>'
        "</cluster_property_set>",
        '<cluster_property_set id="x"><nvpair id="x1" name="maintenance-mode" value="true"/></cluster_property_set>',
    ],
    "resources": [
        '<primitive id="mine" class="ocf" provider="heartbeat" type="Dummy"><meta_attributes id="mm">'
        '<nvpair id="mmn" name="is-managed" value="false"/></meta_attributes></primitive>',
        '<bundle id="b"><podman image="i"/></bundle>',
    ],
    "constraints": [
        '<rsc_location id="cli-ban-vip-on-db1" rsc="vip" role="Started" node="db1" score="-INFINITY"/>',
        '<rsc_location id="r" rsc="mine"><rule id="rr" score="5">'
        '<expression id="e" attribute="a" operation="defined"/></rule></rsc_location>',
    ],
    "nodes": [],
}


def with_foreign(root):
    for section, elements in FOREIGN.items():
        for xml in elements:
            add(root, section, xml)
    node = find(root, "node[@id='1']")
    node.append(
        etree.fromstring(
            '<instance_attributes id="n1"><nvpair id="n1s" name="standby" value="on"/></instance_attributes>'
        )
    )
    node[0].append(etree.fromstring('<nvpair id="n1d" name="hafailover-db-status" value="STALE"/>'))
    db = find(root, "primitive[@id='db']")
    if db is not None:
        db.find("meta_attributes").append(etree.fromstring('<nvpair id="dm" name="is-managed" value="false"/>'))
        db.append(etree.fromstring('<utilization id="du"><nvpair id="du1" name="cpu" value="1"/></utilization>'))
    etree.SubElement(root.find("configuration"), "tags").append(
        etree.fromstring('<tag id="t"><obj_ref id="mine"/></tag>')
    )
    return root


def test_what_others_made_stays_to_the_letter(applied_once):
    start = with_foreign(applied_once)
    assert merged(start).changes == ()
    assert canonical(merged(start).tree) == canonical(start)
    # Also when something is changed, and when most of ours is removed.
    for replacements in (
        [("mariadb}", "mariadb, port: 3307}")],
        [(", follows: db.primary", ""), ("  db: {type: mariadb}", "  {}")],
    ):
        after = merged(start, *replacements).tree
        for elements in FOREIGN.values():
            for xml in elements:
                element = etree.fromstring(xml)
                kept = find(after, f"{element.tag}[@id='{element.get('id')}']")
                assert etree.tostring(kept, method="c14n") == etree.tostring(element, method="c14n")
        assert find(after, "nvpair[@id='n1s']").get("value") == "on"
        assert find(after, "nvpair[@id='n1d']").get("value") == "STALE"
        assert find(after, "tag[@id='t']") is not None


def test_a_changed_value_is_brought_back_and_told(applied_once):
    find(applied_once, "nvpair[@id='db-clone-meta_attributes-notify']").set("value", "false")
    find(applied_once, "op[@id='vip-monitor-10s']").set("timeout", "1s")
    find(applied_once, "op[@id='vip-monitor-10s']").set("on-fail", "standby")
    find(applied_once, "rsc_colocation").set("score", "10")
    find(applied_once, "nvpair[@name='stonith-enabled']").set("value", "true")
    result = merged(applied_once)
    assert told(result) == [
        "change cluster property stonith-enabled: true → false",
        "change operation monitor every 10s of vip: timeout 1s → 20s",
        "change meta attribute notify of db-clone: false → true",
        "change colocation vip-with-db-clone-promoted: score=10 rsc=vip with-rsc=db-clone with-rsc-role=Promoted → "
        "score=INFINITY rsc=vip with-rsc=db-clone with-rsc-role=Promoted",
    ]
    # An attribute that somebody added to our operation is his.
    assert find(result.tree, "op[@id='vip-monitor-10s']").get("on-fail") == "standby"


def test_settings_that_the_topology_gives_up_are_taken_back(applied_once):
    more = merged(applied_once, ("mariadb}", "mariadb, port: 3307, stall: 5s}"))
    assert told(more) == ["add parameter port of db: 3307", "add parameter stall of db: 5s"]
    less = merged(more.tree)
    assert told(less) == ["remove parameter port of db: was 3307", "remove parameter stall of db: was 5s"]
    assert canonical(less.tree) == canonical(applied_once)


def test_resources_and_constraints_that_the_topology_gives_up_are_removed(applied_once):
    result = merged(applied_once, ("  vip: {ip: 10.77.0.100/24, follows: db.primary}", "  {}"))
    assert told(result) == [
        "remove resource vip (ocf:hafailover:vip)",
        "remove order vip-after-db-clone-promoted",
        "remove colocation vip-with-db-clone-promoted",
    ]
    assert find(result.tree, "primitive[@id='vip']") is None
    assert applied.read(result.tree.find("configuration")).resources.keys() == {"db", "db-clone"}


def test_a_ban_goes_with_its_resource_and_other_constraints_are_not_broken(applied_once):
    add(applied_once, "constraints", '<rsc_location id="cli-ban-vip-on-db1" rsc="vip" node="db1" score="-INFINITY"/>')
    gone = ("  vip: {ip: 10.77.0.100/24, follows: db.primary}", "  {}")
    assert "remove location cli-ban-vip-on-db1" in told(merged(applied_once, gone))
    add(applied_once, "constraints", '<rsc_location id="my" rsc="vip" node="db1" score="5"/>')
    with pytest.raises(RefusedError, match="constraint my, which hafailover did not make, refers to vip"):
        merged(applied_once, gone)


def test_what_was_loaded_by_other_means_is_adopted():
    start = wanted()
    assert applied.read(start.find("configuration")).resources == {}
    result = merged(start)
    assert result.changes == ()
    assert applied.read(result.tree.find("configuration")).resources.keys() == {"db", "db-clone", "vip"}
    # Names decide, not ids: crm_attribute and crmsh make their own.
    other = live()
    add(
        other,
        "crm_config",
        '<cluster_property_set id="z"><nvpair id="z1" name="no-quorum-policy" value="ignore"/></cluster_property_set>',
    )
    after = merged(other)
    assert "change cluster property no-quorum-policy: ignore → stop" in told(after)
    assert len(list(after.tree.iterfind("configuration/crm_config//nvpair[@name='no-quorum-policy']"))) == 1


def test_a_property_that_holds_only_sometimes_is_not_taken_for_the_property():
    start = live()
    add(
        start,
        "crm_config",
        '<cluster_property_set id="n" score="9"><rule id="r" score="0"><date_expression id="d" operation="gt" start="2030-01-01"/></rule>'
        '<nvpair id="n1" name="no-quorum-policy" value="freeze"/></cluster_property_set>',
    )
    after = merged(start).tree
    assert find(after, "nvpair[@id='n1']").get("value") == "freeze"
    assert find(after, "nvpair[@id='cib-bootstrap-options-no-quorum-policy']").get("value") == "stop"


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        (
            '<primitive id="vip" class="ocf" provider="heartbeat" type="IPaddr2"/>',
            r"a resource vip \(ocf:heartbeat:IPaddr2\) that hafailover did not make",
        ),
        ('<group id="vip"><primitive id="q" class="ocf" provider="x" type="y"/></group>', "has a group named vip"),
        (
            '<group id="g"><primitive id="db" class="ocf" provider="hafailover" type="mariadb"/></group>',
            "db is inside g in the cluster, and the topology makes it part of db-clone",
        ),
        (
            '<clone id="db-clone"><primitive id="other" class="ocf" provider="hafailover" type="mariadb"/></clone>',
            "db-clone in the cluster does not hold db as the topology makes it",
        ),
    ],
)
def test_what_is_in_the_way_is_refused(resource, said):
    with pytest.raises(RefusedError, match=said):
        merged(add(live(), "resources", resource))


def test_an_agent_of_our_own_may_be_replaced(applied_once):
    find(applied_once, "primitive[@id='vip']").set("provider", "heartbeat")
    assert "change resource vip: ocf:heartbeat:vip → ocf:hafailover:vip" in told(merged(applied_once))


def test_what_an_operator_set_about_a_resource_outlives_its_agent(applied_once):
    vip = find(applied_once, "primitive[@id='vip']")
    vip.set("provider", "heartbeat")
    meta = '<nvpair id="t1" name="target-role" value="Stopped"/><nvpair id="t2" name="is-managed" value="false"/>'
    vip.append(etree.fromstring(f'<meta_attributes id="his">{meta}</meta_attributes>'))
    vip.append(etree.fromstring('<utilization id="hu"><nvpair id="hu1" name="cpu" value="2"/></utilization>'))
    etree.SubElement(vip.find("instance_attributes"), "nvpair", id="h1", name="arp_count", value="9")
    etree.SubElement(vip.find("operations"), "op", id="vip-deep", name="monitor", interval="99s")
    result = merged(applied_once)
    new = find(result.tree, "primitive[@id='vip']")
    kept = {pair.get("name") for pair in new.iterfind("meta_attributes/nvpair")}
    assert {"target-role", "is-managed"} <= kept and new.find("utilization/nvpair[@name='cpu']") is not None
    assert told(result) == [
        "change resource vip: ocf:heartbeat:vip → ocf:hafailover:vip",
        "remove parameter arp_count of vip: was 9, for the old agent",
        "remove operation vip-deep of vip: it was the old agent's",
    ]
    for piece in ("instance_attributes", "operations"):
        fresh = find(merged(live()).tree, "primitive[@id='vip']").find(piece)
        assert etree.tostring(new.find(piece), method="c14n") == etree.tostring(fresh, method="c14n")
    assert told(merged(result.tree)) == []


def test_a_resource_that_stood_alone_becomes_a_clone_with_all_it_has():
    start = add(
        live(),
        "resources",
        '<primitive id="db" class="ocf" provider="hafailover" type="mariadb"><utilization id="u"><nvpair id="u1" name="cpu" value="2"/>'
        "</utilization></primitive>",
    )
    after = merged(start).tree
    assert find(after, "clone[@id='db-clone']/primitive[@id='db']/utilization/nvpair").get("value") == "2"
    assert len(list(after.iter("primitive"))) == 2


def test_what_somebody_put_into_our_clone_is_not_removed_with_it(applied_once):
    clone = find(applied_once, "clone[@id='db-clone']")
    group = etree.SubElement(clone, "group", id="g")
    group.append(clone.find("primitive"))
    etree.SubElement(group, "primitive", id="his")
    with pytest.raises(RefusedError, match="the topology no longer has db-clone, but somebody has put g, his into it"):
        merged(applied_once, (", follows: db.primary", ""), ("  db: {type: mariadb}", "  {}"))


def test_members_of_a_group_stand_in_our_order():
    def group(*members):
        inner = "".join(f'<primitive id="{name}" class="ocf" provider="x" type="y"/>' for name in members)
        return add(live(), "resources", f'<group id="g">{inner}</group>')

    result = merge(group("c", "his", "a"), group("a", "b", "c"))
    order = [one.get("id") for one in find(result.tree, "group[@id='g']")]
    assert [name for name in order if name != "his"] == ["a", "b", "c"]
    assert order.index("his") == 1
    assert any(change.what == "order of the group g" for change in result.changes)


# Any two topologies: from one to the other and back is as if the first had never been left.
_pieces = st.fixed_dictionaries(
    {
        "db": st.sampled_from(["mariadb", "mariadb, port: 3307", "mariadb, stall: 1s, datadir: /d, socket: /s"]),
        "vip": st.sampled_from(
            ["10.77.0.100/24, follows: db.primary", "10.77.0.101/24", "10.77.0.99/24, nic: e, follows: db"]
        ),
        "name": st.sampled_from(["vip", "address"]),
        "fence": st.sampled_from(["", "fence: {agent: fence_x, a: 1},", "fence: {agent: fence_y, b: 2, delay: 3s},"]),
    }
)


def variant(pieces):
    return [
        ("mariadb}", pieces["db"] + "}"),
        ("10.77.0.100/24, follows: db.primary", pieces["vip"]),
        ("  vip:", f"  {pieces['name']}:"),
        ("id: 1,", "id: 1, " + pieces["fence"]),
    ]


@given(st.lists(_pieces, min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_any_way_leads_to_the_same_configuration(steps):
    state = with_foreign(live())
    for step in steps:
        state = merged(state, *variant(step)).tree
    direct = merged(with_foreign(live()), *variant(steps[-1])).tree
    assert told(merged(state, *variant(steps[-1]))) == []

    def contents(root):
        kinds = root.iter("nvpair", "op", "rsc_order", "rsc_location", "rsc_colocation")
        # A ban ends with its resource, and does not come back with it.
        return sorted(etree.tostring(one, method="c14n") for one in kinds if one.get("id") != "cli-ban-vip-on-db1")

    assert contents(state) == contents(direct)
