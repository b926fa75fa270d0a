"""What may and what may not be left in the CIB after a switchover."""

from __future__ import annotations

import pytest
from hafailover.crm.drill.changes import configuration_changes

BEFORE = """<cib epoch="5" num_updates="3" admin_epoch="0" validate-with="pacemaker-3.9" cib-last-written="Mon">
  <configuration>
    <crm_config><cluster_property_set id="cib-bootstrap-options">
      <nvpair id="o-1" name="stonith-enabled" value="true"/></cluster_property_set></crm_config>
    <nodes><node id="1" uname="db1"/></nodes>
    <resources><primitive id="vip" class="ocf" provider="hafailover" type="vip"/></resources>
    <constraints/>
  </configuration>
  <status><node_state id="1" uname="db1"/></status>
</cib>"""


def after(old: str, new: str) -> str:
    assert old in BEFORE
    return BEFORE.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('epoch="5"', 'epoch="9"'),
        ('num_updates="3" admin_epoch="0"', 'num_updates="0" admin_epoch="2"'),
        (
            "</crm_config>",
            '<cluster_property_set id="hafailover-db"><nvpair id="x" name="journal" value="1"/>'
            "</cluster_property_set></crm_config>",
        ),
        (
            '<node id="1" uname="db1"/>',
            '<node id="1" uname="db1"><instance_attributes id="nodes-1">'
            '<nvpair id="y" name="hafailover-db-note" value="1"/></instance_attributes></node>',
        ),
        ("<node_state", '<node_state crmd="online"'),
        ('<node id="1" uname="db1"/>', '<node id="1" uname="db1"><instance_attributes id="nodes-1"/></node>'),
        ("</cluster_property_set>", '<nvpair id="o-2" name="last-lrm-refresh" value="17"/></cluster_property_set>'),
    ],
)
def test_counters_status_and_our_own_attributes_may_change(old, new):
    assert configuration_changes(BEFORE, after(old, new)) == []


@pytest.mark.parametrize(
    ("old", "new", "left"),
    [
        (
            "<constraints/>",
            '<constraints><rsc_location id="cli-prefer-db" rsc="db-clone"/></constraints>',
            "/cib/configuration/constraints/rsc_location[cli-prefer-db] is new",
        ),
        (
            "<constraints/>",
            '<constraints><rsc_location id="hafailover-move" rsc="db-clone"/></constraints>',
            "rsc_location[hafailover-move] is new",
        ),
        (
            '<node id="1" uname="db1"/>',
            '<node id="1" uname="db1"><instance_attributes id="nodes-1">'
            '<nvpair id="y" name="standby" value="on"/></instance_attributes></node>',
            "nvpair[y] is new",
        ),
        ('name="stonith-enabled" value="true"', 'name="stonith-enabled" value="false"', "nvpair[o-1] changed from"),
        ('<primitive id="vip" class="ocf" provider="hafailover" type="vip"/>', "", "primitive[vip] is gone"),
    ],
)
def test_anything_else_left_behind_is_named(old, new, left):
    changes = configuration_changes(BEFORE, after(old, new))
    assert any(left in change for change in changes), changes
