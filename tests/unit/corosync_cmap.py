"""Corosync's map of its configuration, as corosync-cmapctl prints it."""

from __future__ import annotations


def nodelist(*nodes: dict[str, str | int]) -> str:
    """The lines of ``nodes``, each with its keys in this order."""
    return "".join(
        f"nodelist.node.{place}.{key} ({'u32' if isinstance(value, int) else 'str'}) = {value}\n"
        for place, node in enumerate(nodes)
        for key, value in node.items()
    )
