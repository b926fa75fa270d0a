"""An address that drains: which connections count, and the rule that is there only meanwhile."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hafailover import agents
from hafailover.agents.ocf import ERR_INSTALLED, OcfError, Result
from hafailover.agents.vip import agent, drain
from hafailover.agents.vip.place import Wanted
from small_servers import answering, silent

LOOPBACK = bytes([127, 0, 0, 1])


@pytest.fixture(autouse=True)
def run_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    for module in (drain, agents):
        monkeypatch.setattr(module, "RUN_DIR", str(tmp_path))
    yield tmp_path


class Run:
    """Instead of programs: what they were asked for."""

    def __init__(self, result: Result | OcfError) -> None:
        self.result = result
        self.asked: list[str] = []

    def __call__(
        self, argv: list[str], timeout: float | None = None, input: str | None = None, env: Any = None
    ) -> Result:
        self.asked.append(input if input else " ".join(argv))
        if isinstance(self.result, OcfError):
            raise self.result
        return self.result


def context(monkeypatch: pytest.MonkeyPatch, run: Run, **params: str) -> Any:
    environ = {f"OCF_RESKEY_{name}": value for name, value in {"ip": "192.0.2.77", **params}.items()}
    ctx = agent.context("stop", {**environ, "OCF_RESOURCE_INSTANCE": "v"}, 60)
    monkeypatch.setattr(ctx, "run", run)
    return ctx


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_an_open_connection_counts_on_either_kind_of_socket(family: socket.AddressFamily) -> None:
    dual = family == socket.AF_INET6
    before = drain.open_connections(bytes([127, 9, 9, 9]))
    with (
        socket.create_server(("::" if dual else "127.9.9.9", 0), family=family, dualstack_ipv6=dual) as listener,
        socket.create_connection(("127.9.9.9", listener.getsockname()[1])) as client,
    ):
        connection, _ = listener.accept()
        assert drain.open_connections(bytes([127, 9, 9, 9])) == before + 1
        connection.close()
        client.close()
    # Closed by us and by the client: everything was delivered.
    assert drain.open_connections(bytes([127, 9, 9, 9])) == before


def test_new_connections_are_dropped_until_the_others_have_ended(
    monkeypatch: pytest.MonkeyPatch, run_dir: Path
) -> None:
    run = Run(Result(0, "", ""))
    open_, flags = [2, 1, 0, 0], []
    monkeypatch.setattr(drain, "open_connections", lambda ip: open_.pop(0))
    ctx = context(monkeypatch, run, drain="60s", drain_reload="apache2.service")

    def take_away() -> list[str]:
        flags.append((run_dir / "v.draining").exists())
        return ["192.0.2.77/24 on eth0"]

    assert drain.drained(ctx, Wanted(ctx.params), take_away) == ["192.0.2.77/24 on eth0"]
    assert flags == [True]
    assert not (run_dir / "v.draining").exists()
    shut, reload, opened = run.asked
    assert "ip daddr 192.0.2.77 tcp flags & (fin|syn|rst|ack) == syn drop" in shut
    assert reload == "systemctl --no-block reload -- apache2.service"
    assert opened == "add table inet hafailover-v\ndelete table inet hafailover-v\n"


def test_the_rule_goes_when_the_address_cannot_be_taken_away(monkeypatch: pytest.MonkeyPatch, run_dir: Path) -> None:
    run = Run(Result(0, "", ""))
    monkeypatch.setattr(drain, "open_connections", lambda ip: 0)
    ctx = context(monkeypatch, run, drain="60s")

    def fail() -> list[str]:
        raise OcfError(1, "no")

    with pytest.raises(OcfError, match="no"):
        drain.drained(ctx, Wanted(ctx.params), fail)
    assert "delete table" in run.asked[-1]
    assert not (run_dir / "v.draining").exists()


def test_the_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "open_connections", lambda ip: 3)
    ctx = context(monkeypatch, Run(Result(0, "", "")), drain="100ms")
    assert drain.drained(ctx, Wanted(ctx.params), lambda: ["there"]) == ["there"]


@pytest.mark.parametrize("result", [OcfError(ERR_INSTALLED, "nft is not installed"), Result(1, "", "not permitted")])
def test_without_nft_the_address_goes_at_once(
    monkeypatch: pytest.MonkeyPatch, result: Result | OcfError, run_dir: Path
) -> None:
    ctx = context(monkeypatch, Run(result), drain="60s")
    assert drain.drained(ctx, Wanted(ctx.params), lambda: ["there"]) == ["there"]


def test_a_service_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drain, "_ANSWER", 0.2)
    monkeypatch.setattr(drain, "open_connections", lambda ip: 3)
    with silent() as port:
        run = Run(Result(0, "", ""))
        ctx = context(monkeypatch, run, drain="60s", drain_url=f"http://127.0.0.1:{port}/")
        (shut,) = drain.drained(ctx, Wanted(ctx.params), lambda: list(run.asked))
    assert "drop" in shut, "or who is reset would come back while the address is still there"
    with answering(lambda request: b"HTTP/1.1 204 No Content\r\n\r\n") as port:
        monkeypatch.setattr(drain, "open_connections", lambda ip: 0)
        ctx = context(monkeypatch, run, drain="60s", drain_url=f"http://127.0.0.1:{port}/")
        drain.drained(ctx, Wanted(ctx.params), list)
    assert any("drop" in asked for asked in run.asked)
