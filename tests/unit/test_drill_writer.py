"""The writer that is a program of its own: what it says when nobody answers, and when somebody says no."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys

import pytest
from hafailover.crm.drill import crew


def answers(host: str, port: int) -> list[dict]:
    told = {
        "user": "u", "password": "p", "database": "d", "table": "t", "writer": "db1", "first": 1, "interval": 0.05, "workers": 1,
        "connect_timeout": 0.1, "read_timeout": 0.1, "host": host, "port": port,
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, crew.PROGRAM[-1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(told) + "\n")
    process.stdin.flush()
    lines = [json.loads(process.stdout.readline()) for _ in range(4)]
    process.stdin.close()
    process.wait(10)
    process.stdout.close()
    return [line for line in lines if "outcome" in line]


@pytest.fixture
def closed():
    """A port of this machine on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def silent():
    """A port whose queue is full: what one sends there is lost, as on a network that is cut."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):
            guest = stack.enter_context(socket.socket())
            guest.setblocking(False)
            guest.connect_ex(full.getsockname())
        yield full.getsockname()[1]


def test_where_nobody_listens_the_host_says_so_and_that_proves_something(closed):
    assert {(one["outcome"], one["code"]) for one in answers("127.0.0.1", closed)} == {("refused", 2003)}


def test_a_network_that_is_silent_proves_nothing_about_the_server_behind_it(silent):
    assert {(one["outcome"], one["code"]) for one in answers("127.0.0.1", silent)} == {("refused", None)}
