"""The agent framework, by an agent that exists only here."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hafailover.agents import journal, ocf, ocf_xml
from hafailover.agents.ocf import Agent, Context, OcfError
from lxml import etree

META = "OCF_RESKEY_CRM_meta_"
RECURRING = {META + "interval": "10000"}


@pytest.fixture(autouse=True)
def no_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "NATIVE", "/nonexistent")
    monkeypatch.setattr(journal, "SYSLOG", "/nonexistent")


class Toy:
    """An agent whose handlers keep the context they were given, and do what the test says."""

    def __init__(self) -> None:
        self.agent = Agent("toy", shortdesc="A <toy> & more", longdesc='It is "described" in <b>words</b>\n')
        self.agent.parameter("ip", required=True, unique=True, shortdesc="Address", longdesc="Where & what")
        self.agent.parameter(
            "port",
            type="integer",
            default=3306,
            check=lambda value: None if value > 0 else "not positive",
            shortdesc="Port",
            longdesc="A port",
        )
        self.agent.parameter("fast", type="boolean", default=True, shortdesc="Fast", longdesc="Whether to be fast")
        self.agent.parameter("stall", type="time", default="2s", shortdesc="Stall", longdesc="How long")
        self.agent.parameter("name", shortdesc="Name", longdesc="Optional")
        self.seen: list[Context] = []
        self.outcome: int | Exception = ocf.SUCCESS
        for name in ("start", "stop", "notify", "demote"):
            self.agent.action(name, timeout="30s")(self.handle)
        decorated = self.agent.action("monitor", timeout="20s", interval="10s", role="Unpromoted")(self.handle)
        self.agent.action("monitor", timeout="40s", interval="9s", role="Promoted", depth=1)(decorated)

    def handle(self, ctx: Context) -> int:
        self.seen.append(ctx)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def run(self, action: str, **environ: str) -> int:
        return self.agent.run([action], {"OCF_RESKEY_ip": "192.0.2.1", **environ})

    def context(self, action: str = "start", **environ: str) -> Context:
        assert self.run(action, **environ) == ocf.SUCCESS
        return self.seen[-1]


@pytest.fixture
def toy() -> Toy:
    return Toy()


# -- parameters -------------------------------------------------------------------------------------------------------


def test_parameters_are_typed_and_have_defaults(toy: Toy) -> None:
    assert toy.context().params == {"ip": "192.0.2.1", "port": 3306, "fast": True, "stall": 2.0, "name": None}
    given = {"port": "3307", "fast": "No", "stall": "1500ms", "name": " x "}
    params = toy.context(**{f"OCF_RESKEY_{name}": value for name, value in given.items()}).params
    assert params == {"ip": "192.0.2.1", "port": 3307, "fast": False, "stall": 1.5, "name": "x"}


@pytest.mark.parametrize(
    ("text", "value"),
    [("30", 30), ("30s", 30), ("500ms", 0.5), ("2m", 120), ("1h", 3600), ("1.5 s", 1.5), ("2min", 120)],
)
def test_time_is_seconds(toy: Toy, text: str, value: float) -> None:
    assert toy.context(OCF_RESKEY_stall=text).params["stall"] == value


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("port", "http", "'http' is not a whole number"),
        ("port", "-1", "'-1' is not positive"),
        ("fast", "maybe", "'maybe' is not a boolean"),
        ("stall", "2 weeks", "'2 weeks' is not a time"),
        ("stall", "s", "not a time"),
        ("stall", "-1s", "not a time"),
        ("ip", "", "parameter ip is required: Address"),
    ],
)
def test_bad_parameter(toy: Toy, capsys: pytest.CaptureFixture[str], name: str, text: str, complaint: str) -> None:
    bad = {f"OCF_RESKEY_{name}": text}
    for action in ("start", "validate-all", "demote"):
        assert toy.run(action, **bad) == ocf.ERR_CONFIGURED
        (reason,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ocf-exit-reason:")]
        assert name in reason
        assert complaint in reason
    assert toy.run("monitor", **bad, **RECURRING) == ocf.ERR_CONFIGURED
    assert toy.run("monitor", **bad) == ocf.NOT_RUNNING
    assert toy.seen == []
    assert toy.run("stop", **bad) == ocf.SUCCESS


def test_stop_goes_on_with_a_default_for_a_bad_optional_parameter(toy: Toy) -> None:
    """What runs must be stopped, whatever has become of its configuration."""
    assert toy.run("stop", OCF_RESKEY_port="http") == ocf.SUCCESS
    assert toy.seen[0].params["port"] == 3306
    assert toy.run("stop", OCF_RESKEY_ip="") == ocf.SUCCESS
    assert len(toy.seen) == 1, "without a required parameter there is nothing that could be running"


def test_several_bad_parameters_are_all_named(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    toy.run("start", OCF_RESKEY_port="x", OCF_RESKEY_fast="perhaps")
    error = capsys.readouterr().err
    assert "port" in error
    assert "fast" in error


# -- outcomes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rc", [*range(10), 190, 191])
def test_outcome_is_what_the_handler_says(toy: Toy, capsys: pytest.CaptureFixture[str], rc: int) -> None:
    toy.outcome = rc
    assert toy.run("monitor", **RECURRING) == rc
    toy.outcome = OcfError(rc, "it is\n so")
    assert toy.run("monitor", **RECURRING) == rc
    assert capsys.readouterr().err == "ocf-exit-reason:it is so\n"


@pytest.mark.parametrize("rc", [ocf.ERR_INSTALLED, ocf.ERR_CONFIGURED])
def test_what_is_not_installed_is_not_running(toy: Toy, rc: int) -> None:
    toy.outcome = OcfError(rc, "no such thing here")
    assert toy.run("start") == rc
    assert toy.run("validate-all") == ocf.SUCCESS
    assert toy.run("monitor", **RECURRING) == rc
    assert toy.run("monitor", **{META + "interval": "0"}) == ocf.NOT_RUNNING
    assert toy.run("stop") == ocf.SUCCESS


def test_other_errors_of_stop_and_probe_are_errors(toy: Toy) -> None:
    toy.outcome = OcfError(ocf.ERR_GENERIC, "it does not go")
    assert toy.run("stop") == ocf.ERR_GENERIC
    assert toy.run("monitor") == ocf.ERR_GENERIC


def test_missing_program(toy: Toy) -> None:
    with pytest.raises(OcfError, match="no-such-program is not installed on this node") as caught:
        toy.context().run(["no-such-program"])
    assert caught.value.rc == ocf.ERR_INSTALLED


def test_program_that_cannot_be_executed(toy: Toy, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/no/such/interpreter\n")
    program.chmod(0o755)
    with pytest.raises(OcfError, match=f"cannot execute {program}") as caught:
        toy.context().run([str(program)])
    assert caught.value.rc == ocf.ERR_INSTALLED


def test_unexpected_exception_is_one_sentence(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    toy.outcome = KeyError("surprise")
    assert toy.run("start") == ocf.ERR_GENERIC
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == ("ocf-exit-reason:start failed unexpectedly: KeyError: 'surprise' (details are in the journal)")


def test_exit_reason_prefix_can_be_changed(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    toy.outcome = OcfError(1, "x")
    toy.run("start", OCF_EXIT_REASON_PREFIX="why:")
    assert capsys.readouterr().err == "why:x\n"


# -- dispatch ---------------------------------------------------------------------------------------------------------


def test_action_is_the_argument_and_nothing_else(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    assert toy.run("fly", __OCF_ACTION="start") == ocf.ERR_UNIMPLEMENTED
    assert "toy has no action fly" in capsys.readouterr().err
    assert toy.agent.run([], {}) == ocf.ERR_ARGS
    assert toy.agent.run(["start", "now"], {}) == ocf.ERR_ARGS
    assert toy.seen == []


@pytest.mark.parametrize("action", ["usage", "help", "--help"])
def test_usage_names_actions_and_parameters(toy: Toy, capsys: pytest.CaptureFixture[str], action: str) -> None:
    assert toy.run(action) == ocf.SUCCESS
    text = capsys.readouterr().out
    for word in ("demote", "monitor", "validate-all", "meta-data", "OCF_RESKEY_port"):
        assert word in text


def test_status_is_monitor(toy: Toy) -> None:
    toy.outcome = ocf.NOT_RUNNING
    assert toy.run("status") == ocf.NOT_RUNNING


def test_validate_all_may_have_a_handler(toy: Toy) -> None:
    @toy.agent.action("validate-all", timeout="5s")
    def validate(ctx: Context) -> int:
        raise OcfError(ocf.ERR_INSTALLED, "missing")

    assert toy.run("validate-all") == ocf.ERR_INSTALLED


# -- context ----------------------------------------------------------------------------------------------------------


def test_place_in_the_cluster(toy: Toy) -> None:
    environ = {"OCF_RESOURCE_INSTANCE": "db:1", META + "on_node": "db1", META + "role": "Master", **RECURRING}
    ctx = toy.context("monitor", **environ, OCF_CHECK_LEVEL="10")
    assert (ctx.instance, ctx.node, ctx.role, ctx.interval, ctx.check_level) == ("db", "db1", "Promoted", 10.0, 10)
    assert not ctx.is_probe
    assert toy.context("monitor").is_probe
    assert toy.context("monitor", **{META + "interval": "0"}).is_probe
    assert not toy.context("start").is_probe


def test_node_is_asked_for_when_the_environment_has_none(toy: Toy, tmp_path: Path) -> None:
    crm_node = tmp_path / "crm_node"
    crm_node.write_text('#!/bin/sh\n[ "$1" = -n ] && echo db7\n')
    crm_node.chmod(0o755)
    assert toy.context(PATH=f"{tmp_path}:/bin").node == "db7"


def test_notification(toy: Toy) -> None:
    given = {"type": "post", "operation": "promote", "promoted_uname": "db1", "unpromoted_uname": "db2 db3"}
    environ = {META + "notify_" + name: value for name, value in given.items()}
    notify = toy.context("notify", **environ, **{META + "notify_start_uname": " "}).notify
    assert (notify.type, notify.operation) == ("post", "promote")
    assert (notify.promoted, notify.unpromoted, notify.start, notify.stop) == (("db1",), ("db2", "db3"), (), ())


def test_notification_of_an_older_pacemaker(toy: Toy) -> None:
    environ = {META + "notify_master_uname": "db1", META + "notify_slave_uname": "db2 "}
    notify = toy.context("notify", **environ).notify
    assert (notify.promoted, notify.unpromoted) == (("db1",), ("db2",))


def test_deadline_is_pacemakers_timeout_or_the_advertised_one(toy: Toy) -> None:
    deadline = toy.context(**{META + "timeout": "8000"}).deadline
    assert 7.9 < deadline.remaining() <= 8
    assert deadline.bound(1) == 1
    assert 7.4 < deadline.bound(100) <= 7.6, "there is time left to give a reason"
    assert not deadline.expired
    assert 29.9 < toy.context().deadline.remaining() <= 30
    assert 39.9 < toy.context("monitor").deadline.remaining() <= 40
    assert toy.context(**{META + "timeout": "100"}).deadline.expired
    assert toy.context(**{META + "timeout": "100"}).deadline.bound(5) == 0


# -- the journal ------------------------------------------------------------------------------------------------------


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "socket"))
        sock.settimeout(2)
        monkeypatch.setattr(journal, "NATIVE", str(tmp_path / "socket"))
        yield sock


def decode(data: bytes) -> dict[str, str]:
    """A record in the native protocol, decoded by the letter of its description."""
    fields = {}
    while data:
        line, _, data = data.partition(b"\n")
        key, equals, value = line.partition(b"=")
        if not equals:
            size = int.from_bytes(data[:8], "little")
            value, data = data[8 : 8 + size], data[9 + size :]
        fields[key.decode()] = value.decode()
    return fields


def test_event(toy: Toy, records: socket.socket) -> None:
    ctx = toy.context(OCF_RESOURCE_INSTANCE="ip:0")
    ctx.event("toy.up", "two\nlines", level="warning", address="192.0.2.1", dad_ms=4.5)
    record = decode(records.recv(65536))
    assert record.pop("SYSLOG_PID").isdecimal()
    assert record == {
        "MESSAGE": "two\nlines",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "hafailover-toy",
        "SYSLOG_FACILITY": "3",
        "HAFAILOVER_EVENT": "toy.up",
        "HAFAILOVER_RESOURCE": "ip",
        "HAFAILOVER_ACTION": "start",
        "HAFAILOVER_ADDRESS": "192.0.2.1",
        "HAFAILOVER_DAD_MS": "4.5",
    }


def test_log_levels(toy: Toy, records: socket.socket) -> None:
    ctx = toy.context()
    for level, priority in (("critical", 2), ("error", 3), ("warning", 4), ("notice", 5), ("info", 6)):
        ctx.log("debug", "not without HA_debug")
        ctx.log(level, "text")
        assert decode(records.recv(65536))["PRIORITY"] == str(priority)
    toy.context(HA_debug="1").log("debug", "text")
    assert decode(records.recv(65536))["PRIORITY"] == "7"


def test_reason_and_traceback_reach_the_journal(
    toy: Toy, records: socket.socket, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.outcome = ValueError("surprise")
    toy.run("start")
    assert "ValueError: surprise" in decode(records.recv(65536))["MESSAGE"]
    assert "Traceback" in decode(records.recv(65536))["MESSAGE"]
    assert "Traceback" not in capsys.readouterr().err


def test_record_that_is_too_large_is_cut(records: socket.socket) -> None:
    assert journal.send("info", "x", "a" * 1_000_000)
    assert len(decode(records.recv(1_000_000))["MESSAGE"]) == 32768


def test_syslog_where_there_is_no_journal(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "log"))
        monkeypatch.setattr(journal, "SYSLOG", str(tmp_path / "log"))
        toy.context().event("toy.up", "it is\nup")
        line = sock.recv(65536).decode()
    assert line.startswith("<29>hafailover-toy[")
    assert "it is up [hafailover_resource=default hafailover_event=toy.up" in line
    assert capsys.readouterr().err == ""


def test_standard_error_where_there_is_neither(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    toy.context().log("info", "hello")
    assert capsys.readouterr().err == "hafailover-toy: info: hello\n"


# -- meta-data --------------------------------------------------------------------------------------------------------


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
