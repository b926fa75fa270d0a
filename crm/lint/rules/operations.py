"""Rules about operations: monitors that are missing or collide, stops that may fail unseen, timeouts that are too short."""

from __future__ import annotations

from collections.abc import Iterator

from hafailover.crm import agent_metadata, values
from hafailover.crm.lint import ERROR, WARNING, Facts, Found, NotLooked, rule
from hafailover.crm.lint.cluster import is_fence_device, primitives, promoted_word
from hafailover.crm.lint.paste import command, commands, configure, modify
from hafailover.crm.model import AttributeSet, Verbatim
from hafailover.crm.resolved import Op, Resolved, Resource
from hafailover.crm.resolved_xml import element
from hafailover.crm.values import PROMOTED, STARTED, UNPROMOTED

DEFAULT_TIMEOUT = 20_000
"""What Pacemaker waits for an action that nobody gave a timeout, in ms."""
# They do nothing that could be looked at.
_NOTHING_TO_SEE = frozenset({"ocf:heartbeat:MailTo"})
# In a clone they have no other node to be started on, and nothing that two of them could spoil.
_HOLDS_NOTHING = frozenset(
    {"memcached", "memcached.service", "ping", "pingd", "diskd", "SysInfo", "HealthCPU", "HealthIOWait", "HealthSMART"}
)
_ACTIONS = ("start", "stop", "promote", "demote", "notify", "migrate_to", "migrate_from", "reload", "reload-agent")
_ALWAYS = ("start", "stop")
_STOPPED = "Stopped"


@rule(
    "no-monitor",
    ERROR,
    code="L04",
    needs=("resolved",),
    remedy="give it a monitor with an interval of some seconds",
    why="without a monitor Pacemaker looks at a resource once, before it starts it: a service that dies afterwards stays dead "
    "and is shown as started",
)
def no_monitor(facts: Facts) -> Iterator[Found]:
    """A resource has no recurring monitor."""
    for one in primitives(facts.cluster):
        if any(op.role != _STOPPED for op in one.monitors()) or one.agent in _NOTHING_TO_SEE:
            continue
        monitors = [op for op in one.operations if op.name == "monitor"]
        text = "has no monitor, so its death is not seen"
        if one.monitors():
            text = "is monitored with role=Stopped alone, where it should not run: that it died is not seen"
        elif any(not op.enabled and op.interval > 0 for op in monitors):
            text = "has a monitor that is switched off (enabled=false), so its death is not seen"
        elif monitors:
            text = "has a monitor with interval 0, which never runs again after the start"
        severity = ""
        if is_fence_device(one):
            text, severity = f"{text}: that it does not work is found out when it is needed", WARNING
        yield Found(one.id, text, _monitor(facts.cluster, one), severity)


def _monitor(here: Resolved, one: Resource) -> str:
    monitors = [op for op in one.operations if op.name == "monitor" and op.role != _STOPPED]
    off = [op for op in monitors if op.interval > 0]
    # crmsh adds none beside one that is switched off or never recurs.
    if off:
        return commands(*(modify("op", op.id, enabled="true") for op in off))
    if monitors:
        return modify("op", monitors[0].id, interval=_free(one))
    if not one.promotable:
        return configure("monitor", one.id, f"{_free(one, 10)}:30s")
    role = promoted_word(here)
    other = "Unpromoted" if role == PROMOTED else "Slave"
    first = _free(one)
    return commands(
        configure("monitor", f"{one.id}:{role}", f"{first}:30s"),
        configure("monitor", f"{one.id}:{other}", f"{_free(one, 10, first)}:30s"),
    )


