#!/usr/bin/python3
"""How long a failover takes when the replica is behind: it has received everything, and has yet to apply it.

The replica's tables are locked while several clients write as fast as they can; then the primary loses power, the lock goes, and what was
received is applied before anybody may write. With one thread that applies, and with as many as we configure, in turn; and without a lag.

    bench/lag.py                             # makes a lab, a Markdown table
    bench/lag.py --behind 30 -n 5 -o json
"""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import clients
import common
from hafailover.crm.drill import database
from hafailover.crm.drill.target import Target
from hafailover.crm.errors import HafailoverError
from hafailover.crm.waiting import wait
from hafailover.vagrant.drill import session, target
from hafailover.vagrant.drill.loads import frame
from hafailover.vagrant.drill.loads.client import Client
from hafailover.vagrant.lab import Lab

_BACK = 300.0  # seconds within which somebody can write again
_RECORDED = 60.0  # seconds until a replica whose SQL thread began anew counts again
_TURN = 0.3  # seconds
_LOCKED = 30.0  # seconds until the replica's tables are locked


class Sample(NamedTuple):
    """One run: ``behind`` transactions had been received and not applied; ``seconds`` from the power-off to the first answered write."""

    threads: int
    lag: float
    behind: int
    seconds: float


class Result(NamedTuple):
    """All runs with one number of threads and one lag (seconds of writes); medians."""

    threads: int
    lag: float
    runs: int
    behind: int
    median_s: float
    max_s: float


def results(samples: Sequence[Sample]) -> list[Result]:
    """One for each number of threads and lag, in the order in which they were measured."""
    found = []
    for threads, lag in dict.fromkeys((one.threads, one.lag) for one in samples):
        mine = [one for one in samples if (one.threads, one.lag) == (threads, lag)]
        times = [one.seconds for one in mine]
        behind = int(statistics.median(one.behind for one in mine))
        found.append(Result(threads, lag, len(mine), behind, round(statistics.median(times), 2), round(max(times), 2)))
    return found


def table(found: Sequence[Result]) -> str:
    """The results in Markdown."""
    lines = ["| lag | transactions to apply | threads that apply | to the first write, median s | longest s | runs |"]
    lines += ["|--:|--:|--:|--:|--:|--:|"]
    lines += [
        f"| {one.lag:g} s | {one.behind} | {one.threads} | {one.median_s:.2f} | {one.max_s:.2f} | {one.runs} |"
        for one in found
    ]
    return "\n".join(lines)


@contextlib.contextmanager
def locked(lab: Lab, replica: str) -> Iterator[None]:
    """Within it the replica receives, and can apply nothing to the clients' table."""
    statements = f"LOCK TABLES {clients.SCHEMA}.written READ; SELECT 'locked'; DO SLEEP(3600);"
    argv = ["mariadb", "--batch", "--skip-column-names", "--unbuffered"]
    with lab.popen(replica, argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdin is not None
            assert holder.stdout is not None
            holder.stdin.write(statements)
            holder.stdin.close()
            if holder.stdout.readline().strip() != "locked":
                raise HafailoverError(f"the tables of {replica} cannot be locked")
            yield
        finally:
            # The session, not only its client: the server looks at the connection when the sleep is over.
            found = database.sql(
                lab, replica, "SELECT id FROM information_schema.processlist WHERE info LIKE 'DO SLEEP(3600)%'"
            )
            for (number,) in found:
                with contextlib.suppress(HafailoverError):  # it has just ended
                    database.sql(lab, replica, f"KILL {number}")
            holder.kill()


def applies_with(lab: Lab, primary: str, replica: str, threads: int) -> None:
    """Have the replica apply with so many threads, and wait until it counts again: a new life of the SQL thread does not at once."""

    def standing() -> tuple[str, str]:
        answer = lab.exec(primary, ["hafailover", "status", "-o", "json"], timeout=60).stdout
        service = json.loads(answer)["services"][0]
        life = next(one["incarnation"] for one in service["instances"] if one["node"] == replica)
        return life, (service["journal"] or {"sync": {}})["sync"].get(replica, "")

    before, _ = standing()
    database.sql(
        lab, replica, f"STOP SLAVE SQL_THREAD; SET GLOBAL slave_parallel_threads={threads}; START SLAVE SQL_THREAD;"
    )

    def recorded() -> bool | None:
        life, known = standing()
        return True if before != life == known else None

    wait(f"{replica} is recorded as in sync again", _RECORDED, recorded, 0.5)


def run(lab: Lab, aim: Target, password: str, threads: int, lag: float) -> Sample:
    """One failover. HafailoverError."""
    frame.await_health(lab)
    primary = database.primary(lab, aim)
    replica = next(node for node in aim.nodes if node != primary)
    applies_with(lab, primary, replica, threads)
    orders = {
        "host": aim.ip,
        "port": aim.port,
        "user": clients.ACCOUNT,
        "password": password,
        "every": 0,
        "table": "written",
    }
    orders |= {
        "database": clients.SCHEMA,
        "count": clients.COUNT,
        "name": f"{time.time():.0f}",
        "connect": 1,
        "read": 5,
    }
    # Those that write are busy waiting for the old primary; these ask in short turns who is there.
    asking = {**orders, "every": 0.05, "connect": _TURN, "read": _TURN, "name": f"{orders['name']}-asks"}
    with (
        Client(lab, "connections", orders) as client,
        Client(lab, "connections", asking) as scouts,
        contextlib.ExitStack() as stack,
    ):
        wait("the clients write", _LOCKED, lambda: True if _answered(client, 0.0) else None)
        began = time.time()
        if lag:
            stack.enter_context(locked(lab, replica))
            began = time.time()
            time.sleep(lag)
        behind = len(_answered(client, began)) if lag else 0
        fault = time.time()
        try:
            lab.power_off(primary, hold=True)
            stack.close()
            # What was answered by the old primary came before it was off.
            off = time.time()
            first = wait("somebody can write again", _BACK, lambda: min(_answered(scouts, off), default=None))
        finally:
            with session.undisturbed():
                lab.power_on(primary)
    return Sample(threads, lag, behind, first - fault)


def _answered(client: Client, since: float) -> list[float]:
    """When rows that were begun after ``since`` (Unix time) were answered."""
    return [row["at"] for row in client.said() if "error" not in row and row["at"] - row["took"] > since]


def main() -> None:
    """Measure and print."""
    parser = common.parser("How long a failover takes when the replica has yet to apply what it received; in a lab.")
    parser.add_argument("-n", "--runs", type=int, default=3, help="runs of each kind (default: 3)")
    parser.add_argument("--behind", type=float, default=10.0, help="seconds of writes to apply (default: 10)")
    parser.add_argument("--threads", type=int, default=4, help="threads that apply, against one (default: 4)")
    options = parser.parse_args()
    say = session.Progress()
    samples: list[Sample] = []
    with common.ending("lag"), say.until_end(), session.interruptible(), session.lab(options.lab, say) as lab:
        aim = target.of_lab(lab.name)
        with clients.place(lab, aim) as password:
            for _ in range(options.runs):
                for threads, lag in ((options.threads, 0.0), (0, options.behind), (options.threads, options.behind)):
                    one = run(lab, aim, password, threads, lag)
                    samples.append(one)
                    say(f"{one.threads} threads, {one.behind} transactions behind: {one.seconds:.2f} s")
    found = results(samples)
    common.answer(options, {"results": found}, table(found))


if __name__ == "__main__":
    main()
