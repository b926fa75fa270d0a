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
    "list": "list of services",
}


def begin(path: str = PATH, limit: float = LIMIT) -> Look | External | None:
    """Start to look, while the cluster is asked, for ``limit`` s; None when nothing outside is to be looked at.

    When ``path`` does not say what is, this is what there is to tell.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = file.read()
    except OSError:
        return None
    from hafailover.crm.observe import targets

    try:
        found = targets.read(content)
    except ValueError as error:  # half of a file, or somebody else's
        return External(
            kind="list",
            name=path,
            addresses=(),
            usable=False,
            state="",
            problem=f"nobody looks at what is outside: the file {error}",
            advice="hafailover render TOPOLOGY --install writes it again",
            since=None,
        )
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


def end(look: Look | External | None) -> tuple[External, ...]:
    """What came of it."""
    if look is None:
        return ()
    if isinstance(look, External):
        return (look,)
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
