"""A client of st2api that submits one numbered item after another, and says what became of each.

Its orders: ``urls``, ``every``, ``seconds`` (that an item takes), ``patience``; the end of its input stops it. Each acknowledged item
is a line ``{"number", "id", "at", "url"}``, each failed attempt ``{"number", "error", "at", "url"}``. An attempt that
failed is repeated with the same number at the next URL: an item may be done more often than it was acknowledged, never less.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

from .pace import orders, say, turns


def main() -> None:
    """Submit until standard input ends."""
    told = orders()
    number, at_url = 0, 0
    for _ in turns(told["every"]):
        url = told["urls"][at_url % len(told["urls"])]
        if _submit(url, number, told):
            number += 1
        else:
            at_url += 1


def _submit(url: str, number: int, told: dict[str, Any]) -> bool:
    body = {"action": "drill.work", "parameters": {"number": number, "seconds": told["seconds"]}}
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url.rstrip("/") + "/v1/executions", json.dumps(body).encode(), headers)  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=told["patience"]) as answer:  # noqa: S310
            identity = json.load(answer)["id"]
    except (OSError, ValueError, KeyError) as error:
        say({"number": number, "error": str(error), "at": time.time(), "url": url})
        return False
    say({"number": number, "id": identity, "at": time.time(), "url": url})
    return True
