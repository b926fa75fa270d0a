"""What an earlier apply has put into the CIB, so that a later one takes back its own and nothing else.

The record is a cluster property set of its own. It names what was set, not the values: a value that somebody changed
since is brought back, an attribute that somebody added is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lxml import etree

RECORD = "applied-by-hafailover"
SCHEMA = "1"

# Prefixes of the names of a resource's settings in the record.
KINDS = {"instance_attributes": "p", "meta_attributes": "m", "utilization": "u"}
SECTIONS = ("crm_config", "rsc_defaults", "op_defaults")


@dataclass
class Record:
    """``sections``: names set in each section of options; ``resources``: resource id → settings; ``constraints``, ``alerts``: ids.

    A setting is "p:NAME" (parameter), "m:NAME" (meta attribute), "u:NAME" (utilization) or "op:ID".
    """

    sections: dict[str, set[str]] = field(default_factory=lambda: {section: set() for section in SECTIONS})
    resources: dict[str, set[str]] = field(default_factory=dict)
    constraints: set[str] = field(default_factory=set)
    alerts: set[str] = field(default_factory=set)


def of(configuration: Any) -> Record:
    """The record of everything in the element configuration, which must be of our own making."""
    record = Record()
    for section in SECTIONS:
        for pair in configuration.iterfind(f"{section}/*/nvpair"):
            record.sections[section].add(pair.get("name"))
    for resource in configuration.iterfind("resources//*"):
        if resource.tag in ("primitive", "group", "clone"):
            record.resources[resource.get("id")] = settings(resource)
    record.constraints = {constraint.get("id") for constraint in configuration.find("constraints")}
    record.alerts = {alert.get("id") for alert in configuration.iterfind("alerts/alert")}
    return record


def settings(resource: Any) -> set[str]:
    """Every setting of a resource element itself, not of what is inside it."""
    found = set()
    for child in resource:
        if child.tag in KINDS:
            found |= {f"{KINDS[child.tag]}:{pair.get('name')}" for pair in child.iterfind("nvpair")}
        elif child.tag == "operations":
            found |= {f"op:{op.get('id')}" for op in child.iterfind("op")}
    return found


def read(configuration: Any) -> Record:
    """The record in the element configuration; an empty one when there was no apply before."""
    record = Record()
    for pair in configuration.iterfind(f"crm_config/cluster_property_set[@id='{RECORD}']/nvpair"):
        _, _, rest = pair.get("name", "").partition("-")
        kind, _, name = rest.partition("-")
        words = set(pair.get("value", "").split())
        if kind == "resource":
            record.resources[name] = words
        elif kind == "constraints":
            record.constraints = words
        elif kind == "alerts":
            record.alerts = words
        elif kind in record.sections:
            record.sections[kind] = words
    return record


def element(record: Record) -> Any:
    """The record as a cluster property set."""
    values = {"applied-schema": SCHEMA}
    values.update({f"applied-{section}": _words(names) for section, names in record.sections.items() if names})
    if record.constraints:
        values["applied-constraints"] = _words(record.constraints)
    if record.alerts:
        values["applied-alerts"] = _words(record.alerts)
    values.update({f"applied-resource-{name}": _words(names) for name, names in sorted(record.resources.items())})
    found = etree.Element("cluster_property_set", id=RECORD)
    for name, value in values.items():
        etree.SubElement(found, "nvpair", id=f"{RECORD}-{name}", name=name, value=value)
    return found


def _words(names: set[str]) -> str:
    return " ".join(sorted(names))
