"""What the agent framework says of an agent: its meta-data, which is what was declared."""

from __future__ import annotations

from typing import Any

import pytest
from hafailover.agents import ocf, ocf_xml
from hafailover.agents.ocf import Context
from lxml import etree
from toy_agent import Toy

pytestmark = pytest.mark.usefixtures("no_journal")


def metadata(toy: Toy, capsys: pytest.CaptureFixture[str]) -> Any:
    assert toy.agent.run(["meta-data"], {}) == ocf.SUCCESS
    return etree.fromstring(capsys.readouterr().out.encode())


def test_metadata_says_what_was_declared(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    root = metadata(toy, capsys)
    assert root.getroottree().docinfo.system_url == "ra-api-1.dtd"
    assert root.findtext("version") == "1.1"
    assert root.findtext("shortdesc") == "A <toy> & more"
    assert root.findtext("longdesc").strip() == 'It is "described" in <b>words</b>'
    assert [dict(p.attrib) for p in root.iter("parameter")][:2] == [
        {"name": "ip", "required": "1", "unique": "1"},
        {"name": "port", "required": "0", "unique": "0"},
    ]
    assert [dict(c.attrib) for c in root.iter("content")] == [
        {"type": "string"},
        {"type": "integer", "default": "3306"},
        {"type": "boolean", "default": "true"},
        {"type": "string", "default": "2s"},
        {"type": "string"},
    ]
    assert [dict(a.attrib) for a in root.iter("action")] == [
        {"name": "start", "timeout": "30s"},
        {"name": "stop", "timeout": "30s"},
        {"name": "demote", "timeout": "30s"},
        {"name": "notify", "timeout": "30s"},
        {"name": "monitor", "timeout": "40s", "interval": "9s", "role": "Promoted", "depth": "1"},
        {"name": "monitor", "timeout": "20s", "interval": "10s", "role": "Unpromoted"},
        {"name": "meta-data", "timeout": "5s"},
        {"name": "validate-all", "timeout": "20s"},
    ]


def test_a_reloadable_parameter_is_said_and_needs_no_handler(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    assert toy.run("reload-agent") == ocf.ERR_UNIMPLEMENTED
    toy.agent.parameter("nodes", shortdesc="N", longdesc="n", reloadable=True)
    capsys.readouterr()
    root = metadata(toy, capsys)
    assert [p.get("name") for p in root.iter("parameter") if p.get("reloadable") == "1"] == ["nodes"]
    assert [a.get("timeout") for a in root.iter("action") if a.get("name") == "reload-agent"] == ["20s"]
    assert toy.run("reload-agent") == ocf.SUCCESS
    assert "reload-agent" in toy.agent.usage()
    # A bad value is found when it is reloaded.
    assert toy.run("reload-agent", OCF_RESKEY_ip="") == ocf.ERR_CONFIGURED
    calls = []

    @toy.agent.action("reload-agent", timeout="7s")
    def reload_agent(ctx: Context) -> int:
        calls.append(ctx.params["nodes"])
        return ocf.SUCCESS

    assert toy.run("reload-agent", OCF_RESKEY_nodes="a b") == ocf.SUCCESS
    assert calls == ["a b"]
    assert [a.timeout for a in ocf_xml.actions(toy.agent) if a.name == "reload-agent"] == ["7s"]


def test_every_advertised_action_exists(toy: Toy) -> None:
    for action in ocf_xml.actions(toy.agent):
        assert toy.run(action.name) == ocf.SUCCESS


@pytest.mark.parametrize("declaration", [{"type": "float"}, {"type": "Integer"}])
def test_unknown_type_is_a_mistake_of_the_agent(toy: Toy, declaration: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="unknown type"):
        toy.agent.parameter("x", shortdesc="", longdesc="", **declaration)
