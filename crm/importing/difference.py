"""What the imported topology makes different from its source, in an operator's terms. Pure; linear in both configurations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from hafailover.crm.formats import cib
from hafailover.crm.importing.cluster import is_ours
from hafailover.crm.importing.difference_rest import rest
from hafailover.crm.importing.difference_ties import constraints
from hafailover.crm.importing.difference_words import Difference, changed, operations, parameter
from hafailover.crm.importing.draft import Draft, Replaced
from hafailover.crm.importing.findings import visible
from hafailover.crm.importing.hidden import may_show
from hafailover.crm.model import AttributeSet
from hafailover.crm.pacemaker_options import WRITTEN_BY_PACEMAKER
from hafailover.crm.resolved import Resolved, Resource
from hafailover.crm.topology_fencing import FENCE_SECRETS
from lxml import etree

__all__ = ["Difference", "differences"]

# What says nothing about the configuration: written by the cluster itself, or its state.
_OF_THE_CLUSTER = WRITTEN_BY_PACEMAKER | {"maintenance-mode", "stop-all-resources"}
_STATE = frozenset({"target-role", "is-managed", "maintenance"})
_OLD_META = {"master-max": "promoted-max", "master-node-max": "promoted-node-max"}
# What Pacemaker takes when nothing is said.
_META = {
    "clone-node-max": "1", "promoted-max": "1", "promoted-node-max": "1", "notify": "false", "interleave": "false", "ordered": "false",
    "globally-unique": "false", "priority": "0", "promotable": "false", "resource-stickiness": "0", "migration-threshold": "INFINITY",
    "failure-timeout": "0", "multiple-active": "stop_start", "allow-migrate": "false",
}  # fmt: skip
_PROPERTIES = {
    "stonith-enabled": "true", "no-quorum-policy": "stop", "cluster-recheck-interval": "15min", "symmetric-cluster": "true",
    "priority-fencing-delay": "0", "start-failure-is-fatal": "true", "stonith-action": "reboot", "stonith-timeout": "60s",
    "enable-acl": "false", "pe-warn-series-max": "5000", "pe-error-series-max": "-1", "pe-input-series-max": "4000",
    "cluster-delay": "60s", "startup-fencing": "true", "stop-orphan-resources": "true", "stop-orphan-actions": "true",
    "concurrent-fencing": "true", "stonith-watchdog-timeout": "0", "placement-strategy": "default", "batch-limit": "0",
    "default-resource-stickiness": "0", "is-managed-default": "true", "node-health-strategy": "none", "shutdown-lock": "false",
}  # fmt: skip


def differences(draft: Draft, result: Resolved, lab: bool) -> list[Difference]:
    """Everything in which ``result``, what the topology makes, differs from the source of ``draft``; ``lab``: it was compared as one."""
    return list(_Comparison(draft, result, lab).run())


class _Comparison:
    def __init__(self, draft: Draft, result: Resolved, lab: bool) -> None:
        self._draft, self._source, self._result, self._lab = draft, draft.resolved, result, lab

    def run(self) -> Iterator[Difference]:
        yield from self._properties()
        yield from self._resources()
        yield from constraints(self._draft, self._result)
        yield from self._sections()
        yield from rest(self._draft, self._result)

    # Properties and defaults.
    def _properties(self) -> Iterator[Difference]:
        ours = {
            pair.name
            for found in self._source.configuration.properties
            if isinstance(found, AttributeSet) and is_ours(found.id)
            for pair in found.pairs
        }
        # Agents keep their own records there, too.
        ours |= {name for name in self._source.properties if name.endswith("_REPL_INFO")}
        if self._draft.resolved.property("stonith-enabled") is not None and "lab" not in self._draft.head and self._lab:
            ours.add("stonith-enabled")  # that comes from what was invented for this comparison
        skip = _OF_THE_CLUSTER | ours
        yield from self._pairs(
            "property", "cluster property", self._source.properties, self._result.properties, _PROPERTIES, skip
        )
        yield from self._pairs(
            "default", "resource default", self._source.rsc_defaults, self._result.rsc_defaults, _META, _STATE
        )
        yield from self._pairs(
            "default",
            "operation default",
            self._source.op_defaults,
            self._result.op_defaults,
            {"record-pending": "true"},
            (),
        )

    def _pairs(
        self,
        kind: str,
        what: str,
        old: Mapping[str, str],
        new: Mapping[str, str],
        usual: Mapping[str, str],
        skip: Iterable[str],
    ) -> Iterator[Difference]:
        left_alone = set(skip)
        for name in dict.fromkeys([*old, *new]):
            if name not in left_alone:
                here = changed(name, old.get(name), new.get(name), usual.get(name))
                if here:
                    yield Difference(kind, f"{what} {visible(name, 60)}", here)

    # Resources.
    def _resources(self) -> Iterator[Difference]:
        came_from: dict[str, str] = {}
        for old in self._source.resources.values():
            target = self._draft.renames.get(old.id)
            new = self._result.resources.get(target or "")
            if new is None:
                if old.kind in ("primitive", "bundle"):
                    yield Difference(
                        "resource", visible(old.id, 80), f"{visible(old.agent or old.kind, 80)} is not in the topology"
                    )
                continue
            if new.id in came_from:
                yield Difference(
                    "resource",
                    visible(old.id, 80),
                    f"becomes a part of {new.id}, as {visible(came_from[new.id], 80)} does",
                )
                continue
            came_from[new.id] = old.id
            yield from self._resource(old, new)
        for new in self._result.resources.values():
            if new.id not in came_from and new.kind == "primitive":
                yield Difference("resource", new.id, f"{new.agent} is new")

    def _resource(self, old: Resource, new: Resource) -> Iterator[Difference]:
        where = visible(old.id, 80)
        if old.id != new.id:
            yield Difference("resource", where, f"is called {new.id}")
        if old.kind != new.kind:
            yield Difference("resource", where, f"is a {old.kind}, and becomes a {new.kind}")
        elif old.kind == "group":
            order = [self._draft.renames.get(child, child) for child in old.children]
            kept = [child for child in order if child in new.children]
            if kept != [child for child in new.children if child in kept]:
                yield Difference("resource", where, f"its members start in another order: {' '.join(new.children)}")
        elif old.kind == "primitive":
            if _is_lonely(self._source, old) and not _is_lonely(self._result, new):
                yield Difference("resource", where, f"runs on one node, and will run on each of its nodes ({new.top})")
            yield from self._parameters(old, new, where)
            yield from operations(old, new, where)
        yield from self._meta(old, new, where)

    def _parameters(self, old: Resource, new: Resource, where: str) -> Iterator[Difference]:
        replaced = self._draft.replaced.get(old.id)
        if old.agent != new.agent:
            yield Difference("resource", where, f"{visible(old.agent, 80)} becomes {new.agent}")
            told = (replaced or Replaced("")).told
            for name, value in old.params.items():
                if name not in told:
                    shown = f"={visible(value, 60)}" if may_show(name, value) else " (value not shown)"
                    yield Difference("parameter", where, f"parameter {visible(name, 60)}{shown} is not carried over")
            return
        scripts = {
            secret: script for secret, script in FENCE_SECRETS.items() if secret in old.params and script in new.params
        }
        for name in dict.fromkeys([*old.params, *new.params]):
            if name in scripts:
                text = f"parameter {name} is read from a program that only root can read, and is in the CIB no more"
                yield Difference("parameter", where, text)
            if name in scripts or name in scripts.values():
                continue
            here = parameter(name, old.params.get(name), new.params.get(name))
            if here:
                yield Difference("parameter", where, f"parameter {visible(name, 60)}: {here}")

    def _meta(self, old: Resource, new: Resource, where: str) -> Iterator[Difference]:
        before, after = self._own_meta(self._source, old), self._own_meta(self._result, new)
        usual = {**_META, "ordered": "false"}
        if old.kind == new.kind == "clone":
            usual["clone-max"] = str(len(self._draft.node_names))
            if old.promotable:
                before.setdefault("promotable", "true")
        if old.parent is not None and new.parent is not None:
            # What is told of the clone or group around it is not told again.
            above = {**self._own_meta(self._source, self._source.resources[old.parent])}
            beyond = {**self._own_meta(self._result, self._result.resources[new.parent])}
            before = {key: value for key, value in before.items() if above.get(key) != value}
            after = {key: value for key, value in after.items() if beyond.get(key) != value}
        for name in dict.fromkeys([*before, *after]):
            if name not in _STATE:
                here = changed(name, before.get(name), after.get(name), usual.get(name))
                if here:
                    yield Difference("meta attribute", where, f"meta attribute {visible(name, 60)}: {here}")

    def _own_meta(self, resolved: Resolved, one: Resource) -> dict[str, str]:
        """What is said of a resource, without what holds for all."""
        found = {
            _OLD_META.get(name, name): value
            for name, value in one.meta.items()
            if resolved.rsc_defaults.get(name) != value
        }
        if one.legacy:
            found["promotable"] = "true"
        return found

    # Constraints.
    # What the model has no type for.
    def _sections(self) -> Iterator[Difference]:
        for name, xml in self._source.configuration.others:
            if name.startswith("#"):
                continue
            made = {
                _plain(one)
                for other, text in self._result.configuration.others
                if other == name
                for one in cib.children_text(text)
            }
            count = sum(_plain(one) not in made for one in cib.children_text(xml))
            if count:
                text = f"{count} entr{'y' if count == 1 else 'ies'}; a topology says nothing of it, and apply leaves it alone"
                yield Difference("section", f"section {visible(name, 40)}", text)
        for name, missing in self._source.dangling:
            yield Difference("constraint", visible(name, 80), f"names {visible(missing, 80)}, which is not there")


def _plain(xml: str) -> bytes:
    return bytes(etree.tostring(etree.fromstring(xml), method="c14n"))


def _is_lonely(resolved: Resolved, one: Resource) -> bool:
    return resolved.resources[one.top].kind not in ("clone", "bundle")
