#!/usr/bin/python3
"""How long an application is without its database, by how its connections are configured: in a lab, through the address.

The cluster needs the same time for all of them. What differs is when a connection notices that nobody answers on it any more:
each kind keeps several connections, writes one row after the other on each, and opens one anew when it has failed, no sooner.
A server that is killed closes its connections; a node without power says nothing, nor does an address that has moved.

    bench/clients.py                         # makes a lab, a Markdown table
    bench/clients.py --fault power-off -n 10 -o json
"""

from __future__ import annotations

import secrets
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import common
from hafailover.crm.drill import database
from hafailover.crm.drill.target import Target
from hafailover.crm.errors import HafailoverError
from hafailover.vagrant.drill import session, target
from hafailover.vagrant.drill.loads import frame
from hafailover.vagrant.drill.loads.client import Client
from hafailover.vagrant.lab import Lab

SCHEMA = ACCOUNT = "hafailover_bench"
COUNT = 8  # connections of a kind
EVERY = 0.05  # seconds between two rows of one
BEFORE = 2.0  # seconds of work before the fault
HUNG = 60.0  # seconds without an answer after which a connection is said to hang


class Kind(NamedTuple):
    """How connections are configured, in seconds; None: as the driver has it (10 s to connect, no limit for an answer)."""

    name: str
    connect: float | None
    read: float | None


KINDS = (Kind("no limits", None, None), Kind("connect 10 s, read 30 s", 10, 30), Kind("connect 1 s, read 5 s", 1, 5))


class Sample(NamedTuple):
    """One run of one kind: the longest time without an answer of each connection that came back, and how many did not."""

    fault: str
    kind: str
    gaps: tuple[float, ...]
    hung: int


class Result(NamedTuple):
    """All connections of one kind in all runs of one fault; times in seconds."""

    fault: str
    kind: str
    runs: int
    connections: int
    median_s: float | None
    max_s: float | None
    hung: int


def gap(rows: Sequence[Mapping[str, Any]], since: float) -> float | None:
    """The longest time between two answers of one connection around or after ``since`` (Unix time), or None when none came after it."""
    answered = [float(row["at"]) for row in rows if "error" not in row]
    before = [at for at in answered if at <= since][-1:]
    after = [at for at in answered if at > since]
    points = [*before, *after]
    return max(later - earlier for earlier, later in zip(points, points[1:])) if before and after else None


def judge(fault: str, kind: str, rows: Sequence[Mapping[str, Any]], since: float, moved: float) -> Sample:
    """``moved``: Unix time when the new primary answered others; whoever has had no answer since then hangs."""
    gaps, hung = [], 0
    for number in range(COUNT):
        mine = [row for row in rows if row["connection"] == number]
        longest = gap(mine, since)
        if longest is None or not any(row["at"] >= moved for row in mine if "error" not in row):
            hung += 1
        else:
            gaps.append(longest)
    return Sample(fault, kind, tuple(gaps), hung)


def results(samples: Sequence[Sample]) -> list[Result]:
    """One for each fault and kind, in the order in which they were measured."""
    found = []
    for fault, kind in dict.fromkeys((one.fault, one.kind) for one in samples):
        mine = [one for one in samples if (one.fault, one.kind) == (fault, kind)]
        gaps = [value for one in mine for value in one.gaps]
        found.append(
            Result(
                fault=fault,
                kind=kind,
                runs=len(mine),
                connections=COUNT * len(mine),
                median_s=round(statistics.median(gaps), 2) if gaps else None,
                max_s=round(max(gaps), 2) if gaps else None,
                hung=sum(one.hung for one in mine),
            )
        )
    return found


