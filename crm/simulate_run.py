"""What Pacemaker does after a failure, transition by transition: crm_simulate's own order, with the most that each action may take."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree.ElementTree import Element

from hafailover.crm import local, status_xml
from hafailover.crm.errors import HafailoverError
from hafailover.crm.formats import cib
from hafailover.crm.simulate_state import TIMEOUT, refused
from hafailover.crm.status_xml import Running
from lxml import etree

_ROUNDS = 15
_HIDDEN = frozenset({"monitor", "notify", "cancel", "delete", "lrm_delete", "clear_failcount", "meta-data"})
# The promises of stonith-timeout are about one attempt; what fails is tried again.
_STONITH_TIMEOUT = 60.0
FENCE = "fence"


@dataclass(frozen=True)
class Step:
    """One action that people notice. Times are seconds: ``at_most`` for this action alone (None: no limit is known), ``by`` from the
    moment when the cluster begins to act until it is surely over, if everything before takes all the time it may. ``waits_for``: the nodes
    whose fencing comes before it."""

    action: str
    resource: str
    node: str
    at_most: float | None
    by: float | None
    failed: bool = False
    waits_for: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """The steps in order, where everything runs ``before`` and ``after`` (primitive → instances), and whether it comes to rest."""

    steps: tuple[Step, ...]
    before: Mapping[str, Sequence[Running]]
    after: Mapping[str, Sequence[Running]]
    online: tuple[str, ...]
    blocked: tuple[str, ...]
    rests: bool
    cib: Any


class _Action(NamedTuple):
    """An action of the transition graph: its timeout in s (None: unknown), the keys of what it waits for, the node it fences."""

    timeout: float | None
    waits: tuple[str, ...]
    fences: str = ""


class _Round(NamedTuple):
    root: Element
    steps: tuple[Step, ...]
    end: float | None
    cib: Any


def status(root: Any) -> Element:
    """How things are in the element cib, as crm_simulate reads it: the elements nodes and resources, as of crm_mon."""
    with tempfile.TemporaryDirectory(prefix="hafailover-") as scratch:
        path = Path(scratch, "in.xml")
        path.write_bytes(etree.tostring(root))
        result = local.run(["crm_simulate", "--xml-file", str(path), "--output-as=xml"], TIMEOUT)
        return _section(_answer(result, root), "cluster_status")


def react(root: Any, options: Sequence[str], fails: Sequence[str] = ()) -> Outcome:
    """What happens to the element cib when crm_simulate's ``options`` happen to it at once; ``fails`` are the actions (its OPSPEC) that
    fail whenever they are tried. HafailoverError when crm_simulate refuses."""
    bound = [word for spec in fails for word in ("--op-fail", spec)]
    first: Element | None = None
    steps: list[Step] = []
    begun: float | None = 0.0
    rests = False
    rounds: list[list[tuple[str, str, str]]] = []
    for number in range(_ROUNDS):
        one = _round(root, [*(options if number == 0 else ()), *bound], begun)
        first = one.root if first is None else first
        root, begun = one.cib, one.end
        told = [(step.action, step.resource, step.node) for step in one.steps]
        if told and told in rounds:
            break  # the same again, and so on for ever
        if rounds and not told and not rounds[-1]:
            rests = True  # only checks are repeated
            break
        rounds.append(told)
        steps += one.steps
        if not _acts(one.root):
            rests = True
            break
        last = one.root
    last = one.root
    assert first is not None
    revised = _section(last, "revised_cluster_status")
    nodes = revised.iterfind("nodes/node")
    return Outcome(
        steps=tuple(steps),
        before=status_xml.instances(_section(first, "cluster_status")),
        after=status_xml.instances(revised),
        online=tuple(node.get("name", "") for node in nodes if node.get("online") == "true"),
        blocked=tuple(sorted(_blocked(last))),
        rests=rests,
        cib=root,
    )


def _round(root: Any, options: Sequence[str], begun: float | None) -> _Round:
    with tempfile.TemporaryDirectory(prefix="hafailover-") as scratch:
        before, after, graph = (Path(scratch, name) for name in ("in.xml", "out.xml", "graph.xml"))
        before.write_bytes(etree.tostring(root))
        argv = ["crm_simulate", "--xml-file", str(before), *options, "--simulate", "--output-as=xml"]
        result = local.run([*argv, "--save-output", str(after), "--save-graph", str(graph)], TIMEOUT)
        answer = _answer(result, root)
        if not after.exists() or not graph.exists():
            raise refused(result, root)
        actions = _graph(_parse(graph.read_bytes()))
        ends = _ends(actions, begun)
        steps = tuple(_steps(answer, actions, ends, {one.partition("@")[0] for one in _failing(options)}))
        known = [end for end in ends.values() if end is not None]
        end = None if len(known) < len(ends) else max([*known, begun or 0.0])
        return _Round(answer, steps, end if begun is not None else None, cib.parse(after.read_bytes(), "crm_simulate"))


def _parse(data: bytes) -> Any:
    return etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True))


def _failing(options: Sequence[str]) -> Iterator[str]:
    return (value for name, value in zip(options, options[1:]) if name == "--op-fail")


def _answer(result: local.Result, root: Any) -> Element:
    if result.rc or not result.out.strip():
        raise refused(result, root)
    return status_xml.parse(result.out)


def _section(root: Element, name: str) -> Element:
    found = root.find(name)
    if found is None:
        raise HafailoverError(f"crm_simulate's answer has no {name}: is it older than Pacemaker 2.1?")
    return found


def _acts(root: Element) -> bool:
    """Whether anything real was done in this transition; a pseudo action alone changes nothing, and would come again and again."""
    transition = root.find("transition")
    return transition is not None and any(action.tag in ("rsc_action", "fencing_action") for action in transition)


def _blocked(root: Element) -> Iterator[str]:
    for resource in root.iterfind("revised_cluster_status/resources//resource"):
        if resource.get("blocked") == "true":
            yield (resource.get("id") or "").partition(":")[0]


def _key(resource: str, operation: str, node: str, interval: str) -> str:
    return f"{resource.partition(':')[0]}\0{operation}\0{node}\0{interval or '0'}"


def _graph(root: Any) -> dict[str, _Action]:
    """Every action by its number, and by its key the number again (as an action that waits for nothing but itself)."""
    default = _seconds(root.get("stonith-timeout")) or _STONITH_TIMEOUT
    found: dict[str, _Action] = {}
    for synapse in root.iterfind("synapse"):
        waits = tuple(trigger.get("id") for trigger in synapse.iterfind("inputs/trigger/*"))
        for action in synapse.iterfind("action_set/*"):
            number = action.get("id")
            attributes = action.find("attributes")
            timeout: float | None = 0.0
            operation = action.get("operation")
            if action.tag == "crm_event":
                # The others only tidy the cluster's own records up.
                timeout = default if operation == "stonith" else 0.0
                if operation == "stonith":
                    found[_key("", FENCE, action.get("on_node", ""), "0")] = _Action(0.0, (number,))
            elif action.tag == "rsc_op":
                name = attributes.get("CRM_meta_name", operation) if attributes is not None else operation
                timeout = _milliseconds(attributes.get("CRM_meta_timeout") if attributes is not None else None)
                if operation == "cancel":
                    timeout = 0.0
                interval = attributes.get("CRM_meta_interval", "0") if attributes is not None else "0"
                key = _key(action.find("primitive").get("id"), str(name), action.get("on_node", ""), interval)
                found[key] = _Action(0.0, (number,))
                if name == "monitor" and interval != "0":
                    timeout = 0.0  # nobody waits for what comes again and again
            found[number] = _Action(timeout, waits, action.get("on_node", "") if operation == "stonith" else "")
    return found


def _seconds(value: str | None) -> float | None:
    text = (value or "").strip()
    for unit, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("", 0.001)):
        number = text[: len(text) - len(unit)] if unit else text
        if text.endswith(unit) and number.isdigit():
            return int(number) * factor
    return None


def _milliseconds(value: str | None) -> float | None:
    return int(value) / 1000 if value is not None and value.isdigit() else None


def _behind(actions: Mapping[str, _Action]) -> dict[str, set[str]]:
    """The nodes whose fencing each action waits for, itself or by what it waits for."""
    after: dict[str, list[str]] = {}
    for name, action in actions.items():
        for one in action.waits:
            after.setdefault(one, []).append(name)
    found: dict[str, set[str]] = {}
    for name, action in actions.items():
        todo, seen = list(after.get(name, ())) if action.fences else [], {name}
        while todo:
            one = todo.pop()
            if one not in seen:
                seen.add(one)
                found.setdefault(one, set()).add(action.fences)
                todo += after.get(one, ())
    return found


def _ends(actions: Mapping[str, _Action], begun: float | None) -> dict[str, float | None]:
    """When each action is over at the latest; None also for what waits for itself, which Pacemaker would never begin."""
    waits = {name: {one for one in action.waits if one in actions} for name, action in actions.items()}
    behind: dict[str, list[str]] = {}
    for name, before in waits.items():
        for one in before:
            behind.setdefault(one, []).append(name)
    ready = [name for name, before in waits.items() if not before]
    left = {name: len(before) for name, before in waits.items()}
    ends: dict[str, float | None] = dict.fromkeys(actions)
    while ready:
        name = ready.pop()
        timeout, latest = actions[name].timeout, [begun, *(ends[one] for one in waits[name])]
        known = [one for one in latest if one is not None]
        ends[name] = None if timeout is None or len(known) < len(latest) else max(known) + timeout
        for one in behind.get(name, ()):
            left[one] -= 1
            if left[one] == 0:
                ready.append(one)
    return ends


def _steps(
    answer: Element, actions: Mapping[str, _Action], ends: Mapping[str, float | None], fails: set[str]
) -> Iterator[Step]:
    behind = _behind(actions)
    # An action that is only blocked or pretended is no step; a move within the same node is a restart, and both its halves are.
    for action in answer.iterfind("transition/*"):
        if action.tag == "fencing_action":
            node = action.get("target", "")
            key = _key("", FENCE, node, "0")
            yield Step(FENCE, "", node, _timeout(actions, key), ends.get(key))
        elif action.tag == "rsc_action" and action.get("op") not in _HIDDEN:
            resource, operation = (action.get("resource") or "").partition(":")[0], action.get("op", "")
            key = _key(resource, operation, action.get("node", ""), action.get("interval", "0"))
            failed = f"{resource}_{operation}_0" in fails
            waits = tuple(sorted(behind.get(key, ())))
            yield Step(
                operation, resource, action.get("node", ""), _timeout(actions, key), ends.get(key), failed, waits
            )


def _timeout(actions: Mapping[str, _Action], key: str) -> float | None:
    found = actions.get(key)
    return actions[found.waits[0]].timeout if found is not None else None
