"""What MariaDB does that loses data in silence, on real servers: with the agent's guard nothing is lost, without it something is.

And the further facts on which the agent relies. ``trap_cases`` is what happens inside the node; here is what must come of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.lab import Lab
from labs import lab_of

NAME = "traps"
NODE = "db1"
CASES = str(Path(__file__).with_name("trap_cases.py"))
LIMIT = 600.0  # seconds for one case: two servers are made, broken and compared


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_of(NAME, DEFAULT_TOPOLOGY) as made:
        for (
            node
        ) in made.data_nodes:  # these servers are nobody's but the test's, and a node without a cluster is not fenced
            made.exec(node, ["systemctl", "stop", "pacemaker", "corosync-qdevice", "corosync"], timeout=120, check=True)
        yield made


def outcome(lab: Lab, case: str, *arguments: str) -> dict[str, Any]:
    done = lab.exec(NODE, ["python3", "-B", CASES, case, *arguments], timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


ALL = list(range(20))  # acknowledged, the last of them just before the primary died


class TestAcknowledgedAndTruncated:
    """Recovery as a replica cuts a transaction off that the client was told is safe, and that the new primary has."""

    def test_it_comes_back(self, lab: Lab) -> None:
        seen = outcome(lab, "trap_1", "")
        assert seen["truncated"] == 1
        assert seen["one"] == seen["two"] == [*ALL, 100]
        assert seen["equal"]
        assert seen["threads"] == ["Yes", "Yes"]

    @pytest.mark.parametrize("guard", ["rpl_semi_sync_slave_enabled", "gtid_strict_mode"])
    def test_without_the_setting_it_is_skipped_in_silence(self, lab: Lab, guard: str) -> None:
        seen = outcome(lab, "trap_1", guard)
        assert (seen["guard used"], seen["truncated"]) == (1, 1)
        assert seen["two"] == [*ALL, 100]
        assert seen["one"] == [*ALL[:-1], 100]
        assert not seen["equal"]
        assert seen["threads"] == ["Yes", "Yes"], "nobody is told"


class TestPrimaryAgainInPlace:
    """The dead primary returns, nobody else was promoted, and it is opened again."""

    def test_it_recovers_everything(self, lab: Lab) -> None:
        seen = outcome(lab, "trap_2", "")
        assert seen["truncated"] == 0
        assert seen["one"] == seen["two"] == [*ALL, 100, 101]
        assert seen["equal"]

    def test_truncated_it_writes_another_transaction_under_the_same_gtid(self, lab: Lab) -> None:
        seen = outcome(lab, "trap_2", "role")
        assert (seen["guard used"], seen["truncated"]) == (1, 1)
        assert seen["one"] == [*ALL[:-1], 100, 101], "an acknowledged row is lost"
        assert seen["two"] == [*ALL, 101], "and its replica has another one instead"
        assert seen["threads"] == ["Yes", "Yes"], "nobody is told"


class TestRelayLog:
    """What a replica has received and not applied, while its primary is dead; with both threads stopped any START SLAVE removes it."""

    def test_a_promotion_applies_it(self, lab: Lab) -> None:
        seen = outcome(lab, "trap_3_promote", "")
        assert (seen["applied before"], seen["primary"]) == (0, "two")
        assert seen["two"] == ALL

    def test_a_promotion_that_starts_the_sql_thread_again_loses_it(self, lab: Lab) -> None:
        seen = outcome(lab, "trap_3_promote", "receiving")
        assert (seen["applied before"], seen["guard used"]) == (0, 1)
        assert seen["primary"] == "two", "nothing stops the promotion"
        # Those that its parallel appliers had begun they may finish.
        assert seen["two"] == ALL[: len(seen["two"])]
        assert len(seen["two"]) < len(ALL) / 2

    def test_a_restart_applies_it(self, lab: Lab) -> None:
        seen = outcome(lab, "trap_3_restart", "")
        assert (seen["applied before"], seen["two"]) == (0, ALL)

    def test_a_restart_with_replication_loses_it(self, lab: Lab) -> None:
        seen = outcome(lab, "trap_3_restart", "skip_slave_start")
        assert (seen["applied before"], seen["guard used"], seen["two"]) == (0, 1, [])

    def test_a_refused_promotion_keeps_it(self, lab: Lab) -> None:
        seen = outcome(lab, "trap_3_refused", "")
        assert "SQL thread stopped" in seen["refused"]
        assert seen["held"] == len(ALL) + 1, "two were applied, one is in the way of the third"

    def test_a_refused_promotion_that_receives_again_loses_it(self, lab: Lab) -> None:
        seen = outcome(lab, "trap_3_refused", "resuming")
        assert seen["guard used"] == 1
        assert seen["held"] == 3


# What the server does that the agent relies on: what is done (see trap_cases), and what is seen.
FACTS: list[tuple[tuple[str, ...], dict[str, Any]]] = [
    # A waiter that is killed commits here, and nowhere else; one that is terminated does, too, and can't be taken back.
    (("waiter_killed",), {"answered": False, "on one": [1], "on two": []}),
    (("waiter_ended", "terminate"), {"answered": False, "on one": [1]}),
    (("waiter_ended", "kill"), {"answered": False, "on one": []}),
    (("waiters_released",), {"answers": ["OK", "OK", "OK"], "on one": [1, 2, 3]}),
    # read_only=ON waits for these without end, and no longer than it is told to.
    (("read_only_blocked", "waiters"), {"unbounded": "no answer", "bounded": 1969}),
    (("read_only_blocked", "lock tables"), {"unbounded": "no answer", "bounded": 1969}),
    (("read_only_blocked", "statement"), {"unbounded": "no answer", "bounded": 1969}),
    (
        ("events",),
        {
            "one": {"on_one": "ENABLED", "off_one": "DISABLED"},
            "two": {"on_one": "SLAVESIDE_DISABLED", "off_one": "SLAVESIDE_DISABLED"},
        },
    ),
    # A state in another order than by sequence number gives the clone a wrong position, which a restart keeps.
    (
        ("clone_position", "by sequence"),
        {"column 3 is exact": False, "state": True, "position": True, "divergence": [None, None], "equal": True},
    ),
    (
        ("clone_position", "by server"),
        {"column 3 is exact": False, "state": True, "position": False, "divergence": [None, None], "equal": True},
    ),
]


@pytest.mark.parametrize(("case", "expected"), FACTS, ids=["-".join(case) for case, _ in FACTS])
def test_fact(lab: Lab, case: tuple[str, ...], expected: dict[str, Any]) -> None:
    assert outcome(lab, *case) == expected


def test_every_question_is_answered_while_commits_wait(lab: Lab) -> None:
    seen = outcome(lab, "asked_with_waiters")
    assert seen["hangs"], "SHOW MASTER STATUS would not be answered"
    assert {"state", "replica", "semi_sync", "waiters", "writable"} <= set(seen["questions"])
    assert seen["monitor"] == 8
    assert seen["still waiting"]


# How the relay log ends, parallel threads, what stops the SQL thread at the end, and how many of 200 transactions are saved.
SALVAGES = [
    ("whole", "0", 0, 200),
    ("whole", "4", 0, 200),
    ("in the commit", "0", 1594, 199),
    ("in the rows", "4", 1594, 199),
    ("before the commit", "0", 0, 199),
]


@pytest.mark.parametrize(("cut", "threads", "error", "saved"), SALVAGES)
def test_a_relay_log_can_be_salvaged(lab: Lab, cut: str, threads: str, error: int, saved: int) -> None:
    seen = outcome(lab, "salvage", cut, threads)
    assert seen["several files"]
    assert seen["error"] == error
    assert seen["salvaged"] == seen["gtid_slave_pos moved"] == saved
    assert seen["purge"] == 1
    assert seen["equal"], "afterwards it replicates by GTID as before"
    if threads == "0":
        assert seen["remembered position is behind"], "so it must not be used"