def table(found: Sequence[Result]) -> str:
    """The results in Markdown."""
    lines = [
        "| fault | connections | median s | longest s | still hung after a minute | of |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for one in found:
        median, longest = ("" if value is None else f"{value:.2f}" for value in (one.median_s, one.max_s))
        lines.append(f"| {one.fault} | {one.kind} | {median} | {longest} | {one.hung} | {one.connections} |")
    return "\n".join(lines)


# -- the faults: each returns what undoes it ------------------------------------------------------------------------------------


def _kill(lab: Lab, aim: Target, primary: str) -> Callable[[], None]:
    lab.kill(primary, f"hafailover-mariadb-{aim.database}.service")
    return lambda: None


def _power_off(lab: Lab, aim: Target, primary: str) -> Callable[[], None]:
    lab.power_off(primary, hold=True)
    return lambda: lab.power_on(primary)


def _move(lab: Lab, aim: Target, primary: str) -> Callable[[], None]:
    heir = next(node for node in aim.nodes if node != primary)
    lab.exec(heir, ["hafailover", "promote", heir, "--yes"], timeout=300, check=True)
    return lambda: None


FAULTS: Mapping[str, Callable[[Lab, Target, str], Callable[[], None]]] = {
    "switchover": _move,
    "kill": _kill,
    "power-off": _power_off,
}


@contextmanager
def place(lab: Lab, aim: Target) -> Iterator[str]:
    """The table and the account; yields its password. Both are dropped afterwards."""
    password = secrets.token_urlsafe(18)
    database.sql(
        lab,
        database.primary(lab, aim),
        f"CREATE SCHEMA {SCHEMA};"
        f"CREATE TABLE {SCHEMA}.written (who VARCHAR(64), number INT, KEY (who)) ENGINE=InnoDB;"
        f"CREATE USER '{ACCOUNT}'@'%' IDENTIFIED BY '{password}';"
        f"GRANT SELECT, INSERT ON {SCHEMA}.* TO '{ACCOUNT}'@'%';",
    )
    try:
        yield password
    finally:
        with session.undisturbed():
            frame.await_health(lab)
            database.sql(lab, database.primary(lab, aim), f"DROP USER '{ACCOUNT}'@'%'; DROP SCHEMA {SCHEMA};")


def run(lab: Lab, aim: Target, fault: str, password: str) -> list[Sample]:
    """All kinds at once, through one fault. HafailoverError."""
    frame.await_health(lab)
    orders = {
        "host": aim.ip,
        "port": aim.port,
        "user": ACCOUNT,
        "password": password,
        "database": SCHEMA,
        "table": "written",
    }
    orders |= {"count": COUNT, "every": EVERY, "name": f"{time.time():.0f}"}
    undo: Callable[[], None] = lambda: None  # noqa: E731
    with ExitStack() as stack:
        clients = {
            kind: stack.enter_context(
                Client(lab, "connections", {**orders, "connect": kind.connect, "read": kind.read})
            )
            for kind in KINDS
        }
        primary = database.primary(lab, aim)
        time.sleep(BEFORE)
        wrong = [row["error"] for client in clients.values() for row in client.said() if "error" in row]
        wrong += [client.words for client in clients.values() if client.words]
        if wrong:
            raise HafailoverError(f"it does not work before anything is broken: {wrong[0]}")
        since = time.time()
        try:
            undo = FAULTS[fault](lab, aim, primary)
            moved = _await_all(clients, since)
            said = {kind: client.said() for kind, client in clients.items()}
        finally:
            with session.undisturbed():
                undo()
    return [judge(fault, kind.name, rows, since, moved) for kind, rows in said.items()]


def _await_all(clients: Mapping[Kind, Client], since: float) -> float:
    """Wait until every connection was answered after somebody was shut out and served again, or a minute has passed since then.

    Returns when somebody was served again (Unix time). HafailoverError when nobody is.
    """
    end = since + 2 * HUNG
    while time.time() < end:
        time.sleep(0.5)
        rows = [(kind, row) for kind, client in clients.items() for row in client.said() if row["at"] > since]
        failed = [row["at"] - row["took"] for _, row in rows if "error" in row]
        moved = min(
            (row["at"] for _, row in rows if "error" not in row and failed and row["at"] > max(failed)), default=None
        )
        if moved is None:
            continue
        back = {(kind, row["connection"]) for kind, row in rows if "error" not in row and row["at"] >= moved}
        if len(back) == COUNT * len(clients):
            return float(moved)
        if time.time() > moved + HUNG:
            return float(moved)
    raise HafailoverError("nobody could write any more: hafailover status in the lab says why")


def main() -> None:
    """Measure and print."""
    parser = common.parser(
        "How long an application is without its database, by how its connections are configured; in a lab."
    )
    parser.add_argument("-n", "--runs", type=int, default=5, help="runs of each fault (default: 5)")
    parser.add_argument("--fault", action="append", choices=sorted(FAULTS), help="only these (repeatable)")
    options = parser.parse_args()
    say = session.Progress()
    samples: list[Sample] = []
    with common.ending("clients"), say.until_end(), session.interruptible(), session.lab(options.lab, say) as lab:
        aim = target.of_lab(lab.name)
        with place(lab, aim) as password:
            for _ in range(options.runs):
                for fault in options.fault or FAULTS:
                    for one in run(lab, aim, fault, password):
                        samples.append(one)
                        say(f"{fault}, {one.kind}: {max(one.gaps, default=0):.2f} s at most, {one.hung} hung")
    found = results(samples)
    common.answer(options, {"results": found}, table(found))


if __name__ == "__main__":
    main()
