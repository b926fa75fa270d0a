"""Rules about roles: an address that follows a promoted instance, and roles of what has none."""

from __future__ import annotations

from collections.abc import Iterator

from hafailover.crm.lint import ERROR, Facts, Found, rule
from hafailover.crm.lint.cluster import (
    holds_address,
    placed_with,
    promoted_word,
    starts_after_promotion,
)
from hafailover.crm.lint.paste import command, configure, modify, together
from hafailover.crm.resolved import Colocation, Resolved
from hafailover.crm.values import INFINITY, PROMOTED, UNPROMOTED

_ROLE_ACTIONS = ("promote", "demote")
# What is promoted for its data has to choose the place; others, such as conntrackd or portblock, follow an address with good reason.
_HAS_DATA = frozenset(
    {
        "mariadb",
        "mysql",
        "galera",
        "pgsql",
        "pgsqlms",
        "redis",
        "drbd",
        "SAPHana",
        "SAPHanaController",
        "slapd",
        "rabbitmq",
        "mongod",
    }
)


@rule(
    "address-unbound",
    ERROR,
    code="L01",
    needs=("resolved",),
    remedy="an address that follows a role needs both: a colocation of score INFINITY with the promoted role, and an order that starts "
    "it after promote",
    why="without the order the address answers before its database takes writes, so clients get errors at every failover; without the "
    "colocation it stays on the old node and clients write to a replica",
)
def address_unbound(facts: Facts) -> Iterator[Found]:
    """A virtual address is tied to a promoted role by a colocation or an order alone, or by a score that gives way."""
    here = facts.cluster
    told: set[tuple[str, str]] = set()
    firm = {(one.rsc, one.with_rsc) for one in here.colocations if _follows(here, one) and one.score >= INFINITY}
    for one in here.colocations:
        pair = one.rsc, one.with_rsc
        if pair not in told and _follows(here, one) and one.score < INFINITY and pair not in firm:
            told.add(pair)
            text = f"only prefers to go where {one.with_rsc} is promoted (score {one.score} in {one.id}): it may stay with a replica"
            yield Found(one.rsc, text, modify("rsc_colocation", one.id, score="INFINITY"))
            continue
        if pair in told or not _follows(here, one) or starts_after_promotion(here, *pair):
            continue
        told.add(pair)
        yield Found(
            one.rsc,
            f"goes where {one.with_rsc} is promoted ({one.id}), but nothing makes it wait until the promotion is done",
            configure(
                "order", f"{one.rsc}-after-{one.with_rsc}", "Mandatory:", f"{one.with_rsc}:promote", f"{one.rsc}:start"
            ),
        )
    for order in here.orders:
        pair = order.then, order.first
        if (
            pair in told
            or order.first_action != "promote"
            or order.then_action != "start"
            or not _promotable(here, order.first)
        ):
            continue
        if not holds_address(here, order.then) or any(
            other == order.first for other, _ in placed_with(here, order.then)
        ):
            continue
        told.add(pair)
        role = promoted_word(here)
        yield Found(
            order.then,
            f"starts after {order.first} is promoted ({order.id}), but nothing keeps it on that node",
            configure("colocation", f"{order.then}-with-{order.first}", "inf:", order.then, f"{order.first}:{role}"),
        )


def _follows(here: Resolved, one: Colocation) -> bool:
    """Whether a colocation makes an address follow a promoted role."""
    return (
        one.with_role == PROMOTED and one.score > 0 and _promotable(here, one.with_rsc) and holds_address(here, one.rsc)
    )


def _promotable(here: Resolved, id: str) -> bool:
    one = here.resources.get(id)
    return one is not None and one.promotable


