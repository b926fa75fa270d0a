"""The drill of controllers without a lab: what a look into the caches is told as, what counts as broken, and how it is shown."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hafailover.crm.drill.oracle import Comparison, Server
from hafailover.vagrant.drill import amqp
from hafailover.vagrant.drill.loads.command import command
from hafailover.vagrant.drill.loads.controllers.drill import FAULTS, ControllersDrill, ControllersRun, _wrong
from hafailover.vagrant.drill.loads.programs import cache as cache_client
from hafailover.vagrant.drill.loads.result import as_table
from pymemcache.exceptions import MemcacheError, MemcacheUnexpectedCloseError
from topologies import invoke

PRIMARY = Server([], {}, read_only=False, replicating=False, position="0-1-1")
REPLICA = Server([], {}, read_only=True, replicating=True, position="0-1-1")
SERVERS = {"c1": PRIMARY, "c2": REPLICA}
HIT = {"at": 1.0, "hit": True}


class Cache:
    """A hashing client whose next look has this outcome; ``marks``: servers that it takes for dead because of that."""

    def __init__(self, outcome: bytes | Exception | None, marks: tuple[str, ...] = ()) -> None:
        self.outcome, self.marks = outcome, marks
        self._dead_clients: dict[str, float] = {"c9": 1.0}
        self.stored: list[str] = []

    def get(self, key: str) -> bytes | None:
        self._dead_clients.update(dict.fromkeys(self.marks, time.time()))
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def set(self, key: str, value: str) -> None:
        self.stored.append(key)


def look(cache: Cache) -> dict[str, Any]:
    told = cache_client._look(cache, "k")
    assert told.pop("at") <= time.time()
    return told


def test_hits_and_misses_are_told_and_misses_are_stored() -> None:
    found, missed = Cache(b"k"), Cache(None)
    assert look(found) == {"hit": True}
    assert look(missed) == {"hit": False}
    assert (found.stored, missed.stored) == ([], ["k"])


def test_how_a_client_notices_that_a_cache_is_gone() -> None:
    for cache in (
        Cache(MemcacheUnexpectedCloseError()),
        Cache(ConnectionRefusedError("refused"), ("c1",)),
        Cache(TimeoutError("timed out"), ("c9",)),  # tried again, and still dead
    ):
        assert look(cache)["noticed"] is True


def test_everything_else_is_a_failure() -> None:
    assert look(Cache(TimeoutError("timed out"))) == {"error": "TimeoutError: timed out", "noticed": False}
    assert look(Cache(MemcacheError("All servers seem to be down right now")))["noticed"] is False
    assert look(Cache(b"other")) == {"error": "k holds b'other'", "noticed": False}


def test_nothing_is_wrong_with_what_went_well() -> None:
    assert _wrong(Comparison(), SERVERS, "c1", set(), [HIT, {"at": 2.0, "error": "x", "noticed": True}]) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rows": Comparison(lost=frozenset({7}))}, "1 acknowledged rows are missing: 7"),
        ({"missing": {3, 4}}, "2 messages were confirmed and never arrived: 3, 4"),
        ({"looks": [HIT, {"at": 2.0, "error": "late", "noticed": False}]}, "1 looks into the caches failed"),
        ({"looks": [{"at": 1.0, "hit": False}]}, "the caches never had what was stored"),
        ({"servers": {"c1": PRIMARY, "c2": PRIMARY}}, "c2 is not promoted but writable"),
        ({"servers": {"c1": PRIMARY, "c2": REPLICA._replace(replicating=False)}}, "c2 does not replicate"),
    ],
)
def test_what_is_wrong_is_said(change: dict[str, Any], said: str) -> None:
    facts = {"rows": Comparison(), "servers": SERVERS, "after": "c1", "missing": set(), "looks": [HIT], **change}
    assert any(said in problem for problem in _wrong(**facts))


def run(**more: Any) -> ControllersRun:
    return ControllersRun(
        "power-off",
        "c1",
        after="c2",
        acknowledged={"database": 100, "messages": 50},
        lost={"database": 0, "messages": 0},
        gaps={"database": 4.04, "publish": 12.0, "consume": 12.5, "cache": 0.512},
        cache={"hits": 90, "misses": 9, "noticed": 2, "failed": 0},
        back=31.26,
        **more,
    )


def test_a_run_is_a_line_and_what_went_wrong_stands_below() -> None:
    shown = as_table([run(), ControllersRun("cut", "c2", ("no quorum",))], ControllersDrill.columns).splitlines()
    assert shown[0].split()[:4] == ["fault", "from", "to", "rows"]
    assert shown[1].split() == [
        "power-off",
        "c1",
        "c2",
        "100",
        "0",
        "50",
        "0",
        "9",
        "2",
        "0",
        "4.0",
        "12.0",
        "12.5",
        "0.5",
        "31.3",
        "ok",
    ]
    assert shown[2].split() == ["cut", "c2", *["-"] * 13, "FAILED"]
    assert shown[3:] == ["cut c2: no quorum", "2 runs, 1 failed"]


def test_a_run_as_json() -> None:
    found = run().as_json()
    assert found["ok"] is True and found["problems"] == []
    assert found["gaps_s"] == {"database": 4.04, "publish": 12.0, "consume": 12.5, "cache": 0.51}
    assert (found["back_s"], found["after"]) == (31.26, "c2")
    assert "gaps" not in found and "back" not in found


def test_the_faults_are_listed_and_others_refused() -> None:
    listed = invoke(command(ControllersDrill), "--list").stdout
    assert all(name in listed for name in FAULTS)
    refused = invoke(command(ControllersDrill), "power-of")
    assert getattr(refused.exception, "exit_code", None) == 2
    assert "did you mean 'power-off'?" in str(refused.exception)


def test_a_ledger_of_messages_leaves_out_a_half_written_line(tmp_path: Path) -> None:
    (tmp_path / "publish").write_text("1 10.5\n2 10.6\n3")
    load = amqp.Load.__new__(amqp.Load)
    load._directory = tmp_path
    assert load.lines("publish") == [(1, 10.5), (2, 10.6)]
    assert load.numbers("publish") == {1, 2}
    assert load.numbers("consume") == set()
