"""docs/topology.md lists every key; its tables are made here, from the schema. HAFAILOVER_WRITE_GOLDEN=1 writes them."""

import os
from pathlib import Path

from hafailover.crm import topology_schema
from hafailover.crm.service import service_types

DOC = Path(__file__).parents[2] / "docs" / "topology.md"
MARK = "<!-- keys: {} -->"


def rows(schema, path=""):
    for key, part in schema.get("properties", {}).items():
        here = f"{path}.{key}" if path else key
        inner = part.get("additionalProperties")
        named = isinstance(inner, dict) and "properties" in inner and "propertyNames" in part
        if not named and "properties" not in part:
            yield f"| `{here}` | {part.get('description', '')} | {default(part, key in schema['required'])} |"
        yield from rows(inner if named else part, f"{here}.NAME" if named else here)


def default(part, required):
    if required:
        return "(must be given)"
    if part.get("default") in (None, {}, []):
        return ""
    return f"`{str(part['default']).lower() if isinstance(part['default'], bool) else part['default']}`"


def table(schema):
    return "\n".join(["| key | what it is | default |", "|---|---|---|", *rows(schema)])


def test_every_key_is_documented():
    text = DOC.read_text()
    tables = {"topology": table(topology_schema.SCHEMA)}
    tables.update({name: table(topology_schema.service_schema(kind)) for name, kind in service_types().items()})
    for name, wanted in tables.items():
        mark = MARK.format(name)
        before, begin, rest = text.partition(mark + "\n")
        assert begin, f"docs/topology.md lacks {mark}"
        _, end, after = rest.partition("\n" + MARK.format("end"))
        assert end
        text = before + begin + wanted + end + after
    if os.environ.get("HAFAILOVER_WRITE_GOLDEN"):
        DOC.write_text(text)
    assert DOC.read_text() == text
