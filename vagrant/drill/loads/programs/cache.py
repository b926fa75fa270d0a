"""A client of caches, as OpenStack's services are: it hashes its keys over all, and leaves one that fails alone for a while.

Its orders: ``servers`` (pairs of address and port), ``keys``, ``every``, ``patience``, ``dead`` (seconds); the end of its input stops it.
It looks up one key after another, and stores what it misses. Each look is a line ``{"at", "hit"}`` or ``{"at", "error", "noticed"}``:
an error is ``noticed`` when it is how the client learns that a cache is gone, which then is left alone; every other one is a failure of
the caches.
"""

from __future__ import annotations

import time
from typing import Any

from pymemcache.client.hash import HashClient  # type: ignore[import-untyped]
from pymemcache.exceptions import MemcacheError, MemcacheUnexpectedCloseError  # type: ignore[import-untyped]

from .pace import orders, say, turns


def main() -> None:
    """Look up until standard input ends."""
    told = orders()
    patience = told["patience"]
    client: Any = HashClient(
        [tuple(server) for server in told["servers"]],
        connect_timeout=patience,
        timeout=patience,
        retry_attempts=0,  # the first failure marks a cache as dead
        dead_timeout=told["dead"],
        default_noreply=False,
    )
    for number, _ in enumerate(turns(told["every"])):
        say(_look(client, f"hafailover-{number % told['keys']}"))


def _look(client: Any, key: str) -> dict[str, Any]:
    dead = dict(client._dead_clients)
    try:
        value = client.get(key)
        if value is None:
            client.set(key, key)
        elif value.decode() != key:
            return {"at": time.time(), "error": f"{key} holds {value!r}", "noticed": False}
    except (OSError, MemcacheError) as error:
        # A cache that is gone is noticed by a connection that it has closed, or by one that cannot be made, or by silence; and
        # again whenever the client's own time for a dead one is over.
        marked = any(dead.get(server) != since for server, since in client._dead_clients.items())
        noticed = isinstance(error, MemcacheUnexpectedCloseError) or marked
        return {"at": time.time(), "error": f"{type(error).__name__}: {error}", "noticed": noticed}
    return {"at": time.time(), "hit": value is not None}
