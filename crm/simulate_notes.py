"""What an answer of ``simulate`` has to add: what the cluster leaves alone, waits for, or would do anyway."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from hafailover.crm import simulate_failure, simulate_run, values
from hafailover.crm.resolved import Resolved
from hafailover.crm.simulate_failure import RESOURCE
from hafailover.crm.simulate_quorum import Verdict
from hafailover.crm.simulate_run import Outcome

if TYPE_CHECKING:
    from hafailover.crm.simulation import Scene, Seen

_SHOWN = 5  # steps in a note


def notes(
    scene: Scene,
    resolved: Resolved,
    seen: Sequence[Seen],
    outcomes: Sequence[Outcome],
    lost: Sequence[str],
    verdict: Verdict | None,
) -> tuple[str, ...]:
    """What else has to be known, in sentences."""
    said = list(_unattended(scene, resolved))
    if scene.unrest:
        doing = "; ".join(f"{step.action} {step.resource or step.node}" for step in scene.unrest[:_SHOWN])
        more = f" and {len(scene.unrest) - _SHOWN} more" if len(scene.unrest) > _SHOWN else ""
        said.append(f"the cluster is not at rest, and would do this without any failure: {doing}{more}")
    fenced = {step.node for outcome in outcomes for step in outcome.steps if step.action == simulate_run.FENCE}
    if verdict is not None and not verdict.quorate:
        said.append(
            "without quorum nothing is started anywhere, and no-quorum-policy decides what happens to what runs"
        )
    unfenced = [node for node in lost if node not in fenced]
    if unfenced and verdict is not None and verdict.quorate and not _fences(scene.cib):
        said.append(
            f"nothing fences {', '.join(unfenced)}: stonith-enabled is false, so what ran there is believed to be gone, and may run twice"
        )
    blocked = sorted(set(outcomes[-1].blocked))
    if blocked and (verdict is None or verdict.quorate):
        told = [one.failure for one in seen if one.failure.kind == RESOURCE and one.failure.resource in blocked]
        checks = [simulate_failure.monitor(resolved, one.resource, one.role) for one in told]
        asked = checks and all(check is not None and check.on_fail == simulate_failure.BLOCK for check in checks)
        said.append(
            f"{', '.join(blocked)} {'stays' if len(blocked) == 1 else 'stay'} blocked until somebody looks at it: "
            + (
                "its monitor's on-fail is block"
                if asked
                else "a stop that fails leaves nothing safe to do without fencing"
            )
        )
    if fenced:
        said.append("fencing: the time is that of one attempt; while it fails, everything behind it waits")
    if not all(outcome.rests for outcome in outcomes):
        said.append("the cluster does not come to rest: the same would begin again and again")
    if not any(one.noticed for one in seen):
        said.append("nothing happens, because nothing looks")
    return tuple(said)


def _unattended(scene: Scene, resolved: Resolved) -> Iterator[str]:
    """What the cluster leaves alone because it was told to."""
    if values.boolean(resolved.property("maintenance-mode")):
        yield "the cluster is in maintenance mode: it watches nothing, and does nothing about a failure until that ends"
        return
    nodes = scene.status.iterfind("nodes/node")
    resting = [node.get("name", "") for node in nodes if node.get("maintenance") == "true"]
    if resting:
        yield f"{', '.join(resting)} is in maintenance: nothing is watched or done there"
    alone = [
        name
        for name, found in scene.running.items()
        if any(one.active and not one.managed and one.node not in resting for one in found)
    ]
    if alone:
        yield f"{', '.join(alone)} is not managed: nothing is done about its failure"


def fence_devices(root: Any) -> list[str]:
    """Fence devices: what they are for is another node, so it is no loss when the last one that may run them is gone."""
    found = root.iterfind("configuration/resources//primitive[@class='stonith']")
    return [primitive.get("id") for primitive in found]


def _fences(root: Any) -> bool:
    pair = root.find("configuration/crm_config/cluster_property_set/nvpair[@name='stonith-enabled']")
    return pair is None or (pair.get("value") or "").lower() in ("true", "on", "yes", "y", "1")
