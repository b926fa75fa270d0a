"""``hafailover status`` on a real pair: what only a real cluster shows, live and in a log, with dead and hanging peers."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hafailover.crm.status_schema import schema
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.lab import Lab
from labs import lab_of, shell, until

NAME = "livestatus"
VIP = "10.77.0.100"
SLOW = 10.0  # seconds; a few are promised, and the machine may be busy


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_of(NAME, DEFAULT_TOPOLOGY) as made:
        yield made


def status(lab: Lab, node: str) -> dict[str, Any]:
    begun = time.monotonic()
    done = lab.exec(node, ["hafailover", "status", "-o", "json"])
    assert time.monotonic() - begun < SLOW
    told: dict[str, Any] = json.loads(done.stdout)
    jsonschema.validate(told, schema())
    return told


@pytest.fixture
def pair(lab: Lab) -> tuple[str, str]:
    """(primary, replica) of a healthy cluster."""
    service = until("it is healthy", lambda: (found := status(lab, lab.data_nodes[0]))["healthy"] and found)[
        "services"
    ][0]
    return service["primary"], next(one["node"] for one in service["instances"] if one["node"] != service["primary"])


def whats(told: dict[str, Any], severity: str) -> list[str]:
    return [one["what"] for one in told["problems"] if one["severity"] == severity]


def tells(lab: Lab, node: str, severity: str, what: str) -> dict[str, Any]:
    """The first status of ``node`` that tells this.

    One look may miss it: an attribute that changes puts the cluster to work, and what works is not judged by where an address
    is seen.
    """
    return until(f"{node} tells: {what}", lambda: what in whats(told := status(lab, node), severity) and told)


class Watching:
    """A status that is watched in a node, with what it has written."""

    def __init__(self, lab: Lab, node: str, words: str, **streams: Any) -> None:
        self._lab, self._node = lab, node
        self._pid = f"/tmp/watch-{time.monotonic_ns()}.pid"
        script = f"echo $$ > {self._pid}; exec hafailover status --watch {words}"
        self.process = lab.popen(node, ["bash", "-c", script], **streams)

    def end(self) -> int:
        pid = until("it runs", lambda: self._lab.exec(self._node, ["cat", self._pid]).stdout.strip())
        self._lab.kill(self._node, pid, 15)
        return self.process.wait(30)


def test_a_log_gets_a_block_for_each_change(lab: Lab, pair: tuple[str, str]) -> None:
    primary, replica = pair
    watching = Watching(lab, primary, "1", stdout=subprocess.PIPE, text=True)
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(iter(watching.process.stdout.readline, "")), daemon=True)
    reader.start()
    until("it has begun", lambda: any(line.startswith("OK ") for line in lines))
    time.sleep(6)
    assert sum(line.startswith("=== ") for line in lines) == 1, "nothing has changed"
    shell(lab, primary, f"crm_attribute -N {replica} -n standby -v on")
    until("it is told", lambda: any(f"standby of {replica}" in line for line in lines))
    shell(lab, primary, f"crm_attribute -N {replica} -n standby -D")
    until("it is well again", lambda: "OK  " in "".join(lines).rpartition("standby of")[2])
    assert watching.end() == 0
    reader.join(10)
    text = "".join(lines)
    blocks = re.split(r"^=== (.*)$", text, flags=re.MULTILINE)[1:]
    for stamp in blocks[::2]:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d{4}", stamp)
    assert len(set(blocks[1::2])) == len(blocks[1::2]), "each says something new"
    assert "\033" not in text
    assert [line for line in text.splitlines() if len(line) > 80] == []


def test_an_object_a_line_for_programs(lab: Lab, pair: tuple[str, str]) -> None:
    watching = Watching(lab, pair[0], "1 -o json", stdout=subprocess.PIPE, text=True)
    told = json.loads(watching.process.stdout.readline())
    jsonschema.validate(told, schema())
    assert watching.end() == 0


def test_a_terminal_is_written_over_in_place_and_given_back(lab: Lab, pair: tuple[str, str]) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    watching = Watching(lab, pair[0], "1", stdin=slave, stdout=slave, env={**os.environ, "TERM": "xterm"})
    said = b""

    def read() -> bytes:
        nonlocal said
        if select.select([master], [], [], 0.2)[0]:
            said += os.read(master, 65536)
        return said

    until("there are three pictures", lambda: read().count(b"\033[H") >= 3)
    assert watching.end() == 0
    until("the screen is back", lambda: b"\033[?1049l" in read())
    os.close(master)
    os.close(slave)
    assert said.startswith(b"\033[?1049h")
    assert b"\033[2J" not in said, "it is never empty"
    assert b"is primary of db" in said
    assert b"end with Ctrl-C" in said


def test_how_far_a_replica_is_behind(lab: Lab, pair: tuple[str, str]) -> None:
    primary, replica = pair
    service = status(lab, primary)["services"][0]
    assert service["semi_sync"] == {"enforcing": True, "replicas": 1, "waiting": 0}
    lags = {one["node"]: one["lag"] for one in service["instances"]}
    assert lags[primary] is None
    assert lags[replica] == {"seconds": 0, "to_receive": 0, "to_apply": 0, "error": ""}
    shell(lab, replica, "mariadb -e 'STOP SLAVE SQL_THREAD'")
    try:
        shell(lab, primary, "mariadb -e 'CREATE DATABASE IF NOT EXISTS lag; CREATE TABLE IF NOT EXISTS lag.t (i INT)'")
        behind = next(one["lag"] for one in status(lab, primary)["services"][0]["instances"] if one["node"] == replica)
        assert behind["seconds"] is None
        assert behind["to_apply"] >= 1
    finally:
        shell(lab, replica, "mariadb -e 'START SLAVE SQL_THREAD'")


def test_an_address_that_is_on_two_machines(lab: Lab, pair: tuple[str, str]) -> None:
    primary, replica = pair
    assert status(lab, replica)["addresses"][0]["seen"] == [primary]
    shell(lab, replica, f"ip address add {VIP}/24 dev eth0")
    try:
        for node in (primary, replica):
            told = tells(lab, node, "DOWN", f"the address {VIP} (vip) is on {replica}")
            assert sorted(told["addresses"][0]["seen"]) == sorted(pair)
            assert told["verdict"] == "DOWN"
    finally:
        shell(lab, replica, f"ip address del {VIP}/24 dev eth0")
        shell(lab, primary, "crm_resource --cleanup -r vip")


def test_an_address_that_somebody_took_away(lab: Lab, pair: tuple[str, str]) -> None:
    primary, replica = pair
    shell(lab, primary, "crm_attribute -t crm_config -n maintenance-mode -v true")
    try:
        until(
            "nothing is checked any more", lambda: status(lab, primary)["maintenance"] and status(lab, primary)["idle"]
        )
        shell(lab, primary, f"ip address del {VIP}/24 dev eth0")
        tells(lab, primary, "DOWN", f"the address {VIP} (vip) is not on {primary}")
        tells(lab, replica, "NOTE", f"nobody answers for the address {VIP} (vip)")
    finally:
        shell(lab, primary, f"ip address add {VIP}/24 dev eth0")
        shell(lab, primary, "crm_attribute -t crm_config -n maintenance-mode -D; crm_resource --cleanup")


def test_a_server_that_hangs_is_named_and_holds_nothing_up(lab: Lab, pair: tuple[str, str]) -> None:
    primary, replica = pair
    shell(lab, replica, "kill -STOP $(pidof mariadbd)")
    try:
        told = status(lab, primary)
    finally:
        shell(lab, replica, "kill -CONT $(pidof mariadbd)")
    assert f"the server of db on {replica} did not answer {primary}" in whats(told, "NOTE")


def test_who_may_see_less_is_told_what(lab: Lab, pair: tuple[str, str]) -> None:
    user = ["setpriv", "--reuid=hacluster", "--regid=haclient", "--clear-groups", "hafailover", "status", "-o", "json"]
    told = json.loads(lab.exec(pair[0], user).stdout)
    jsonschema.validate(told, schema())
    assert told["verdict"] == "OK"
    assert any("only root" in one for one in told["hidden"])
    assert any("Permission denied" in one for one in told["hidden"])
    assert status(lab, pair[0])["hidden"] == []


def test_with_its_own_cluster_down_it_says_what_the_servers_say(lab: Lab, pair: tuple[str, str]) -> None:
    primary, replica = pair
    shell(lab, replica, "systemctl stop pacemaker")
    try:
        told = status(lab, replica)
        assert told["available"] is False
        assert told["units"]["pacemaker"] == "inactive"
        assert told["units"]["corosync"] == "active"
        assert told["corosync"].startswith("has quorum")
        assert told["servers"]["db"][primary] == "accepts writes: it is the primary"
        assert told["servers"]["db"][replica].startswith("no answer")
    finally:
        shell(lab, replica, "systemctl start pacemaker")


def test_while_the_coordinator_dies_every_look_ends_soon(lab: Lab, pair: tuple[str, str]) -> None:
    coordinator = status(lab, pair[0])["coordinator"]
    other = next(node for node in pair if node != coordinator)
    lab.power_off(coordinator)
    seen: list[dict[str, Any]] = []

    def back() -> bool:
        seen.append(status(lab, other))  # which must not take long
        return len(seen) > 3 and bool(seen[-1]["healthy"])

    until("it is back", back)
    assert {"DEGRADED", "DOWN"} & {told["verdict"] for told in seen}
    assert lab.exec(other, ["hafailover", "status", "--check"]).returncode == 0
