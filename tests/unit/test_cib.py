import pytest
from hafailover.crm import generate, topology
from hafailover.crm.errors import UsageError
from hafailover.crm.formats import cib, crmsh
from hafailover.crm.model import Clone, Constraint, Group, Primitive
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from topologies import EXAMPLES

# One of everything that our own configurations do not have.
FOREIGN = """\
<cib crm_feature_set="3.16.1" validate-with="pacemaker-3.9" epoch="7" num_updates="3" admin_epoch="1" have-quorum="1">
  <configuration>
    <crm_config>
      <cluster_property_set id="cib-bootstrap-options">
        <nvpair id="o1" name="maintenance-mode" value="true"/>
      </cluster_property_set>
      <cluster_property_set id="at-night" score="10">
        <rule id="night" boolean-op="and"><date_expression id="d" operation="in_range" start="2030-01-01"/></rule>
        <nvpair id="o2" name="symmetric-cluster" value="false"/>
      </cluster_property_set>
    </crm_config>
    <nodes>
      <node id="1" uname="a" type="member">
        <instance_attributes id="nodes-1"><nvpair id="n1" name="standby" value="on"/></instance_attributes>
        <utilization id="u1"><nvpair id="n2" name="cpu" value="4"/></utilization>
      </node>
      <node id="2" uname="b"/>
    </nodes>
    <resources>
      <!-- somebody's note -->
      <template id="t" class="ocf" provider="heartbeat" type="Dummy"/>
      <primitive id="p" template="t" description="one"><meta_attributes id="m" id-ref="other"/></primitive>
      <bundle id="b1"><podman image="x"/><primitive id="inside" class="ocf" provider="heartbeat" type="Dummy"/></bundle>
      <group id="g">
        <primitive id="g1" class="systemd" type="x">
          <operations id="ops">
            <op id="g1-monitor" name="monitor" interval="10s" on-fail="block">
              <meta_attributes id="om"><nvpair id="omn" name="x" value="y"/></meta_attributes>
            </op>
          </operations>
        </primitive>
        <meta_attributes id="gm"><nvpair id="gmn" name="priority" value="5"/></meta_attributes>
      </group>
      <master id="old"><primitive id="o" class="ocf" provider="x" type="y"/></master>
    </resources>
    <constraints>
      <rsc_location id="cli-ban-p" rsc="p" role="Started" node="a" score="-INFINITY"/>
      <rsc_location id="ruled" rsc="p">
        <rule id="r" score="INFINITY"><expression id="e" attribute="#uname" operation="eq" value="a"/></rule>
      </rsc_location>
      <rsc_order id="sets"><resource_set id="s1"><resource_ref id="p"/><resource_ref id="g"/></resource_set></rsc_order>
      <rsc_ticket id="tick" rsc="p" ticket="T" loss-policy="stop"/>
    </constraints>
    <fencing-topology><fencing-level id="fl" target="a" index="1" devices="x,y"/></fencing-topology>
    <op_defaults><meta_attributes id="od"><nvpair id="odn" name="timeout" value="30s"/></meta_attributes></op_defaults>
    <tags><tag id="tag"><obj_ref id="p"/></tag></tags>
    <alerts><alert id="al" path="/x"/></alerts>
    <acls><acl_role id="role"><acl_permission id="perm" kind="read" xpath="/cib"/></acl_role></acls>
  </configuration>
  <status/>
</cib>
"""


def canonical(root):
    return etree.tostring(root, method="c14n", with_comments=True)


def round_trip(text):
    root = cib.parse(text, "test")
    return canonical(root), canonical(cib.tree(cib.read(root)))


def test_a_cib_made_by_others_comes_back_to_the_letter():
    before, after = round_trip(FOREIGN)
    assert after == before


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_what_was_generated_is_read_as_it_was(path):
    configuration = generate.configuration(topology.load(path))
    read = cib.read(cib.parse(cib.text(configuration), "test"))
    assert (read.resources, read.constraints, read.properties, read.nodes) == (
        configuration.resources,
        configuration.constraints,
        configuration.properties,
        configuration.nodes,
    )
    assert cib.text(read) == cib.text(configuration)


def test_what_is_known_can_be_asked_for():
    read = cib.read(cib.parse(FOREIGN, "test"))
    assert [type(found) for found in read.resources].count(Primitive) == 2
    group = next(found for found in read.resources if isinstance(found, Group))
    assert group.members[0].agent_name == "systemd:x"
    assert group.members[0].operations[0].get("on-fail") == "block"
    assert group.meta("priority") == "5"
    old = next(found for found in read.resources if isinstance(found, Clone))
    assert old.legacy and old.promotable
    assert old.member.id == "o"
    assert read.property("maintenance-mode") == "true"
    # Only at night.
    assert read.property("symmetric-cluster") is None
    assert [found.id for found in read.constraints if isinstance(found, Constraint)] == [
        "cli-ban-p",
        "ruled",
        "sets",
        "tick",
    ]
    assert [found.id for found in read.primitives()] == ["t", "p", "g1", "o"]


def test_crmsh_text_keeps_what_has_no_short_form_and_lists_what_has_none():
    configuration = cib.read(cib.parse(FOREIGN, "test"))
    written = crmsh.write(configuration)
    for piece in ("<rsc_ticket", "<resource_set", "<rule", "<acl_role", "<fencing-level", "<alert "):
        assert piece in written.text
    said = "; ".join(written.unsaid)
    assert "<bundle" not in written.text and "knows only bundles of docker" in said
    assert "somebody's note" in said
    assert 'id="at-night"' not in written.text and "drops the score" in said
    with pytest.raises(
        UsageError, match=r"crmsh cannot be told everything; write it with --format cib: .*somebody's note"
    ):
        crmsh.text(configuration)


_TAGS = (
    *("primitive", "group", "clone", "master", "bundle", "template", "node", "tag", "something"),
    *("meta_attributes", "instance_attributes", "utilization", "operations", "op", "nvpair", "rule"),
    *("rsc_location", "rsc_order", "rsc_colocation", "resource_set", "resource_ref"),
)
_SECTIONS = ("crm_config", "nodes", "resources", "constraints", "rsc_defaults", "op_defaults", "acls", "tags", "new")
_attributes = st.dictionaries(
    st.sampled_from(["id", "name", "value", "class", "provider", "type", "interval", "uname", "x"]),
    st.text(st.sampled_from("ab0 <>&\"'é中"), max_size=4),
    max_size=5,
)
_elements = st.recursive(
    st.tuples(st.sampled_from(_TAGS), _attributes, st.just([])),
    lambda inner: st.tuples(st.sampled_from(_TAGS), _attributes, st.lists(inner, max_size=3)),
    max_leaves=6,
)


def build(parent, tag, attributes, children):
    element = etree.SubElement(parent, tag, attributes)
    for child in children:
        build(element, *child)


@given(
    st.lists(
        st.tuples(st.sampled_from(_SECTIONS), st.lists(_elements, max_size=2)), unique_by=lambda one: one[0], max_size=4
    )
)
@settings(max_examples=150, deadline=None)
def test_any_cib_comes_back_to_the_letter(sections):
    root = etree.Element("cib", {"epoch": "1"})
    top = etree.SubElement(root, "configuration")
    for name, children in sections:
        build(top, name, {}, children)
    etree.SubElement(root, "status")
    before, after = round_trip(etree.tostring(root))
    assert after == before
