"""How Pacemaker reads what stands in a configuration: scores, truth values, times and the names of roles. Pure.

Each function reads like Pacemaker's own (char2score, crm_str_to_boolean, crm_parse_interval_spec of 2.1), also what nobody should write.
"""

from __future__ import annotations

import re

INFINITY = 1_000_000
"""The score that outweighs every other, and the largest there is."""

PROMOTED, UNPROMOTED, STARTED, STOPPED = "Promoted", "Unpromoted", "Started", "Stopped"
_ROLES = {
    "promoted": PROMOTED, "unpromoted": UNPROMOTED, "started": STARTED, "stopped": STOPPED,
    "master": PROMOTED, "slave": UNPROMOTED,
}  # fmt: skip
_TRUE = frozenset({"true", "on", "yes", "y", "1"})
_FALSE = frozenset({"false", "off", "no", "n", "0"})
_COLOURS = {"red": -INFINITY, "yellow": 0, "green": 0}
_NUMBER = re.compile(r"\s*([+-]?[0-9]{1,18})")
_TIME = re.compile(r"\s*([0-9]{1,18})\s*([A-Za-z]*)", re.ASCII)
# Of a unit only its beginning counts, in this order: "ms" before "m", "sec" is "s".
_UNITS = (("ms", 1), ("us", 0), ("s", 1000), ("m", 60_000), ("h", 3_600_000))
_PERIOD = re.compile(
    r"P(?:([0-9]{1,9})Y)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9})W)?(?:([0-9]{1,9})D)?(?:T(?:([0-9]{1,9})H)?(?:([0-9]{1,9})M)?(?:([0-9]{1,9})S)?)?"
)
_PERIOD_SECONDS = (365 * 86400, 30 * 86400, 7 * 86400, 86400, 3600, 60, 1)


def score(text: str | None) -> int:
    """A score from -INFINITY to INFINITY; what is missing or no score counts as 0."""
    if text is None:
        return 0
    word = text.strip()
    if word.lstrip("+-").upper() == "INFINITY":
        return -INFINITY if word.startswith("-") else INFINITY
    if word.lower() in _COLOURS:
        return _COLOURS[word.lower()]
    number = _NUMBER.match(word)
    return max(-INFINITY, min(INFINITY, int(number[1]))) if number else 0


def boolean(text: str | None) -> bool | None:
    """True for true, on, yes, y and 1, False for their opposites, None for anything else, whatever the case."""
    word = (text or "").lower()
    return True if word in _TRUE else False if word in _FALSE else None


def milliseconds(text: str | None) -> int | None:
    """A time in ms: "10" and "10s" are 10000, "500ms" is 500, "PT1M" is 60000. None when it is missing or none."""
    if text is None:
        return None
    if text.startswith("P"):
        return _period(text)
    found = _TIME.match(text)
    if found is None:
        return None
    count, unit = int(found[1]), found[2].lower()
    if not unit:
        rest = text[found.end() :].lstrip("0123456789.,-")
        return count * 1000 if not rest.strip() else None
    for name, factor in _UNITS:
        if unit.startswith(name):
            return count * factor if factor else count // 1000
    return None


def _period(text: str) -> int | None:
    found = _PERIOD.fullmatch(text)
    if found is None or not any(found.groups()):
        return None
    return 1000 * sum(int(part) * size for part, size in zip(found.groups("0"), _PERIOD_SECONDS))


def role(text: str | None) -> str:
    """Promoted, Unpromoted, Started or Stopped, also for the words before Pacemaker 2.1 (Master, Slave); "" when there is none."""
    return _ROLES.get((text or "").lower(), text or "")
