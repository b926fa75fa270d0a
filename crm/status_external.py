"""What the status says of services outside of the cluster, when this node was told of any."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hafailover.crm.status import External

if TYPE_CHECKING:
    from hafailover.crm.observe.look import Look

PATH = "/etc/hafailover/external.json"  # spelled out: most clusters have none, and need nothing of what reads it
LIMIT = 0.3
"""Seconds that each address has for its answer: somebody waits for the status."""
KINDS = {
    "mongodb": "MongoDB",
    "redis": "Redis",
    "rabbitmq": "RabbitMQ",
    "mariadb": "MariaDB",
    "storage": "storage",
}


def begin(path: str = PATH, limit: float = LIMIT) -> Look | None:
    """Start to look, while the cluster is asked, for ``limit`` s; None when nothing outside is to be looked at."""
    try:
        with open(path, encoding="utf-8") as file:
            content = file.read()
    except OSError:
        return None
    from hafailover.crm.observe import targets

    try:
        found = targets.read(content)
    except ValueError:
        # Somebody else's file, or half of one: the next render writes it again.
        return None
    if not found:
        return None
    from hafailover.crm.observe.look import Look

    return Look(found, _password(targets.REDIS_PASSWORD), limit)


def _password(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().rstrip("\n")
    except FileNotFoundError:
        return ""
    except OSError:
        return None


def end(look: Look | None) -> tuple[External, ...]:
    """What came of it."""
    if look is None:
        return ()
    return tuple(
        External(
            kind=target.kind,
            name=target.name,
            addresses=tuple(
                f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port, _ in target.addresses
            ),
            usable=finding.usable,
            state=finding.words,
            problem=finding.problem,
            advice=finding.advice,
            since=finding.since,
        )
        for target, finding in look.findings()
    )
