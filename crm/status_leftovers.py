"""What people and tools leave behind in a cluster and forget: moves, bans, standby, maintenance mode, raised scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.etree.ElementTree import Element

from hafailover.agents.mariadb import decide
from hafailover.crm.status import Leftover, Node, Service
from hafailover.crm.status_xml import pairs

_TRUE = ("true", "yes", "on", "y", "1")


def find_leftovers(
    cib: Element, nodes: Sequence[Node], services: Sequence[Service], properties: Mapping[str, str]
) -> Iterator[Leftover]:
    """Every leftover, the ones that stop the whole cluster first."""
    yield from _properties(properties)
    yield from _nodes(nodes)
    yield from _constraints(cib)
    yield from _unmanaged(cib)
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
    if properties.get("maintenance-mode", "").lower() in _TRUE:
        yield Leftover(
            "maintenance mode",
            "the cluster watches nothing and fails nothing over",
            "crm_attribute -t crm_config -n maintenance-mode -D",
        )
    if properties.get("stop-all-resources", "").lower() in _TRUE:
        yield Leftover(
            "stop-all-resources", "nothing is started anywhere", "crm_attribute -t crm_config -n stop-all-resources -D"
        )


def _nodes(nodes: Sequence[Node]) -> Iterator[Leftover]:
    for node in nodes:
        if node.standby:
            yield Leftover(
                f"standby of {node.name}", "nothing runs there", f"crm_attribute -N {node.name} -n standby -D"
            )
        if node.maintenance:
            yield Leftover(
                f"maintenance of {node.name}",
                "what runs there is neither watched nor moved",
                f"crm_attribute -N {node.name} -n maintenance -D",
            )


def _constraints(cib: Element) -> Iterator[Leftover]:
    for constraint in cib.iterfind("configuration/constraints/rsc_location"):
        name = constraint.get("id", "")
        if not name.startswith("cli-"):
            continue
        resource = constraint.get("rsc", "")
        expression = constraint.find(".//expression[@attribute='#uname']")
        node = constraint.get("node") or (expression.get("value", "") if expression is not None else "a node")
        kind = "ban" if name.startswith("cli-ban") else "move"
        role = "be promoted" if (constraint.get("role") or _rule_role(constraint)) in ("Promoted", "Master") else "run"
        yield Leftover(
            f"{kind} of {resource} ({name})",
            f"{resource} may not {role} on {node}" if kind == "ban" else f"{resource} wants to {role} on {node}",
            f"crm_resource --clear -r {resource}",
        )


def _rule_role(constraint: Element) -> str:
    rule = constraint.find("rule")
    return "" if rule is None else rule.get("role", "")


def _unmanaged(cib: Element) -> Iterator[Leftover]:
    for kind in ("primitive", "group", "clone", "master"):
        for element in cib.iter(kind):
            if pairs(element.find("meta_attributes")).get("is-managed", "").lower() in ("false", "no", "off", "n", "0"):
                name = element.get("id", "")
                yield Leftover(
                    f"{name} is unmanaged",
                    "the cluster neither repairs nor moves it",
                    f"crm_resource -r {name} --meta -d is-managed",
                )
