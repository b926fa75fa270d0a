"""What Redis and its sentinels say, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from hafailover.crm.observe.finding import Finding, listed
from hafailover.crm.observe.link import Link, LinkError

_MAX_ANSWER = 64 * 1024
_ADVICE = "look into it there: systemctl status redis-server"
LOCKED = "refuses to answer: NOAUTH"
_NO_ACCOUNT = ("NOAUTH", "WRONGPASS", "NOPERM", "ERR AUTH", "ERR invalid password", "ERR Client sent AUTH")


class Replication(NamedTuple):
    """A server's ``INFO replication``. replicas: how many are connected.

    link_down: seconds since a replica lost its primary, 0 when it has it.
    """

    role: str
    primary: str
    link_down: int
    replicas: int


class Sentinel(NamedTuple):
    """What a sentinel knows: the primary's address, and what that says of itself (or why it does not)."""

    primary: str
    replication: Replication | str


def command(*words: str) -> bytes:
    """A command as Redis reads it."""
    parts = [f"*{len(words)}\r\n".encode()]
    parts += [f"${len(word.encode())}\r\n".encode() + word.encode() + b"\r\n" for word in words]
    return b"".join(parts)


class Conversation:
    """Commands and answers over a link."""

    def __init__(self, link: Link, password: str = "") -> None:
        self._link = link
        self._rest = b""
        if password:
            self.ask("AUTH", password)

    def ask(self, *words: str) -> str | list[str]:
        """The answer to a command, texts or a list of them; LinkError when it is an error, or no answer of Redis."""
        self._link.send(command(*words))
        return self._answer()

    def _answer(self) -> str | list[str]:
        line = self._line()
        kind, text = line[:1], line[1:]
        if kind in ("+", ":"):
            return text
        if kind == "-":
            asks = (
                " (give external.redis.password, readable here by root alone)" if text.startswith(_NO_ACCOUNT) else ""
            )
            raise LinkError(f"refuses to answer: {text}{asks}")
        if kind == "$":
            return self._bulk(_number(text))
        if kind == "*":
            return ["".join(self._answer()) for _ in range(min(_number(text), 1000))]
        raise LinkError("does not speak Redis's protocol")

    def _bulk(self, size: int) -> str:
        if size < 0:
            return ""
        if size > _MAX_ANSWER:
            raise LinkError("sends an answer that is too long")
        while len(self._rest) < size + 2:
            self._rest += self._link.receive_some()
        text, self._rest = self._rest[:size], self._rest[size + 2 :]
        return text.decode("utf-8", "replace")

    def _line(self) -> str:
        while b"\r\n" not in self._rest:
            if len(self._rest) > _MAX_ANSWER:
                raise LinkError("does not speak Redis's protocol")
            self._rest += self._link.receive_some()
        line, _, self._rest = self._rest.partition(b"\r\n")
        return line.decode("utf-8", "replace")


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise LinkError("does not speak Redis's protocol") from None


def ask(link: Link, password: str = "") -> Replication:
    """PING, then what the server says of its replication; LinkError."""
    talk = Conversation(link, password)
    if talk.ask("PING") != "PONG":
        raise LinkError("does not answer PING with PONG")
    return replication(str(talk.ask("INFO", "replication")))


def ask_sentinel(link: Link, name: str) -> str:
    """The address of the primary ``name``, HOST:PORT; LinkError."""
    found = Conversation(link).ask("SENTINEL", "get-master-addr-by-name", name)
    if not isinstance(found, list) or len(found) != 2:
        raise LinkError(f"knows no primary named {name}")
    return f"[{found[0]}]:{found[1]}" if ":" in found[0] else f"{found[0]}:{found[1]}"


def replication(info: str) -> Replication:
    """``INFO replication`` taken apart; LinkError when it is none."""
    found = dict(line.split(":", 1) for line in info.splitlines() if ":" in line and not line.startswith("#"))
    if "role" not in found:
        raise LinkError("sends no INFO replication")
    primary = f"{found.get('master_host', '')}:{found.get('master_port', '')}" if "master_host" in found else ""
    down = found.get("master_link_status") == "down"
    return Replication(
        role=found["role"],
        primary=primary,
        link_down=max(1, _number(found.get("master_link_down_since_seconds", "1"))) if down else 0,
        replicas=_number(found.get("connected_slaves", "0")),
    )


def judge(host: str, found: Replication | str, now: float) -> Finding:
    """What is to be said of the single server ``host``."""
    if isinstance(found, str):
        return Finding(False, "", f"{host}: {found}", _ADVICE)
    if found.role == "master":
        return Finding(True, f"primary {host}, {listed(found.replicas, 'replica')}")
    since = now - found.link_down if found.link_down else None
    lost = ", which it cannot reach" if found.link_down else ""
    return Finding(
        False,
        "",
        f"{host} is a replica of {found.primary}{lost}, and takes no writes",
        "name the primary, or the sentinels",
        since,
    )


def judge_sentinels(asked: Mapping[str, Sentinel | str], now: float) -> Finding:
    """What is to be said of the primary that sentinels know."""
    silent = [f"{host}: {why}" for host, why in asked.items() if isinstance(why, str)]
    known = [one for one in asked.values() if isinstance(one, Sentinel)]
    if not known:
        return Finding(
            False,
            "",
            f"no sentinel answers ({'; '.join(silent)})",
            "look into it there: systemctl status redis-sentinel",
        )
    addresses = [one.primary for one in known]
    primary = max(addresses, key=addresses.count)
    state = f"{len(known)} of {listed(len(asked), 'sentinel')} answer"
    finding = judge(primary, next(one.replication for one in known if one.primary == primary), now)
    if len(set(addresses)) > 1:
        silent.insert(0, f"the sentinels disagree: {', '.join(sorted(set(addresses)))}")
    elif len(known) * 2 <= len(asked):
        silent.append("that is no majority: when the primary dies, nobody is made primary")
    words = ", ".join(part for part in (finding.words, state) if part)
    advice = finding.advice or ("look into it there: systemctl status redis-sentinel" if silent else "")
    return finding._replace(
        words=words, problem="; ".join(part for part in (finding.problem, *silent) if part), advice=advice
    )
