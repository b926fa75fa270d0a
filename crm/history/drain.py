"""The root side of the history: takes what was handed in, writes it down, and exchanges it with the other nodes.

systemd starts it when something lies in the inbox and every two minutes; ``hafailover history`` does the same before it reads. It ends by
itself: nothing stays in memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Callable

from hafailover.agents import inbox, journal, process
from hafailover.agents.record import NamedTuple
from hafailover.crm.history import ALERT, DIRECTORY, KEEP, handed_in, mailbox, records
from hafailover.crm.history.handed_in import Found
from hafailover.crm.history.mailbox import Letter
from hafailover.crm.history.records import Record
from hafailover.crm.history.store import Busy, Store
from hafailover.crm.pacemaker import Pacemaker, PacemakerError

_MANY = 200  # records of one run, after which the next one is put off, so that a flood cannot keep a processor busy
_PUT_OFF = 1.0  # seconds
_PATIENCE = 5.0  # seconds for another process to give the store back
_ROUND = 1.0  # seconds between two looks at what the others have
_JOINING = 15.0  # seconds for which a node that lacks records is helped to them, or waits for them, after each piece that was taken
_NEXT_RUN = 150.0  # seconds in which the other nodes' timers have come round: a node that is handed something waits so long for more
_LONGEST = 600.0  # seconds of one run
_TOOL = 5.0  # seconds for each of Pacemaker's tools
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_KEEP_FOR = 300.0  # seconds until the limit is read again
_EARLIEST = 7 * 86_400_000_000  # µs; how old a record may be when it is handed in
_SKEW = 2_000_000  # µs by which another node's clock must be ahead to be spoken of
_SKEW_AGAIN = 86_400_000_000  # µs until it is spoken of again


class Heard(NamedTuple):
    """When this node last took others' records (µs, its clock), and the place of the last one that it knew ``before``."""

    at: int
    before: int


class State(NamedTuple):
    """How a run left things: records ``written`` and ``taken`` from others, what is known to be missing (node → number of records), how
    many records other members lack (``lagging``), and whether one of these has taken what it was handed (``helped``).
    """

    written: int
    taken: int
    missing: Mapping[str, int]
    members: tuple[str, ...]
    lagging: int
    helped: bool


def run_tool(argv: Sequence[str], timeout: float | None = None, input: str | None = None) -> process.Result:
    """Run one of Pacemaker's tools; PacemakerError when it is not installed."""
    program = process.find(argv[0], _PATH)
    if program is None:
        raise PacemakerError(f"{argv[0]} is not installed")
    return process.run(program, argv, timeout or _TOOL, {"PATH": _PATH, "LC_ALL": "C"}, input)


