"""From a topology to the configuration: what is common to every cluster; services and addresses add their parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from hafailover.crm import alerts_section, mod_jk, model, sbd
from hafailover.crm.errors import UsageError
from hafailover.crm.model import Configuration, Constraint, Primitive, Resource
from hafailover.crm.service import Anchor, service_types
from hafailover.crm.topology import Fence, Service, Topology, Vip
from hafailover.crm.topology_fencing import FENCE_SECRETS, MAX_DELAY

# A primary weighs its node down with its priority; the other side of a split waits this long before it fences it, or twice
# the longest delay of a fence device when that is longer, so that the two cannot cancel each other.
PRIORITY_FENCING_DELAY = 10


def configuration(topology: Topology) -> Configuration:
    """The configuration of ``topology``: deterministic, complete, and growing linearly with it."""
    resources: list[Resource] = []
    constraints: list[Constraint] = []
    _add_fencing(topology, resources, constraints)
    for vip in topology.vips.values():
        resources.append(_vip(topology, vip))
        constraints += _ties(vip.name, _anchor(topology, vip.follows))
    for service in topology.services.values():
        part = service_types()[service.type].part(service, topology)
        resources += part.resources
        constraints += part.constraints
        constraints += _service_ties(topology, service)
    _refuse_duplicates(topology, resources, constraints)
    return Configuration(
        properties=(model.named_set("cluster_property_set", "cib-bootstrap-options", _properties(topology)),),
        nodes=tuple(model.Node(str(node.id), node.name) for node in topology.nodes.values()),
        resources=tuple(resources),
        constraints=tuple(constraints),
        rsc_defaults=(model.named_set("meta_attributes", "rsc-options", _RSC_DEFAULTS),),
        others=((alerts_section.SECTION, alerts_section.text(topology)),),
        sections=("crm_config", "nodes", "resources", "constraints", "rsc_defaults", alerts_section.SECTION),
    )


_RSC_DEFAULTS = {
    # Moving costs an outage: a returned node takes nothing back by itself.
    "resource-stickiness": "100",
    "migration-threshold": "3",
    # Without it three failures in a year would ban a node for ever.
    "failure-timeout": "60s",
}


def _properties(topology: Topology) -> dict[str, str]:
    properties = {
        "stonith-enabled": "true" if topology.fenced else "false",
        "no-quorum-policy": "stop",
        # Timers have their own wake-ups; this is the net below them.
        "cluster-recheck-interval": "5min",
    }
    delay = topology.longest_fencing_delay
    if topology.quorum.two_node and topology.fenced:
        # Only here: with a third voter the side without quorum cannot fence, and this would only delay every failover.
        priority = max(PRIORITY_FENCING_DELAY, 2 * delay)
        properties["priority-fencing-delay"] = f"{priority}s"
        delay += priority
    if topology.sbd:
        properties.update(sbd.properties(topology.sbd, delay))
    return properties


def _add_fencing(topology: Topology, resources: list[Resource], constraints: list[Constraint]) -> None:
    race = topology.quorum.two_node
    if topology.fencing:
        name = "fence-all"
        resources.append(_fence_device(name, topology.fencing, tuple(topology.nodes), race))
    for node in topology.nodes.values():
        if node.fence:
            name = f"fence-{node.name}"
            resources.append(_fence_device(name, node.fence, (node.name,), race))
            # A node that must be switched off cannot be relied on to do it.
            constraints.append(model.location(f"{name}-not-on-target", name, node.name, "-INFINITY"))


def _fence_device(name: str, fence: Fence, targets: tuple[str, ...], race: bool) -> Primitive:
    params = {"pcmk_host_list": " ".join(targets)}
    for key, value in fence.parameters.items():
        if value.startswith("file:"):
            params[FENCE_SECRETS[key]] = secret_script(name, key)
        else:
            params[key] = value
    if race and "pcmk_delay_max" not in params and "pcmk_delay_base" not in params:
        # Both sides of a split fence at once; chance makes one of them first. (The primary's side is preferred by
        # priority-fencing-delay; this is for the time when there is no primary.)
        params["pcmk_delay_max"] = MAX_DELAY
    return model.primitive(
        name, ("stonith", "", fence.agent), params, (model.operation(name, "monitor", "60s", timeout="60s"),)
    )


def secret_script(device: str, parameter: str) -> str:
    """Path of the program that prints a fence device's secret, so that the secret is in no CIB and on no command line."""
    return f"/etc/hafailover/{device}-{parameter.replace('_', '-')}"


