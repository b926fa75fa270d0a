"""Boot: whether systemd starts by itself what the cluster is to start."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from hafailover.crm.doctor import FAIL, OK, Result, Seen, text
from hafailover.crm.doctor.here import Here

TITLE = "What starts at boot"
# The commands that a node may have another one show, to be pasted.
_FIX = re.compile(
    r"systemctl disable ('[^']*'|[\w@%+=:,./-]+)|sed -i '\d+s/\^/# mounted by the cluster: /' /etc/fstab && systemctl daemon-reload",
    re.ASCII,
)


def read(here: Here) -> dict[str, Any]:
    """``found``: [what, text, fix] of each unit or mount of the cluster's that a boot starts, too."""
    from xml.etree import ElementTree

    from hafailover.crm.formats import cib
    from hafailover.crm.lint import Facts, Found
    from hafailover.crm.lint.node import NodeFacts
    from hafailover.crm.lint.node_files import NodeFiles
    from hafailover.crm.lint.rules import boot
    from hafailover.crm.resolved import Resolved

    made = cib.read(cib.parse(ElementTree.tostring(here.configuration()), "the cluster's configuration"))
    node = NodeFacts(here.node, None, "", (), {}, None, NodeFiles())
    facts = Facts(None, node, made, Resolved(made), None, True, {})
    found = [one for one in (*boot.unit_at_boot(facts), *boot.mount_at_boot(facts)) if isinstance(one, Found)]
    return {"found": [[one.where.partition(": ")[2] or one.where, one.text, one.fix] for one in found]}


def judge(seen: Seen) -> Iterator[Result]:
    """A result for each unit, and one for each node without any."""
    yield from seen.untold("boot", "starts-at-boot", "what starts at boot")
    for node, facts in seen.told("boot").items():
        entries = [one for one in facts.get("found") or () if isinstance(one, list) and len(one) == 3]
        for where, what, fix in entries:
            why = f"after a reboot it runs before the cluster has a say, beside the one elsewhere ({text(where)})"
            known = _FIX.fullmatch(text(fix))
            todo = known[0] if known else f"on {node}: systemctl list-unit-files --state enabled; /etc/fstab"
            yield Result("starts-at-boot", FAIL, node, text(what), why, todo)
        if not entries:
            yield Result("starts-at-boot", OK, node, "the cluster alone starts what is its own")
