"""How nodes tell each other what they saw of themselves: as the history does, by a private attribute of each in the cluster.

It is in no CIB, goes with its node, is carried by Corosync, and nothing listens for it. What another node shows may be written there by
anybody of the group haclient: it is read like a stranger's letter, shown as text, and nothing of it is run.
"""

from __future__ import annotations

import binascii
import json
import zlib
from collections.abc import Mapping
from typing import Any

from hafailover.crm.doctor import Letter, number

ATTRIBUTE = "hafailover-doctor"
VERSION = "1"
LARGEST = 12000  # characters
_PLAIN = 1 << 19  # bytes that may come out of a packed text


def write(at: float, facts: Mapping[str, Mapping[str, Any]]) -> str:
    """The attribute's text; groups that are too large for it are told to be, the largest first."""
    told = dict(facts)
    while len(text := _packed(at, told)) > LARGEST and told:
        largest = max(told, key=lambda name: len(json.dumps(told[name])))
        told[largest] = {"error": "there is more of it than nodes tell each other: run hafailover doctor there"}
    return text


def _packed(at: float, facts: Mapping[str, Mapping[str, Any]]) -> str:
    plain = json.dumps({"at": at, "facts": facts}, separators=(",", ":"), sort_keys=True)
    return f"{VERSION}{binascii.b2a_base64(zlib.compress(plain.encode(), 9), newline=False).decode()}"


def read(node: str, text: str) -> Letter | None:
    """The letter in an attribute's text; None when it is none, or of another version."""
    if not text.startswith(VERSION) or len(text) > 2 * LARGEST:
        return None
    try:
        plain = zlib.decompressobj().decompress(binascii.a2b_base64(text[len(VERSION) :]), _PLAIN)
        named = json.loads(plain)
        at, facts = number(named["at"]), named["facts"]
        if at is None or not isinstance(facts, dict) or not all(isinstance(one, dict) for one in facts.values()):
            return None
        return Letter(node, at, facts)
    except (ValueError, KeyError, TypeError, zlib.error, RecursionError):
        return None