@rule(
    "role-not-monitored",
    ERROR,
    code="L05",
    needs=("resolved",),
    remedy="give it two monitors of different intervals, one with role=Promoted and one with role=Unpromoted",
    why="a monitor without role does not look at the promoted instance: a primary that dies is not failed over, and clients "
    "wait until somebody calls",
)
def role_not_monitored(facts: Facts) -> Iterator[Found]:
    """A promotable resource is monitored in one of its two roles only."""
    for one in primitives(facts.cluster):
        monitors = one.monitors()
        if not one.promotable or not monitors:
            continue
        roles = {op.role for op in monitors}
        role = promoted_word(facts.cluster)
        if PROMOTED not in roles:
            fix = configure("monitor", f"{one.id}:{role}", f"{_free(one)}:30s")
            yield Found(one.id, f"has no monitor with role={role}: nobody looks at the promoted instance", fix)
        if not roles & {"", STARTED, UNPROMOTED}:
            fix = configure("monitor", f"{one.id}:{'Unpromoted' if role == PROMOTED else 'Slave'}", f"{_free(one)}:30s")
            yield Found(one.id, "has a monitor for the promoted instance alone: a replica that dies stays dead", fix)


def _free(one: Resource, begin: int = 9, *given: str) -> str:
    """An interval that no operation has, and that is not ``given`` to another one."""
    taken = {op.interval for op in one.operations} | {values.milliseconds(other) for other in given}
    return next(f"{count}s" for count in range(begin, begin + 1 + len(taken)) if count * 1000 not in taken)


@rule(
    "interval-twice",
    ERROR,
    code="L06",
    needs=("resolved",),
    remedy="give every monitor of a resource another interval; one second of difference is enough",
    why="Pacemaker knows a recurring operation by name and interval alone, so of two equal ones it runs only one and the other "
    "role is not looked at",
)
def interval_twice(facts: Facts) -> Iterator[Found]:
    """Two recurring operations of a resource have the same name and interval."""
    for one in primitives(facts.cluster):
        seen: dict[tuple[str, int], Op] = {}
        given: list[str] = []
        for op in one.operations:
            if op.interval <= 0:  # Pacemaker compares also what is switched off
                continue
            first = seen.setdefault((op.name, op.interval), op)
            if first is not op:
                text = (
                    f"has two operations {op.name} every {_time(op.interval)}, for {_role(first)} and for {_role(op)}"
                )
                given.append(_free(one, 9, *given))
                yield Found(one.id, text, modify("op", op.id, interval=given[-1]))


def _role(op: Op) -> str:
    return f"role {op.role}" if op.role else "no role"


@rule(
    "stop-failure-ignored",
    ERROR,
    code="L07",
    needs=("resolved",),
    remedy="take on-fail out of the stop operation: a node that cannot stop a resource has to be fenced",
    why="a stop that failed means that the resource may still run: who goes on regardless mounts a file system or starts a "
    "database twice, and "
    "block leaves the service down on every node until a person comes",
)
def stop_failure_ignored(facts: Facts) -> Iterator[Found]:
    """A failed stop is ignored, or blocks the resource although there is fencing."""
    here = facts.cluster
    fenced = values.boolean(fencing_enabled(here)) is not False
    bad = {"ignore", "nothing", *(("block",) if fenced else ())}
    default = (here.op_defaults.get("on-fail") or "").lower()
    if default in bad:
        text = f"on-fail={default} holds for every operation that does not say otherwise, also for every stop"
        yield Found(
            "op_defaults on-fail",
            text,
            command("crm_attribute", "--type", "op_defaults", "--name", "on-fail", "--delete"),
        )
    for set_id, pair_id, value in _ruled(here):
        if value.lower() in bad:
            text = (
                f"on-fail={value} holds for the stop of every resource that does not say otherwise (rule in {set_id})"
            )
            yield Found("op_defaults on-fail", text, modify("nvpair", pair_id, value="fence" if fenced else "block"))
    for one in primitives(here):
        for op in one.operations if not is_fence_device(one) else ():  # stopping it is forgetting it, which cannot fail
            own = (op.on_fail or "").lower()
            if op.name != "stop" or not op.enabled or own not in bad or "on-fail" not in op.own:
                continue
            if one.agent.rpartition(":")[2] in _HOLDS_NOTHING and one.parent is not None:
                continue
            what = "takes a failed stop for a success"
            if own == "block":
                what = "waits for a person when a stop has failed, although there is fencing"
            yield Found(
                one.id, f"on-fail={own} on its stop {what}", modify("op", op.id, on_fail="fence" if fenced else "block")
            )


