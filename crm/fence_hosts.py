r"""Which nodes a fencing device is for, as Pacemaker's fencer reads ``pcmk_host_list``, ``pcmk_host_map`` and ``pcmk_host_check``.

After the fencer of 2.1 (tests/unit/test_fence_hosts.py has the cases). A list is separated by white space, ``,`` and ``;``; a name
ends before the first character that is none of ``A-Za-z0-9_.-``, and ``on`` and ``off`` are no names. A map is separated by
spaces, tabs and ``;``, and each pair has ``:`` or ``=``. Of several in one pair the last one counts, so ``a:b:c`` is the outlet c of
a node b. A backslash takes the meaning away from what follows it; it stays in a name, and goes out of an outlet. For whose name it
is, case makes no difference.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

LIST, MAP, CHECK = "pcmk_host_list", "pcmk_host_map", "pcmk_host_check"
PARAMETERS = frozenset({LIST, MAP, CHECK})
STATIC = "static-list"

_LINES = re.compile(r"\\n|\n")
_BETWEEN = re.compile(r"[\s,;]+", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_NO_TARGETS = frozenset({"on", "off"})
_PAIR_ENDS, _ASSIGNS = frozenset("; \t"), frozenset(":=")


class Hosts(NamedTuple):
    """What a device is for. listed: names in its list. mapped: (name, outlet) of each pair of its map. check: how it is found out.

    check is ``static-list`` (the list and the map say it), ``none`` (whatever the device is asked for), or what the device itself is
    asked: ``dynamic-list``, ``status``, or "" (Pacemaker takes what the agent can do: one of the four).
    """

    listed: tuple[str, ...]
    mapped: tuple[tuple[str, str], ...]
    check: str

    @property
    def names(self) -> tuple[str, ...]:
        """The names in list and map, each once, in order; nothing follows from them unless ``check`` is static-list."""
        return tuple(dict.fromkeys([*self.listed, *(name for name, _ in self.mapped)]))

    def covers(self, node: str) -> bool | None:
        """Whether the device may be used for ``node``; None when only the device knows."""
        if self.check == "none":
            return True
        if self.check != STATIC:
            return None
        # What the map calls the outlets counts as a name, too: an outlet that is called like a node makes the device one for that node.
        known = (*self.names, *(outlet for _, outlet in self.mapped))
        return node.lower() in {name.lower() for name in known}

    def outlet(self, node: str) -> str | None:
        """What the map calls ``node`` at the device, or None; of two pairs the later one counts."""
        return {name.lower(): outlet for name, outlet in self.mapped}.get(node.lower())


def read(params: Mapping[str, str]) -> Hosts:
    """What a device with these parameters is for."""
    # For this, a parameter that is there and empty is there.
    check = params.get(CHECK, STATIC if LIST in params or MAP in params else "")
    return Hosts(tuple(parse_list(params.get(LIST, ""))), tuple(parse_map(params.get(MAP, ""))), check.lower())


def parse_list(text: str) -> Iterator[str]:
    """The names in a ``pcmk_host_list``."""
    for line in _LINES.split(text):
        # The fencer reads what agents print with the same words, and leaves their complaints out.
        if "invalid" in line or "variable" in line:
            continue
        for word in _BETWEEN.split(line):
            match = _NAME.match(word)
            if match and match[0].lower() not in _NO_TARGETS:
                yield match[0]


def parse_map(text: str) -> Iterator[tuple[str, str]]:
    """Name and outlet of each pair in a ``pcmk_host_map``, or name and time in a ``pcmk_delay_base``; what is no pair is left out."""
    name: str | None = None
    begin = at = 0
    while at <= len(text):
        mark = text[at] if at < len(text) else ";"
        if mark == "\\":
            at += 1
        elif mark in _ASSIGNS:
            if at > begin:
                name = text[begin:at]
            begin = at + 1
        elif mark in _PAIR_ENDS:
            if name is not None:
                yield name, text[begin:at].replace("\\", "")
            name, begin = None, at + 1
        at += 1
