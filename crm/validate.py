"""Whether Pacemaker's own schema accepts a CIB."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from hafailover.crm.errors import HafailoverError, UsageError
from lxml import etree

SCHEMAS = Path("/usr/share/pacemaker")


def validate(root: Any, origin: str) -> str | None:
    """Check the element cib ``root`` against the schema it names itself.

    Returns None when it is valid and a sentence when no check was possible; UsageError when it is not valid.
    """
    name = root.get("validate-with", "")
    if not re.fullmatch(r"pacemaker-\d+\.\d+", name):
        return f"{origin} was not validated: it names no released schema (validate-with={name or 'nothing'})"
    path = SCHEMAS / f"{name}.rng"
    if not path.exists():
        lacking = (
            "Pacemaker is not installed on this machine" if not any(SCHEMAS.glob("*.rng")) else f"{path} is missing"
        )
        return f"the configuration was not validated against Pacemaker's schema: {lacking}"
    schema = _schema(path)
    if schema.validate(root):
        return None
    first = schema.error_log[0] if len(schema.error_log) else None
    reason = f"line {first.line}: {first.message}" if first else "no reason given"
    raise UsageError(f"{origin}: the configuration is not valid under {path.name}: {reason}")


@cache
def _schema(path: Path) -> Any:
    try:
        return etree.RelaxNG(etree.parse(str(path)))
    except (etree.XMLSyntaxError, etree.RelaxNGParseError, OSError) as error:
        raise HafailoverError(f"{path}: cannot be read as a schema: {error}") from error
