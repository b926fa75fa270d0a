"""Levels of the source's fencing, which a topology does not have: what is lost with them, and which devices are no use one by one."""

from __future__ import annotations

from dataclasses import dataclass, field

from hafailover.crm.importing import findings
from hafailover.crm.importing.draft import Draft
from hafailover.crm.importing.findings import visible
from hafailover.crm.importing.names import words
from hafailover.crm.resolved_xml import element

_LAST = 1_000_000


@dataclass
class Levels:
    """``together``: node → devices that only switch it off with others; ``rank``: device → lowest level at which it stands alone."""

    together: dict[str, set[str]] = field(default_factory=dict)
    rank: dict[str, int] = field(default_factory=dict)

    def order(self, device: str) -> int:
        """Where a device stands among the others, lowest first."""
        return self.rank.get(device, _LAST)


def read(draft: Draft) -> Levels:
    """The levels of the source, and a note about each node that has more than one device in them."""
    found = Levels()
    for node, levels in _by_node(draft).items():
        for index, devices in sorted(levels.items()):
            if len(devices) > 1:
                found.together.setdefault(node, set()).update(devices)
            elif devices:
                found.rank[devices[0]] = min(index, found.order(devices[0]))
        _tell(draft, node, levels)
    return found


def _by_node(draft: Draft) -> dict[str, dict[int, list[str]]]:
    """Node → level → its devices. A level whose nodes an expression or an attribute chooses is taken as one for each node."""
    found: dict[str, dict[int, list[str]]] = {}
    sections = [element(xml) for name, xml in draft.resolved.configuration.others if name == "fencing-topology"]
    for level in [one for section in sections if section is not None for one in section.iter("fencing-level")]:
        target, text = level.get("target"), level.get("index") or ""
        index = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
        devices = list(dict.fromkeys(words(level.get("devices"))))
        if target is None:
            what = visible(level.get("target-pattern") or level.get("target-attribute") or "", 60)
            text = f"which nodes it is for, {what} decides; it is taken as one for every node"
            draft.notes.add(findings.ASSUMED, f"fencing level {level.get('id', '')}", text)
        nodes = [one for one in draft.node_names if target is None or one.lower() == target.lower()]
        for node in nodes:
            here = found.setdefault(node, {}).setdefault(index, [])
            here += [one for one in devices if one not in here]
    return found


def _tell(draft: Draft, node: str, levels: dict[int, list[str]]) -> None:
    where = f"fencing levels of {node}"
    for index, devices in sorted(levels.items()):
        if len(devices) > 1:
            text = (
                f"level {index} needs all of {visible(', '.join(devices), 100)}: a topology has one device that is enough by itself, and "
                "one of these alone would be told as success while the node goes on; none of them is taken"
            )
            fix = "give the node another fence, such as its management board, or SBD; until then leave these devices as they are"
            draft.notes.add(findings.LEFT_OUT, where, text, fix)
    if len(levels) > 1:
        text = (
            f"{len(levels)} levels, tried one after the other; a topology has none: of devices that it keeps each is enough, and Pacemaker "
            "chooses which it asks first"
        )
        draft.notes.add(findings.LEFT_OUT, where, text)
