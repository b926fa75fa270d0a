"""Ask everything outside of the cluster at the same time, and wait for no answer longer than was agreed."""

from __future__ import annotations

import threading
import time
from typing import Any, Callable

from hafailover.crm.observe import greetings, mongodb, redis
from hafailover.crm.observe.finding import Finding
from hafailover.crm.observe.link import Link, LinkError
from hafailover.crm.observe.targets import Target

_GRACE = 0.02  # seconds
_GREETINGS: dict[str, Callable[[Link], str]] = {
    "rabbitmq": greetings.amqp,
    "mariadb": greetings.mysql,
    "storage": greetings.nfs,
}


class Look:
    """A look at ``targets`` that has begun; ``password`` is that of Redis, or None when it may not be read.

    Each address has ``limit`` seconds for its answer.
    """

    def __init__(self, targets: tuple[Target, ...], password: str | None, limit: float) -> None:
        self._deadline = time.monotonic() + limit
        self._password = password
        self._answers: list[tuple[Target, dict[str, Any]]] = [(target, {}) for target in targets]
        self._threads = []
        for target, answers in self._answers:
            for address in target.addresses:
                # Nobody waits for one whose name server is silent: looking up a name has no timeout of its own.
                thread = threading.Thread(target=self._ask, args=(target, address, answers), daemon=True)
                thread.start()
                self._threads.append(thread)

    def findings(self) -> list[tuple[Target, Finding]]:
        """What was found out about each target, once all have answered or their time is over."""
        # Those that end at the deadline have to tell so yet.
        end = self._deadline + _GRACE
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return [(target, self._judged(target, dict(answers))) for target, answers in self._answers]

    def _ask(self, target: Target, address: tuple[str, int, bool], answers: dict[str, Any]) -> None:
        host, port, tls = address
        try:
            with Link(host, port, self._deadline, target.ca_file, tls) as link:
                answers[_written(host, port)] = self._answer(target, link)
        except LinkError as error:
            answers[_written(host, port)] = error

    def _answer(self, target: Target, link: Link) -> Any:
        if target.kind == "mongodb":
            return mongodb.ask(link)
        if target.kind != "redis":
            return _GREETINGS[target.kind](link)
        if not target.name:
            return redis.ask(link, self._password or "")
        primary = redis.ask_sentinel(link, target.name)
        host, _, port = primary.rpartition(":")
        try:
            with Link(host.strip("[]"), int(port), self._deadline) as other:
                return redis.Sentinel(primary, redis.ask(other, self._password or ""))
        except LinkError as error:
            return redis.Sentinel(primary, str(error))

    def _judged(self, target: Target, answers: dict[str, Any]) -> Finding:
        late = LinkError("no answer in time")
        asked = {_written(host, port): late for host, port, _ in target.addresses}
        asked.update(answers)
        if target.kind in _GREETINGS:
            return greetings.judge(asked)
        told = {host: str(one) if isinstance(one, LinkError) else one for host, one in asked.items()}
        if target.kind == "mongodb":
            return mongodb.judge(target.name, told)
        if target.name:
            return self._locked(redis.judge_sentinels(told, time.time()))
        (host, found), *_ = told.items()
        return self._locked(redis.judge(host, found, time.time()))

    def _locked(self, finding: Finding) -> Finding:
        """Redis behind a password that this user may not read: it answers, and more cannot be said."""
        if self._password is None and redis.LOCKED in finding.problem:
            return Finding(True, "answers; whether it is the primary is only shown to root")
        return finding


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
