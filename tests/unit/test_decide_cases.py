"""The promotion rules, as cases one can read aloud (cases/promotion.txt)."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
from hafailover.agents.mariadb import decide, journal

CASES = pathlib.Path(__file__).parent / "cases" / "promotion.txt"


def cases() -> Iterator[Any]:
    number, facts, verdict, in_verdict = 0, [], [], False
    for number, line in enumerate([*CASES.read_text().splitlines(), ""], 1):
        if line.startswith("#"):
            continue
        if line == "----":
            in_verdict = True
        elif line:
            (verdict if in_verdict else facts).append(line)
        elif in_verdict:
            yield pytest.param(facts, "\n".join(verdict), id=f"line-{number - len(verdict) - 1}")
            facts, verdict, in_verdict = [], [], False
    assert not facts, f"case before line {number} has no verdict"


def replica(words: list[str]) -> decide.Replica:
    given = dict(word.split("=", 1) for word in words)
    return decide.Replica(
        source="10.0.0.1",
        io=given["io"],
        sql=given["sql"] == "Yes",
        received=given["received"],
        applied=given["applied"],
        io_errno=int(given.get("io_errno", 0)),
        sql_errno=int(given.get("sql_errno", 0)),
        error=given.get("error", ""),
    )


def standing(lines: list[str]) -> decide.Standing:
    known: dict[str, Any] = {
        "nodes": ("db1", "db2"), "online": frozenset(), "quorate": True, "journal": journal.NONE,
        "incarnation": None, "reigns": {}, "lives": {}, "replica": None, "state": None, "positions": {},
        "virgin": frozenset(),
    }  # fmt: skip
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "promotion":
            known["node"] = rest
        elif word == "nodes":
            known["nodes"] = tuple(rest.split())
        elif word == "online":
            known["online"] = frozenset(rest.split())
        elif word == "journal":
            known["journal"] = journal.read(rest)
        elif line == "witnessed":
            known["witnessed"] = True
        elif line == "no quorum":
            known["quorate"] = False
        elif word == "replica":
            known["replica"] = replica(rest.split())
        elif word == "position":
            name, _, position = rest.partition(" ")
            known["positions"][name] = position
        elif word == "virgin":
            known["virgin"] = frozenset(rest.split())
        elif word == "reign":
            name, _, epoch = rest.partition(" ")
            known["reigns"][name] = int(epoch)
        elif word == "life":
            name, _, life = rest.partition(" ")
            known["lives"][name] = life
        elif word in ("state", "incarnation", "doubt"):
            known[word] = rest
        else:
            raise AssertionError(f"unknown fact {line!r}")
    # A peer that is not said to have another life is the one that the journal names.
    known["lives"] = {**known["journal"].sync, **known["lives"]}
    if known["incarnation"] is None:
        known["incarnation"] = "b.2.2"
    if known["state"] is None:
        # The last primary has what it opened with, if nothing else is said.
        own = known["journal"].gtid if known["journal"].primary == known["node"] else ""
        known["state"] = known["replica"].applied if known["replica"] else own
    return decide.Standing(**known)


@pytest.mark.parametrize(("facts", "verdict"), list(cases()))
def test_promotion(facts: list[str], verdict: str) -> None:
    known = standing(facts)
    refusal = decide.promotion_refusal(known)
    score, reason = decide.promotion_score(known)
    if refusal:
        # A candidate may still lose the election; otherwise the score says the same as the refusal.
        candidate = (
            "" if (score, reason) == (decide.SCORE_NEVER, refusal) else f", though a candidate with score {score}"
        )
        said = f"refused: {refusal}{candidate}"
    else:
        said = f"may be promoted, score {score}" + (f": {reason}" if reason else "")
    assert said == verdict
