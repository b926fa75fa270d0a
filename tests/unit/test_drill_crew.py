"""The writers as processes: the writer itself with nothing to write to, and the crew that keeps them going."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hafailover.crm.drill import crew
from hafailover.crm.drill.crew import Crew
from hafailover.crm.drill.ledger import ACKNOWLEDGED, CLIENT, REFUSED, UNKNOWN, Ledger
from hafailover.crm.errors import HafailoverError

# Acknowledges one row every 20 ms; "die" begins one more and is then gone, as with a node that loses its power.
STAND_IN = """
import json, select, sys, time
seq = json.loads(sys.stdin.readline())["first"]
while True:
    if select.select([0], [], [], 0.02)[0]:
        word = sys.stdin.readline()
        while word == "pause\\n":
            word = sys.stdin.readline()
        if not word:
            break
    print(json.dumps({"seq": seq, "begin": time.time()}), flush=True)
    if {die} and seq % 5 == 0:
        break
    end = {"seq": seq, "end": time.time(), "outcome": "acknowledged", "server": 1, "code": None, "error": None}
    print(json.dumps(end), flush=True)
    seq += 1
"""


class FakeLab:
    """Starts stand-ins; ``off`` nodes cannot be entered."""

    def __init__(self, client: str = "False", probe: str = "False") -> None:
        self.client, self.probe, self.off = client, probe, False

    def client_popen(self, argv, **keywords):
        return subprocess.Popen([sys.executable, "-c", STAND_IN.replace("{die}", self.client)], **keywords)

    def probe_popen(self, node, argv, **keywords):
        return self.popen(node, argv, **keywords)

    def popen(self, node, argv, **keywords):
        if self.off:
            raise HafailoverError(f"{node} is off")
        program = [sys.executable, "-c", STAND_IN.replace("{die}", self.probe)]
        return subprocess.Popen(program, start_new_session=True, **keywords)


def wait_for(condition, within=10.0):
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def count(ledger, writer, outcome=ACKNOWLEDGED):
    return sum(a.writer == writer and a.outcome == outcome for a in ledger.attempts())


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(crew, "_RESTART_AFTER", 0.05)


def test_all_writers_fill_one_ledger_until_the_crew_stops():
    ledger = Ledger()
    with Crew(FakeLab(), ledger, {}, {}, {"db1": {}, "db2": {}}) as running:
        wait_for(lambda: all(count(ledger, name) >= 5 for name in (CLIENT, "db1", "db2")))
    before = len(ledger.attempts())
    time.sleep(0.1)
    assert len(ledger.attempts()) == before
    assert running.problems == []
    assert count(ledger, CLIENT, UNKNOWN) == 0


def test_a_probe_that_went_with_its_node_is_started_again_and_its_last_attempt_is_unknown():
    lab, ledger = FakeLab(probe="True"), Ledger()
    with Crew(lab, ledger, {}, {}, {"db1": {}}) as running:
        wait_for(lambda: count(ledger, "db1", UNKNOWN) >= 2)
        lab.off = True
        time.sleep(0.2)
        lab.off = False
        seen = count(ledger, "db1")
        wait_for(lambda: count(ledger, "db1") > seen)
    assert running.problems == []
    numbers = [a.seq for a in ledger.attempts() if a.writer == "db1"]
    assert len(numbers) == len(set(numbers))


def test_a_client_that_ends_by_itself_spoils_the_run():
    ledger = Ledger()
    with Crew(FakeLab(client="True"), ledger, {}, {}, {}) as running:
        wait_for(lambda: running.problems)
    assert "the client ended" in running.problems[0]


WRITER = {
    "user": "nobody",
    "password": "s3cret",
    "database": "d",
    "table": "t",
    "writer": "client",
    "first": 1,
    "interval": 0.01,
    "connect_timeout": 0.1,
    "read_timeout": 0.2,
    "workers": 4,
    "unix_socket": "/nonexistent/socket",
}


def start_writer():
    process = subprocess.Popen(
        crew.PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdin.write(json.dumps(WRITER) + "\n")
    process.stdin.flush()
    return process


def test_the_writer_tries_at_its_pace_and_what_was_never_sent_is_refused():
    began = time.monotonic()
    process = start_writer()
    lines = [process.stdout.readline() for _ in range(30)]
    assert "s3cret" not in Path(f"/proc/{process.pid}/cmdline").read_text()
    process.stdin.close()
    out, err = "".join(lines) + process.stdout.read(), process.stderr.read()
    assert process.wait(10) == 0 and err == ""
    ledger = Ledger()
    for line in out.splitlines():
        ledger.record(CLIENT, line)
    attempts = ledger.attempts()
    assert {attempt.outcome for attempt in attempts} == {REFUSED}
    assert {attempt.code for attempt in attempts} == {2003}
    numbers = sorted(attempt.seq for attempt in attempts)
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) <= 1 + (time.monotonic() - began) / WRITER["interval"], "never faster than its pace"


def test_the_writer_stops_on_sigterm_after_telling_what_became_of_every_attempt():
    process = start_writer()
    process.stdout.readline()
    os.kill(process.pid, signal.SIGTERM)
    out = process.communicate(timeout=10)[0]
    lines = [json.loads(line) for line in out.splitlines()]
    assert process.returncode == 0
    assert {line["seq"] for line in lines if "begin" in line} <= {line["seq"] for line in lines if "end" in line}


def test_paused_writers_begin_nothing_and_go_on():
    ledger = Ledger()
    with Crew(FakeLab(), ledger, {}, {}, {"db1": {}}) as running:
        wait_for(lambda: count(ledger, CLIENT) >= 3 and count(ledger, "db1") >= 3)
        running.pause()
        before = len(ledger.attempts())
        time.sleep(0.2)
        assert len(ledger.attempts()) == before
        running.resume()
        wait_for(lambda: len(ledger.attempts()) > before)
        running.pause()
    assert running.problems == [], "one that is paused can be stopped, too"


def test_a_writer_that_joins_writes_until_its_connection_breaks_and_is_not_started_again():
    lab, ledger = FakeLab(probe="True"), Ledger()
    with Crew(lab, ledger, {}, {}, {}) as running:
        running.join("root@db1", "db1", {})
        wait_for(lambda: count(ledger, "root@db1", UNKNOWN) == 1)
        time.sleep(0.3)
        assert count(ledger, "root@db1", UNKNOWN) == 1
    assert count(ledger, "root@db1") >= 3


def test_the_writer_itself_begins_nothing_while_it_is_paused():
    process = start_writer()
    out = process.stdout.fileno()
    assert b"begin" in os.read(out, 65536)
    process.stdin.write("pause\n")
    process.stdin.flush()
    while select.select([out], [], [], 1.0)[0]:  # what was in flight ends
        assert os.read(out, 65536)
    process.stdin.write("resume\n")
    process.stdin.flush()
    assert b"begin" in os.read(out, 65536)
    process.stdin.write("pause\n")
    process.stdin.close()
    assert process.wait(10) == 0
