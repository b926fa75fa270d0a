"""One cheap look at where the roles and addresses are: a single program, because a switchover lasts a few tenths of a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element

from hafailover.crm.errors import HafailoverError
from hafailover.crm.status import Service, Status
from hafailover.crm.status_database import PROMOTED_ROLES, placed, promotion_score
from hafailover.crm.status_xml import flag, instances, parse

if TYPE_CHECKING:
    from hafailover.crm.pacemaker import Run


@dataclass(frozen=True)
class Glance:
    """Roles and pending actions of the database by node, where it has failed, addresses by id, scores by node, lost nodes, failures.

    A failure is (resource, node, task, reason, call).
    """

    roles: dict[str, str]
    pending: dict[str, str]
    failed: frozenset[str]
    addresses: dict[str, str]
    scores: dict[str, int | None]
    lost: frozenset[str]
    failures: frozenset[tuple[str, str, str, str, str]]

    @property
    def promoted(self) -> tuple[str, ...]:
        """The promoted nodes; one whose promotion failed is shown as promoted, and is not."""
        return tuple(node for node, role in self.roles.items() if role in PROMOTED_ROLES and node not in self.failed)

    def serves(self, node: str) -> bool:
        """Whether ``node`` alone is promoted, and every address is with it."""
        return self.promoted == (node,) and all(where == node for where in self.addresses.values())


def glance(run: Run, status: Status, service: Service) -> Glance | None:
    """Look once; None when this node's cluster does not answer."""
    try:
        result = run(["crm_mon", "-1", "--output-as=xml"], timeout=5)
        if result.rc:
            return None
        mon = parse(result.out)
    except HafailoverError:
        return None
    running = instances(mon)
    there = placed(running.get(service.name, []), tuple(service.nodes))
    return Glance(
        roles={node: one.role for node, one in there.items()},
        pending={node: one.pending for node, one in there.items() if one.pending},
        failed=frozenset(node for node, one in there.items() if one.failed),
        addresses={
            address.id: next(
                (one.node for one in running.get(address.id, []) if one.node and not one.pending and one.active), ""
            )
            for address in status.addresses_of(service)
        },
        scores={node: promotion_score(mon, service.name, node) for node in service.nodes},
        lost=frozenset(
            node.get("name", "")
            for node in mon.iterfind("nodes/node")
            if flag(node, "unclean") or not flag(node, "online")
        ),
        failures=frozenset(_failure(failure) for failure in mon.iterfind("failures/failure")),
    )


def _failure(failure: Element) -> tuple[str, str, str, str, str]:
    named, _, _interval = failure.get("op_key", failure.get("id", "")).rpartition("_")
    resource, _, task = named.rpartition("_")
    reason = failure.get("exitreason", "").strip() or failure.get("exitstatus", "")
    return resource.split(":")[0], failure.get("node", ""), task, reason, failure.get("call", "")
