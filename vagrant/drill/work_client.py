"""A client of st2api that submits one numbered item after another, and says what became of each.

Runs as a program of its own, outside of the cluster, so it imports nothing of hafailover. Its orders come as one line of
JSON on standard input: ``urls``, ``every``, ``seconds``, ``patience``; end of file there stops it. Each acknowledged item
is a line ``{"number", "id", "at", "url"}``, each failed attempt ``{"number", "error", "at", "url"}``. An attempt that
failed is repeated with the same number at the next URL: an item may be done more often than it was acknowledged, never less.
"""

from __future__ import annotations

import json
import select
import sys
import time
import urllib.error
import urllib.request
from typing import Any


def main() -> None:
    """Submit until standard input ends."""
    orders = json.loads(sys.stdin.readline())
    number, at_url = 0, 0
    due = time.monotonic()
    while not _ended(max(0.0, due - time.monotonic())):
        # Items that could not be sent in time are left out: a burst afterwards would hide the gap.
        due = max(due, time.monotonic() - orders["every"]) + orders["every"]
        url = orders["urls"][at_url % len(orders["urls"])]
        if _submit(url, number, orders):
            number += 1
        else:
            at_url += 1


def _ended(seconds: float) -> bool:
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(ready) and not sys.stdin.readline()


def _submit(url: str, number: int, orders: dict[str, Any]) -> bool:
    body = {"action": "drill.work", "parameters": {"number": number, "seconds": orders["seconds"]}}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url.rstrip("/") + "/v1/executions", json.dumps(body).encode(), headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=orders["patience"]) as answer:  # noqa: S310
            identity = json.load(answer)["id"]
    except (OSError, ValueError, KeyError) as error:
        _say({"number": number, "error": str(error), "at": time.time(), "url": url})
        return False
    _say({"number": number, "id": identity, "at": time.time(), "url": url})
    return True


def _say(entry: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(entry) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
