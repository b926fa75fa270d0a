"""What people and tools leave behind in a cluster and forget: moves, bans, standby, maintenance mode, raised scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.etree.ElementTree import Element

from hafailover.agents.mariadb import decide
from hafailover.crm.status import Leftover, Node, Service
from hafailover.crm.status_words import clock
from hafailover.crm.status_xml import TRUE, Running, pairs

EXPIRED = "expired"
MOVING = "move under way"
STACK = "hafailover-stack-"
"""How the id of a rule begins that ``hafailover promote --stack`` has made (crm/stack_preferences.py)."""

DISABLED = "switched off"
_FALSE = ("false", "no", "off", "n", "0")


def find_leftovers(
    cib: Element,
    nodes: Sequence[Node],
    services: Sequence[Service],
    properties: Mapping[str, str],
    at: float = 0.0,
    running: Mapping[str, list[Running]] | None = None,
) -> Iterator[Leftover]:
    """Every leftover at Unix time ``at``, the ones that stop the whole cluster first."""
    yield from _properties(properties)
    yield from _nodes(cib, nodes)
    yield from _constraints(cib, at)
    unmanaged = list(_unmanaged(cib))
    yield from unmanaged
    if not unmanaged and properties.get("maintenance-mode", "").lower() not in TRUE:
        yield from _left_alone(nodes, running or {})
    yield from _disabled(cib)
    for service in services:
        for one in service.instances:
            if one.score is not None and one.score > decide.SCORE_PRIMARY:
                yield _raised(service, one.node, one.score)


def _raised(service: Service, node: str, score: int) -> Leftover:
    lower = f"crm_attribute --promotion={service.name} -N {node} -l reboot -v"
    if node == service.primary:
        remedy = f"its agent lowers it within seconds; else {lower} {decide.SCORE_PRIMARY}"
    else:
        remedy = f"hafailover promote {node} goes on with it; {lower} {decide.SCORE_IN_SYNC} calls it off"
    return Leftover(
        f"promotion score {score} of {service.name} on {node}",
        f"Pacemaker keeps or makes {node} the primary: a switchover is under way or was interrupted",
        remedy,
    )


def _properties(properties: Mapping[str, str]) -> Iterator[Leftover]:
    if properties.get("maintenance-mode", "").lower() in TRUE:
        yield Leftover(
            "maintenance mode",
            "the cluster watches nothing and fails nothing over",
            "crm_attribute -t crm_config -n maintenance-mode -D",
        )
    if properties.get("stop-all-resources", "").lower() in TRUE:
        yield Leftover(
            "stop-all-resources", "nothing is started anywhere", "crm_attribute -t crm_config -n stop-all-resources -D"
        )


def _nodes(cib: Element, nodes: Sequence[Node]) -> Iterator[Leftover]:
    for node in nodes:
        if node.standby:
            lasting = _says(cib.iterfind("configuration/nodes/node"), node, "instance_attributes")
            passing = _says(cib.iterfind("status/node_state"), node, "transient_attributes/instance_attributes")
            remedy = f"crm_attribute -N {node.name} -n standby -D{' -l reboot' if passing and not lasting else ''}"
            if not lasting and not passing:
                remedy = (
                    f"an action that failed has put it there (on-fail=standby): crm_resource --cleanup -N {node.name}"
                )
            yield Leftover(f"standby of {node.name}", "nothing runs there", remedy)
        if node.maintenance:
            yield Leftover(
                f"maintenance of {node.name}",
                "what runs there is neither watched nor moved",
                f"crm_attribute -N {node.name} -n maintenance -D",
            )


def _constraints(cib: Element, at: float) -> Iterator[Leftover]:
    for constraint in cib.iterfind("configuration/constraints/rsc_location"):
        name = constraint.get("id", "")
        if not name.startswith("cli-"):
            continue
        resource = constraint.get("rsc", "")
        expression = constraint.find(".//expression[@attribute='#uname']")
        node = constraint.get("node") or (expression.get("value", "") if expression is not None else "a node")
        kind = "ban" if name.startswith("cli-ban") else "move"
        until = _until(constraint)
        if until is not None and until <= at:
            yield Leftover(
                f"{EXPIRED} {kind} of {resource} ({name})",
                "it does nothing any more",
                "crm_resource --clear --expired",
            )
            continue
        ends = "" if until is None else f", until {clock(until, at)}"
        if any((rule.get("id") or "").startswith(STACK) for rule in constraint.iterfind("rule")):
            kind = MOVING
        role = "be promoted" if (constraint.get("role") or _rule_role(constraint)) in ("Promoted", "Master") else "run"
        yield Leftover(
            f"{kind} of {resource} ({name})",
            (f"{resource} may not {role} on {node}" if kind == "ban" else f"{resource} wants to {role} on {node}")
            + ends,
            f"crm_resource --clear -r {resource}",
        )


def _until(constraint: Element) -> float | None:
    """Unix time of the end that a move with a lifetime has, or None."""
    from hafailover.crm.status_failures import moment

    date = constraint.find(".//date_expression[@operation='lt']")
    return None if date is None else moment(date.get("end", "").replace("Z", " +00:00"))


def _rule_role(constraint: Element) -> str:
    rule = constraint.find("rule")
    return "" if rule is None else rule.get("role", "")


def _says(elements: Iterator[Element], node: Node, path: str) -> bool:
    """Whether one of ``elements`` that is the node's says standby in the attributes at ``path``."""
    return any(
        pairs(group).get("standby", "").lower() in TRUE
        for element in elements
        if element.get("uname") == node.name
        for group in element.iterfind(path)
    )


def _unmanaged(cib: Element) -> Iterator[Leftover]:
    for element in _configured(cib):
        name = element.get("id", "")
        meta = _meta(element)
        if meta.get("is-managed", "").lower() in _FALSE:
            remedy = f"crm_resource -r {name} --meta -d is-managed"
            yield Leftover(f"{name} is unmanaged", "the cluster neither repairs nor moves it", remedy)
        if meta.get("maintenance", "").lower() in TRUE:
            remedy = f"crm_resource -r {name} --meta -d maintenance"
            yield Leftover(f"maintenance of {name}", "the cluster does not even look whether it works", remedy)


def _left_alone(nodes: Sequence[Node], running: Mapping[str, list[Running]]) -> Iterator[Leftover]:
    """What Pacemaker says that it leaves alone, by a default or a rule: no resource says so itself, and it has not given up on it."""
    resting = {node.name for node in nodes if node.maintenance}
    names = [
        name
        for name, found in running.items()
        if any(not (one.managed or one.orphaned or one.blocked) and one.node not in resting for one in found)
    ]
    if names:
        what = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        yield Leftover(
            f"unmanaged: {what}",
            "by a default or a rule, the cluster neither repairs nor moves it",
            "crm_attribute --type rsc_defaults --name is-managed --delete; "
            "crm configure show type:rsc_defaults type:property shows what else it may be",
        )


def _disabled(cib: Element) -> Iterator[Leftover]:
    for element in _configured(cib):
        if element.get("class") != "stonith" and _meta(element).get("target-role", "").lower() == "stopped":
            name = element.get("id", "")
            remedy = f"crm_resource -r {name} --meta -d target-role"
            yield Leftover(f"{name} is {DISABLED}", "it runs nowhere until somebody switches it on", remedy)


def _configured(cib: Element) -> Iterator[Element]:
    return (element for kind in ("primitive", "group", "clone", "master", "bundle") for element in cib.iter(kind))


def _meta(element: Element) -> dict[str, str]:
    return pairs(element.find("meta_attributes"))
