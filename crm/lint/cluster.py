"""How resources stand to each other in a resolved configuration: which are addresses or fence devices, what places and starts what.

What a single resource or file says (the address itself, a mount's directory) is read in crm/lint/about.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hafailover.crm.resolved import Resolved, Resource
from hafailover.crm.values import PROMOTED

ADDRESSES = {
    "ocf:heartbeat:IPaddr2": "ip",
    "ocf:heartbeat:IPaddr": "ip",
    "ocf:heartbeat:IPv6addr": "ipv6addr",
    "ocf:hafailover:vip": "ip",
}
"""Agents of virtual addresses, and the parameter that holds the address."""
# They let a provider's network lead there. Mostly an IPaddr2 has the same address beside them, so theirs is not compared.
_CLOUD = frozenset(
    f"ocf:heartbeat:{name}"
    for name in (
        "aws-vpc-move-ip", "aws-vpc-route53", "awseip", "awsvip", "azure-lb", "gcp-ilb", "gcp-vpc-move-ip", "gcp-vpc-move-route",
        "gcp-vpc-move-vip", "aliyun-vpc-move-ip", "ibm-cloud-vpc-cr-vpn", "ibm-cloud-vpc-move-fip", "powervs-subnet", "powervs-move-ip",
        "openstack-floating-ip", "openstack-virtual-ip", "dnsupdate",
    )
)  # fmt: skip


def is_address(resource: Resource) -> bool:
    """Whether it is a virtual address, also one that a cloud's network moves."""
    return resource.agent in ADDRESSES or resource.agent in _CLOUD


def is_fence_device(resource: Resource) -> bool:
    """Whether it switches nodes off."""
    return resource.agent.startswith("stonith:")


def primitives(resolved: Resolved) -> Iterator[Resource]:
    """Every primitive."""
    return (one for one in resolved.resources.values() if one.kind == "primitive")


def around(resolved: Resolved, resource: Resource) -> tuple[str, ...]:
    """The ids that mean ``resource`` in a constraint: its own and its parents', the innermost first."""
    found = [resource.id]
    while resource.parent is not None:
        resource = resolved.resources[resource.parent]
        found.append(resource.id)
    return tuple(found)


def holds_address(resolved: Resolved, id: str) -> bool:
    """Whether ``id`` is an address or a group with one; a clone is none that moves."""
    one = resolved.resources.get(id)
    return (
        one is not None
        and one.kind in ("primitive", "group")
        and one.id == resolved.effective_id(one.id)
        and any(is_address(found) for found in resolved.primitives_of(id))
    )


def placed_with(resolved: Resolved, id: str) -> set[tuple[str, str]]:
    """(resource, role) of everything that ``id`` is placed by, directly or through others."""
    found: set[tuple[str, str]] = set()
    waiting = [id]
    while waiting:
        for name in names(resolved, waiting.pop()):
            for other in resolved.next_to.get(name, frozenset()) - found:
                found.add(other)
                waiting.append(other[0])
    return found


def starts_after_promotion(resolved: Resolved, id: str, promoted: str) -> bool:
    """Whether ``id`` starts only after ``promoted`` is promoted, directly or through others that start in between."""
    seen: set[str] = set()
    waiting = [id]
    while waiting:
        for name in names(resolved, waiting.pop()):
            if name in seen:
                continue
            seen.add(name)
            for first, action in resolved.started_after.get(name, ()):
                if action == "promote" and first == promoted:
                    return True
                waiting.append(first)
    return False


def names(resolved: Resolved, id: str) -> tuple[str, ...]:
    """``id``, what it is inside of, and the members of a group: what holds for one of them places or orders ``id`` as well."""
    one = resolved.resources.get(id)
    if one is None:
        return (id,)
    # What stands before a member in its group starts before it, and the group is on one node.
    group = next((other for other in around(resolved, one) if resolved.resources[other].kind == "group"), None)
    inside = resolved.resources[group].children if group is not None else ()
    before = inside[: inside.index(id) + 1] if id in inside else inside
    return tuple(dict.fromkeys((*around(resolved, one), *before)))


def promoted_word(resolved: Resolved) -> str:
    """The word for the role that this configuration's schema knows: Master before pacemaker-3.7."""
    return PROMOTED if knows_promoted(resolved) else "Master"


def schema(resolved: Resolved) -> tuple[int, int] | None:
    """The version of the schema that the CIB is validated with, (3, 7); None when it names none."""
    written = dict(resolved.configuration.cib_attributes).get("validate-with", "pacemaker-3.7")
    major, _, minor = written.removeprefix("pacemaker-").partition(".")
    return (int(major), int(minor)) if major.isdecimal() and minor.isdecimal() and len(major + minor) < 9 else None


def knows_promoted(resolved: Resolved) -> bool:
    """Whether the CIB's schema has the roles Promoted and Unpromoted (Pacemaker 2.1 and newer)."""
    version = schema(resolved)
    return version is None or version >= (3, 7)


def node_test(resolved: Resolved) -> Callable[[str], bool]:
    """Tells whether a name is a node: listed, remote, a guest, or a replica of a bundle, which is called BUNDLE-0 and so on."""
    listed = {known.lower() for known in resolved.node_names}
    boxes = {one.id for one in resolved.resources.values() if one.kind == "bundle"}

    def is_node(name: str) -> bool:
        bundle, _, number = name.rpartition("-")
        return name.lower() in listed or (bundle in boxes and number.isdecimal())

    return is_node
