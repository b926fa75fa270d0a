"""JSON Schema (Draft 7) for the topology: the common part, how errors read, and how defaults are filled in.

The schema is the one home of names, types, defaults and descriptions; each service type adds the fragment of its own
keys. ``expect`` is our keyword: what a person should write, used in messages.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jsonschema
from hafailover.crm.pointing import may_be_secret
from hafailover.crm.yamldoc import Path_, without_secret

Schema = dict[str, Any]

_DURATION = re.compile(r"(\d{1,9})(ms|s|m|h)")
_PREFIX = re.compile(r"0|[1-9][0-9]{0,2}")  # no netmask, and no zero ahead, which some programs take for octal
_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
SECRET = re.compile(r"file:(?!/)[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*|file:/[A-Za-z0-9_./-]+")
MAX_SHOWN = 60
# A file may hold a hundred thousand mistakes; nobody reads so many, and each costs time.
MAX_PROBLEMS = 200


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a topology: at which path, and the sentence for a person.

    ``at_key``: it is the key that is wrong, not its value. ``secret``: the value may be a secret and is not shown.
    """

    path: Path_
    message: str
    at_key: bool = False
    secret: bool = False


PLAIN: Schema = {
    "type": ["string", "integer", "boolean"],
    "pattern": r"^[^\x00-\x1f\x7f]*$",
    "expect": "plain text or a number, in one line",
}


# The building blocks. Every one is a function so that nobody can change another's fragment in place.
def text(description: str, **more: Any) -> Schema:
    """A non-empty single line of text."""
    return {"type": "string", "description": description, "pattern": r"^[^\x00-\x1f\x7f]+$", "expect": "text", **more}


def scalars(description: str, **more: Any) -> Schema:
    """Names and values handed on as they are written; the keys belong to somebody else (a server, a fence agent)."""
    expect = "a mapping of names to plain values"
    return {"type": "object", "description": description, "additionalProperties": PLAIN, "expect": expect, **more}


def number(description: str, low: int, high: int, **more: Any) -> Schema:
    """A whole number from ``low`` to ``high``."""
    expect = f"a whole number from {low} to {high}"
    return {"type": "integer", "description": description, "minimum": low, "maximum": high, "expect": expect, **more}


def boolean(description: str, **more: Any) -> Schema:
    """``true`` or ``false``, and nothing else that YAML might take for it."""
    return {"type": "boolean", "description": description, "expect": "true or false", **more}


def choice(description: str, values: Iterable[str], **more: Any) -> Schema:
    """One of a few words."""
    return {"type": "string", "description": description, "enum": list(values), **more}


def duration(description: str, **more: Any) -> Schema:
    """A time with its unit, because Corosync counts milliseconds and Pacemaker seconds."""
    expect = "a time with its unit, such as 500ms, 2s, 5m or 1h"
    return {"type": "string", "format": "duration", "description": description, "expect": expect, **more}


def address(description: str, **more: Any) -> Schema:
    """An IPv4 or IPv6 address without prefix."""
    expect = "an IP address such as 192.0.2.10 or 2001:db8::10"
    return {"type": "string", "format": "address", "description": description, "expect": expect, **more}


def interface(description: str, **more: Any) -> Schema:
    """An address with its prefix length."""
    expect = "an address with its prefix such as 192.0.2.10/24 or 2001:db8::10/64"
    return {"type": "string", "format": "interface", "description": description, "expect": expect, **more}


def secret(description: str, **more: Any) -> Schema:
    """A reference to a file that holds a secret; never the secret."""
    expect = "file:NAME, a file in secrets_dir; a secret is never written into the topology itself"
    return {"type": "string", "format": "secret", "description": description, "expect": expect, **more}


def path(description: str, **more: Any) -> Schema:
    """An absolute path."""
    expect = "an absolute path such as /var/lib/mysql"
    return {"type": "string", "format": "path", "description": description, "expect": expect, **more}


def mapping(description: str, properties: Mapping[str, Schema], required: Iterable[str] = (), **more: Any) -> Schema:
    """A mapping that allows exactly these keys."""
    return {
        "type": "object",
        "description": description,
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
        "expect": "a mapping of " + ", ".join(properties),
        **more,
    }


def named(description: str, value: Schema, **more: Any) -> Schema:
    """A mapping of names the user chooses to values of one shape. The names become XML ids."""
    return {
        "type": "object",
        "description": description,
        "propertyNames": {
            "pattern": r"^[A-Za-z][A-Za-z0-9_-]{0,62}$",
            "expect": "a name of letters, digits, - and _ that begins with a letter, at most 63 long",
        },
        "additionalProperties": value,
        "expect": "a mapping of names",
        **more,
    }


