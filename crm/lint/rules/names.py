"""Rules about names: words of old versions, typing errors, nodes that are not there, and what a move left behind."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from hafailover.crm import pacemaker_options as options
from hafailover.crm.lint import ERROR, NOTE, WARNING, Facts, Found, rule
from hafailover.crm.lint.cluster import knows_promoted, node_test, schema
from hafailover.crm.lint.paste import command, commands, configure, modify, rename
from hafailover.crm.model import AttributeSet, Clone, Configuration, Constraint, Group, Operations, Primitive, Verbatim
from hafailover.crm.resolved_xml import element

_BOOTSTRAP = "cib-bootstrap-options"
_OLD_ROLES = {"master": "Promoted", "slave": "Unpromoted"}
_ROLE_ATTRIBUTES = ("role", "rsc-role", "with-rsc-role")
_OLD_META = {"master-max": "promoted-max", "master-node-max": "promoted-node-max"}
_NEAR = 0.8


@rule(
    "old-words",
    WARNING,
    code="L13",
    needs=("resolved",),
    remedy="write clone with promotable=true, Promoted and Unpromoted, promoted-max and promoted-node-max",
    why="crmsh 5 refuses the old words and Pacemaker 3 warns of them: the configuration that is loaded again after an upgrade "
    "is refused in the "
    "middle of the night",
)
def old_words(facts: Facts) -> Iterator[Found]:
    """Words that newer versions do not take: ms or master, the roles Master and Slave, master-max."""
    here = facts.cluster
    version = schema(here)
    if version is not None and version < (3, 0):
        return  # Pacemaker 1.1 has no others
    for where, word, instead, fix in _old(here.configuration, knows_promoted(here)):
        yield Found(where, f"says {word}, which is {instead} now", fix)


def _old(configuration: Configuration, roles: bool) -> Iterator[tuple[str, str, str, str]]:
    """(where, word, what it is now, what mends it)."""
    for owner, item in _elements(configuration.resources):
        if isinstance(item, Clone) and item.legacy:
            instead = "a clone with promotable=true"
            edit = command("crm", "configure", "edit", item.id)
            fix = f"# write clone instead of ms, and meta promotable=true:\n{edit}" if edit else ""
            yield item.id, "master (ms in crmsh)", instead, fix
        if isinstance(item, AttributeSet):
            for pair in item.pairs:
                if pair.name in _OLD_META:
                    yield owner, pair.name, _OLD_META[pair.name], rename(pair.id, _OLD_META[pair.name])
                if roles and pair.name == "target-role" and (pair.value or "").lower() in _OLD_ROLES:
                    instead = _OLD_ROLES[str(pair.value).lower()]
                    yield owner, f"target-role={pair.value}", instead, modify("nvpair", pair.id, value=instead)
        if isinstance(item, Operations) and roles:
            for op in (one for one in item.children if not isinstance(one, Verbatim)):
                if (op.get("role") or "").lower() in _OLD_ROLES:
                    instead = _OLD_ROLES[str(op.get("role")).lower()]
                    yield op.id, f"role={op.get('role')}", instead, modify("op", op.id, role=instead)
    for one in configuration.constraints if roles else ():
        if isinstance(one, Constraint):
            inside = [found for child in one.children if (found := element(child.xml)) is not None]
            written = [one.get(key) for key in _ROLE_ATTRIBUTES] + [found.get("role") for found in inside]
            for word in dict.fromkeys(word for word in written if (word or "").lower() in _OLD_ROLES):
                instead = _OLD_ROLES[str(word).lower()]
                mine = {name.replace("-", "_"): instead for name in _ROLE_ATTRIBUTES if one.get(name) == word}
                yield one.id, f"role {word}", instead, modify(one.kind, one.id, **mine) if mine else ""


def _elements(items: Iterable[object], owner: str = "") -> Iterator[tuple[str, object]]:
    """Every element below ``items``, each with the resource that it belongs to."""
    for item in items:
        mine = item.id if isinstance(item, (Primitive, Group, Clone)) else owner
        yield mine, item
        if not isinstance(item, Operations):
            yield from _elements(getattr(item, "children", ()), mine)


@rule(
    "unknown-name",
    WARNING,
    code="L14",
    needs=("resolved",),
    remedy="write the name as Pacemaker knows it",
    why="Pacemaker keeps what it does not know and does nothing with it: a migration-treshold or a no-quorum-polcy looks set and is not",
)
def unknown_name(facts: Facts) -> Iterator[Found]:
    """A cluster property or meta attribute has a name that Pacemaker does not know."""
    configuration = facts.cluster.configuration
    known = options.properties()
    for found in configuration.properties:
        if isinstance(found, AttributeSet):
            for pair in found.pairs:
                yield from _judged(pair.name, known, pair.name, "property", found.id == _BOOTSTRAP, pair.id)
    for owner, item in _elements(configuration.resources):
        if isinstance(item, AttributeSet) and item.kind == "meta_attributes":
            for pair in item.pairs:
                yield from _judged(pair.name, options.META, owner, "meta attribute", True, pair.id)
    for section, names in (("rsc_defaults", options.META), ("op_defaults", options.OPERATION)):
        for item in getattr(configuration, section):
            for pair in item.pairs if isinstance(item, AttributeSet) and item.kind == "meta_attributes" else ():
                yield from _judged(pair.name, names, f"{section} {pair.name}", "name", True, pair.id)


def _judged(name: str, known: frozenset[str], where: str, what: str, ours: bool, pair_id: str) -> Iterator[Found]:
    """``ours``: the set is read by Pacemaker alone; in others agents keep what they want to, under names of their own."""
    if not name or name in known:
        return
    near = difflib.get_close_matches(name.lower().replace("_", "-"), sorted(known), 1, _NEAR)
    if near:
        yield Found(where, f"{what} {name} is unknown; did you mean {near[0]}?", rename(pair_id, near[0]))
    elif ours:
        yield Found(where, f"{what} {name} is unknown to Pacemaker ({options.VERSION})", "", NOTE)


@rule(
    "unknown-node",
    ERROR,
    code="L15",
    needs=("resolved",),
    remedy="write the name of the node as crm_node -l lists it, or delete the constraint",
    why="a constraint for a node that is not there does nothing: what it should keep away or bring home goes where it likes",
)
def unknown_node(facts: Facts) -> Iterator[Found]:
    """A location constraint names a node that the cluster does not have."""
    here = facts.cluster
    if not here.nodes:
        return  # a configuration that was generated without them
    told: set[tuple[str, str]] = set()
    is_node = node_test(here)
    for one in here.locations:
        if one.node is None or is_node(one.node) or (one.id, one.node) in told:
            continue
        told.add((one.id, one.node))
        near = _meant(one.node, sorted(here.node_names))
        hint = f"did you mean {near}?" if near else f"nodes: {', '.join(sorted(here.node_names))}"
        fix = command("crm", "configure", "delete", one.id)
        if near or sum(other.id == one.id for other in here.locations) > 1:
            # What else the constraint says is still wanted.
            fix = commands(f"# write {near or 'another node'} instead of {one.node}:", configure("edit", one.id))
        yield Found(
            one.id,
            f"names node {one.node}, which is not there; {hint}",
            fix if (near or "").isprintable() and one.node.isprintable() else "",
        )


def _meant(word: str, names: list[str]) -> str | None:
    """The node that was probably meant; domains, which are mostly the same, make no difference."""
    hosts: dict[str, str] = {}
    for name in names:
        hosts.setdefault(name.partition(".")[0].lower(), name)
    near = difflib.get_close_matches(word.partition(".")[0].lower(), hosts, 1, 0.6)
    return hosts[near[0]] if near else None


@rule(
    "move-left-behind",
    WARNING,
    code="L34",
    needs=("resolved",),
    remedy="crm_resource --clear, as soon as what was moved is where it should be",
    why="crm resource move and ban work by a constraint that stays: months later the failover has no node to go to, or the "
    "service runs home in "
    "the middle of the day",
)
def move_left_behind(facts: Facts) -> Iterator[Found]:
    """A constraint that a move or ban has made is still there."""
    told: set[str] = set()
    for one in facts.cluster.locations:
        kind = next((kind for kind in ("cli-ban-", "cli-prefer-", "cli-standby-") if one.id.startswith(kind)), None)
        if kind is None or one.id in told:
            continue
        told.add(one.id)
        what = "is forced onto" if one.score > 0 else "may not run on"
        where = one.node if one.node is not None else "a node"
        fix = command("crm_resource", "--clear", "--resource", one.rsc)
        if one.conditional:
            yield Found(
                one.id,
                f"{one.rsc} {what} {where} for some time; the constraint stays after that",
                f"{fix} --expired",
                NOTE,
            )
        else:
            yield Found(one.id, f"{one.rsc} {what} {where} since somebody moved it", fix)