class Drain:
    """One run. ``pacemaker`` is None where there is no cluster to exchange with; ``clock`` gives ns of Unix time."""

    def __init__(
        self,
        store: Store,
        pacemaker: Pacemaker | None,
        node: str,
        keep: int,
        handed_in: str = inbox.DIRECTORY,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.store, self._pacemaker, self._node, self._keep = store, pacemaker, node, keep
        self._inbox, self._clock = handed_in, clock
        self._joined = False
        self._heard = Heard(0, 0)

    @property
    def connected(self) -> bool:
        """Whether the cluster runs here."""
        return self._pacemaker is not None

    def once(self) -> State:
        """Take, write, exchange. OSError when the disk takes nothing: what was handed in is then still there.

        PacemakerError when the other nodes cannot be asked; what was handed in is written down then, too.
        """
        with self.store.lock(_PATIENCE):
            found = handed_in.look(self._inbox)
            taken, mine, error = 0, None, None
            letters: dict[str, Letter] = {}
            try:
                mine, letters = self._letters()
                heard = Heard(self._clock() // 1000, self._latest())
                taken = mailbox.take(self.store, letters, self._keep)
                self._heard = heard if taken else self._heard
                self.store.forget()
            except PacemakerError as caught:
                error = caught  # what was handed in is written down all the same
            written = self._write_down(found, letters)
            handed_in.clear(self._inbox, found.told)
            if error is not None:
                raise error
            if self._pacemaker is not None:
                self._show(self._pacemaker, mine, letters)
            has = self.store.have()
        missing = {node: _behind(letter.has, has) for node, letter in letters.items()}
        return State(
            written=written,
            taken=taken,
            missing={node: count for node, count in missing.items() if count},
            members=tuple(sorted(letters)),
            lagging=sum(_behind(has, letter.has) for letter in letters.values()),
            helped=mine is not None and any(_helped(mine, letter.has, has) for letter in letters.values()),
        )

    def until_settled(self, seconds: float, pause: float = 0.5, more: float = 0.0) -> State:
        """The same until nothing is missing here or, for a node that has just joined, there; at most for ``seconds``. Busy.

        With ``more`` also as long as nodes take what they are handed: this one within ``more`` seconds, others within ``seconds``.
        """
        began = time.monotonic()
        end = began + seconds
        state = self.once()
        written = state.written
        lagging = state.lagging
        while True:
            now = time.monotonic()
            if more and state.taken and state.missing:
                end = max(end, now + more)
            if more and state.lagging and (state.helped or state.lagging < lagging):
                self._joined = True
                end = max(end, now + seconds)
            if now >= min(end, began + _LONGEST) or not (state.missing or (state.lagging and self._joined)):
                break
            lagging = state.lagging
            time.sleep(pause if end - now <= seconds else 2 * pause)
            state = self.once()
            written += state.written
        return state._replace(written=written)

    def _write_down(self, found: Found, letters: Mapping[str, Letter]) -> int:
        if not (found.told or found.full):
            return 0
        writer = self.store.writer(self._node)
        own, seq = self._own(writer)
        if any(letter.has.get(writer, 0) > seq for letter in letters.values()) and self.store.another():
            # The disk was set back to an earlier day, and others have what this node wrote since: no number is used twice.
            writer = self.store.writer(self._node)
            own, seq = self._own(writer)
        before = {record.facts.get("src", "") for record in self.store.all_of(writer)[-2 * inbox.MOST :]}
        new = []
        now = self._clock() // 1000
        for name, told in found.told.items():
            if name in before:
                continue  # written down by a run that did not come to remove the file
            kind = told.get("kind", "")
            at = _happened(told, now)
            self._joined = self._joined or kind == "node"
            more = {key: value for key, value in told.items() if key not in ("kind", "at", "happened")}
            new.append((kind, at, {**more, "src": name}))
        if found.full:
            new.append(
                ("lost", now, {"text": "more happened at once than could be written down; some of it is missing here"})
            )
        lines, latest = [], self._latest()
        for number, (kind, at, told) in enumerate(new, seq + 1):
            # What others wrote in the same second has come in since: a primary's death is not told behind the promotion after it.
            known = self._heard.before if at < self._heard.at else latest
            own = records.ordered(records.ordered(at, known), own)
            record = records.read(records.write(Record(writer, number, own, at, kind, records.facts(told))))
            if record is not None:
                lines.append(record)
        self.store.append(writer, lines, self._keep)
        return len(lines)

    def _latest(self) -> int:
        """The place of the last record that this node knows, 0 for none."""
        return max((last.order for one in self.store.writers() if (last := self.store.last(one))), default=0)

    def _own(self, writer: str) -> tuple[int, int]:
        """The place and the number of the last record of ``writer``, 0 for none."""
        last = self.store.last(writer)
        return (last.order, last.seq) if last else (0, 0)

    def _letters(self) -> tuple[Letter | None, dict[str, Letter]]:
        """What this node shows, and what the other members do."""
        if self._pacemaker is None:
            return None, {}
        shown = self._pacemaker.published(mailbox.ATTRIBUTE)
        others = {node: mailbox.read(text) for node, text in shown.items() if node != self._node}
        return mailbox.read(shown.get(self._node, "")), {node: letter for node, letter in others.items() if letter}

    def _show(self, pacemaker: Pacemaker, mine: Letter | None, letters: Mapping[str, Letter]) -> None:
        now = self._clock() // 1000
        self._tell_skew(letters, now)
        letter = mailbox.compose(self.store, letters, now, self._keep)
        if not mailbox.same(mine, letter):
            pacemaker.publish(mailbox.ATTRIBUTE, mailbox.write(letter))

    def _tell_skew(self, letters: Mapping[str, Letter], now: int) -> None:
        """Record that another node's clock is ahead: it has written a time that has not come yet."""
        ahead = {node: letter.now - now for node, letter in letters.items() if letter.now - now > _SKEW}
        if not ahead:
            return
        path = f"{self.store.directory}/skew"
        told: dict[str, object] = {}
        with contextlib.suppress(OSError, ValueError, RecursionError), open(path, encoding="utf-8") as stream:
            known_of = json.load(stream)
            told = known_of if isinstance(known_of, dict) else {}
        fresh = {node: by for node, by in ahead.items() if not _told(told.get(node), by, now)}
        if not fresh:
            return
        writer = self.store.writer(self._node)
        known, seq = self._latest(), self._own(writer)[1]
        new = []
        for number, (node, by) in enumerate(sorted(fresh.items()), seq + 1):
            known = records.ordered(now, known)
            what = {"node": node, "seconds": f"{by / 1e6:.1f}"}
            new.append(Record(writer, number, known, now, "clock", records.facts(what)))
        self.store.append(writer, new, self._keep)
        with open(path + ".new", "w", encoding="utf-8", opener=_private) as stream:
            json.dump({**told, **{node: [now, by] for node, by in fresh.items()}}, stream)
        os.rename(path + ".new", path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _told(before: object, by: int, now: int) -> bool:
    if not (isinstance(before, list) and len(before) == 2 and all(type(one) is int for one in before)):
        return False
    at, amount = before
    return bool(0 <= now - at < _SKEW_AGAIN and by < 2 * amount)


def _helped(mine: Letter, theirs: Mapping[str, int], has: Mapping[str, int]) -> bool:
    """Whether a node that lacks something has taken the pieces that were shown to it."""
    return bool(mailbox.lacking(has, theirs)) and any(theirs.get(one.writer, 0) >= one.upto for one in mine.pieces)


def _behind(theirs: Mapping[str, int], mine: Mapping[str, int]) -> int:
    return sum(max(0, last - mine.get(writer, 0)) for writer, last in theirs.items())


def _happened(told: Mapping[str, str], now: int) -> int:
    """The time that a record gives itself, unless it cannot be right."""
    for name in ("happened", "at"):
        text = told.get(name, "")
        if text.isascii() and text.isdigit() and len(text) < 18 and now - _EARLIEST < int(text) <= now + 1_000_000:
            return int(text)
    return now


def here(directory: str = DIRECTORY) -> Drain:
    """The drain of this node, as it is now."""
    store = Store(directory)
    pacemaker = Pacemaker(run_tool, _TOOL)
    try:
        node = pacemaker.node()
        return Drain(store, pacemaker, node, limit(directory, pacemaker), inbox.DIRECTORY)
    except (PacemakerError, OSError):
        name = _known_as(store) or os.uname().nodename
        return Drain(store, None, name, limit(directory, None), inbox.DIRECTORY)


def _known_as(store: Store) -> str:
    """This node's name in the cluster when that does not run: what it was last."""
    try:
        with open(f"{store.directory}/writer", encoding="ascii", errors="replace") as stream:
            return stream.read(100).partition("~")[0]
    except OSError:
        return ""


def limit(directory: str, pacemaker: Pacemaker | None) -> int:
    """How many records of each writer and class are kept. Asked of the cluster every few minutes; what it said last where it is silent,
    and the most there can be where nobody has ever said anything: what is dropped does not come back.
    """
    path = f"{directory}/keep"
    known = None
    with contextlib.suppress(OSError), open(path, encoding="ascii", errors="replace") as stream:
        known = stream.read(20)
        if 0 <= time.time() - os.fstat(stream.fileno()).st_mtime < _KEEP_FOR:
            pacemaker = None
    if pacemaker is not None:
        with contextlib.suppress(PacemakerError, OSError):
            known = (pacemaker.alert_parameter(ALERT, KEEP) or "")[:20]
            os.makedirs(directory, mode=0o700, exist_ok=True)
            # A full disk leaves the old one: an empty file would have the history cut down to what is kept by default.
            with open(path + ".new", "w", encoding="utf-8", opener=_private) as stream:
                stream.write(known)
                stream.flush()
                os.fsync(stream.fileno())
            os.rename(path + ".new", path)
    if known is None:
        return records.MOST
    number = int(known) if known.isascii() and known.isdigit() else records.KEEP
    return min(max(number, records.FEWEST), records.MOST)


def main() -> None:
    """Entry point of the unit hafailover-history.service."""
    handed_in.prepare()
    drain = here()
    try:
        state = drain.until_settled(_JOINING, _ROUND, more=_NEXT_RUN)
    except Busy:
        return  # whoever has it takes what is there
    except OSError as error:
        journal.send("warning", "hafailover-history", f"nothing can be written down now: {error}")
        sys.exit(1)
    except PacemakerError as error:
        journal.send("info", "hafailover-history", f"not exchanged with the other nodes: {error}")
        return
    if state.written >= _MANY:
        time.sleep(_PUT_OFF)
