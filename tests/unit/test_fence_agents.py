"""What fence agents say of themselves: programs that are run, bounded in time, and what is wrong with a device by what they say."""

from __future__ import annotations

import time

import pytest
from hafailover.crm import fence_agents
from hypothesis import given, settings
from hypothesis import strategies as st

METADATA = """<?xml version="1.0" ?>
<resource-agent name="fence_toy" shortdesc="A toy">
<parameters>
 <parameter name="action" required="1"><content type="string" default="reboot"/></parameter>
 <parameter name="ip" required="1" obsoletes="ipaddr"><content type="string"/></parameter>
 <parameter name="ipaddr" required="1" deprecated="1"><content type="string"/></parameter>
 <parameter name="username" required="0" obsoletes="login"><content type="string"/></parameter>
 <parameter name="login" required="0" deprecated="1"><content type="string"/></parameter>
 <parameter name="password_script" required="0"><content type="string"/></parameter>
 <parameter name="plug" required="1" obsoletes="port"><content type="string"/></parameter>
 <parameter name="port" required="1" deprecated="1"><content type="string"/></parameter>
 <parameter name="lanplus" required="0"><content type="boolean"/></parameter>
 <parameter name="retry_on" required="0"><content type="integer" default="1"/></parameter>
 <parameter name="power_wait" required="0"><content type="second" default="0"/></parameter>
 <parameter name="method" required="0"><content type="select" default="onoff">
  <option value="onoff"/><option value="cycle"/></content></parameter>
</parameters>
</resource-agent>
"""
RIGHT = {
    "ip": "192.0.2.1",
    "username": "u",
    "lanplus": "1",
    "pcmk_host_list": "a",
    "pcmk_reboot_timeout": "90s",
    "method": "cycle",
}


@pytest.fixture
def agent(tmp_path):
    """Installs a program as the fence agent fence_toy; what is known of it then."""

    def install(body):
        program = tmp_path / "fence_toy"
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
        return fence_agents.metadata("fence_toy", tmp_path)

    return install


@pytest.fixture
def known(agent):
    return agent(f"[ \"$*\" = '-o metadata' ] || exit 1\necho 'warning: of an interpreter'\ncat <<'E'\n{METADATA}E")


def said(known, **changes):
    params = {**RIGHT, **changes}
    found = fence_agents.problems(known, {name: value for name, value in params.items() if value is not None})
    return [(one.kind, one.parameter, one.text, one.instead) for one in found]


def test_what_an_agent_says(known):
    assert known.parameters["method"].choices == ("onoff", "cycle")
    assert known.parameters["ip"].required
    assert (known.parameters["login"].deprecated, known.parameters["login"].replaced_by) == (True, "username")
    assert said(known) == []


UNKNOWN = "fence_toy has no such parameter and would ignore it"
STRANGE = "Pacemaker has no such parameter and would ignore it"
WANTS = "is no value that fence_toy takes: it wants"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"usernam": "x"}, [("unknown", "usernam", f"{UNKNOWN}; did you mean username?", "username")]),
        ({"pcmk_hostlist": "x"}, [("unknown", "pcmk_hostlist", f"{STRANGE}; did you mean pcmk_host_list?", "pcmk_host_list")]),
        ({"zzz": "x"}, [("unknown", "zzz", UNKNOWN, "")]),
        ({"ip": None}, [("missing", "ip", "fence_toy cannot do without it", "ip")]),
        ({"ip": None, "ipaddr": "x"}, [("deprecated", "ipaddr", "is deprecated; fence_toy calls it ip now", "ip")]),
        ({"lanplus": "maybe"}, [("value", "lanplus", f"{WANTS} 1 or 0", "")]),
        ({"retry_on": "x"}, [("value", "retry_on", f"{WANTS} a number", "")]),
        ({"power_wait": "soon"}, [("value", "power_wait", f"{WANTS} a number of seconds", "")]),
        ({"power_wait": "5s"}, []),
        ({"method": "cycl"}, [("value", "method", f"{WANTS} one of onoff, cycle; did you mean cycle?", "")]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_device(known, changes, expected):
    assert said(known, **changes) == expected


def test_a_port_that_pacemaker_fills_in_is_not_missing(agent):
    changed = METADATA.replace('name="ip" required', 'name="slot" required')
    known = agent(f"cat <<'E'\n{changed}E")
    assert said(known, ip=None, username="u", ipaddr=None) == [
        ("missing", "slot", "fence_toy cannot do without it", "slot")
    ]
    assert said(known, ip=None, pcmk_host_argument="slot") == []


@pytest.mark.parametrize(
    "body", ["exit 1", "echo no xml", "echo '<resource-agent'", "echo '<html/>'", "exec head -c 9000000 /dev/zero"]
)
def test_an_agent_that_tells_nothing_is_not_known(agent, body):
    assert agent(body) is None


def test_an_agent_that_hangs_is_given_up(agent, monkeypatch):
    monkeypatch.setattr(fence_agents, "_TIMEOUT", 0.3)
    begin = time.monotonic()
    assert agent("sleep 60") is None
    assert time.monotonic() - begin < 30


@pytest.mark.parametrize(
    "name", ["../fence_toy", "fence_toy;id", "sh", "", "fence_", "fence_toy ", "fence_" + "x" * 300]
)
def test_only_fence_agents_are_run(agent, tmp_path, name):
    assert agent(f"cat <<'E'\n{METADATA}E") is not None
    assert fence_agents.metadata(name, tmp_path) is None


def test_an_agent_that_is_not_installed():
    assert fence_agents.metadata("fence_not_there") is None


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.text(max_size=20), st.text(max_size=20), max_size=5))
def test_any_parameters_get_an_answer(params):
    known = fence_agents.parse("fence_toy", METADATA)
    for one in fence_agents.problems(known, params):
        assert one.kind in ("unknown", "missing", "deprecated", "value")