def _vip(topology: Topology, vip: Vip) -> Primitive:
    params = {"ip": str(vip.interface.ip), "cidr_netmask": str(vip.interface.network.prefixlen)}
    if vip.nic:
        params["nic"] = vip.nic
    if vip.drain:
        params["drain"] = f"{vip.drain}ms" if vip.drain % 1000 else f"{vip.drain // 1000}s"
        followed = topology.services.get((vip.follows or "").partition(".")[0])
        if followed is not None and followed.type == "apache":
            # Its reload is graceful: kept connections end as soon as no request is under way on them.
            params["drain_reload"] = followed.options["unit"]
            params["drain_url"] = mod_jk.alive_url(followed)
    return model.primitive(
        vip.name,
        ("ocf", "hafailover", "vip"),
        params,
        (
            model.operation(vip.name, "start", "0", timeout="20s"),
            model.operation(vip.name, "stop", "0", timeout=f"{20 + -(-vip.drain // 1000)}s"),
            model.operation(vip.name, "monitor", "10s", timeout="20s"),
        ),
    )


def _anchor(topology: Topology, follows: str | None) -> Anchor | None:
    return None if follows is None else _place(topology, follows)


def _place(topology: Topology, reference: str) -> Anchor:
    """Where ``reference``, an address, a service or a service's role, is."""
    if reference in topology.vips:
        return Anchor(reference, None, "start", tuple(topology.nodes))
    name, _, role = reference.partition(".")
    service = topology.services[name]
    return service_types()[service.type].anchor(service, role or None)


def _ties(follower: str, anchor: Anchor | None) -> list[Constraint]:
    if anchor is None:
        return []
    what = _what(anchor)
    # Both are needed: without the order the address would be up before the primary accepts writes.
    return [
        model.colocation(f"{follower}-with-{what}", follower, anchor.resource, anchor.role),
        model.order(f"{follower}-after-{what}", anchor.resource, anchor.action, follower, "start"),
    ]


def _service_ties(topology: Topology, service: Service) -> list[Constraint]:
    """What the keys ``after`` and ``with`` of a service mean."""
    own = service_types()[service.type].anchor(service, None).resource
    return [*_places(topology, service, own), *_orders(topology, service, own)]


def _places(topology: Topology, service: Service, own: str) -> Iterator[Constraint]:
    """Where a service may run; of a clone, each instance finds the others on its own node by itself."""
    if service.beside:
        beside = _place(topology, service.beside)
        yield model.colocation(f"{own}-with-{_what(beside)}", own, beside.resource, beside.role)
    if service_types()[service.type].cloned(service):
        return
    for reference in service.after:
        supplier = topology.services.get(reference)
        if supplier is not None and service_types()[supplier.type].nearby:
            where = _place(topology, reference)
            yield model.colocation(f"{own}-where-{_what(where)}", own, where.resource, None)


def _orders(topology: Topology, service: Service, own: str) -> Iterator[Constraint]:
    """What has to run before a service."""
    before = [_place(topology, service.beside)] if service.beside else []
    before += [_before(topology, service, reference) for reference in service.after]
    for anchor in dict.fromkeys(before):
        # After a role or an address, one way only: otherwise every user of a database would have to stop, and may take
        # minutes to finish its work, before the next primary may be promoted. Their agents see the move and begin anew.
        both_ways = anchor.role is None and anchor.resource not in topology.vips
        name = f"{own}-after-{_what(anchor)}"
        yield model.order(name, anchor.resource, anchor.action, own, "start", symmetrical=both_ways)
        if not both_ways:
            # Only when both are to be stopped, as when their node is: work that is to finish needs its database to the end.
            stops = f"{own}-stops-before-{_what(anchor)}"
            first = {"start": "stop", "promote": "demote"}[anchor.action]
            yield model.order(stops, own, "stop", anchor.resource, first, kind="Optional", symmetrical=False)


def _before(topology: Topology, service: Service, reference: str) -> Anchor:
    """What ``service`` starts after when it says ``after: reference``."""
    if "." in reference and service_types()[service.type].cloned(service):
        # An interleaved clone looks for the promoted instance on its own node, and on every other node never starts
        # (seen by simulation); an address that follows the role has no instances.
        reference = next(vip.name for vip in topology.vips.values() if vip.follows == reference)
    return _place(topology, reference)


def _what(anchor: Anchor) -> str:
    return f"{anchor.resource}-{anchor.role.lower()}" if anchor.role else anchor.resource


def _refuse_duplicates(topology: Topology, resources: list[Resource], constraints: list[Constraint]) -> None:
    members = [member.id for member in Configuration(resources=tuple(resources)).primitives()]
    around = [resource.id for resource in resources if not isinstance(resource, Primitive)]
    counted = Counter([*members, *around, *(constraint.id for constraint in constraints)])
    twice = [name for name, count in counted.items() if count > 1]
    if twice:
        raise UsageError(
            f"{topology.file}: two parts of the configuration would be named {', '.join(twice)}; "
            "rename the service, address or node that the name comes from"
        )
