"""The agent framework, by an agent that exists only here: parameters, outcomes, which handler runs, and what it is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hafailover.agents import ocf
from hafailover.agents.ocf import Context, OcfError
from toy_agent import Toy

pytestmark = pytest.mark.usefixtures("no_journal")
META = "OCF_RESKEY_CRM_meta_"
RECURRING = {META + "interval": "10000"}


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
