"""memcached's agent: what its facts mean, the conversation with a cache, and the monitor with a made-up node."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hafailover.agents import memo, proc, units
from hafailover.agents.memcached import agent, decide, health, life, wire
from hafailover.agents.ocf import DEGRADED, ERR_GENERIC, ERR_INSTALLED, NOT_RUNNING, SUCCESS, OcfError, Result
from hafailover.agents.units import State
from test_ocf_agents import CHECKOUT, HEAVY, imported

UNIT = "memcached.service"
RUNS = State("loaded", "active", "running", 42, "success", 0)
AGAIN = State("loaded", "activating", "auto-restart", 0, "exit-code", 0)
FAILED = State("loaded", "failed", "failed", 0, "exit-code", 0)
ABSENT = State("not-found", "inactive", "dead", 0, "success", 0)
SETTINGS = {"maxconns": "1024", "udpport": "0", "inter": "192.0.2.1,127.0.0.1"}
SAID = (
    b"STAT pid 42\r\nSTAT version 1.6.18\r\nEND\r\nSTAT maxconns 1024\r\nSTAT udpport 0\r\nSTAT inter NULL\r\nEND\r\n"
)


# -- what facts mean -----------------------------------------------------------------------------------------------------------------


def test_one_silence_is_no_hang_and_two_are() -> None:
    assert decide.hung(1) is None
    assert decide.hung(2) == "it has not answered in 2 monitors"


def test_an_answer_counts_only_from_the_clusters_own_process() -> None:
    assert decide.foreign(42, 42) is None
    assert decide.foreign(42, 43) == "process 43 answers, which is not the cluster's memcached (42)"


@pytest.mark.parametrize(
    ("state", "first", "reason"),
    [
        (RUNS, 0, None),
        (RUNS, 42, None),
        (RUNS, 41, "it ended as soon as it was started"),
        (AGAIN, 0, "it ended as soon as it was started"),
        (FAILED, 42, "it ended (exit-code)"),
    ],
)
def test_a_start_fails_with_its_first_process(state: State, first: int, reason: str | None) -> None:
    assert decide.failed_start(state, first) == reason


def test_settings_that_endanger_others_or_itself_are_named() -> None:
    assert decide.misconfigured(SETTINGS, 1024) is None
    assert decide.misconfigured(SETTINGS, 0) is None, "unknown"
    assert "UDP on port 11211" in str(decide.misconfigured({**SETTINGS, "udpport": "11211"}, 1024))
    assert "takes 1024 connections and may have 1023 files open" in str(decide.misconfigured(SETTINGS, 1023))


def test_what_a_limit_of_files_needs_is_said() -> None:
    assert "LimitNOFILE" in decide.remedy("failed to set rlimit for open files. Try starting as root")
    assert decide.remedy("failed to listen on TCP port 11211: Address already in use") == ""


# -- the conversation ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def cache() -> Iterator[Any]:
    """Say what a listener is to answer; its port."""
    listeners: list[socket.socket] = []

    def answer(*pieces: bytes | None) -> int:
        """Send the pieces one after another; None: leave the connection open, otherwise it is closed at the end."""
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve() -> None:
            connection, _ = listener.accept()
            listeners.append(connection)
            connection.recv(100)  # a connection that is closed with something unread is reset
            for piece in pieces:
                if piece is None:
                    return
                connection.sendall(piece)
            connection.close()

        threading.Thread(target=serve, daemon=True).start()
        port: int = listener.getsockname()[1]
        return port

    yield answer
    for one in listeners:
        one.close()


def test_statistics_and_settings_are_read_however_they_are_cut(cache: Any) -> None:
    answer = wire.ask("127.0.0.1", cache(SAID[:30], SAID[30:50], SAID[50:], None), 5)
    assert (answer.pid, answer.version) == (42, "1.6.18")
    assert answer.settings == {"maxconns": "1024", "udpport": "0", "inter": "NULL"}


def test_one_that_turns_clients_away_is_alive(cache: Any) -> None:
    with pytest.raises(wire.Full):
        wire.ask("127.0.0.1", cache(b"ERROR Too many open connections\r\n"), 5)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ((None,), "no answer on 127.0.0.1 port"),
        ((b"",), "the connection is closed unanswered"),
        ((b"220 mail.example ESMTP\r\n",), "what answers is no memcached: '220 mail.example ESMTP'"),
        ((SAID[:20],), "what answers is no memcached: 'STAT pid 42"),
        ((b"x" * 70000, None), "what answers is no memcached: 'xxxx"),
    ],
)
def test_anything_else_is_no_answer(cache: Any, said: tuple[bytes | None, ...], reason: str) -> None:
    with pytest.raises(wire.Unanswered, match=reason.replace("(", r"\(")):
        wire.ask("127.0.0.1", cache(*said), 0.3)


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(wire.Unanswered, match=f"127.0.0.1 port {port}: Connection refused"):
        wire.ask("127.0.0.1", port, 1)


# -- the actions ---------------------------------------------------------------------------------------------------------------------


class Node:
    """What systemd, the kernel and the cache say, and what was run."""

    def __init__(self) -> None:
        self.states = [RUNS]
        self.answer: wire.Answer | Exception = wire.Answer(42, "1.6.18", SETTINGS)
        self.started: dict[int, str] = {42: "1000"}
        self.files = 1024
        self.ran: list[list[str]] = []
        self.events: list[str] = []
        self.stopped = 0
        self.stop_fails = ""

    def state(self, ctx: Any, names: Sequence[str]) -> dict[str, State]:
        now = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return dict.fromkeys(names, now)

    def ask(self, address: str, port: int, timeout: float) -> wire.Answer:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def run(self, argv: Sequence[str], timeout: float | None = None, **more: Any) -> Result:
        self.ran.append(list(argv))
        if argv[0] == "ss":
            return Result(0, 'LISTEN 0 5 0.0.0.0:11211 0.0.0.0:* users:(("nc",pid=77,fd=3))\n', "")
        return Result(0, "", "")

    def stop(self, ctx: Any, names: Sequence[str], patience: float) -> list[str]:
        self.stopped += 1
        if self.stop_fails:
            raise OcfError(ERR_GENERIC, self.stop_fails)
        return []


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Node:
    made = Node()
    monkeypatch.setattr(memo, "RUN_DIR", str(tmp_path))
    monkeypatch.setattr(units, "state", made.state)
    monkeypatch.setattr(units, "stop", made.stop)
    monkeypatch.setattr(units, "drop_in", lambda ctx, name, text: True)
    monkeypatch.setattr(units, "last_line", lambda ctx, name, since=None: "its last words")
    monkeypatch.setattr(wire, "ask", made.ask)
    monkeypatch.setattr(proc, "started", made.started.get)
    monkeypatch.setattr(health, "open_files", lambda pid: made.files)
    monkeypatch.setattr(life, "_START", 0.3)
    return made


def context(node: Node, action: str, **environ: str) -> Any:
    known = {
        "OCF_RESKEY_nodes": "n1:192.0.2.1 n2:192.0.2.2",
        "OCF_RESKEY_binary": "/bin/sh",
        "OCF_RESKEY_CRM_meta_on_node": "n1",
        "OCF_RESOURCE_INSTANCE": "cache:0",
        **environ,
    }
    ctx: Any = agent.context(action, known, 30)
    ctx.run = node.run
    ctx.event = lambda name, text, **more: node.events.append(f"{name}: {text}")
    return ctx


def monitor(node: Node) -> int:
    return health.recurring(context(node, "monitor", OCF_RESKEY_CRM_meta_interval="10000"))


def fails(node: Node, rc: int, what: Any = monitor) -> str:
    with pytest.raises(OcfError) as caught:
        what(node)
    assert caught.value.rc == rc
    return caught.value.reason


def test_well(node: Node) -> None:
    assert monitor(node) == SUCCESS
    node.states = [FAILED]
    assert monitor(node) == SUCCESS, "systemd is not asked while the process that is known lives"
    assert node.events == []


def test_silence_degrades_once_and_then_restarts_and_an_answer_forgives(node: Node) -> None:
    well = node.answer
    for _ in range(2):
        node.answer = wire.Unanswered("no answer")
        assert fails(node, DEGRADED) == "no answer; if it does not answer next time it is restarted"
        node.answer = well
        assert monitor(node) == SUCCESS
    node.answer = wire.Unanswered("no answer")
    fails(node, DEGRADED)
    assert fails(node, ERR_GENERIC) == "no answer; it has not answered in 2 monitors"


def test_another_process_on_the_port_is_silence(node: Node) -> None:
    node.answer = wire.Answer(43, "1.6.18", SETTINGS)
    assert "process 43 answers" in fails(node, DEGRADED)
    assert "process 43 answers" in fails(node, ERR_GENERIC)


def test_a_full_one_is_never_restarted(node: Node) -> None:
    node.answer = wire.Full()
    for _ in range(5):
        assert "all its connections are taken" in fails(node, DEGRADED)


def test_one_that_systemd_started_again_is_told_of_once(node: Node) -> None:
    assert monitor(node) == SUCCESS
    node.started = {}
    node.states = [AGAIN]
    proc.started = node.started.get  # type: ignore[assignment]
    assert "systemd starts it again" in fails(node, DEGRADED)
    node.started[43] = "2000"
    node.states = [RUNS._replace(pid=43)]
    node.answer = wire.Answer(43, "1.6.18", SETTINGS)
    assert monitor(node) == SUCCESS
    assert monitor(node) == SUCCESS
    assert node.events == ["memcached.emptied: process 42 ended and was started again as 43: the cache is empty"]


def test_a_dead_one_is_not_running(node: Node) -> None:
    node.states = [FAILED]
    assert fails(node, NOT_RUNNING) == "it has ended (exit-code): its last words"
    node.states = [ABSENT]
    assert "not installed" in fails(node, NOT_RUNNING)


def test_settings_degrade(node: Node) -> None:
    node.files = 1000
    assert "LimitNOFILE" in fails(node, DEGRADED)


def test_a_probe_asks_systemd_alone(node: Node) -> None:
    node.answer = wire.Unanswered("no answer")
    for states, rc in (([RUNS], SUCCESS), ([AGAIN], SUCCESS), ([FAILED], NOT_RUNNING), ([ABSENT], NOT_RUNNING)):
        node.states = list(states)
        assert health.probe(context(node, "monitor")) == rc


def test_start_waits_for_the_units_own_answer(node: Node) -> None:
    node.states = [RUNS._replace(pid=0), RUNS._replace(pid=0), RUNS]
    found = life.start(context(node, "start"))
    assert found is not None and found.version == "1.6.18"
    assert ["systemctl", "--no-block", "start", "--", UNIT] in node.ran
    assert monitor(node) == SUCCESS


def test_start_of_a_full_one_succeeds(node: Node) -> None:
    node.answer = wire.Full()
    assert life.start(context(node, "start")) is None


def start(node: Node) -> None:
    life.start(context(node, "start"))


def test_start_names_who_has_the_port_and_leaves_nothing_behind(node: Node) -> None:
    node.states = [RUNS, RUNS, AGAIN]
    node.answer = wire.Answer(77, "1.6.18", SETTINGS)
    assert fails(node, ERR_GENERIC, start) == (
        "it ended as soon as it was started (port 11211 is taken by nc 77): its last words"
    )
    assert node.stopped == 1


def test_start_gives_up_soon_when_nothing_answers(node: Node) -> None:
    node.answer = wire.Unanswered("192.0.2.1 port 11211: Connection refused")
    assert fails(node, ERR_GENERIC, start).startswith("192.0.2.1 port 11211: Connection refused")
    assert node.stopped == 1


def test_start_of_one_that_answers_this_machine_alone_says_so_at_once(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = wire.Answer(42, "1.6.18", {**SETTINGS, "inter": "127.0.0.1"})

    def ask(address: str, port: int, timeout: float) -> wire.Answer:
        if address != "127.0.0.1":
            raise wire.Unanswered(f"{address} port {port}: Connection refused")
        return local

    monkeypatch.setattr(wire, "ask", ask)
    monkeypatch.setattr(life, "_START", 100.0)
    said = fails(node, ERR_GENERIC, start)
    assert said.startswith(
        "it listens on 127.0.0.1 and not on 192.0.2.1, which clients use: hafailover render --install"
    )
    local = local._replace(pid=41)  # somebody else's
    monkeypatch.setattr(life, "_START", 0.3)
    assert fails(node, ERR_GENERIC, start).startswith("192.0.2.1 port 11211: Connection refused")


def test_start_where_it_is_not_installed_or_not_wanted(node: Node) -> None:
    node.states = [ABSENT]
    assert "install memcached" in fails(node, ERR_INSTALLED, start)
    gone = {"OCF_RESKEY_binary": "/nonexistent/memcached"}
    assert "is not installed" in fails(node, ERR_INSTALLED, lambda one: life.start(context(one, "start", **gone)))
    elsewhere = {"OCF_RESKEY_CRM_meta_on_node": "n3"}
    assert "does not name n3" in fails(node, ERR_INSTALLED, lambda one: life.start(context(one, "start", **elsewhere)))


def test_stop_never_fails(node: Node) -> None:
    life.stop(context(node, "stop"))
    assert node.stopped == 1
    node.stop_fails = "memcached.service survives SIGKILL"
    life.stop(context(node, "stop"))
    assert node.events[0].startswith("memcached.left: memcached.service survives SIGKILL; it is taken for stopped")
    node.states = [ABSENT]
    life.stop(context(node, "stop"))
    assert node.stopped == 2


def test_limits_are_those_of_the_process() -> None:
    assert health.open_files(os.getpid()) > 0
    assert health.open_files(0) == 0


def test_the_monitor_costs_little() -> None:
    code = "import sys; sys.modules['hafailover'] = m = type(sys)('hafailover'); m.__path__ = [sys.argv[1]]; "
    modules = "import hafailover.agents.memcached, hafailover.agents.memcached.health"
    argv = ["/usr/bin/python3", "-IS", "-X", "importtime", "-c", code + modules, str(CHECKOUT)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    assert not set(HEAVY) & imported(done.stderr)
