"""How copies of the history become the same: what each node shows the others, and what it takes from them.

Every node has one private attribute in the cluster's attribute daemon: seen by all members, in no CIB, gone with its node, carried by
Corosync, so that nothing listens on a port of its own. In it stands which records the node has (for each writer the number of the last
one), and while a member lacks some, the next piece of them. Who takes a piece shows its new numbers, and the next piece follows. Nobody
has to answer at once, a piece may come twice or from several, and a member that was away for long is handed the records of all writers by
whoever has them.

What another node shows may be written there by anybody of the group haclient: it is read like a stranger's letter.
"""

from __future__ import annotations

import binascii
import json
import zlib
from collections.abc import Mapping, Sequence

from hafailover.agents.record import NamedTuple
from hafailover.crm.history import records
from hafailover.crm.history.records import Record
from hafailover.crm.history.store import Store

ATTRIBUTE = "hafailover-history"
VERSION = "1"
LARGEST = 8000  # characters of the attribute: every member's attribute daemon holds it, and all travel together when a node joins
_AT_ONCE = 200  # records of one piece, before they are packed
_PLAIN = 1 << 20  # bytes that may come out of a packed text
_SHOWN_WRITERS = 128


class Piece(NamedTuple):
    """All records of ``writer`` that are kept, with numbers above ``after`` and up to ``upto``."""

    writer: str
    after: int
    upto: int
    records: Sequence[Record]


class Letter(NamedTuple):
    """What a node shows: its clock (µs of Unix time), the numbers that it ``has`` (writer → last), and a piece of what somebody lacks."""

    now: int
    has: Mapping[str, int]
    pieces: Sequence[Piece]


def write(letter: Letter) -> str:
    """The attribute's text."""
    named = {
        "now": letter.now,
        "has": dict(letter.has),
        "pieces": [
            {"w": one.writer, "a": one.after, "u": one.upto, "r": [records.write(r).decode() for r in one.records]}
            for one in letter.pieces
        ],
    }
    packed = zlib.compress(json.dumps(named, separators=(",", ":"), sort_keys=True).encode(), 6)
    return f"{VERSION}{binascii.b2a_base64(packed, newline=False).decode()}"


def read(text: str) -> Letter | None:
    """The letter in an attribute's text; None when it is none, or of another version."""
    if not text.startswith(VERSION) or len(text) > 2 * LARGEST:
        return None
    try:
        unpacking = zlib.decompressobj()
        plain = unpacking.decompress(binascii.a2b_base64(text[len(VERSION) :]), _PLAIN)
        named = json.loads(plain)
        now, has, pieces = named["now"], named["has"], named["pieces"]
        if not (_number(now) and isinstance(has, dict) and isinstance(pieces, list)):
            return None
        numbers = {writer: last for writer, last in has.items() if records.WRITER.fullmatch(writer) and _number(last)}
        return Letter(now, dict(sorted(numbers.items())[:_SHOWN_WRITERS]), [p for one in pieces if (p := _piece(one))])
    except (ValueError, KeyError, TypeError, zlib.error, RecursionError):
        return None


def _piece(named: Mapping[str, object]) -> Piece | None:
    writer, after, upto, lines = named["w"], named["a"], named["u"], named["r"]
    if not (isinstance(writer, str) and records.WRITER.fullmatch(writer) and isinstance(lines, list)):
        return None
    if not (_number(after) and _number(upto) and after < upto):  # type: ignore[operator]
        return None
    found = [records.read(line.encode("utf-8", "replace")) for line in lines if isinstance(line, str)]
    fitting = [one for one in found if one and one.writer == writer and after < one.seq <= upto]  # type: ignore[operator]
    # The last number is that of a record: nothing is passed over on the word of a number alone.
    if not fitting or max(one.seq for one in fitting) != upto:
        return None
    return Piece(writer, after, upto, sorted(fitting, key=lambda one: one.seq))  # type: ignore[arg-type]


def _number(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def take(store: Store, letters: Mapping[str, Letter], keep: int) -> int:
    """Put into ``store`` what the letters (node → letter) bring and it lacks; how many records that were."""
    taken = 0
    for _, letter in sorted(letters.items()):
        for piece in letter.pieces:
            last = store.last(piece.writer)
            mine = last.seq if last else 0
            new = [record for record in piece.records if record.seq > mine]
            if new and piece.after <= mine:
                store.append(piece.writer, new, keep)
                taken += len(new)
    return taken


def lacking(has: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    """Of what ``has`` holds, what ``other`` lacks: writer → the last number that it has, 0 for none."""
    return {writer: other.get(writer, 0) for writer, last in sorted(has.items()) if other.get(writer, 0) < last}


def compose(store: Store, letters: Mapping[str, Letter], now: int, keep: int) -> Letter:
    """What this node shows: ``letters`` are the other members'. Of several who lack something, they take turns by the clock: one that takes
    nothing does not keep the others waiting.
    """
    has = store.have()
    needy = [gaps for _, letter in sorted(letters.items()) if (gaps := lacking(has, letter.has))]
    if not needy:
        return Letter(now, has, ())
    gaps = needy[now // 1_000_000 % len(needy)]
    most = _AT_ONCE
    while True:
        letter = Letter(now, has, _pieces(store, gaps, most, keep))
        if most == 1 or len(write(letter)) <= LARGEST:
            return letter
        most //= 2


def _pieces(store: Store, gaps: Mapping[str, int], most: int, keep: int) -> list[Piece]:
    pieces: list[Piece] = []
    for writer, after in gaps.items():
        left = most - sum(len(piece.records) for piece in pieces)
        if not left:
            break
        found = [record for record in store.of(writer, keep) if record.seq > after][:left]
        if found:
            pieces.append(Piece(writer, after, found[-1].seq, found))
    return pieces


def same(one: Letter | None, other: Letter) -> bool:
    """Whether two letters say the same, the time aside."""
    return one is not None and one._replace(now=other.now) == other
