"""Takes the database and its address out of a running lab's configuration, puts others in their place, and undoes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Union

from hafailover.crm import model
from hafailover.crm.drill import database
from hafailover.crm.drill.place import Place
from hafailover.crm.drill.target import Target
from hafailover.crm.formats import cib as cib_format
from hafailover.vagrant import host
from lxml import etree

_STOPPED_WITHIN = 120.0
_EXEC_TIMEOUT = 60.0

Resource = Union[model.Primitive, model.Clone]


class Swap:
    """Remembers what it has taken out of ``lab``, to put it back.

    The new resources have names of their own: Pacemaker keeps a history for each name and would mix up two agents.
    """

    def __init__(self, lab: Place) -> None:
        self._lab = lab
        self._taken: list[tuple[str, str]] = []

    def take_out(self, target: Target) -> None:
        """Stop the target's clone and address, then remove them and the constraints that name them."""
        self.delete(target, remember=True)

    def put_in(self, target: Target, server: model.Primitive, address: model.Primitive) -> None:
        """Add ``server`` as a promotable clone, and ``address`` that follows the promoted instance."""
        meta = {
            "promotable": "true",
            "promoted-max": "1",
            "promoted-node-max": "1",
            "clone-max": str(len(target.nodes)),
            "clone-node-max": "1",
            "notify": "true",
            "interleave": "true",
        }
        self._create("resources", cib_format.element_text(model.clone(target.clone, server, meta)))
        self._create("resources", cib_format.element_text(address))
        with_promoted = model.colocation(f"{target.address}-with-promoted", target.address, target.clone, "Promoted")
        after = model.order(f"{target.address}-after-promoted", target.clone, "promote", target.address, "start")
        for constraint in (with_promoted, after):
            self._create("constraints", cib_format.element_text(constraint))

    def put_back(self) -> None:
        """Add again what :meth:`take_out` removed."""
        while self._taken:
            scope, xml = self._taken[0]
            self._create(scope, xml)
            self._taken.pop(0)

    def delete(self, target: Target, remember: bool = False) -> None:
        """Stop and remove a target's clone and address, and the constraints that name them."""
        names = {target.address, target.clone} & self._present()
        for name in sorted(names):
            stop = ["--meta", "--set-parameter", "target-role", "--parameter-value", "Stopped"]
            self._pacemaker(["crm_resource", "--resource", name, *stop])
        host.wait(f"{target.clone} and {target.address} stop", _STOPPED_WITHIN, lambda: self._stopped(target), 0.2)
        cib = etree.fromstring(database.cib_text(self._lab).encode())
        found = [("resources", item) for item in cib.iterfind("configuration/resources/*") if item.get("id") in names]
        found += [
            ("constraints", item)
            for item in cib.iterfind("configuration/constraints/*")
            if names & {item.get("rsc"), item.get("with-rsc"), item.get("first"), item.get("then")}
        ]
        if remember:
            self._taken = [(scope, _without_target_role(item)) for scope, item in found]
        # Constraints first: one that names a resource that is gone is refused.
        for scope, item in reversed(found):
            self._pacemaker(
                ["cibadmin", "--delete", "--scope", scope, "--xml-text", f'<{item.tag!s} id="{item.get("id")}"/>']
            )

    def _present(self) -> set[str]:
        cib = etree.fromstring(database.cib_text(self._lab).encode())
        return {str(item.get("id")) for item in cib.iterfind("configuration/resources/*")}

    def _stopped(self, target: Target) -> bool | None:
        report = etree.fromstring(
            database.ask_any(self._lab, ["crm_mon", "--one-shot", "--output-as=xml", "--inactive"]).encode()
        )
        active = [
            resource.get("id")
            for resource in report.iterfind("resources//resource")
            if str(resource.get("id")).partition(":")[0] in (target.database, target.address)
            and (resource.get("active") == "true" or resource.get("pending"))
        ]
        return None if active else True

    def _create(self, scope: str, xml: str) -> None:
        # On standard input: an agent's parameters may hold a password.
        self._pacemaker(["cibadmin", "--create", "--scope", scope, "--xml-pipe"], xml)

    def _pacemaker(self, argv: Sequence[str], stdin: str | None = None) -> None:
        database.ask_any(self._lab, argv, stdin)


def _without_target_role(item: etree._Element) -> str:
    for owner in list(item.iter()):
        for meta in owner.findall("meta_attributes"):
            for pair in meta.findall("nvpair[@name='target-role']"):
                meta.remove(pair)
            if len(meta) == 0:
                owner.remove(meta)
    return etree.tostring(item, encoding="unicode", with_tail=False)