def _ruled(here: Resolved) -> Iterator[tuple[str, str, str]]:
    """(set, nvpair, value) of each on-fail that a rule of op_defaults gives to stop operations."""
    for found in here.configuration.op_defaults:
        if not isinstance(found, AttributeSet) or found.kind != "meta_attributes":
            continue
        rules = [element(child.xml) for child in found.children if isinstance(child, Verbatim) and child.tag == "rule"]
        named = {one.get("name") for rule in rules if rule is not None for one in rule.iter("op_expression")}
        if "stop" in named:
            yield from ((found.id, pair.id, pair.value or "") for pair in found.pairs if pair.name == "on-fail")


def fencing_enabled(here: Resolved) -> str | None:
    """The property that switches fencing off, by its name in Pacemaker 3.1 and later or the older one."""
    new = here.property("fencing-enabled")
    return new if new is not None else here.property("stonith-enabled")


@rule(
    "timeout-too-short",
    WARNING,
    code="L08",
    needs=("resolved",),
    remedy="give the operation at least the timeout that its agent advertises",
    why="a healthy start or stop that takes longer than its timeout counts as failed: a stop is then answered by fencing, and a "
    "loaded server is "
    "moved to and fro in the middle of its recovery",
)
def timeout_too_short(facts: Facts) -> Iterator[Found | NotLooked]:
    """A timeout is shorter than the one that the agent advertises."""
    unknown: dict[str, None] = {}
    for one in primitives(facts.cluster):
        if is_fence_device(one) or not one.agent.startswith("ocf:"):
            continue
        known = agent_metadata.actions(one.agent)
        if known is None:
            unknown[one.agent] = None
            continue
        for op, name, role, timeout in _timeouts(facts.cluster, one):
            wanted = agent_metadata.shortest(known, name, role)
            if wanted is not None and timeout < wanted:
                where = f"{name} ({role})" if role else name
                unsaid = " because nothing is said" if op is None or op.timeout is None else ""
                text = f"gives {where} {_time(timeout)}{unsaid}, and {one.agent} asks for {_time(wanted)}"
                yield Found(one.id, text, _longer(one, op, name, _time(wanted)))
    if unknown:
        yield NotLooked(f"the meta-data of {', '.join(unknown)} is not on this machine")


def _longer(one: Resource, op: Op | None, name: str, wanted: str) -> str:
    if op is not None:
        return modify("op", op.id, timeout=wanted)
    edit = command("crm", "configure", "edit", one.id)
    return f"# add: op {name} interval=0 timeout={wanted}\n{edit}" if edit else ""


def _timeouts(here: Resolved, one: Resource) -> Iterator[tuple[Op | None, str, str, int]]:
    """(operation or None when there is none, action, role, timeout in ms) for all that Pacemaker does with a resource."""
    default = values.milliseconds(here.op_defaults.get("timeout")) or DEFAULT_TIMEOUT
    ruled = "timeout" in here.uncertain_op_defaults  # for this operation perhaps, or at this hour
    for name in (*_ALWAYS, *(("promote", "demote") if one.promotable else ())):
        if not ruled and not any(op.name == name for op in one.operations):
            yield None, name, "", default
    for op in one.operations:
        if ruled and "timeout" not in op.own:
            continue
        if op.enabled and (op.name in _ACTIONS or (op.name == "monitor" and op.interval > 0)):
            yield op, op.name, op.role, op.timeout or DEFAULT_TIMEOUT


def _time(count: int) -> str:
    return f"{count // 1000}s" if count % 1000 == 0 else f"{count}ms"