def milliseconds(value: str) -> int:
    """``"2s"`` → 2000. The value has passed the schema."""
    match = _DURATION.fullmatch(value)
    if match is None:
        raise ValueError(f"{value!r} is not a time")
    return int(match[1]) * _UNITS[match[2]]


def is_duration(value: str) -> bool:
    """Whether it is a time with its unit."""
    return _DURATION.fullmatch(value) is not None


def seconds(value: str) -> str:
    """The shortest exact form that Pacemaker reads: ``"2s"``, ``"500ms"``."""
    count = milliseconds(value)
    return f"{count // 1000}s" if count % 1000 == 0 else f"{count}ms"


def _is_address(value: str) -> bool:
    try:
        parsed = ipaddress.ip_address(value)
    except ValueError:
        return False
    return not (parsed.is_unspecified or parsed.is_multicast) and "%" not in value


def _is_interface(value: str) -> bool:
    if "/" not in value or "%" in value:
        return False
    try:
        parsed = ipaddress.ip_interface(value)
    except ValueError:
        return False
    # A netmask such as /255.255.255.0 parses, but the prefix is what agents are given.
    return _PREFIX.fullmatch(value.rpartition("/")[2]) is not None and _is_address(str(parsed.ip))


def is_network(value: str) -> bool:
    """Whether it is an address, or a network such as 192.0.2.0/24."""
    try:
        ipaddress.ip_network(value)
    except ValueError:
        return False
    return "/" not in value or _PREFIX.fullmatch(value.rpartition("/")[2]) is not None


def _is_path(value: str) -> bool:
    return value.startswith("/") and ".." not in value.split("/") and value.isprintable() and not value.endswith("/")


_FORMATS = jsonschema.FormatChecker(formats=())
for _name, _check in {
    "duration": is_duration,
    "address": _is_address,
    "interface": _is_interface,
    "network": is_network,
    "secret": lambda value: SECRET.fullmatch(value) is not None and ".." not in value,
    "path": _is_path,
}.items():
    # Formats describe texts; a value of another type has its own error already.
    _FORMATS.checks(_name)(lambda value, check=_check: not isinstance(value, str) or check(value))


def _pattern(validator: Any, pattern: str, instance: Any, schema: Schema) -> Iterator[jsonschema.ValidationError]:
    """Python's ``$`` also matches before a last end of line, which would then be written into somebody's file; JSON Schema's does not."""
    exact = f"{pattern[:-1]}\\Z" if pattern.endswith("$") else pattern
    if isinstance(instance, str) and not re.search(exact, instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


def _unique(validator: Any, unique: bool, instance: Any, schema: Schema) -> Iterator[jsonschema.ValidationError]:
    """The library compares each item with each other when they cannot be sorted; a long list would take hours."""
    if unique and validator.is_type(instance, "array"):
        seen = {json.dumps(item, sort_keys=True) for item in instance}
        if len(seen) < len(instance):
            yield jsonschema.ValidationError("has non-unique elements")


_Validator = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft7Validator, {"pattern": _pattern, "uniqueItems": _unique}
)


def problems(data: Any, schema: Schema, base: Path_ = (), most: int = MAX_PROBLEMS) -> list[Problem]:
    """What ``schema`` forbids in ``data``, the first ``most`` of it; paths begin with ``base``."""
    found: list[Problem] = []
    validator = _Validator(schema, format_checker=_FORMATS)
    seen: set[Path_] = set()
    for error in validator.iter_errors(data):
        here = (*base, *error.absolute_path)
        for problem in _explain(error, here):
            # One sentence per place: "is not text" and "does not match" would say the same twice.
            if problem.path not in seen:
                seen.add(problem.path)
                found.append(problem)
            if len(found) >= most:
                return _without_echo(found)
    return _without_echo(found)


def _without_echo(found: list[Problem]) -> list[Problem]:
    """A mistyped key is also a missing one; only the first of the two sentences helps."""
    meant = {
        (*problem.path[:-1], problem.message.rpartition("did you mean ")[2].strip("'?"))
        for problem in found
        if problem.message.startswith("unknown key") and "did you mean" in problem.message
    }
    return [problem for problem in found if problem.path not in meant or not problem.message.startswith("is missing")]


