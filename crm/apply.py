"""Bring a topology's configuration into the running cluster: plan, check, patch, wait.

The patch names the CIB version it was made from, so the cluster itself refuses it when somebody was faster.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hafailover.crm import fence_check, generate, local, simulate
from hafailover.crm.apply_outcome import Made, UncertainError, half_done
from hafailover.crm.change import Change
from hafailover.crm.errors import HafailoverError, RefusedError, UsageError
from hafailover.crm.formats import cib
from hafailover.crm.merge import merge
from hafailover.crm.model import Configuration
from hafailover.crm.topology import Topology
from hafailover.crm.validate import validate
from lxml import etree

TOOL_TIMEOUT = 30.0
# Every monitor result counts as a new version of the CIB, so a busy cluster may need a few attempts for one patch.
ATTEMPTS = 10
REST = 30.0  # seconds that Pacemaker may need to finish what it is at

_DISCONNECTED = (102, 107)
_OLD = 103
_UNANSWERED = (124, *_DISCONNECTED)
AGAIN = "run hafailover apply again"


@dataclass(frozen=True)
class Plan:
    """What apply would do: the live CIB it was made from, the new one, the changes, and what Pacemaker would then do.

    ``later``: what it would do only when what is in maintenance or not managed is managed again.
    """

    live: Any
    tree: Any
    changes: tuple[Change, ...]
    effects: tuple[simulate.Effect, ...]
    notes: tuple[str, ...]
    later: tuple[simulate.Effect, ...] = ()

    @property
    def needed(self) -> bool:
        """Whether the CIB would change at all (the record of an apply counts too)."""
        return _canonical(self.live) != _canonical(self.tree)

    @property
    def disruptive(self) -> tuple[simulate.Effect, ...]:
        """The effects, now or later, that take a service away from its users for a while."""
        return tuple(effect for effect in (*self.effects, *self.later) if effect.disruptive)

    @property
    def primaries(self) -> tuple[simulate.Effect, ...]:
        """The effects, now or later, that stop, demote or restart a primary."""
        return tuple(effect for effect in (*self.effects, *self.later) if effect.takes_primary)


def live_cib() -> Any:
    """The live CIB; HafailoverError when there is no cluster here, UsageError when it does not talk to this user."""
    result = local.run(["cibadmin", "--query"], TOOL_TIMEOUT)
    if result.rc in _DISCONNECTED and not local.may_ask_cluster():
        # For a stranger that looks the same as no cluster.
        raise UsageError(local.NOT_ROOT)
    if result.rc in _DISCONNECTED:
        raise HafailoverError(
            "the cluster is not running on this node; start it (systemctl start pacemaker) or go to a member"
        )
    if result.rc != 0:
        raise HafailoverError(f"the cluster's configuration cannot be read: cibadmin: {_said(result)}")
    return cib.parse(result.out, "the live cluster")


def plan(topology: Topology, live: Any) -> Plan:
    """What would change in the element cib ``live``; RefusedError when it must not, UsageError for a bad topology."""
    fence_check.check(topology)
    configuration = generate.configuration(topology)
    refuse_other_cluster(topology, live)
    _refuse_strange_nodes(topology, live)
    merged = merge(live, cib.tree(configuration))
    return planned(live, merged.tree, merged.changes)


def planned(live: Any, tree: Any, changes: tuple[Change, ...]) -> Plan:
    """The plan that brings the element cib ``live`` to ``tree``; RefusedError when Pacemaker would not accept that."""
    note = validate(tree, "the merged configuration")
    with tempfile.TemporaryDirectory(prefix="hafailover-") as scratch:
        before, after = Path(scratch, "live.xml"), Path(scratch, "new.xml")
        before.write_bytes(etree.tostring(live))
        after.write_bytes(etree.tostring(tree))
        notes = [note] if note else []
        notes += _verify(live, tree, Path(scratch))
        effects = simulate.effects(before, after)
        waiting = simulate.later_effects(live, tree, Path(scratch))
    known = {(effect.action, effect.resource, effect.node) for effect in effects}
    later = tuple(effect for effect in waiting if (effect.action, effect.resource, effect.node) not in known)
    return Plan(live, tree, changes, effects, tuple(notes), later)


def changes(topology: Topology, live: Any) -> tuple[Change, ...]:
    """What would change in the configuration once all nodes of ``topology`` are members; RefusedError as with :func:`plan`."""
    return merge(live, cib.tree(generate.configuration(topology))).changes


def refuse_other_cluster(topology: Topology, live: Any) -> None:
    """RefusedError when the element cib ``live`` is that of a cluster with another name."""
    pair = live.find("configuration/crm_config/cluster_property_set/nvpair[@name='cluster-name']")
    name = None if pair is None else pair.get("value")
    if name and name != topology.name:
        raise RefusedError(
            f"this is the cluster {name}, and {topology.file} describes {topology.name}; nothing was changed "
            "(a new name begins in corosync.conf: hafailover render --install, then restart Corosync)"
        )


def _refuse_strange_nodes(topology: Topology, live: Any) -> None:
    there = {node.get("uname") for node in live.iterfind("configuration/nodes/node")}
    missing = [node for node in topology.nodes if node not in there]
    if missing:
        raise RefusedError(
            f"{', '.join(missing)} of {topology.file} is not a member of this cluster ({', '.join(sorted(there))}); "
            "nothing was changed. Write corosync.conf on every node (hafailover render --install) and start the cluster there"
        )


def _verify(live: Any, new: Any, scratch: Path) -> list[str]:
    """What crm_verify says about ``new``, and RefusedError for errors that it does not find in ``live``. Its exit code is the same for
    errors and warnings, for one and for many: a cluster that has a fault of its own would let every other one pass."""
    result = _crm_verify(new, scratch)
    if result.rc == 0:
        return []
    was = _crm_verify(live, scratch)
    said, before = _complaints(result.err + result.out), set(_complaints(was.err + was.out))
    fresh = [line for line in dict.fromkeys(said) if line not in before]
    errors = [line for line in fresh if line.startswith("error:")]
    warned = "Warnings found" in result.err
    worse = was.rc != result.rc or "Warnings found" in was.err
    if not warned and (errors or worse):
        complaint = "; ".join(errors or fresh or said) or _said(result)
        raise RefusedError(f"Pacemaker would not accept the new configuration, nothing was changed: {complaint}")
    notes = []
    old = [line for line in dict.fromkeys(said) if line in before]
    if old or not fresh:
        complaint = "; ".join(old) or _said(result)
        notes.append(f"crm_verify complains about this cluster, with the change as without it: {complaint}")
    if fresh:
        notes.append(f"crm_verify warns: {'; '.join(fresh)}")
    return notes


def _crm_verify(root: Any, scratch: Path) -> local.Result:
    """crm_verify's opinion of the configuration alone: what has happened so far (a resource that is to be removed still
    runs, say) would be complained about too. The nodes stay up, because with none up it finds fault with every CIB."""
    bare = copy.deepcopy(root)
    for state in bare.iterfind("status/node_state"):
        for child in list(state):
            state.remove(child)
    path = scratch / "verify.xml"
    path.write_bytes(etree.tostring(bare))
    return local.run(["crm_verify", "--xml-file", str(path), "--verbose"], TOOL_TIMEOUT)


def _complaints(text: str) -> list[str]:
    lines = (line.partition(")")[2] if line.startswith("(") else line for line in text.splitlines())
    words = [line.replace("\t", " ").strip() for line in lines]
    return [line for line in words if line.startswith(("error:", "warning:"))]


def commit(topology: Topology, agreed: Plan) -> Made:
    """Patch the cluster as ``agreed`` for ``topology``; see :func:`carry_out`."""
    return carry_out(agreed, lambda live: plan(topology, live))


def carry_out(agreed: Plan, again: Callable[[Any], Plan], finish: str = AGAIN) -> Made:
    """Patch the cluster as ``agreed``, parameters that are reloaded first; what was made of what.

    ``again`` makes the plan anew from another element cib. RefusedError when somebody else has changed the configuration since, so that
    the plan no longer holds; UncertainError when the cluster does not answer. Whatever happens after the parameters, an interrupt too, is
    a HalfDoneError: ``finish`` is what it tells to do.
    """
    if reloads(agreed) is None:
        return _commit(again, agreed, lambda plan: plan.tree)
    # Seen with Pacemaker 2.1.5: it takes a reloaded instance for unpromoted until its next monitor, which waits for the other actions
    # on the clone. Were a replica started in the same transition, the address would be taken from the primary and given back.
    _rest()
    first = _commit(again, agreed, _parameters_first)
    try:
        _rest()
        left = again(live_cib())
        if not set(left.disruptive) <= set(agreed.disruptive):
            raise RefusedError(f"the rest would now interrupt {'; '.join(map(str, left.disruptive))}")
        return first.then(_commit(again, left, lambda plan: plan.tree))
    except (HafailoverError, OSError, KeyboardInterrupt) as error:
        raise half_done(first, error, finish) from None


def reloads(agreed: Plan) -> Any:
    """The live CIB with the new parameters of what would be reloaded; None when there are none, or nothing else changes."""
    names = {effect.resource for effect in agreed.effects if effect.action == "reload"}
    tree = copy.deepcopy(agreed.live)
    for primitive in tree.iterfind("configuration/resources//primitive"):
        if primitive.get("id") not in names:
            continue
        new = agreed.tree.find(f"configuration/resources//primitive[@id='{primitive.get('id')}']")
        old = list(primitive.iterfind("instance_attributes"))
        place = primitive.index(old[0]) if old else 0
        for element in old:
            primitive.remove(element)
        for number, element in enumerate(new.iterfind("instance_attributes")):
            primitive.insert(place + number, copy.deepcopy(element))
    changed = _canonical(tree)
    return None if changed in (_canonical(agreed.live), _canonical(agreed.tree)) else tree


def _parameters_first(agreed: Plan) -> Any:
    first = reloads(agreed)
    return agreed.tree if first is None else first


def _rest() -> None:
    """Wait until Pacemaker has nothing to do, but not for ever: something else may fail again and again."""
    deadline = time.monotonic() + REST
    while not simulate.resting() and time.monotonic() < deadline:
        time.sleep(0.2)


def _commit(again: Callable[[Any], Plan], agreed: Plan, part: Callable[[Plan], Any]) -> Made:
    """Patch the cluster to what ``part`` makes of the plan."""
    for attempt in range(ATTEMPTS):
        # A short wait lets a burst of monitor results pass.
        time.sleep(0.05 * attempt)
        live = live_cib()
        if _canonical(live) != _canonical(agreed.live):
            current = again(live)
            if current.changes != agreed.changes or current.disruptive != agreed.disruptive:
                raise RefusedError(
                    "somebody else changed the cluster's configuration at the same time, so the plan no longer holds; "
                    "nothing was changed by this command. Run it again to see what is left to do"
                )
            agreed = current
        wanted = part(agreed)
        result = _patch(live, wanted)
        if result.rc == 0:
            return Made(live, wanted)
        if result.rc in _UNANSWERED:
            raise UncertainError(
                f"the cluster did not answer the change ({_said(result)}), so it may or may not be in; {AGAIN}",
                Made(live, wanted),
            )
        if result.rc != _OLD:
            raise HafailoverError(f"the cluster refused the change: cibadmin: {_said(result)}")
    raise RefusedError(
        f"the cluster's state changed faster than it could be patched ({ATTEMPTS} attempts); nothing was changed"
    )


def _canonical(root: Any) -> bytes:
    return bytes(etree.tostring(root.find("configuration"), method="c14n"))


def _patch(live: Any, wanted: Any) -> local.Result:
    """Patch exactly the version ``live`` of the CIB so that it has the configuration of ``wanted``."""
    new = copy.deepcopy(live)
    new.replace(new.find("configuration"), copy.deepcopy(wanted.find("configuration")))
    # The version is part of the patch; this is how the cluster would count it.
    new.set("epoch", str(int(live.get("epoch", "0")) + 1))
    new.set("num_updates", "0")
    with tempfile.TemporaryDirectory(prefix="hafailover-") as scratch:
        before, after, patch = (Path(scratch, name) for name in ("live.xml", "new.xml", "patch.xml"))
        before.write_bytes(etree.tostring(live))
        after.write_bytes(etree.tostring(new))
        made = local.run(["crm_diff", "--cib", "--original", str(before), "--new", str(after)], TOOL_TIMEOUT)
        if made.rc not in (0, 1):
            raise HafailoverError(f"the patch cannot be made: crm_diff: {_said(made)}")
        patch.write_text(made.out)
        try:
            return local.run(["cibadmin", "--patch", "--sync-call", "--xml-file", str(patch)], TOOL_TIMEOUT)
        except KeyboardInterrupt:
            # It was sent perhaps, and then it comes about without anybody who waits for it.
            return local.Result(_UNANSWERED[0], "", "interrupted")


def settle(topology: Topology, timeout: float, progress: Callable[[str], None]) -> list[str]:
    """Wait until the cluster rests and everything of ``topology`` runs; see :func:`settled`."""
    return settled(generate.configuration(topology), timeout, progress)


def settled(wanted: Configuration, timeout: float, progress: Callable[[str], None]) -> list[str]:
    """Wait until the cluster rests and everything of ``wanted`` runs, at most ``timeout`` s; else what is left, in sentences.

    ``progress`` is called with a sentence whenever that changes.
    """
    deadline = time.monotonic() + timeout
    last: list[str] = []
    while True:
        # What runs may be about to be restarted with its new parameters: nothing must be left to do, either.
        waiting = simulate.not_running(wanted)
        if not waiting and simulate.resting():
            return []
        waiting = waiting or ["the cluster still has something to do"]
        if waiting != last:
            progress("waiting: " + "; ".join(waiting))
            last = waiting
        if time.monotonic() >= deadline:
            return waiting
        time.sleep(0.5)


def wait_for_coordinator(timeout: float, progress: Callable[[str], None]) -> None:
    """Wait until the cluster has a coordinator and quorum; RefusedError when it has not after ``timeout`` s."""
    deadline = time.monotonic() + timeout
    told = False
    while True:
        reason = simulate.cannot_change()
        if reason is None:
            return
        if time.monotonic() >= deadline:
            raise RefusedError(
                f"{reason}; nothing was changed, because such a change could be lost or win wrongly later"
            )
        if not told:
            progress(f"waiting: {reason}")
            told = True
        time.sleep(0.5)


def _said(result: local.Result) -> str:
    lines = (result.err or result.out).strip().splitlines()
    return lines[-1].strip() if lines else f"exit code {result.rc}"
