"""XML that somebody else wrote, as an element tree: in bounded time and memory, with nothing fetched and nothing expanded.

Everything that could make a small file large or a parser slow (document types, foreign encodings, compressed bombs, elements with
endless attributes) is refused before libxml2 sees it, with a sentence that says what to do.
"""

from __future__ import annotations

import bz2
import codecs
import re
import sys
import zlib
from typing import Any
from xml.parsers import expat

from hafailover.crm import bounded_file
from hafailover.crm.errors import UsageError
from lxml import etree

MAX_BYTES = 64 * 1024 * 1024
"""Largest text; the CIB of 64 nodes with 1000 resources each, status and all, has 45 MiB."""
MAX_TAGS = 2_000_000
"""Most start and end tags; each element takes some 200 bytes of memory."""
MAX_ATTRIBUTES = 200
"""Most attributes of one element. libxml2 compares each with each; Pacemaker's own schema knows fewer than 30."""
MAX_NAMESPACES = 4
"""Most namespaces declared, each of at most MAX_NAMESPACE bytes: whatever is kept as text repeats those in force around it."""
MAX_NAMESPACE = 100

MAX_DEPTH = 256
MAX_VALUE = 10_000_000
"""Limits of libxml2 itself (without huge_tree): how deep elements may stand in one another, and the longest attribute or text."""

_LINE = re.compile(r"\bline (\d+)")
_CHUNK = 1024 * 1024
_DECLARATION = re.compile(rb"<\?xml\b[^<>]{0,200}?\bencoding\s*=\s*[\"']([A-Za-z0-9._:-]{1,40})[\"']")
_PROLOG = re.compile(r"\s+|<\?.*?\?>|<!--.*?-->", re.DOTALL)
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_ENCODINGS = frozenset({"utf-8", "ascii", "iso8859-1", "iso8859-15", "cp1252"})
_NO_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


def read_file(path: str) -> bytes:
    """The bytes of ``path`` ("-" is standard input), at most one more than MAX_BYTES; UsageError when it cannot be read."""
    return _standard_input() if path == "-" else bounded_file.content(path, MAX_BYTES)


def _standard_input() -> bytes:
    if sys.stdin is None or sys.stdin.closed:
        raise UsageError("there is no standard input to read")
    if sys.stdin.isatty():
        raise UsageError("standard input is a terminal; pipe the text into it, or give a file")
    return sys.stdin.buffer.read(MAX_BYTES + 1)


def content(path: str) -> bytes:
    """The bytes of ``path`` as read_file has them, unpacked when Pacemaker packed them; it need not be XML. UsageError."""
    return _unpack(read_file(path), "standard input" if path == "-" else path)


def is_xml(raw: bytes) -> bool:
    """Whether this begins as XML does, and not as a topology."""
    return raw[:4096].removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"<") or raw[:4] in (
        b"\xff\xfe<\0",
        b"\xfe\xff\0<",
    )


def parse(data: str | bytes, origin: str) -> Any:
    """The first element of the XML in ``data``, which may be compressed (bzip2, gzip); UsageError names ``origin``."""
    text = data if isinstance(data, str) else _decode(_unpack(data, origin), origin)
    _refuse(text, origin)
    try:
        # Surrogates, which XML forbids, have no UTF-8.
        raw = text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{origin}: is no text: it holds half a character (position {error.start})") from error
    if len(raw) > MAX_BYTES:
        raise _too_large(origin)
    if not raw.strip():
        raise UsageError(f"{origin}: is not well-formed XML: it is empty")
    _bounded(raw, origin)
    try:
        root = etree.fromstring(raw, parser())
    except (etree.XMLSyntaxError, ValueError) as error:
        raise UsageError(f"{origin}: {_reason(str(error))}") from error
    for element in (root, *root):
        if isinstance(element.tag, str) and element.tag.startswith("{"):
            name = etree.QName(element)
            raise UsageError(
                f"{origin}: line {element.sourceline}: {name.localname} is in the namespace {name.namespace}, and nothing in a CIB is in "
                "one; take its xmlns away (and the prefix, where there is one)"
            )
    return root


def _reason(said: str) -> str:
    """What the parser ``said``, for the limits that are ours in words that do not speak of its options."""
    line = _LINE.search(said)
    where = f"line {line[1]}: " if line else ""
    if "Excessive depth" in said:
        return f"{where}elements are nested more than {MAX_DEPTH} deep, which none in a CIB are; is it the right file?"
    if any(words in said for words in ("too long", "too big", "Huge input", "huge text")):
        return f"{where}one value, text or comment has more than {MAX_VALUE} bytes, which none in a CIB has; is it the right file?"
    return f"is not well-formed XML: {said}"


def parser() -> Any:
    """A parser that expands no entity, fetches nothing, and takes the text for UTF-8 whatever its declaration says."""
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        remove_blank_text=True,
        huge_tree=False,
    )


def _too_large(origin: str) -> UsageError:
    return UsageError(f"{origin}: is larger than {MAX_BYTES // 1024 // 1024} MiB, which no CIB is")