def _explain(error: Any, here: Path_) -> Iterator[Problem]:
    schema: Mapping[str, Any] = error.schema
    if error.validator == "additionalProperties":
        known = list(schema.get("properties", ()))
        for key in error.instance:
            if key not in known:
                # Its value is not shown: a misspelt password is an unknown key, too.
                yield Problem((*here, key), unknown("key", without_secret(key), known), at_key=True, secret=True)
    elif error.validator == "required":
        missing = next(
            key for key in error.validator_value if key not in error.instance and f"'{key}'" in error.message
        )
        about = schema.get("properties", {}).get(missing, {}).get("description", "")
        yield Problem((*here, missing), f"is missing{': ' + about if about else ''}", at_key=True)
    elif error.validator in ("pattern", "minLength", "maxLength") and "propertyNames" in error.absolute_schema_path:
        name = error.instance
        yield Problem(
            (*here, name), f"{shown(without_secret(name))} cannot be used here: write {schema['expect']}", at_key=True
        )
    else:
        yield _value_problem(error, here)


def _value_problem(error: Any, here: Path_) -> Problem:
    """What is wrong with the value at ``here``."""
    schema: Mapping[str, Any] = error.schema
    expect = schema.get("expect")
    if schema.get("format") == "secret":
        # Never echo the value: it may be the secret itself.
        return Problem(here, f"is not a reference to a file; write {expect}", secret=True)
    if any(isinstance(part, str) and may_be_secret(part) for part in here):
        return Problem(here, f"is not taken as it is written; write {expect or 'something else'}", secret=True)
    if error.validator == "enum":
        return Problem(here, unknown("value", error.instance, error.validator_value))
    if error.validator in ("minProperties", "minItems"):
        return Problem(here, f"is empty; {expect or 'give at least one'}")
    if error.validator in ("maxItems", "maxProperties"):
        return Problem(here, f"has {len(error.instance)} entries; write {expect or f'at most {error.validator_value}'}")
    if error.validator == "uniqueItems":
        return Problem(here, "names the same thing twice")
    if error.validator == "type" and not isinstance(error.instance, (dict, list)) and _holds_secret(schema):
        # "replication: hunter2" is meant to be the password in it.
        kind = "empty" if error.instance is None else "a plain value"
        return Problem(here, f"is {kind}; write {expect or 'a mapping'}", secret=True)
    if expect:
        return Problem(here, f"is {shown(error.instance)}; write {expect}")
    return Problem(here, f"is {shown(error.instance)}, which is not allowed here")


def _holds_secret(schema: Mapping[str, Any]) -> bool:
    parts = [*schema.get("properties", {}).values(), schema.get("additionalProperties")]
    return any(isinstance(part, dict) and (part.get("format") == "secret" or _holds_secret(part)) for part in parts)


def unknown(what: str, found: Any, allowed: Iterable[str]) -> str:
    """``unknown key 'link'; allowed: fence, id, links; did you mean 'links'?``"""
    names = sorted(str(name) for name in allowed)
    near = nearest(str(found), names)
    hint = f"; did you mean {near!r}?" if near else ""
    return f"unknown {what} {shown(found)}; allowed: {', '.join(names) or 'none'}{hint}"


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that ``word`` was probably meant to be; case, - and _ make no difference, and a domain may lack."""
    names = list(names)
    hosts = [name for name in names if "." in word + name and _host(name) == _host(word)]
    if len(hosts) == 1:
        return hosts[0]
    # The time to compare grows with the product of the lengths.
    plain = {name.lower().replace("-", "_"): name for name in names}
    near = difflib.get_close_matches(word[:MAX_SHOWN].lower().replace("-", "_"), plain, 1, 0.6)
    return plain[near[0]] if near else None


def _host(name: str) -> str:
    return name.partition(".")[0].lower()


def shown(value: Any) -> str:
    """``value`` as the user wrote it, short enough for a sentence."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, str):
        # A URL may hold a password where none belongs.
        scheme, separator, rest = value.partition("://")
        if separator and "@" in rest:
            value = f"{scheme}://...@{rest.rpartition('@')[2]}"
        written = repr(value[: 2 * MAX_SHOWN])
    else:
        written = str(value)
    return written if len(written) <= MAX_SHOWN else written[: MAX_SHOWN - 3] + "..."


def with_defaults(data: Any, schema: Schema) -> Any:
    """A copy of valid ``data`` with every default of ``schema`` filled in, in the schema's order."""
    if isinstance(data, dict) and "properties" in schema:
        filled: dict[str, Any] = {}
        for key, part in schema["properties"].items():
            if key in data:
                filled[key] = with_defaults(data[key], part)
            elif "default" in part:
                filled[key] = with_defaults(part["default"], part)
        rest = schema.get("additionalProperties", True)
        for key in data:
            if key not in filled:
                filled[key] = with_defaults(data[key], rest) if isinstance(rest, dict) else data[key]
        return filled
    if isinstance(data, dict) and isinstance(schema.get("additionalProperties"), dict):
        return {key: with_defaults(value, schema["additionalProperties"]) for key, value in data.items()}
    if isinstance(data, list) and "items" in schema:
        return [with_defaults(value, schema["items"]) for value in data]
    return data
