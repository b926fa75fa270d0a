"""Fence devices: which node each switches off, and what of it a topology says."""

from __future__ import annotations

import re
from typing import Any

from hafailover.crm import fence_hosts, generate, sbd, values
from hafailover.crm.importing import fencing_levels, findings
from hafailover.crm.importing.draft import Draft
from hafailover.crm.importing.hidden import may_show
from hafailover.crm.importing.names import duration, is_text, plain, span, words
from hafailover.crm.resolved import Resource
from hafailover.crm.secret_names import is_inline
from hafailover.crm.topology_fencing import FENCE_SECRETS, MAX_DELAY, PLUGS, base_delay, is_board, pairs

_AGENT = re.compile(r"stonith:(fence_[a-z0-9_]+)\Z")
_SCRIPTS = {script: secret for secret, script in FENCE_SECRETS.items()}
# action would win over what Pacemaker wants of the agent; which nodes a device is for, its place in the topology says.
_RESERVED = ("agent", "delay", "max_delay", "action", "pcmk_host_check")
ALL = "fence-all"


def read(draft: Draft) -> None:
    """Turn every fence device into ``fencing`` or the ``fence`` of its nodes."""
    everybody = list(draft.node_names)
    levels = fencing_levels.read(draft)
    every = [
        one for one in draft.resolved.resources.values() if one.kind == "primitive" and one.agent.startswith("stonith:")
    ]
    for one in sorted(every, key=lambda one: levels.order(one.id)):
        agent = _AGENT.match(one.agent)
        draft.anchors[one.id] = draft.anchors[one.top] = ("fence", "")
        if one.agent.partition(":")[2] in sbd.AGENTS and "fencing" not in draft.head:
            _disks(draft, one)
            continue
        if agent is None:
            text = f"{findings.visible(one.agent)} is no fence agent that a topology takes (fence_NAME)"
            draft.notes.add(findings.LEFT_OUT, one.id, text)
            continue
        known = [node for node in _targets(draft, one, everybody) if node in draft.node_names]
        targets = [node for node in known if one.id not in levels.together.get(node, ())]
        if not known:
            draft.notes.add(findings.LEFT_OUT, one.id, "is for none of the cluster's nodes")
        elif not targets:
            draft.notes.add(findings.LEFT_OUT, one.id, "switches no node off by itself, as its level says")
        elif set(targets) == set(everybody) and (len(everybody) > 1 or one.id == ALL):
            _for_all(draft, one, agent[1], targets)
        else:
            _for_each(draft, one, agent[1], targets)
    _watchdog(draft)
    _several(draft)
    _uncovered(draft)