def _unpack(data: bytes, origin: str) -> bytes:
    if len(data) > MAX_BYTES:
        raise _too_large(origin)
    if data.startswith(b"BZh"):
        return _inflate(data, bz2.BZ2Decompressor, "bzip2", origin)
    if data.startswith(b"\x1f\x8b"):
        return _inflate(data, lambda: zlib.decompressobj(wbits=31), "gzip", origin)
    if data.startswith((b"\xfd7zXZ\x00", b"(\xb5/\xfd")):
        raise UsageError(
            f"{origin}: is compressed in a way that Pacemaker does not use; unpack it first (xz -d, zstd -d)"
        )
    return data


def _inflate(data: bytes, make: Any, kind: str, origin: str) -> bytes:
    """The unpacked text, never more than MAX_BYTES of it; a file may be several streams behind one another."""
    parts: list[bytes] = []
    size = 0
    while data:
        stream = make()
        try:
            while not stream.eof:
                out = stream.decompress(data, _CHUNK)
                # A stream of bzip2 keeps its input, one of gzip gives it back.
                data = getattr(stream, "unconsumed_tail", b"")
                size += len(out)
                if size > MAX_BYTES:
                    raise _too_large(origin)
                if not out and not stream.eof and not data:
                    raise UsageError(f"{origin}: ends in the middle of its {kind} data; copy the file again")
                parts.append(out)
        except (OSError, ValueError, zlib.error) as error:
            raise UsageError(f"{origin}: is damaged {kind} data: {error}") from error
        data = stream.unused_data.lstrip(b"\0")
        if not data.startswith((b"BZh", b"\x1f\x8b")):
            break
    return b"".join(parts)


def _decode(data: bytes, origin: str) -> str:
    for mark, name in _BOMS:
        if data.startswith(mark):
            return _decoded(data[len(mark) :], name, origin)
    if data[:2] in (b"<\0", b"\0<"):
        return _decoded(data, "utf-16-le" if data[:1] == b"<" else "utf-16-be", origin)
    declared = _DECLARATION.match(data.lstrip()[:300])
    return _decoded(data, declared.group(1).decode() if declared else "utf-8", origin)


def _decoded(data: bytes, encoding: str, origin: str) -> str:
    try:
        name = codecs.lookup(encoding).name
    except LookupError:
        name = ""
    if name not in _ENCODINGS and not name.startswith("utf-16-"):
        raise UsageError(
            f"{origin}: is not well-formed XML here: its encoding {encoding} is none that a CIB has; convert it (iconv -t UTF-8)"
        )
    try:
        return data.decode(name)
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{origin}: is not well-formed XML: its byte {error.start + 1} is no {encoding} ({error.reason})"
        ) from error


def _refuse(text: str, origin: str) -> None:
    found = _NO_TEXT.search(text)
    if found:
        raise UsageError(
            f"{origin}: is not well-formed XML: it holds the character {ord(found.group()):#04x}, which no XML has; "
            "is it the right file?"
        )
    position = 0
    while True:
        prolog = _PROLOG.match(text, position)
        if prolog is None:
            break
        position = prolog.end()
    if text.startswith("<!", position) and not text.startswith("<!--", position):
        raise UsageError(f"{origin}: has a document type declaration, which no CIB has; remove it")


def _bounded(raw: bytes, origin: str) -> None:
    """Refuse what would make libxml2's memory or time explode.

    What is not well-formed is found by expat, in one pass: libxml2 collects every single error, so that a comment of a megabyte full of
    hyphens keeps it busy for many minutes.
    """
    if raw.count(b"<") > MAX_TAGS:
        raise UsageError(f"{origin}: has more than {MAX_TAGS} tags, which no CIB has")
    # Cheap, and never too low: how many attributes could stand between two tags. Only then are they really counted.
    crowded = raw.count(b"=") > MAX_ATTRIBUTES and max(piece.count(b"=") for piece in raw.split(b"<")) > MAX_ATTRIBUTES
    counter = expat.ParserCreate("utf-8")
    if crowded or b"xmlns" in raw:
        _count_attributes(counter, origin)
    try:
        counter.Parse(raw, True)
    except expat.ExpatError as error:
        raise UsageError(f"{origin}: is not well-formed XML: {error}") from error


def _count_attributes(counter: expat.XMLParserType, origin: str) -> None:
    counter.ordered_attributes = True
    namespaces = 0

    def start(name: str, attributes: list[str]) -> None:
        nonlocal namespaces
        where = f"{origin}: line {counter.CurrentLineNumber}"
        if len(attributes) > 2 * MAX_ATTRIBUTES:
            raise UsageError(f"{where}: an element with more than {MAX_ATTRIBUTES} attributes, which none in a CIB has")
        for key, value in zip(attributes[::2], attributes[1::2]):
            if key.startswith("xmlns"):
                namespaces += 1
                if namespaces > MAX_NAMESPACES or len(key) + len(value) > MAX_NAMESPACE:
                    raise UsageError(f"{where}: declares more namespaces, or longer ones, than any CIB; remove them")

    counter.StartElementHandler = start
