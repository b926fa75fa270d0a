"""What would happen if …: the failures that were asked for, put to a cluster on paper or to a copy of the live one."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any
from xml.etree.ElementTree import Element

from hafailover.crm import (
    simulate_failure,
    simulate_fencing,
    simulate_notes,
    simulate_quorum,
    simulate_run,
    simulate_state,
    status_xml,
)
from hafailover.crm.errors import UsageError
from hafailover.crm.formats import cib
from hafailover.crm.resolved import Resolved
from hafailover.crm.simulate_failure import NODE, QUORUM_DEVICE, RESOURCE, Failure
from hafailover.crm.simulate_places import Place, away, carried_out, held, missing, places, without
from hafailover.crm.simulate_quorum import Verdict, Votes
from hafailover.crm.simulate_run import Outcome, Step
from hafailover.crm.status_xml import Running

_NEVER = "-INFINITY"
_SCORES_ITSELF = "ocf:hafailover:mariadb"
_PROMOTED = ("Promoted", "Master")


@dataclass(frozen=True)
class Scene:
    """Where the simulation begins. ``detection``: the most that Corosync takes to give a node up (s), None when not known."""

    cib: Any
    name: str
    source: str
    votes: Votes | None
    detection: float | None
    assumed: tuple[str, ...]

    @cached_property
    def status(self) -> Element:
        """Nodes and resources before anything fails."""
        return simulate_run.status(self.cib)

    @cached_property
    def away(self) -> tuple[str, ...]:
        """Nodes that are not there even before."""
        nodes = self.status.iterfind("nodes/node")
        return tuple(node.get("name", "") for node in nodes if node.get("online") != "true")

    @cached_property
    def running(self) -> Mapping[str, Sequence[Running]]:
        """Where everything runs before anything fails: primitive → instances."""
        return status_xml.instances(self.status)

    @cached_property
    def unrest(self) -> tuple[Step, ...]:
        """What the cluster would do without any failure."""
        return simulate_run.react(self.cib, []).steps


@dataclass(frozen=True)
class Seen:
    """When one failure is noticed: ``at_most`` in s (None: nothing limits it), and how, in a sentence."""

    failure: Failure
    at_most: float | None
    text: str
    noticed: bool = True


@dataclass(frozen=True)
class Result:
    """The whole answer. ``problems``: what the cluster cannot do or does not see, in sentences; ``held``: the steps that wait for a
    fencing that nothing can do. ``stopped``: what ran before and now runs nowhere, or has lost its primary;
    ``fewer``: clones with an instance less
    on a node that is still there; times as in :class:`Step`, and ``by`` from the failure on."""

    scene: Scene
    seen: tuple[Seen, ...]
    quorum: Verdict | None
    steps: tuple[Step, ...]
    before: Mapping[str, Place]
    after: Mapping[str, Place]
    stopped: tuple[str, ...]
    fewer: tuple[str, ...]
    notes: tuple[str, ...]
    by: float | None
    problems: tuple[str, ...] = ()
    held: tuple[Step, ...] = ()

    @property
    def whole(self) -> bool:
        """Whether everything that ran still does somewhere, and nothing is left that somebody has to mend."""
        return not self.stopped and not self.problems

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "cluster": self.scene.name,
            "source": self.scene.source,
            "failures": [
                {
                    **one.failure.as_dict(),
                    "noticed": one.noticed,
                    "noticed_at_most_s": rounded(one.at_most),
                    "how": one.text,
                }
                for one in self.seen
            ],
            "quorum": asdict(self.quorum) if self.quorum else None,
            "steps": [
                {
                    "action": step.action,
                    "resource": step.resource,
                    "node": step.node,
                    "at_most_s": rounded(step.at_most),
                    "over_by_s": rounded(step.by),
                    "fails": step.failed,
                    "never": step in self.held,
                }
                for step in self.steps
            ],
            "before": {name: asdict(place) for name, place in self.before.items()},
            "after": {name: asdict(place) for name, place in self.after.items()},
            "problems": list(self.problems),
            "stopped": list(self.stopped),
            "fewer": list(self.fewer),
            "over_by_s": rounded(self.by),
            "assumed": list(self.scene.assumed),
            "notes": list(self.notes),
        }


def rounded(seconds: float | None) -> float | None:
    """Milliseconds are enough."""
    return None if seconds is None else round(seconds, 3)


def simulate(scene: Scene, words: Sequence[str], *, stop_fails: bool = False, quorum: bool | None = None) -> Result:
    """What happens in ``scene`` when everything named by ``words`` fails at once. ``stop_fails``: the resources that fail do not stop
    either. ``quorum``: whether what is left has quorum, where a person knows better; UsageError for a name that is not there."""
    root = copy.deepcopy(scene.cib)
    configuration, resolved = root.find("configuration"), Resolved(cib.read(root))
    nodes = simulate_state.full_nodes(root)
    failures = simulate_failure.parse(words, configuration, nodes, scene.running)
    if stop_fails and not any(failure.kind == RESOURCE for failure in failures):
        raise UsageError("--stop-fails is about a resource: name one with --fail RESOURCE")
    lost = tuple(failure.node for failure in failures if failure.kind == NODE)
    verdict = _verdict(scene, nodes, lost, any(failure.kind == QUORUM_DEVICE for failure in failures), quorum)
    if verdict is not None:
        root.set("have-quorum", "1" if verdict.quorate else "0")
    seen = tuple(_seen(scene, failure, resolved, verdict) for failure in failures)
    options = [word for node in lost for word in ("--node-fail", node)]
    fails = [f"{one.resource}_stop_0@{one.node}=1" for one in failures if one.kind == RESOURCE and stop_fails]
    later: list[str] = []
    for one in seen:
        if one.failure.kind == RESOURCE and one.noticed:
            options, later = _break(root, resolved, one.failure, lost, options, later)
    outcomes = [simulate_run.react(root, options, fails)]
    if later:
        outcomes.append(simulate_run.react(outcomes[0].cib, later, fails))
    return _result(scene, resolved, seen, verdict, outcomes, lost)


def _verdict(
    scene: Scene, nodes: Sequence[str], lost: Sequence[str], device: bool, told: bool | None
) -> Verdict | None:
    if told is not None:
        return Verdict(told, "quorum is kept, as told" if told else "quorum is lost, as told")
    if not lost and not device:
        return None
    if scene.votes is not None:
        if device and not scene.votes.device:
            raise UsageError("--fail quorum-device: this cluster has none")
        return simulate_quorum.after(scene.votes, lost, device)
    if device:
        raise UsageError(
            "--fail quorum-device: a CIB does not say what device there is; say --quorum kept or --quorum lost"
        )
    return simulate_quorum.guessed(nodes, lost, scene.away, before=scene.cib.get("have-quorum", "1") != "0")


def _break(
    root: Any, resolved: Resolved, failure: Failure, lost: Sequence[str], options: list[str], later: list[str]
) -> tuple[list[str], list[str]]:
    """How crm_simulate is told of a resource that fails: at once, or after the roles have changed."""
    found = simulate_failure.monitor(resolved, failure.resource, failure.role)
    assert found is not None
    peers = [
        node
        for node in simulate_state.full_nodes(root)
        if node != failure.node and node not in lost and _score(root, node, failure.resource) > 0
    ]
    unpromoted = simulate_failure.monitor(resolved, failure.resource, "Unpromoted")
    if failure.role in _PROMOTED and peers and unpromoted and _scores_itself(resolved, failure.resource):
        # hafailover's own agent reports the death by its promotion score, so that nothing has to be stopped first; the next check finds
        # the dead server and brings it back as a replica.
        simulate_state.set_attribute(root, failure.node, f"master-{failure.resource}", _NEVER)
        return options, [*later, *simulate_failure.option(root, failure, unpromoted)]
    return [*options, *simulate_failure.option(root, failure, found)], later


def _scores_itself(resolved: Resolved, primitive: str) -> bool:
    found = resolved.resources.get(primitive)
    return found is not None and found.agent == _SCORES_ITSELF


def _score(root: Any, node: str, primitive: str) -> int:
    value = simulate_state.attribute(root, node, f"master-{primitive}") or ""
    if value.lstrip("+").upper() == "INFINITY":
        return 1000000
    return int(value) if value.lstrip("+-").isdigit() else -1


def _seen(scene: Scene, failure: Failure, resolved: Resolved, verdict: Verdict | None) -> Seen:
    if failure.kind == NODE:
        if scene.detection is None:
            return Seen(failure, None, "when Corosync gives it up is not known here: its token and consensus decide")
        return Seen(failure, scene.detection, "Corosync gives it up (token and consensus)")
    if failure.kind == QUORUM_DEVICE:
        kept = verdict is None or verdict.quorate
        then = "nothing moves because of it" if kept else "without its vote nobody has quorum"
        return Seen(failure, None, f"Corosync notices by itself; {then}")
    found = simulate_failure.monitor(resolved, failure.resource, failure.role)
    if found is None:
        return Seen(failure, None, f"nobody notices: {failure.resource} has no monitor in this role", noticed=False)
    limit = None if found.timeout is None else found.interval + found.timeout
    own = "; a process that dies is reported at once" if _scores_itself(resolved, failure.resource) else ""
    ignored = "; its on-fail is ignore, so nothing is done about it" if found.on_fail == simulate_failure.IGNORE else ""
    return Seen(failure, limit, f"its monitor fails (every {_plain(found.interval)} s{own}){ignored}")


def _plain(number: float) -> str:
    return f"{number:g}"


def _result(
    scene: Scene,
    resolved: Resolved,
    seen: tuple[Seen, ...],
    verdict: Verdict | None,
    outcomes: Sequence[Outcome],
    lost: Sequence[str],
) -> Result:
    first, last = outcomes[0], outcomes[-1]
    before, after = places(first.before, ()), places(last.after, lost)
    devices = simulate_notes.fence_devices(scene.cib)
    steps: list[Step] = []
    base: float | None = 0.0
    for outcome in outcomes:
        known = [step.by for step in outcome.steps if step.by is not None]
        shifted = base if len(known) == len(outcome.steps) else None
        steps += [_later(step, base) for step in outcome.steps]
        base = None if shifted is None else shifted + max(known, default=0.0)
    fenced = list(dict.fromkeys(step.node for step in steps if step.action == simulate_run.FENCE))
    fencing = _fencing(scene, fenced, [node for node in last.online if node not in lost], lost)
    refused = {node: one.refused for node, one in fencing.items() if one.refused}
    steps = [replace(step, at_most=None, by=None) if _unfenced(step, refused) else step for step in steps]
    never = held(steps, refused)
    steps = [replace(step, by=None) if step in never else step for step in steps]
    never = held(steps, refused)
    if refused:
        base = None
        _undo(after, before, steps, never, seen, lost)
    dead = list(_dead(seen, resolved, steps, scene))
    for one in dead:
        after[one.resource] = without(after.get(one.resource, Place((), ())), one.node)
    stopped, fewer = missing(
        {name: place for name, place in before.items() if name not in devices},
        after,
        [node for node in last.online if node not in lost],
    )
    idle = [name for name in devices if name in before and before[name].anywhere and not after[name].anywhere]
    rests = all(outcome.rests for outcome in outcomes)
    noticed = [one.at_most for one in seen if one.failure.kind != QUORUM_DEVICE]
    limits = [one for one in noticed if one is not None]
    by = max(limits, default=0.0) + base if base is not None and len(limits) == len(noticed) and rests else None
    problems = [_cannot_fence(node, reason, never) for node, reason in refused.items()]
    problems += [f"{one.resource} is dead on {one.node}, and the cluster shows it as started" for one in dead]
    notes = simulate_notes.notes(scene, resolved, seen, outcomes, lost, verdict)
    believed = sorted({name for one in fencing.values() for name in one.believed})
    if believed:
        notes += (
            f"{', '.join(believed)} has no list of hosts: only the device knows whom it can fence, and it is believed here",
        )
    if idle:
        notes += (f"{', '.join(idle)}: no node is left that watches {'it' if len(idle) == 1 else 'them'}",)
    return Result(
        scene,
        seen,
        verdict,
        tuple(steps),
        before,
        after,
        stopped,
        fewer,
        notes,
        by,
        (*problems, *away(resolved, after)),
        tuple(never),
    )


def _unfenced(step: Step, refused: Collection[str]) -> bool:
    return step.action == simulate_run.FENCE and step.node in refused


def _fencing(
    scene: Scene, fenced: Sequence[str], left: Sequence[str], lost: Sequence[str]
) -> dict[str, simulate_fencing.Fencing]:
    """Each node that is fenced → who can do it: the others that are left, and one that still runs itself."""
    return {
        node: simulate_fencing.of(
            scene.cib, node, [*(one for one in left if one != node), *([] if node in {*lost, *scene.away} else [node])]
        )
        for node in fenced
    }


def _undo(
    after: dict[str, Place],
    before: Mapping[str, Place],
    steps: Sequence[Step],
    never: Sequence[Step],
    seen: Sequence[Seen],
    lost: Sequence[str],
) -> None:
    """Put into ``after`` where things are as long as what waits for fencing does not come."""
    for name in {step.resource for step in never}:
        place = before.get(name, Place((), ()))
        failed = [one.failure.node for one in seen if one.failure.resource == name]
        for node in (*lost, *failed):
            place = without(place, node)
        after[name] = carried_out(place, [step for step in steps if step.resource == name and step not in never])


def _cannot_fence(node: str, reason: str, never: Sequence[Step]) -> str:
    waiting = dict.fromkeys(f"{step.action} {step.resource} on {step.node}" for step in never if node in step.waits_for)
    behind = f"; what waits for it never comes: {', '.join(waiting)}" if waiting else ""
    return f"nothing can fence {node}: {reason}{behind}"


def _dead(seen: Sequence[Seen], resolved: Resolved, steps: Sequence[Step], scene: Scene) -> Iterator[Failure]:
    """What failed and was neither noticed nor mended by the way."""
    for one in seen:
        failure = one.failure
        if failure.kind != RESOURCE:
            continue
        found = simulate_failure.monitor(resolved, failure.resource, failure.role)
        moved = any(
            (step.resource, step.node) == (failure.resource, failure.node) and step.action == "stop" for step in steps
        )
        if (found is None or found.on_fail == simulate_failure.IGNORE) and not moved:
            yield failure


def _later(step: Step, base: float | None) -> Step:
    by = None if base is None or step.by is None else base + step.by
    return replace(step, by=by)
