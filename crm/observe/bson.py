"""As much of BSON as the answers to ``hello`` are made of (https://bsonspec.org)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 20


class BsonError(ValueError):
    """The bytes are not BSON, or use a type that is not known here."""


def encode(document: Mapping[str, Any]) -> bytes:
    """``document`` of str, bytes, bool, int, float, None, mappings and lists as BSON."""
    body = b"".join(_element(key, value) for key, value in document.items())
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def _element(key: str, value: Any) -> bytes:
    name = key.encode() + b"\0"
    if value is None:
        return b"\x0a" + name
    if isinstance(value, bool):
        return b"\x08" + name + (b"\1" if value else b"\0")
    if isinstance(value, int):
        small = -(2**31) <= value < 2**31
        return (b"\x10" if small else b"\x12") + name + struct.pack("<i" if small else "<q", value)
    if isinstance(value, float):
        return b"\x01" + name + struct.pack("<d", value)
    if isinstance(value, str):
        text = value.encode() + b"\0"
        return b"\x02" + name + struct.pack("<i", len(text)) + text
    if isinstance(value, bytes):
        return b"\x05" + name + struct.pack("<ib", len(value), 0) + value
    if isinstance(value, Mapping):
        return b"\x03" + name + encode(value)
    if isinstance(value, list):
        return b"\x04" + name + encode({str(index): item for index, item in enumerate(value)})
    raise TypeError(f"{type(value).__name__} has no place in BSON")


def decode(data: bytes) -> dict[str, Any]:
    """The document that ``data`` is.

    Dates are seconds since 1970 (float), timestamps and object ids bytes. BsonError when it is no document from the
    first byte to the last.
    """
    try:
        document, end = _document(data, 0, 0)
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise BsonError(f"is cut off or damaged: {error}") from error
    if end != len(data):
        raise BsonError(f"has {len(data) - end} bytes too many")
    return document


def _document(data: bytes, start: int, depth: int) -> tuple[dict[str, Any], int]:
    if depth > MAX_DEPTH:
        raise BsonError(f"is nested deeper than {MAX_DEPTH} levels")
    (size,) = struct.unpack_from("<i", data, start)
    end = start + size
    if size < 5 or end > len(data) or data[end - 1] != 0:
        raise BsonError("has a document of a wrong length")
    found: dict[str, Any] = {}
    position = start + 4
    while position < end - 1:
        kind = data[position]
        stop = data.index(b"\0", position + 1) if b"\0" in data[position + 1 : end] else end
        name = data[position + 1 : stop].decode()
        found[name], position = _value(kind, data, stop + 1, depth)
        if position > end - 1:
            raise BsonError("has a value longer than its document")
    return found, end


_FIXED = {0x01: "<d", 0x10: "<i", 0x12: "<q", 0x09: "<q", 0x08: "<?"}
_OPAQUE = {0x07: 12, 0x11: 8, 0x13: 16, 0x06: 0, 0xFF: 0, 0x7F: 0}


def _value(kind: int, data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if kind in _FIXED:
        (value,) = struct.unpack_from(_FIXED[kind], data, at)
        return (value / 1000 if kind == 0x09 else value), at + struct.calcsize(_FIXED[kind])
    if kind in _OPAQUE:
        return data[at : at + _OPAQUE[kind]], at + _OPAQUE[kind]
    if kind == 0x0A:
        return None, at
    if kind in (0x03, 0x04):
        inner, end = _document(data, at, depth + 1)
        return (list(inner.values()) if kind == 0x04 else inner), end
    if kind in (0x02, 0x0D, 0x0E):
        (size,) = struct.unpack_from("<i", data, at)
        end = at + 4 + size
        if size < 1 or end > len(data) or data[end - 1] != 0:
            raise BsonError("has a text of a wrong length")
        return data[at + 4 : end - 1].decode("utf-8", "replace"), end
    if kind == 0x05:
        (size,) = struct.unpack_from("<i", data, at)
        if size < 0 or at + 5 + size > len(data):
            raise BsonError("has a binary value of a wrong length")
        return data[at + 5 : at + 5 + size], at + 5 + size
    raise BsonError(f"has a value of the unknown type 0x{kind:02x}")