def _disks(draft: Draft, one: Resource) -> None:
    """SBD over shared disks."""
    agent = one.agent.partition(":")[2]
    written: dict[str, Any] = {"devices": words(one.params.get("devices") or one.params.get("sbd_device"))}
    if agent != sbd.AGENTS[0]:
        written["agent"] = agent
    power = values.milliseconds(one.params.get("power_timeout"))
    if power is not None and power > 10_000:
        written["timeout"] = span((power - 10_000) // 2)
    elif not _is_own(one):
        text = f"the watchdog's timeout is on the disks and in sbd's settings, not in a CIB; {sbd.TIMEOUT} s is assumed"
        draft.notes.add(findings.ASSUMED, one.id, text, "compare with: sbd -d DISK dump, and write fencing.sbd.timeout")
    if not written["devices"]:
        text = "its disks are in sbd's settings (SBD_DEVICE in /etc/sysconfig/sbd or /etc/default/sbd), not in a CIB"
        draft.notes.add(findings.ASSUMED, one.id, text, "write fencing.sbd.devices")
    late = {
        key: value
        for key, value in _delays(draft, one, list(draft.node_names)).items()
        if key in ("delay", "max_delay")
    }
    draft.head["fencing"] = {"sbd": written, **late}
    draft.renames[one.id] = draft.renames[one.top] = ALL
    draft.comment(("fencing",), f"from {findings.visible(one.id, 80)}")


def _is_own(one: Resource) -> bool:
    return one.id == ALL and "pcmk_host_list" in one.params


def _delays(draft: Draft, one: Resource, targets: list[str]) -> dict[str, Any]:
    """How long the device waits for ``targets``, without what two nodes that have no third voter get anyway."""
    found: dict[str, Any] = {}
    base, most = one.params.get("pcmk_delay_base", ""), duration(one.params.get("pcmk_delay_max"))
    if ":" in base:
        found.update(_by_target(draft, one, base, targets))
    elif duration(base):
        found["delay"] = duration(base)
    if most:
        found["max_delay"] = most
    race = len(draft.nodes) == 2 and "device" not in draft.head.get("quorum", {})
    return {} if race and found == {"max_delay": MAX_DELAY} else found


def _by_target(draft: Draft, one: Resource, base: str, targets: list[str]) -> dict[str, Any]:
    """A wait for each node, under the nodes' names in the topology."""
    strangers = [name for name, _ in pairs(base) if not any(_begins(node, name) for node in draft.node_names)]
    if strangers:
        text = f"pcmk_delay_base names {findings.visible(', '.join(strangers), 80)}, which is none of the nodes"
        draft.notes.add(findings.LEFT_OUT, one.id, text)
    if not strangers and all(draft.node_names.get(name) == name and name in targets for name, _ in pairs(base)):
        return {"pcmk_delay_base": base}
    times = {draft.node_names[node]: span(base_delay(base, node)) for node in targets}
    if len(set(times.values())) == 1:
        time = next(iter(times.values()))
        return {"delay": time} if time != "0s" else {}
    # Pacemaker takes the first name that the node's begins with.
    longest = sorted(times, key=len, reverse=True)
    return {"pcmk_delay_base": ";".join(f"{name}:{times[name]}" for name in longest)}


def _begins(node: str, name: str) -> bool:
    return bool(name) and node.lower().startswith(name.lower())


def _watchdog(draft: Draft) -> None:
    """SBD without disks: no device, and a time after which a lost node has reset itself."""
    written = draft.resolved.property("stonith-watchdog-timeout") or ""
    if written.startswith("-"):  # Pacemaker takes twice the watchdog's timeout by itself
        time: int | None = 2000 * sbd.TIMEOUT
    else:
        time = values.milliseconds(written)
    if time and "fencing" not in draft.head and not any("fence" in node for node in draft.nodes.values()):
        draft.head["fencing"] = {"sbd": {"timeout": span(max(1000, time // 2000 * 1000))}}
        text = (
            "the watchdog's own timeout is in sbd's settings, not in a CIB; half of stonith-watchdog-timeout is assumed"
        )
        draft.notes.add(findings.ASSUMED, "stonith-watchdog-timeout", text, "write fencing.sbd.timeout")


def _targets(draft: Draft, one: Resource, everybody: list[str]) -> list[str]:
    """The nodes, by their names in the source, that a device can switch off."""
    hosts = fence_hosts.read(one.params)
    if hosts.check == fence_hosts.STATIC and hosts.names:
        return list(dict.fromkeys(_as_named(draft, name) for name in hosts.names))
    check = one.params.get("pcmk_host_check", "dynamic-list")
    how = {"none": "whatever it is asked for", "status": "each node that it knows the state of"}
    what = f"is for {how.get(check, 'the nodes that it lists itself')} (pcmk_host_check); here it gets a fixed list of all nodes"
    draft.notes.add(findings.ASSUMED, one.id, what)
    return everybody


def _for_all(draft: Draft, one: Resource, agent: str, targets: list[str]) -> None:
    if "fencing" in draft.head:
        draft.notes.add(findings.LEFT_OUT, one.id, "is a second device for all nodes; a topology has one")
        return
    draft.head["fencing"] = _options(draft, one, agent, ALL, targets)
    draft.renames[one.id] = draft.renames[one.top] = ALL
    draft.comment(("fencing",), f"from {findings.visible(one.id, 80)}")


def _for_each(draft: Draft, one: Resource, agent: str, targets: list[str]) -> None:
    free = [node for node in targets if "fence" not in draft.nodes[draft.node_names[node]]]
    for node in targets:
        if node not in free:
            text = f"is a second device for {findings.visible(node, 80)}; a topology has one for each node"
            draft.notes.add(findings.LEFT_OUT, one.id, text)
    for index, node in enumerate(free):
        name = draft.node_names[node]
        options = _options(draft, one, agent, f"fence-{name}", [node])
        draft.nodes[name]["fence"] = options
        if index == 0:
            draft.renames[one.id] = draft.renames[one.top] = f"fence-{name}"
    if len(free) > 1:
        what = f"is one device for {len(free)} nodes of {len(draft.nodes)}; each of them gets a device of its own with the same parameters"
        draft.notes.add(findings.BECOMES, one.id, what)


def _several(draft: Draft) -> None:
    """Nodes that two devices of the topology are for."""
    own = [name for name, node in draft.nodes.items() if "fence" in node]
    if own and "agent" in draft.head.get("fencing", {}):
        text = f"{', '.join(own[:8])}{' …' if len(own) > 8 else ''} can be switched off by fence and by fencing: each is enough by itself"
        draft.notes.add(findings.ASSUMED, ALL, text, "take one of them out if they are not")


def _as_named(draft: Draft, name: str) -> str:
    """A device's name for a node as the cluster writes it: to Pacemaker, case makes no difference."""
    return next((node for node in draft.node_names if node.lower() == name.lower()), name)


def _outlets(draft: Draft, one: Resource, agent: str, targets: list[str]) -> str | None:
    """pcmk_host_map for ``targets``, under the nodes' names in the topology; None when none is needed."""
    written = one.params.get("pcmk_host_map", "")
    pairs_ = list(fence_hosts.parse_map(written))
    given = [(_as_named(draft, name), outlet) for name, outlet in pairs_]
    strangers = [name for name, _ in given if name not in draft.node_names]
    if strangers:
        text = f"pcmk_host_map names {findings.visible(', '.join(strangers), 80)}, which is none of the nodes"
        draft.notes.add(findings.LEFT_OUT, one.id, text)
    kept = {name: outlet for name, outlet in given if name in targets}
    if given and given == pairs_ and all(draft.node_names.get(name) == name and name in targets for name, _ in given):
        return written
    told_itself = is_board(agent) or any(one.params.get(key) for key in PLUGS)
    for node in targets:
        if draft.node_names[node] != node and node not in kept and not told_itself:
            kept[node] = node  # the device knows it by the name that it has now
            text = f"is told the node's name, which changes; pcmk_host_map keeps {findings.visible(node, 80)} for it"
            draft.notes.add(findings.ASSUMED, one.id, text)
    bad = [node for node in kept if re.search(r"[\s;:=\\]", kept[node])]
    if bad:
        text = f"what it calls {findings.visible(', '.join(bad), 80)} cannot be written into a pcmk_host_map"
        draft.notes.add(findings.LEFT_OUT, one.id, text)
    return ";".join(f"{draft.node_names[node]}:{kept[node]}" for node in kept if node not in bad) or None


def _options(draft: Draft, one: Resource, agent: str, device: str, targets: list[str]) -> dict[str, Any]:
    """The mapping ``fence`` of the device that will be called ``device``, for ``targets``."""
    found: dict[str, Any] = {"agent": agent}
    late = _delays(draft, one, targets)
    map_ = _outlets(draft, one, agent, targets)
    for name, value in one.params.items():
        secret = _SCRIPTS.get(name)
        if name == "pcmk_host_list" or (name == "pcmk_host_check" and "pcmk_host_list" in one.params):
            continue
        if name == "pcmk_host_map":
            if map_ is not None:
                found[name], map_ = map_, None
            continue
        if secret is not None and value == generate.secret_script(device, secret):
            found[secret] = f"file:{device}-{secret.replace('_', '-')}"
            what = f"its secret was put into secrets_dir under a name that no CIB tells; it is {found[secret]} here"
            draft.notes.add(findings.ASSUMED, one.id, what)
        elif name in FENCE_SECRETS:
            found[name] = draft.secret(f"{device}-{name.replace('_', '-')}", one, name, "a secret")
        elif name == "pcmk_delay_base" and (":" in value or duration(value)):
            if "pcmk_delay_base" in late:
                found[name] = late.pop(name)
        elif name == "pcmk_delay_max" and duration(value):
            continue
        elif name == "delay" and one.params.get("pcmk_delay_base"):
            text = f"waits {findings.visible(value, 40)} (delay) besides its pcmk_delay_base; the second is kept"
            draft.notes.add(findings.LEFT_OUT, one.id, text)
        elif name == "delay":
            late["delay"] = duration(value) or "0s"
            text = "delay of the agent becomes pcmk_delay_base of the cluster: the same wait, told in the cluster's own log"
            draft.notes.add(findings.BECOMES, one.id, text)
        elif is_inline(name, value):
            what = f"parameter {findings.visible(name)} holds a secret, and a topology hands on only {', '.join(FENCE_SECRETS)}"
            draft.notes.add(
                findings.LEFT_OUT, one.id, what, "see whether the agent can read it from a program or a file"
            )
        elif not is_text(name) or not may_show(name, value) or name in _RESERVED or value.startswith("file:"):
            draft.notes.add(findings.LEFT_OUT, one.id, f"parameter {findings.visible(name)} has no place in a topology")
        else:
            found[name] = plain(value)
    if map_ is not None:
        found["pcmk_host_map"] = map_
    return {**found, **late}


def _uncovered(draft: Draft) -> None:
    """A cluster without fencing is a throw-away one to a topology; one that wants fencing and has none cannot be imported whole."""
    if "fencing" in draft.head:
        return
    bare = [name for name, node in draft.nodes.items() if "fence" not in node]
    if bare and values.boolean(draft.resolved.property("stonith-enabled")) is False:
        draft.head["lab"] = True
        draft.comment(
            ("lab",), "The source has no fencing (stonith-enabled=false): a split of it writes on both sides."
        )
        draft.comment(("lab",), "Give every node fence, or all of them fencing, and take this line out.")
        text = "is off: nothing can switch a node off, so a split of the cluster writes on both sides. The topology says lab: true"
        draft.notes.add(findings.ASSUMED, "stonith-enabled", text, "give every node fence and take lab: true out")
    elif bare and draft.nodes:
        text = f"no device of the source switches off {', '.join(bare[:8])}{' …' if len(bare) > 8 else ''}"
        draft.notes.add(findings.ASSUMED, "fencing", text, "give these nodes fence in the topology")
