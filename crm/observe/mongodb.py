"""What a MongoDB server says of itself and its replica set, and what follows from all their answers.

The question is the first message of every driver: ``isMaster`` with ``helloOk``, as OP_QUERY, which servers from the
oldest to the newest answer without an account.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from hafailover.crm.observe import bson
from hafailover.crm.observe.finding import Finding, listed
from hafailover.crm.observe.link import Link, LinkError

_HEADER = struct.Struct("<iiii")  # length, id, in answer to, kind of message
_OP_REPLY, _OP_QUERY = 1, 2004
_MAX_ANSWER = 1024 * 1024  # bytes; an answer to hello has a few hundred
_REQUEST = 1


class Hello(NamedTuple):
    """A server's answer. members: data-bearing ones that can be elected; passives: that cannot. primary: who it thinks it is, or "".

    last_write: Unix time of the last write it has, or None.
    """

    set_name: str
    writable: bool
    secondary: bool
    arbiter: bool
    primary: str
    members: tuple[str, ...]
    passives: tuple[str, ...]
    arbiters: tuple[str, ...]
    last_write: float | None


def question() -> bytes:
    """The message that asks."""
    body = (
        struct.pack("<i", 0)
        + b"admin.$cmd\0"
        + struct.pack("<ii", 0, -1)
        + bson.encode({"isMaster": 1, "helloOk": True})
    )
    return _HEADER.pack(_HEADER.size + len(body), _REQUEST, 0, _OP_QUERY) + body


def ask(link: Link) -> Hello:
    """One question and its answer; LinkError."""
    link.send(question())
    length, _, answers, kind = _HEADER.unpack(link.receive(_HEADER.size))
    if kind != _OP_REPLY or answers != _REQUEST or not _HEADER.size + 20 < length <= _MAX_ANSWER:
        raise LinkError("does not speak MongoDB's protocol")
    # Flags, cursor, first and number of documents come before the document.
    return answer(link.receive(length - _HEADER.size)[20:])


def answer(document: bytes) -> Hello:
    """What the document of an answer says; LinkError."""
    try:
        found = bson.decode(document)
    except bson.BsonError as error:
        raise LinkError(f"sent an answer that {error}") from error
    if not found.get("ok"):
        raise LinkError(f"refuses to answer: {found.get('errmsg') or found.get('$err') or 'no reason given'}")
    write = found.get("lastWrite")
    at = write.get("lastWriteDate") if isinstance(write, dict) else None
    return Hello(
        set_name=_text(found, "setName"),
        writable=found.get("isWritablePrimary", found.get("ismaster")) is True,
        secondary=found.get("secondary") is True,
        arbiter=found.get("arbiterOnly") is True,
        primary=_text(found, "primary"),
        members=_texts(found, "hosts"),
        passives=_texts(found, "passives"),
        arbiters=_texts(found, "arbiters"),
        last_write=at if isinstance(at, float) else None,
    )


def _text(found: Mapping[str, Any], key: str) -> str:
    value = found.get(key)
    return value if isinstance(value, str) else ""


def _texts(found: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = found.get(key)
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()


def judge(replica_set: str, asked: Mapping[str, Hello | str]) -> Finding:
    """From each address's answer, or why there is none, to what a person should know. ``replica_set`` is "" for a single server."""
    answers = {host: one for host, one in asked.items() if isinstance(one, Hello)}
    silent = [f"{host}: {why}" for host, why in asked.items() if isinstance(why, str)]
    if not answers:
        return Finding(
            False, "", f"no server answers ({'; '.join(silent)})", "look into it there: systemctl status mongod"
        )
    if not replica_set:
        writable = next((host for host, one in answers.items() if one.writable), None)
        if writable:
            return Finding(True, f"{writable} takes writes")
        return Finding(
            False,
            "",
            f"{next(iter(answers))} takes no writes",
            "it is a member of a replica set: name the set in the uri",
        )
    wrong = {host: one.set_name for host, one in answers.items() if one.set_name != replica_set}
    if len(wrong) == len(answers):
        host, name = next(iter(wrong.items()))
        what = f"belongs to the replica set {name}" if name else "belongs to no replica set, or was not initiated"
        return Finding(
            False, "", f"{host} {what}, not to {replica_set}", "correct external.mongodb.uri, or rs.initiate() there"
        )
    views = [one for host, one in answers.items() if host not in wrong]
    # Who has written last has seen the newest configuration, too.
    view = max(views, key=lambda one: (one.writable, one.last_write or 0.0, len(one.members)))
    voters = len({*view.members, *view.passives, *view.arbiters})
    complaints = [*silent, *(f"{host}: is not a member of {replica_set}" for host in wrong)]
    state = f"{listed(voters, 'voter')}, {len(views)} of {len(asked)} asked answer"
    primaries = [host for host, one in answers.items() if one.writable and host not in wrong]
    if primaries:
        return _with_primary(primaries, voters, state, complaints)
    elected = next((one.primary for one in views if one.primary), "")
    if elected:
        told = f"the primary {elected} cannot be reached from here"
        return Finding(
            False,
            state,
            "; ".join([told, *complaints]),
            "look at the network between this node and it, and at its net.bindIp",
        )
    return Finding(
        False,
        state,
        "; ".join([f"{replica_set} has no primary, so nothing can be written", *complaints]),
        f"bring back the members that are away: {voters // 2 + 1} of {voters} voters must see each other",
        since=max((one.last_write for one in views if one.last_write), default=None),
    )


def _with_primary(primaries: list[str], voters: int, state: str, complaints: list[str]) -> Finding:
    words = f"primary {primaries[0]}, {state}"
    advice = "look into it there: systemctl status mongod" if complaints else ""
    if len(primaries) > 1:
        # Two for a moment is an election; the older one steps down when it hears of it.
        complaints = [f"{' and '.join(primaries)} both take writes", *complaints]
        advice = "ask again in a moment; if it stays so, the network between them is cut"
    elif voters == 2:
        complaints = [*complaints, "the set has two voters: when one dies, the other takes no writes"]
        advice = "add a third member or an arbiter: rs.addArb('HOST:PORT')"
    return Finding(True, words, "; ".join(complaints), advice)
