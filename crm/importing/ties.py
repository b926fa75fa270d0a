"""What is where and after what: constraints and groups of the source become follows, with and after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from hafailover.crm.importing import findings
from hafailover.crm.importing.draft import Draft
from hafailover.crm.resolved import INFINITY, Resource
from hafailover.crm.service import service_types
from hafailover.crm.values import PROMOTED, UNPROMOTED

_ROLES = {PROMOTED: "primary", UNPROMOTED: "replica"}
_START, _PROMOTE = "start", "promote"


@dataclass(frozen=True)
class _Tie:
    """``rsc`` is where ``other`` is (in ``role``), or starts after it; ``name`` is the constraint's or group's id."""

    rsc: str
    other: str
    role: str
    name: str


def read(draft: Draft) -> None:
    """Fill in follows of the addresses, with and after of the services."""
    _Ties(draft).read()


class _Ties:
    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._together = list(self._colocations())
        self._in_order = list(self._orders())
        self._made = set(draft.renames.values())

    def read(self) -> None:
        self._addresses()
        self._addresses_of_addresses()
        self._services()
        self._after()

    # What there is, with groups written out as pairs.
    @cached_property
    def _groups(self) -> list[tuple[str, list[str]]]:
        """Groups that have not become one service: (id, what is left of them, in order)."""
        found = []
        for one in self._draft.resolved.resources.values():
            if one.kind == "group":
                parts = list(dict.fromkeys(self._pieces(one.id)))
                if len({self._draft.anchors[part] for part in parts}) > 1:
                    found.append((one.id, parts))
        return found

    def _pieces(self, id: str) -> Iterator[str]:
        """``id`` where it has become something, else what of it has, in order."""
        one = self._draft.resolved.resources.get(id)
        if one is None:
            return
        if one.kind == "primitive" or (id in self._draft.anchors and not self._mixed(one)):
            if id in self._draft.anchors and self._draft.anchors[id][0] in ("vip", "service"):
                yield id
            return
        for child in one.children:
            yield from self._pieces(child)

    def _mixed(self, one: Resource) -> bool:
        """Whether an address stands in a group with the service that the group has become."""
        return any(self._draft.anchors.get(part.id, ("", ""))[0] == "vip" for part in self._draft.members(one))

    def _colocations(self) -> Iterator[_Tie]:
        for one in self._draft.resolved.colocations:
            rscs, others = list(self._pieces(one.rsc)), list(self._pieces(one.with_rsc))
            if one.score >= INFINITY and rscs and others and not one.node_attribute:
                if one.rsc_role:
                    # Reversed, as people write it who think of the address: the primary has to be where the address is.
                    yield from self._reversed(rscs[0], one.rsc_role, others[-1], one.id)
                else:
                    yield _Tie(rscs[0], others[-1], one.with_role, one.id)
        for name, parts in self._groups:
            for before, part in zip(parts, parts[1:]):
                yield _Tie(part, before, "", name)

    def _reversed(self, rsc: str, role: str, other: str, name: str) -> Iterator[_Tie]:
        if self._draft.anchors[other][0] == "vip":
            what = "the address will be where the primary is, and no more the other way round: the data decides who is primary"
            self._draft.notes.add(findings.BECOMES, name, what)
            yield _Tie(other, rsc, role, name)

    def _orders(self) -> Iterator[_Tie]:
        for one in self._draft.resolved.orders:
            firsts, thens = list(self._pieces(one.first)), list(self._pieces(one.then))
            acts = {one.first_action, one.then_action} <= {_START, _PROMOTE}
            if one.kind == "Mandatory" and firsts and thens and acts:
                yield _Tie(thens[0], firsts[-1], PROMOTED if one.first_action == _PROMOTE else "", one.id)
        for name, parts in self._groups:
            for before, part in zip(parts, parts[1:]):
                yield _Tie(part, before, "", name)

    # References.
    def _reference(self, id: str, role: str) -> str | None:
        """How a topology names ``id`` in ``role``; None when it cannot."""
        kind, name = self._draft.anchors.get(id, ("", ""))
        if kind == "vip":
            return None if role else name
        if kind != "service":
            return None
        roles = service_types()[self._draft.services[name]["type"]].roles
        word = _ROLES.get(role, "")
        if not role:
            return name
        return f"{name}.{word}" if word in roles else None

    # Addresses.
    def _addresses(self) -> None:
        for tie in self._together:
            kind, name = self._draft.anchors[tie.rsc]
            other_kind, _ = self._draft.anchors[tie.other]
            if kind == "vip" and other_kind == "service":
                self._follow(name, tie)
            elif kind == "service" and other_kind == "vip" and self._is_backwards(tie):
                text = "the address will follow the service, and no more the other way round"
                self._draft.notes.add(findings.BECOMES, tie.name, text)
                self._follow(self._draft.anchors[tie.other][1], _Tie(tie.other, tie.rsc, tie.role, tie.name))

    def _is_backwards(self, tie: _Tie) -> bool:
        """A service that is where an address is: the address follows it, when it has nothing else to follow."""
        address = self._draft.anchors[tie.other][1]
        has_own = any(
            self._draft.anchors[one.rsc] == ("vip", address) and self._draft.anchors[one.other][0] == "service"
            for one in self._together
        )
        return not has_own

    def _follow(self, vip: str, tie: _Tie) -> None:
        reference = self._reference(tie.other, tie.role)
        if reference is None:
            text = f"role {findings.visible(tie.role, 40)} is none of that service; the address follows nothing"
            self._draft.notes.add(findings.LEFT_OUT, tie.name, text)
        elif self._draft.vips[vip].setdefault("follows", reference) != reference:
            text = f"{vip} follows {self._draft.vips[vip]['follows']} already; a topology's address follows one thing"
            self._draft.notes.add(findings.LEFT_OUT, tie.name, text)

    def _addresses_of_addresses(self) -> None:
        """An address that is where another one is follows what that one follows."""
        for _ in range(8):  # a chain of so many is none
            changed = False
            for tie in self._together:
                kinds = self._draft.anchors[tie.rsc], self._draft.anchors[tie.other]
                if {kind for kind, _ in kinds} != {"vip"}:
                    continue
                one, other = (self._draft.vips[name] for _, name in kinds)
                for follower, leader in ((one, other), (other, one)):
                    if "follows" in leader and "follows" not in follower:
                        follower["follows"] = leader["follows"]
                        changed = True
            if not changed:
                return

    # Services.
    def _is_cloned(self, name: str) -> bool:
        written = self._draft.services[name]
        if written["type"] == "stackstorm":
            return bool(written["units"] == "active-active") or f"{name}-clone" in self._made
        return bool(written["type"] != "nfs-server")

    def _services(self) -> None:
        after = {(tie.rsc, tie.other) for tie in self._in_order}
        for tie in self._together:
            kind, name = self._draft.anchors[tie.rsc]
            other_kind, other = self._draft.anchors[tie.other]
            if kind != "service" or (tie.rsc, tie.other) in self._draft.inside or (other_kind, other) == (kind, name):
                continue
            if other_kind == "vip":
                reference = self._draft.vips[other].get("follows")
                if reference is None or reference.partition(".")[0] == name:
                    continue
            else:
                reference = self._reference(tie.other, tie.role)
                near = service_types()[self._draft.services[other]["type"]].nearby
                if near and not self._is_cloned(name) and (tie.rsc, tie.other) in after and "-with-" not in tie.name:
                    continue  # that follows from after
            if (reference is not None and not self._is_cloned(name)) or (
                reference is not None and tie.name.startswith(f"{name}-clone-with-")
            ):
                self._beside(name, reference, tie)

    def _watches(self, tie: _Tie) -> bool:
        """Whether StackStorm's agent is told to look at the other resource, which comes of after alone."""
        watch = " ".join(one.params.get("watch", "") for one in self._draft.resolved.primitives_of(tie.rsc))
        told = {word.partition("=")[0] for word in watch.split()}
        return any(one.id in told for one in self._draft.resolved.primitives_of(tie.other))

    def _beside(self, name: str, reference: str, tie: _Tie) -> None:
        service = self._draft.services[name]
        if service.setdefault("with", reference) != reference:
            text = f"{name} is with {service['with']} already; a topology's service is with one other"
            self._draft.notes.add(findings.LEFT_OUT, tie.name, text)

    def _after(self) -> None:
        doubtful: list[tuple[str, str]] = []
        for tie in self._in_order:
            kind, name = self._draft.anchors[tie.rsc]
            if kind != "service" or (tie.rsc, tie.other) in self._draft.inside:
                continue
            if self._draft.anchors[tie.other] == (kind, name):
                continue
            reference = self._reference(tie.other, tie.role)
            service = self._draft.services[name]
            if reference is None:
                continue
            if reference == service.get("with"):
                if not self._watches(tie):
                    continue
                doubtful.append((name, reference))
            if self._draft.vips.get(reference, {}).get("follows", "").partition(".")[0] == name:
                continue  # the address comes after this service, here as in every topology
            after = service.setdefault("after", [])
            if reference not in after:
                after.append(reference)
        for name, reference in doubtful:
            # What is watched may be so because of another reference to the same service; the order comes of with alone then.
            after = self._draft.services[name]["after"]
            others = [self._base(one) for one in after if one != reference]
            if reference in after and self._base(reference) in others:
                after.remove(reference)

    def _base(self, reference: str) -> str:
        """The service that a reference leads to, also over an address."""
        followed = self._draft.vips.get(reference, {}).get("follows", reference)
        return str(followed).partition(".")[0]
