"""The topology's schema as a JSON Schema (draft 7) for editors: names, types, defaults and meanings, completed by service type.

It is made from the schema that topologies are checked by (crm/schema.py), and refuses nothing that is accepted there, but for a text that
looks like a fraction: that needs quotes for an editor, which sees a number. What only the loader can tell, such as a reference that leads
nowhere or how a number was written (1e3, 1.0), it does not know.
"""

from __future__ import annotations

import json
from typing import Any

from hafailover.crm import topology_schema
from hafailover.crm.schema import SECRET, Schema
from hafailover.crm.service import ServiceType, service_types

DRAFT = "http://json-schema.org/draft-07/schema#"
_OCTET = r"(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = rf"({_OCTET}\.){{3}}{_OCTET}"
# Not exactly: an editor's hint is enough here.
_IPV6 = r"[0-9A-Fa-f]*:[0-9A-Fa-f:.]*"
# Our formats as patterns: editors know none of them, and "duration" is another one in later drafts.
_FORMATS = {
    "duration": r"^\d{1,9}(ms|s|m|h)$",
    "address": rf"^({_IPV4}|{_IPV6})$",
    "interface": rf"^({_IPV4}/([12]?[0-9]|3[0-2])|{_IPV6}/(1[01][0-9]|12[0-8]|[1-9]?[0-9]))$",
    "network": rf"^({_IPV4}(/([12]?[0-9]|3[0-2]))?|{_IPV6}(/(1[01][0-9]|12[0-8]|[1-9]?[0-9]))?)$",
    "secret": rf"^(?!.*\.\.)({SECRET.pattern})$",
    "path": r"^/[^\x00-\x1f\x7f]*[^/\x00-\x1f\x7f]$",
}
_OURS = frozenset({"expect", "format"})
_PLAIN_WORDS = ("text", "true or false")
# Keywords whose value is a schema, a list of them, or a mapping of names to them.
_ONE = frozenset({"additionalProperties", "items", "propertyNames", "if", "then", "else", "not"})
_LISTS = frozenset({"anyOf", "allOf", "oneOf"})
_MAPPINGS = frozenset({"properties"})


def document() -> Schema:
    """The schema of a whole topology."""
    types = service_types()
    schema = _translated(topology_schema.SCHEMA)
    schema["properties"]["services"]["additionalProperties"] = _service(types)
    return {
        "$schema": DRAFT,
        "title": "hafailover topology",
        **schema,
        "definitions": {
            _definition(kind): _translated(topology_schema.service_schema(kind)) for kind in types.values()
        },
    }


def text() -> str:
    """The schema as a file: the same every time."""
    return json.dumps(document(), indent=2, ensure_ascii=False) + "\n"


def _definition(kind: ServiceType) -> str:
    return f"service-{kind.name}"


def _service(types: Any) -> Schema:
    """A service: its keys are those of its type."""
    return {
        "type": "object",
        "description": "A service. Its type decides about the other keys.",
        "properties": {
            "type": {
                "description": "what kind of service",
                "anyOf": [{"const": name, "description": kind.summary} for name, kind in types.items()],
            }
        },
        "required": ["type"],
        "allOf": [
            {
                "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
                "then": {"$ref": f"#/definitions/{_definition(kind)}"},
            }
            for name, kind in types.items()
        ],
    }


def _translated(schema: Schema) -> Schema:
    """``schema`` in words that editors understand."""
    found: Schema = {}
    for keyword, value in schema.items():
        if keyword in _OURS:
            continue
        if keyword in _ONE and isinstance(value, dict):
            found[keyword] = _translated(value)
        elif keyword in _LISTS:
            found[keyword] = [_translated(one) for one in value]
        elif keyword in _MAPPINGS:
            found[keyword] = {name: _translated(one) for name, one in value.items()}
        else:
            found[keyword] = value
    if schema.get("format") in _FORMATS:
        found["pattern"] = _FORMATS[schema["format"]]
    if isinstance(found.get("type"), list) and "integer" in found["type"] and "string" in found["type"]:
        # 10.11 is a text for us, and a number for an editor.
        found["type"] = list(dict.fromkeys("number" if one == "integer" else one for one in found["type"]))
    expect = schema.get("expect")
    if expect and "pattern" in found:
        found["patternErrorMessage"] = f"write {expect}"
    about = found.get("description", "")
    if about:
        found["description"] = f"{about[:1].upper()}{about[1:].removesuffix('.')}."
    if expect and expect not in _PLAIN_WORDS and "maximum" not in found and found.get("type") != "object":
        found["description"] = f"{found.get('description', '')} Write {expect}.".strip()
    return found