@rule(
    "address-without-role",
    ERROR,
    code="L02",
    needs=("resolved",),
    remedy="colocate the address with the promoted role, in this direction: address with database, not database with address",
    why="any instance satisfies a colocation without role, so after a failover the address may stand on a replica and writes "
    "fail or are lost; "
    "the reversed one lets the address choose the primary, whatever data that node has",
)
def address_without_role(facts: Facts) -> Iterator[Found]:
    """A virtual address is colocated with a promotable clone without its role, or the clone with the address."""
    here = facts.cluster
    role = promoted_word(here)
    followed = {one.with_rsc for one in here.colocations if _follows(here, one)}
    for one in here.colocations:
        if one.score <= 0:
            continue
        name = f"{one.rsc}-with-{one.with_rsc}"
        if one.with_role == "" and _promotable(here, one.with_rsc) and holds_address(here, one.rsc):
            # Beside an address that follows the promoted instance this one is for readers.
            drbd = any(found.agent == "ocf:linbit:drbd" for found in here.primitives_of(one.with_rsc))
            if drbd or one.with_rsc not in followed:
                text = f"{one.rsc} goes with any instance of {one.with_rsc}, also with one that is not promoted"
                right = ("colocation", _other(name, one.id), "inf:", one.rsc, f"{one.with_rsc}:{role}")
                yield Found(one.id, text, _follow(facts, one) or together(("delete", one.id), right))
        elif one.rsc_role in ("", PROMOTED) and _promotable(here, one.rsc) and holds_address(here, one.with_rsc):
            if not any(found.agent.rpartition(":")[2] in _HAS_DATA for found in here.primitives_of(one.rsc)):
                continue
            text = f"is the wrong way round: {one.rsc} is promoted where {one.with_rsc} happens to be"
            if one.rsc_role == "":
                text = f"is the wrong way round: {one.rsc} may run only where {one.with_rsc} is, so no other node has a replica"
            name = f"{one.with_rsc}-with-{one.rsc}"
            right = ("colocation", _other(name, one.id), "inf:", one.with_rsc, f"{one.rsc}:{role}")
            yield Found(one.id, text, together(("delete", one.id), right))


def _other(name: str, taken: str) -> str:
    """``name``, or another one when what is deleted has it."""
    return f"{name}-role" if name == taken else name


def _follow(facts: Facts, one: Colocation) -> str:
    """The line of a topology that says it right."""
    wanted = facts.topology
    vip = wanted.vips.get(one.rsc) if wanted is not None else None
    return f"vips: {{{one.rsc}: {{follows: {vip.follows}.primary}}}}" if vip is not None and vip.follows else ""


@rule(
    "role-of-no-clone",
    ERROR,
    code="L03",
    needs=("resolved",),
    remedy="make the clone promotable (meta promotable=true), or take the role out of the constraint",
    why="Pacemaker accepts the constraint and never applies it: what should follow the primary runs anywhere, or nowhere",
)
def role_of_no_clone(facts: Facts) -> Iterator[Found]:
    """A constraint names the promoted or unpromoted role of a resource that has no roles."""
    here = facts.cluster
    told: set[tuple[str, str]] = set()
    for constraint, id, what in _roles(here):
        one = here.resources.get(id)
        if one is None or one.promotable or "promotable" in one.uncertain or (constraint, id) in told:
            continue
        told.add((constraint, id))
        kind = (
            "is a clone, but not a promotable one"
            if one.kind == "clone"
            else f"is a {one.kind} outside of any promotable clone"
        )
        fix = command("crm", "resource", "meta", id, "set", "promotable", "true") if one.kind == "clone" else ""
        yield Found(constraint, f"names {what} of {id}, which {kind}", fix)


def _roles(here: Resolved) -> Iterator[tuple[str, str, str]]:
    """(constraint, resource, what) for every role that a constraint names."""
    for one in here.colocations:
        for id, role in ((one.rsc, one.rsc_role), (one.with_rsc, one.with_role)):
            if role in (PROMOTED, UNPROMOTED):
                yield one.id, id, f"the role {role}"
    for order in here.orders:
        for id, action in ((order.first, order.first_action), (order.then, order.then_action)):
            if action in _ROLE_ACTIONS:
                yield order.id, id, f"the action {action}"
    for id, rsc, role in [
        *((one.id, one.rsc, one.role) for one in here.locations),
        *((one.id, one.rsc, one.role) for one in here.tickets),
    ]:
        if role in (PROMOTED, UNPROMOTED):
            yield id, rsc, f"the role {role}"
