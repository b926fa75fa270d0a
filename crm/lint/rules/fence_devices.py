"""Rules about fencing that is off, and about fence devices that cannot do their work."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from hafailover.crm import fence_hosts, values
from hafailover.crm.lint import ERROR, WARNING, Facts, Found, NotLooked, rule
from hafailover.crm.lint.cluster import is_fence_device, node_test, primitives
from hafailover.crm.lint.paste import Placeholder, command, commands, configure
from hafailover.crm.resolved import Resolved, Resource
from hafailover.crm.resolved_xml import levels

# Agents of one machine's own controller: they have no list of hosts to ask for.
_ONE_MACHINE = re.compile(
    r"fence_(ipmilan(plus)?|ilo\w*|idrac|imm|drac\d?|redfish|rsa|rsb|amt(_ws)?|alom|mpath_single|cisco_imc)|external/(ipmi|riloe|drac5|ibmrsa(-telnet)?)"
)
# Agents that tell, when asked, which machines they can switch off (action list, or gethosts of the external ones).
_LISTING = re.compile(
    r"fence_(virsh|vmware\w*|virt|xvm|aws|gce|azure_arm|openstack|compute|evacuate|apc(_snmp)?|eaton_(snmp|ssh)|raritan(_px3)?|wti|ibmblade|"
    r"bladecenter|brocade|cisco_\w+|sanbox2|intelmodular|ipdu|hpblade|lpar|hmchttp|rhevm|pve|kubevirt|docker|vbox|zvm\w*|ovh|"
    r"powerman|netio|sbd|scsi|mpath|ibm_vpc|ibm_powervs|aliyun|ecloud|crosslink|nutanix_ahv|cdu|legacy|lindypdu|eps|watchdog)|external/\w+"
)
_MANY = 4  # nodes for which devices are written in one line


@rule(
    "fencing-off",
    ERROR,
    code="L09",
    needs=("resolved",),
    remedy="configure a fence device for every node, and stonith-enabled=true; a topology without fencing must say lab: true",
    why="a node that hangs or is cut off still writes: without fencing the other one either waits for ever or starts the same "
    "database and file "
    "system a second time, and both histories cannot be had",
)
def fencing_off(facts: Facts) -> Iterator[Found]:
    """Fencing is switched off."""
    name = fencing_property(facts.cluster)
    lab = facts.topology is not None and facts.topology.lab
    if values.boolean(facts.cluster.property(name)) is False and not lab and len(facts.cluster.nodes) != 1:
        text = f"{name}={facts.cluster.property(name)}: a node that does not answer is not switched off"
        yield Found(name, text, _switched_on(facts.cluster, name))


def _switched_on(here: Resolved, name: str) -> str:
    """The command that switches fencing on. Without any device nothing would be started any more, so those come first, and on one line: a
    shell refuses all of it as long as something has to be put in."""
    on = configure("property", f"{name}=true")
    watchdog = here.property("stonith-watchdog-timeout") or here.property("fencing-watchdog-timeout")
    if watchdog or any(is_fence_device(one) for one in primitives(here)):
        return on
    devices = _devices(here)
    return f"{devices} && {on}" if devices and on else ""


def _devices(here: Resolved) -> str:
    """One line that makes a device for each node; "" for many nodes, where somebody has a device for several."""
    lines = [_device(name) for name in here.nodes] if len(here.nodes) <= _MANY else []
    return " && ".join(lines) if all(lines) else ""


def fencing_property(here: Resolved) -> str:
    """The property that switches fencing off: the new name of Pacemaker 3 if it is set, else the old one."""
    return "fencing-enabled" if here.property("fencing-enabled") is not None else "stonith-enabled"


@rule(
    "quorum-ignored",
    ERROR,
    code="L10",
    needs=("resolved",),
    remedy="no-quorum-policy=stop; two nodes get a quorum device, or two_node: 1 in corosync.conf, which gives both quorum and "
    "lets fencing decide",
    why="after a split each half goes on by itself and takes all services: two primaries, two holders of one address",
)
def quorum_ignored(facts: Facts) -> Iterator[Found]:
    """A partition without quorum goes on as if it had it."""
    value = facts.cluster.property("no-quorum-policy") or ""
    if value.lower() == "ignore":
        text = f"no-quorum-policy={value}: a half that has lost quorum runs everything all the same"
        yield Found("no-quorum-policy", text, configure("property", "no-quorum-policy=stop"))


@rule(
    "fence-device",
    ERROR,
    code="L11",
    needs=("resolved",),
    remedy="give each device pcmk_host_list (or pcmk_host_map), keep it off its own target, and cover every node",
    why="a device without a list of hosts is taken for able to fence every node, and switches off the wrong one; a node without "
    "a device is "
    "waited for until a person comes, with everything stopped",
)
def fence_device(facts: Facts) -> Iterator[Found | NotLooked]:
    """A fence device has no list of hosts, stands on its own target, or a node has no device."""
    here = facts.cluster
    devices = [one for one in primitives(here) if is_fence_device(one)]
    covered: set[str] = set()
    by_level = levels(here.configuration)
    # Which nodes have an attribute, or whose names match, only the cluster knows for sure.
    certain = all(kind == "target" for kind, _ in by_level)
    covered |= {name.lower() for kind, name in by_level if kind == "target"}
    unlisted: list[str] = []
    is_node = node_test(here)
    for one in devices:
        if (one.meta.get("target-role") or "").lower() == "stopped":
            continue
        banned = _banned(here, one)
        if banned:
            text = f"may run on no node ({', '.join(banned)}), so no node can fence with it"
            yield Found(one.id, text, configure("delete", *banned))
            covered |= {target.lower() for target in _targets(one) or here.nodes}  # said already
            continue
        targets = _targets(one)
        if targets is None:
            certain = False
            found = _without_list(one)
            if isinstance(found, str):
                unlisted.append(found)
            elif found is not None:
                yield found
            continue
        covered |= {target.lower() for target in targets}
        yield from _strange(here, one, targets, is_node)
        yield from _on_target(here, one, targets)
    if unlisted:
        yield NotLooked(f"whether {', '.join(unlisted)} can list the hosts of its device is not known")
    yield from _uncovered(here, devices, covered, certain)


def _banned(here: Resolved, one: Resource) -> list[str]:
    """The constraints that keep a device off every node: Pacemaker takes it for switched off."""
    names = {one.id, one.top}
    mine = [
        place
        for place in here.locations
        if place.rsc in names and place.node is not None and not place.conditional and place.score <= -values.INFINITY
    ]
    away = {str(place.node).lower() for place in mine}
    return (
        list(dict.fromkeys(place.id for place in mine))
        if here.nodes and away >= set(map(str.lower, here.nodes))
        else []
    )


def _targets(one: Resource) -> list[str] | None:
    """The nodes that a device switches off; None when it is asked for them, or they are not known."""
    hosts = fence_hosts.read(one.params)
    if fence_hosts.PARAMETERS & one.uncertain or hosts.check != fence_hosts.STATIC:
        return None
    return list(hosts.names) or None


def _without_list(one: Resource) -> Found | str | None:
    """What is wrong with a device that has no list: a finding, the name of an agent that nobody knows here, or nothing."""
    agent = one.agent.partition(":")[2]
    if one.params.get("pcmk_host_check", "") in ("dynamic-list", "status"):
        return None
    fix = command("crm", "resource", "param", one.id, "set", "pcmk_host_list", Placeholder("NODE"))
    if one.params.get("pcmk_host_check") == "none" or _ONE_MACHINE.fullmatch(agent):
        text = "has no pcmk_host_list: Pacemaker takes it for able to switch off every node, and it switches off one machine"
        return Found(one.id, text, fix)
    return None if _LISTING.fullmatch(agent) else agent


def _strange(here: Resolved, one: Resource, targets: list[str], is_node: Callable[[str], bool]) -> Iterator[Found]:
    for name in dict.fromkeys(targets):
        if here.nodes and not is_node(name):
            text = f"is for {name}, which is no node here (nodes: {', '.join(sorted(here.node_names))})"
            yield Found(one.id, text, "", WARNING)


def _on_target(here: Resolved, one: Resource, targets: list[str]) -> Iterator[Found]:
    """A device that is preferred on its only target, or may run nowhere else."""
    if len(set(targets)) != 1:
        return
    target = targets[0].lower()
    mine = [
        place for place in here.locations if place.rsc == one.id and place.node is not None and not place.conditional
    ]
    own = [place for place in mine if str(place.node).lower() == target]
    elsewhere = {name for name in here.nodes if name.lower() != target}
    banned = {place.node for place in mine if place.score <= -values.INFINITY}
    wanted = [place for place in own if place.score > 0]
    right = configure("location", f"{one.id}-not-on-target", one.id, "-inf:", targets[0])
    if wanted:
        text = f"is placed on {targets[0]} ({wanted[0].id}), the node that it switches off: when that one hangs, so does its monitor"
        yield Found(one.id, text, commands(configure("delete", wanted[0].id), right))
    elif elsewhere and elsewhere <= banned:
        text = f"may run on {targets[0]} alone, the node that it switches off: no other node can use it"
        yield Found(one.id, text, right)


def _device(node: str) -> str:
    """A device for a node, with what only its owner knows left open."""
    words = (
        "crm",
        "configure",
        "primitive",
        f"fence-{node}",
        Placeholder("AGENT", "stonith:"),
        "params",
        f"pcmk_host_list={node}",
    )
    return command(
        *words, Placeholder("ADDRESS", "ip="), Placeholder("USER", "username="), Placeholder("FILE", "password_script=")
    )


def _uncovered(here: Resolved, devices: list[Resource], covered: set[str], certain: bool) -> Iterator[Found]:
    if values.boolean(here.property(fencing_property(here))) is False or len(here.nodes) < 2:
        return
    watchdog = values.milliseconds(
        here.property("stonith-watchdog-timeout") or here.property("fencing-watchdog-timeout")
    )
    counts_on = watchdog or (here.property("stonith-watchdog-timeout") or "").startswith("-")
    absent = values.boolean(here.property("have-watchdog")) is False
    if counts_on and not absent:
        return
    if counts_on and not devices:
        text = "is set and have-watchdog=false: there is no SBD, so nothing stops a node that is lost"
        yield Found("stonith-watchdog-timeout", text, configure("property", "stonith-watchdog-timeout=0"))
    missing = [name for name in here.nodes if name.lower() not in covered]
    if devices and certain and missing:
        text = f"no fence device is for {', '.join(missing)}"
        yield Found(missing[0], text, _device(missing[0]))
    elif not devices and any(not is_fence_device(one) for one in primitives(here)):
        text = "there is no fence device at all, and fencing is on: Pacemaker starts nothing"
        yield Found(fencing_property(here), text, _devices(here))
