"""The alerts that a topology makes, and what becomes of those of others."""

import pytest
from hafailover.crm import alerts_section, generate, validate
from hafailover.crm.alerts_section import Alert
from hafailover.crm.errors import RefusedError
from hafailover.crm.formats import cib
from hafailover.crm.merge import merge
from lxml import etree
from topologies import changed, parse

LIVE = """<cib epoch="1" num_updates="0" admin_epoch="0" validate-with="pacemaker-3.7"><configuration><crm_config/>
<nodes><node id="1" uname="db1"/><node id="2" uname="db2"/></nodes><resources/><constraints/>{}</configuration><status/></cib>"""
MAIL = '<alert id="mail" path="/usr/local/bin/mail"><recipient id="r" value="a@example.org"/></alert>'
KEEP = ("services:", "history: {keep: 77}\nservices:")


def merged(live, *replacements):
    return merge(live, cib.tree(generate.configuration(parse(changed(*replacements)))))


def live(alerts=""):
    return cib.parse(LIVE.format(alerts and f"<alerts>{alerts}</alerts>"), "live")


def found(result):
    return {alert.get("id"): alert for alert in result.tree.iterfind("configuration/alerts/alert")}


def test_the_recorder_comes_first_and_brings_the_limit():
    result = merged(live(), KEEP)
    (alert,) = found(result).values()
    assert alert.get("id") == alerts_section.RECORDER
    assert alert.find("instance_attributes/nvpair[@name='keep']").get("value") == "77"
    assert alert.find("select") is None  # Pacemaker's default is what it needs, and pcs cannot be told of another
    assert merged(result.tree, KEEP).changes == ()


def test_alerts_of_others_stay_and_a_changed_one_of_ours_is_mended():
    start = merged(live(MAIL), KEEP).tree
    recorder = start.find(f"configuration/alerts/alert[@id='{alerts_section.RECORDER}']")
    recorder.set("path", "/bin/false")
    result = merged(start, KEEP)
    assert [str(change) for change in result.changes] == [
        f"change alert {alerts_section.RECORDER}: {alerts_section.RECORDER_PATH}"
    ]
    assert etree.tostring(found(result)["mail"]).decode() == MAIL
    assert list(found(result)) == ["mail", alerts_section.RECORDER]


def test_an_alert_that_the_topology_gives_up_is_removed_alone(monkeypatch):
    more = Alert("more", "/usr/lib/hafailover/more", recipients=("a", "b&<"), timestamp_format="%s")
    both = (*alerts_section.alerts(parse(changed())), more)
    with monkeypatch.context() as patch:
        patch.setattr(alerts_section, "alerts", lambda topology: both)
        start = merged(live(MAIL))
        assert validate.validate(start.tree, "t.yml") is None
        assert [one.get("value") for one in found(start)["more"].iterfind("recipient")] == ["a", "b&<"]
    result = merged(start.tree)
    assert [str(change) for change in result.changes] == ["remove alert more"]
    assert list(found(result)) == ["mail", alerts_section.RECORDER]


def test_a_name_that_somebody_else_uses_is_refused():
    with pytest.raises(RefusedError, match=r"has an alert hafailover-history .* that hafailover did not make"):
        merged(live(f'<alert id="{alerts_section.RECORDER}" path="/mine"/>'))
