"""From records to what a person asks about: one entry for each failover, switchover, fencing, apply …, with its steps. Pure.

Every record belongs to exactly one entry, which has a beginning, a cause, and an outcome. An entry is made around what cannot be mistaken
(a promotion, a command, a fencing), and what led to it and followed from it is gathered from the records around it.
"""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

from hafailover.crm.history import causes, whereabouts
from hafailover.crm.history.entry import (
    ACCEPT_LOSS,
    CLOCK,
    DEGRADE,
    EVENT,
    FAILOVER,
    FAILURE,
    FENCING,
    LOST,
    NODE,
    PROMOTION,
    REJOIN,
    RESTART,
    SERVICES,
    SWITCHOVER,
    Entry,
)
from hafailover.crm.history.records import Record, place
from hafailover.crm.history.steps import Steps
from hafailover.crm.history.words import Step, ended_with, merged, subject

_COMMAND = re.compile(r"[a-z][a-z-]{0,19}")
_ACCEPTS = "--accept-data-loss"
_CAUSES = ("detect", "lost", "fence", "demote", "stop", "drain")
_EFFECTS = ("lost", "fence", "promote", "address", "services", "hooks", "detect", "drain", "stop", "demote")
_BEFORE = 180.0  # seconds between a cause and its promotion
_QUIET = 30.0  # seconds between two steps of one incident
_AFTER = 120.0  # seconds for which what follows a promotion belongs to it
_UNFINISHED = 60.0  # seconds for which what happens is put down to a command that never said how it ended
_SOON = 5.0  # seconds after its end for which what happens is put down to a command
_NOT_ASKED_FOR = ("detect", "lost", "fence", "degrade", "demote", "promote")
_NOTHING_DONE = ("2", "3")
_CLONE = 6 * 3600.0  # seconds that a clone may take


def entries(records: Iterable[Record]) -> list[Entry]:
    """All entries of ``records``, by their beginning."""
    return _Gathering(merged(sorted(records, key=place))).run()


