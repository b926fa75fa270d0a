"""A difference between two configurations, in the operator's words, and without secrets."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from hafailover.crm.edits.mask import HIDDEN
from hafailover.crm.secret_names import is_inline, masked

WORDS = {
    "crm_config": "cluster property",
    "rsc_defaults": "resource default",
    "op_defaults": "operation default",
    "instance_attributes": "parameter",
    "meta_attributes": "meta attribute",
    "utilization": "utilization",
    "rsc_location": "location",
    "rsc_colocation": "colocation",
    "rsc_order": "order",
}


@dataclass(frozen=True)
class Change:
    """One difference in the operator's words: ``action`` is add, change or remove. ``resource`` is the one that it is about, or "".

    No secret is in it: it is for everybody's eyes.
    """

    action: str
    what: str
    detail: str = ""
    resource: str = ""

    def __str__(self) -> str:
        return f"{self.action} {self.what}" + (f": {self.detail}" if self.detail else "")

    def as_dict(self) -> dict[str, str]:
        """For JSON."""
        return asdict(self)


def agent(resource: Any) -> str:
    """``ocf:hafailover:vip``."""
    return ":".join(resource.get(key) for key in ("class", "provider", "type") if resource.get(key))


def described(resource: Any) -> str:
    """``resource vip (ocf:hafailover:vip)``."""
    inner = resource if resource.tag == "primitive" else resource.find(".//primitive")
    kind = "resource" if resource.tag == "primitive" else resource.tag
    return f"{kind} {resource.get('id')}" + (f" ({agent(inner)})" if inner is not None else "")


def shown(name: str, value: str | None) -> str:
    """``value`` of the parameter ``name`` for everybody's eyes; of settings in it only those that are secret are hidden."""
    return masked(name or "", value or "", HIDDEN)


def differing(name: str, old: str | None, new: str | None) -> str:
    """``old → new``; of a secret only that it differs."""
    before, after = shown(name, old), shown(name, new)
    if before == after and is_inline(name or "", old) and is_inline(name or "", new):
        return "(a secret, not shown) → (another one)" if before == HIDDEN else f"{before} → (another secret)"
    return f"{before} → {after}"


def sentence(constraint: Any) -> str:
    """What a constraint says, without its id."""
    return " ".join(f"{key}={value}" for key, value in constraint.attrib.items() if key != "id")


def constrained(constraint: Any) -> set[str]:
    """The ids of the resources that a constraint refers to."""
    if not isinstance(constraint.tag, str):
        return set()
    names = {constraint.get(key) for key in ("rsc", "with-rsc", "first", "then")}
    names |= {reference.get("id") for reference in constraint.iter("resource_ref")}
    return {name for name in names if name}
