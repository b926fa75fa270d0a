"""From a cluster as it is to a topology: what is recognised is written, what is not is told, and the result is compared with the source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hafailover.crm import generate
from hafailover.crm.corosync_conf import CorosyncConf
from hafailover.crm.errors import UsageError
from hafailover.crm.formats import cib
from hafailover.crm.importing import cluster, content, document, fencing, hidden, loading, own, stock, stock_st2, ties
from hafailover.crm.importing.difference import Difference, differences
from hafailover.crm.importing.difference_corosync import of_corosync
from hafailover.crm.importing.draft import Draft
from hafailover.crm.importing.findings import Note
from hafailover.crm.model import Configuration, Node
from hafailover.crm.resolved import Resolved

__all__ = ["Difference", "Import", "Note", "run"]


@dataclass(frozen=True)
class Import:
    """``text`` is the topology; ``lacking`` is why it does not load yet, in the loader's words. ``compared``: whether both could be."""

    text: str
    data: Mapping[str, Any]
    lacking: tuple[str, ...]
    notes: tuple[Note, ...]
    differences: tuple[Difference, ...]
    compared: bool


def run(root: Any, origin: str, conf: CorosyncConf | None = None, known: Mapping[str, str] | None = None) -> Import:
    """The topology of the element cib ``root``.

    ``conf`` is the cluster's corosync.conf, ``known`` the addresses of hosts that it names. UsageError when there is nothing to import.
    """
    try:
        return _run(cib.read(root), origin, conf, known or {})
    except RecursionError:
        raise UsageError(f"{origin}: is nested deeper than any CIB") from None


def _run(configuration: Configuration, origin: str, conf: CorosyncConf | None, known: Mapping[str, str]) -> Import:
    resolved = Resolved(configuration)
    if not any(isinstance(one, Node) for one in configuration.nodes) and not (conf and conf.nodes):
        raise UsageError(
            f"{origin}: names no node, and a topology is made for nodes; give --corosync corosync.conf, which names them"
        )
    draft = Draft(resolved, conf)
    cluster.read(draft, known)
    fencing.read(draft)
    content.servers(draft)
    own.read(draft)
    stock.read(draft)
    _in_order(draft)
    ties.read(draft)
    content.addresses(draft)
    stock_st2.accounts(draft)
    cluster.properties(draft)
    hidden.hide(draft)
    loading.settle_fencing(draft)
    loading.settle(draft)
    found, compared = _compare(draft, conf)
    hidden.hide(draft)  # what came since: the loader quotes values
    found = [Difference(one.kind, one.where, hidden.sentence(one.text)) for one in found]
    body = document.body(draft)
    lacking = [
        hidden.sentence(one) for one in document.shifted(document.unfinished(draft, document.read_back(draft, body)))
    ]
    return Import(
        document.text(draft, origin, body, lacking, map(str, found)),
        loading.data(draft),
        tuple(lacking),
        tuple(draft.notes.found),
        tuple(found),
        compared,
    )


def _in_order(draft: Draft) -> None:
    """Services in the order in which the source has their resources, however they were recognised."""
    place: dict[str, int] = {}
    for index, id in enumerate(draft.resolved.resources):
        kind, name = draft.anchors.get(id, ("", ""))
        if kind == "service":
            place.setdefault(name, index)
    draft.services = {name: draft.services[name] for name in sorted(draft.services, key=lambda one: place.get(one, 0))}


def _compare(draft: Draft, conf: CorosyncConf | None) -> tuple[list[Difference], bool]:
    stand_in = loading.stand_in(draft)
    wanted, invented = stand_in.topology, stand_in.invented
    if wanted is None:
        return [], False
    try:
        result = Resolved(generate.configuration(wanted))
    except UsageError as error:
        return [Difference("resource", "", str(error))], False
    found = differences(draft, result, wanted.lab)
    found = [one for one in found if not any(address in one.text for address in invented.values())]
    if conf is not None and not invented:
        found += of_corosync(conf, wanted, draft.node_names)
    found += [
        Difference("resource", name, "could not be compared: the topology does not load with it")
        for name in stand_in.removed
    ]
    return found, True