class _Gathering(Steps):
    def __init__(self, steps: Sequence[Step]) -> None:
        super().__init__(steps)
        # For each step the latest accident up to it, itself included; -1 for none.
        accidents = (number if causes.accident(step) else -1 for number, step in enumerate(steps))
        self._accidents = list(itertools.accumulate(accidents, max))
        self._found: list[Entry] = []
        self._arrivals = whereabouts.arrivals(steps)
        self._bereft = whereabouts.bereft(steps)

    def run(self) -> list[Entry]:
        for gather in (self._commands, self._promotions, self._fencings, self._degrades, self._rejoins):
            gather()
        for gather in (self._nodes, self._failures, self._told, self._rest):
            gather()
        return sorted(self._found, key=lambda entry: (entry.at, entry.id))

    def _add(self, anchor: int, numbers: Iterable[int], **known: str) -> Entry:
        chosen = sorted({anchor, *numbers})
        for number in chosen:
            self._taken[number] = True
        entry = Entry(id=self._steps[anchor].record.id, steps=[self._steps[number] for number in chosen], **known)
        self._found.append(entry)
        return entry

    # -- what a person asked for --------------------------------------------------------------------------------

    def _commands(self) -> None:
        commands = [(number, self._steps[number].record.facts) for number in self._free(("command",))]
        begun = {facts.get("token", "") for _, facts in commands if facts.get("phase") == "begin"}
        ends = {facts.get("token", ""): number for number, facts in commands if facts.get("phase") == "end"}
        given: list[tuple[int, int | None]] = []
        for number, facts in commands:
            alone = facts.get("phase") != "begin"
            if alone and facts.get("token", "") in begun:
                continue  # told with its beginning
            given.append((number, number if alone else ends.pop(facts.get("token", ""), None)))
        # A short command within a long one comes first: what happened then is its doing.
        for number, end in sorted(given, key=lambda one: (self._lasted(*one), one[0])):
            self._command(number, end)

    def _lasted(self, number: int, end: int | None) -> float:
        return _UNFINISHED if end is None else self._steps[end].at - self._steps[number].at

    def _command(self, number: int, end: int | None) -> None:
        step = self._steps[number]
        facts = step.record.facts
        ended = self._steps[end].record.facts if end is not None else {}
        seconds = self._lasted(number, end) + (_SOON if end is not None else 0.0)
        last = None if end is None else self._another_story(end)
        follows = [] if ended.get("code") in _NOTHING_DONE else self._window(number, seconds, _of_commands, end=last)
        if facts.get("command") != "drill" and (end is None or facts.get("command") != "promote"):
            follows = self._brought_about(number, follows)
        command = facts.get("command", "")
        command = command if _COMMAND.fullmatch(command) else "command"
        entry = self._add(
            number,
            [*follows, *([] if end is None else [end])],
            kind=command if command != "promote" else ACCEPT_LOSS if _accepts(facts) else SWITCHOVER,
            subject=facts.get("what", ""),
            who=_who(step),
            why=facts.get("reason", ""),
            outcome="how it ended is not known" if end is None else _ended(ended),
        )
        if entry.kind == SWITCHOVER and ended.get("code") == "0":
            entry.outcome += _served(entry)

    def _brought_about(self, first: int, numbers: Sequence[int]) -> list[int]:
        """Those of ``numbers`` that no accident since ``first`` has brought about: a failover while a server is cloned for hours is one."""
        return [
            number
            for number in numbers
            if (accident := self._accidents[number]) <= first or self._at[number] - self._at[accident] > _AFTER
        ]

    def _another_story(self, end: int) -> int | None:
        """The first step after a command's ``end`` that it has not brought about."""
        later = range(end + 1, len(self._steps))
        return next((number for number in later if self._steps[number].name in _NOT_ASKED_FOR), None)

    # -- what the cluster did by itself -------------------------------------------------------------------------

    def _promotions(self) -> None:
        before: dict[str, str] = {}
        told: dict[tuple[str, str], tuple[float, frozenset[str]]] = {}
        for number, step in enumerate(self._steps):
            if step.name != "promote" or step.record.failed:
                continue
            resource, last = step.resource, before.get(step.resource, "")
            before[resource] = step.node
            at, tellers = told.get((resource, step.node), (-1e9, frozenset[str]()))
            again = step.at - at < _QUIET and step.record.kind not in tellers
            told[resource, step.node] = (
                (at, tellers | {step.record.kind}) if again else (step.at, frozenset({step.record.kind}))
            )
            if self._taken[number] or again:
                continue  # the agent and Pacemaker both tell of it; the second is gathered by the first
            before_it = self._back(number, _BEFORE, _QUIET * 2, lambda one: one.name in _CAUSES)
            # What happened elsewhere before the old primary was in trouble is no cause.
            where = last or step.node
            before_it = before_it[causes.begun([self._steps[one] for one in before_it], resource, where) :]
            effects = self._window(
                number, _AFTER, lambda one: one.name in _EFFECTS, quiet=_QUIET, end=self._reign_ends(number)
            )
            kind = PROMOTION if not last else RESTART if last == step.node else FAILOVER
            why = causes.of_promotion(
                [self._steps[one] for one in before_it], [self._steps[one] for one in effects], resource, where
            )
            entry = self._add(
                number, [*before_it, *effects], kind=kind, subject=resource, who="the cluster", why=why, outcome=""
            )
            took = f" after {step.at - entry.at:.1f} s" if step.at > entry.at else ""
            way = f"{last} → {step.node}" if kind == FAILOVER else step.node
            entry.outcome = f"{way}: primary{took}{_served(entry)}"

    def _reign_ends(self, first: int) -> int:
        """The first step after the promotion ``first`` that is another story: its primary is in trouble, or there is another one."""
        reign = self._steps[first]
        for number in range(first + 1, len(self._steps)):
            step = self._steps[number]
            if step.at - reign.at > _AFTER:
                return number
            here = step.node == reign.node
            if step.name in ("lost", "fence") and here:
                return number
            if step.resource == reign.resource and (
                (step.name == "promote" and not here) or (step.name in ("detect", "demote", "stop") and here)
            ):
                return number
        return len(self._steps)

    def _fencings(self) -> None:
        for number in self._free(("fence",)):
            if self._taken[number]:
                continue
            step = self._steps[number]

            def same(one: Step, node: str = step.node) -> bool:
                return one.node == node and one.name in ("detect", "fence", "lost")

            around = [*self._back(number, _BEFORE, _BEFORE, same), *self._window(number, _BEFORE, same)]
            moved = [] if step.bad else self._moved(number)
            why = causes.why(self._steps[one] for one in [number, *around])
            entry = self._add(
                number,
                [*around, *moved],
                kind=FENCING,
                subject=step.node,
                who="the cluster",
                why=why,
                outcome=step.outcome,
            )
            self._tell_what_became(entry, number, moved)

    def _moved(self, number: int) -> list[int]:
        """What had run on a node that has gone, or nobody knows where, and was started elsewhere."""
        gone = self._steps[number].node
        started = self._window(
            number, _AFTER, lambda one: one.name in ("services", "address") and not one.bad, quiet=_QUIET
        )
        return [one for one in started if self._steps[one].node != gone and self._arrivals[one] in (gone, None)]

    def _tell_what_became(self, entry: Entry, number: int, moved: Sequence[int]) -> None:
        """Where services went on elsewhere, that is what happened; what had its primary there and was not promoted has none."""
        gone, steps = self._steps[number], [self._steps[one] for one in moved]
        left = [] if gone.bad else self._bereft[number]
        if left:
            entry.outcome += f"; nobody took over as primary of {', '.join(left)}"
        if not steps:
            return
        where = ", ".join(sorted({step.node for step in steps}))
        entry.kind, entry.subject = FAILOVER, ", ".join(sorted({step.resource for step in steps}))
        entry.outcome = f"{gone.node} → {where}: runs after {steps[-1].at - entry.at:.1f} s" + (
            f"; nobody took over as primary of {', '.join(left)}" if left else ""
        )

    def _degrades(self) -> None:
        # A primary that fails meanwhile and is promoted again where it was goes on without its replica.
        following = self._following(("degrade", "regain"), lambda step: step.resource)
        promoted = self._following(("degrade", "promote"), lambda step: step.resource)
        for number in self._free(("degrade",)):
            step = self._steps[number]
            next_one, heir = following.get(number), promoted.get(number)
            ended = self._steps[next_one] if next_one is not None else None
            follows = []
            outcome = "nothing says that it was in sync again"
            if heir is not None and self._steps[heir].name == "promote" and self._steps[heir].node != step.node:
                outcome = f"{self._steps[heir].node} was promoted after {self._steps[heir].at - step.at:.1f} s"
            elif ended is not None and next_one is not None and ended.name == "regain":
                outcome = f"in sync again after {ended.at - step.at:.1f} s"
                follows = [] if self._taken[next_one] else [next_one]
            self._add(
                number, follows, kind=DEGRADE, subject=step.resource, who="the cluster", why=step.says, outcome=outcome
            )

    def _rejoins(self) -> None:
        for number in self._free(("rejoin",)):
            step = self._steps[number]
            if self._taken[number]:
                continue

            def same(one: Step, first: Step = step) -> bool:
                return one.name == "rejoin" and one.node == first.node and one.resource == first.resource

            follows = []
            if step.record.event == "begin":
                for one in self._window(number, _CLONE, same):
                    follows.append(one)
                    if self._steps[one].record.facts.get("event") in ("rejoined", "rejoin.failed", "rejoin.incomplete"):
                        break
            else:
                follows = self._window(number, _QUIET, same)
            last = self._steps[follows[-1]] if follows else step
            what = f"{step.resource} on {step.node}"
            why = step.says if last is not step else ""
            self._add(number, follows, kind=REJOIN, subject=what, who="the cluster", why=why, outcome=last.says)

    def _nodes(self) -> None:
        following = self._following(("lost", "joined"), lambda step: step.node)
        for number in self._free(("lost", "joined")):
            if self._taken[number]:
                continue
            step = self._steps[number]
            outcome = "left" if step.name == "lost" else "is a member"
            follows = [following[number]] if step.name == "lost" and number in following else []
            follows = [one for one in follows if self._steps[one].name == "joined" and not self._taken[one]]
            if follows:
                outcome = f"back after {self._steps[follows[0]].at - step.at:.1f} s"
            moved = self._moved(number) if step.name == "lost" else []
            if moved:
                follows = []  # its return is another story
            entry = self._add(
                number,
                [*follows, *moved],
                kind=NODE,
                subject=step.node,
                who="the cluster",
                why=step.says,
                outcome=outcome,
            )
            self._tell_what_became(entry, number, moved)

    def _failures(self) -> None:
        for number in range(len(self._steps)):
            step = self._steps[number]
            if self._taken[number] or not step.bad:
                continue

            def same(one: Step, first: Step = step) -> bool:
                return one.resource == first.resource and (one.bad or one.record.kind == "resource")

            follows = self._window(number, 600.0, same, quiet=_QUIET * 2)
            last = self._steps[follows[-1]] if follows else step
            outcome = last.says if follows and not last.bad else "nothing was recorded that mended it"
            self._add(
                number, follows, kind=FAILURE, subject=subject(step), who="the cluster", why=step.says, outcome=outcome
            )

    def _told(self) -> None:
        for number in self._free(("clock", "lost-records")):
            step = self._steps[number]
            kind = CLOCK if step.name == "clock" else LOST
            self._add(number, (), kind=kind, subject=step.node, who="the cluster", why=step.says, outcome="")

    def _rest(self) -> None:
        for number, step in enumerate(self._steps):
            if self._taken[number]:
                continue
            if step.record.kind == "resource":
                follows = self._window(number, _AFTER, lambda one: one.record.kind == "resource", quiet=_QUIET)
                names = sorted({self._steps[one].resource for one in [number, *follows]})
                self._add(
                    number, follows, kind=SERVICES, subject=", ".join(names), who="the cluster", why="",
                    outcome=self._steps[follows[-1]].says if follows else step.says,
                )  # fmt: skip
            else:
                self._add(number, (), kind=EVENT, subject=subject(step), who="the cluster", why="", outcome=step.says)


def _of_commands(step: Step) -> bool:
    return step.name not in ("command", "clock", "lost-records")


def _accepts(facts: Mapping[str, str]) -> bool:
    """Whether a command line has the option, and not only a reason that speaks of it."""
    what = facts.get("what", "")
    try:
        return _ACCEPTS in shlex.split(what)
    except ValueError:  # it was cut off in the middle of a quoted word, at whose end no option is
        return re.search(rf"^[^'\"]*(?<!\S){_ACCEPTS}(?!\S)", what) is not None


def _who(step: Step) -> str:
    facts = step.record.facts
    user, sudo = facts.get("user", ""), facts.get("sudo", "")
    name = f"{sudo} (as {user})" if sudo and sudo != user else user or "somebody"
    return f"{name} on {facts.get('host') or step.record.node}"


def _ended(facts: Mapping[str, str]) -> str:
    word = ended_with(facts.get("code", "?"))
    return f"{word}: {facts['says']}" if facts.get("says") else word


def _served(entry: Entry) -> str:
    """When the address followed, in words."""
    after = [step.at - entry.at for step in entry.steps if step.name == "address" and not step.bad]
    return f", address after {after[-1]:.1f} s" if after else ""
