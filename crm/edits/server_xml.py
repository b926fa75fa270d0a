"""Tomcat's server.xml: an engine's jvmRoute, the AJP connector, and session replication; all else stays byte for byte.

Places are found by a parser that tells offsets (expat); only the attributes of a start tag are taken apart here. Afterwards
lxml reads both texts and compares them, so that nothing else can have changed. Comments mark elements of ours; attributes that
are set in an element of somebody else are not marked: Tomcat and mod_jk must agree on them, and there is no other use for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from hafailover.crm.errors import UsageError
from lxml import etree

_AJP = ("AJP/1.3", "org.apache.coyote.ajp.")
_ATTRIBUTE = re.compile(rb"\s+([A-Za-z_:][\w:.-]*)\s*=\s*(\"[^\"]*\"|'[^']*')")
_WIDE = (b"\xff\xfe", b"\xfe\xff", b"<\0", b"\0<")
_BEGIN, _END = "<!-- BEGIN hafailover {} -->", "<!-- END hafailover {} -->"


@dataclass(frozen=True)
class Wanted:
    """What has to be in server.xml: ``route`` (jvmRoute), the attributes of the AJP connector, the lines of <Cluster> or none."""

    route: str
    connector: Mapping[str, str]
    cluster: Sequence[str]


@dataclass(frozen=True)
class _Tag:
    """A start tag: where it begins and ends in the text, its attributes, and the Service that it is in (0: none, else the how
    manyth)."""

    name: str
    begin: int
    end: int
    attributes: Mapping[str, str]
    service: int

    @property
    def is_ajp(self) -> bool:
        """Whether it is an AJP connector."""
        return self.name == "Connector" and self.attributes.get("protocol", "").startswith(_AJP)


def server_xml_set(content: bytes, wanted: Wanted, file: str) -> bytes:
    """``content`` with what is ``wanted``. UsageError when it is no server.xml, or has a <Cluster> of somebody else."""
    if not content.strip():
        raise UsageError(f"{file}: is not there, or empty; install Tomcat first, or correct base")
    if content.startswith(_WIDE):
        raise UsageError(f"{file}: is written in UTF-16; write it in UTF-8, so that lines can be added to it")
    text = _without(_without(content, "connector", file), "cluster", file)
    tags = _tags(text, file)
    chosen = _ajp(tags, wanted.connector)
    service = chosen.service if chosen else _home(tags)
    engine = next((tag for tag in tags if tag.name == "Engine" and tag.service == service), None)
    if not service or engine is None:
        raise UsageError(f"{file}: has no Service with an Engine; is it Tomcat's server.xml?")
    port = wanted.connector["port"]
    taken = next((tag for tag in tags if _takes(tag, port)), None)
    if taken:
        line = text.count(b"\n", 0, taken.begin) + 1
        raise UsageError(
            f"{file}:{line}: this Connector, which is none of AJP, has the port {port}; give AJP another port"
        )
    foreign = next((tag for tag in tags if tag.name == "Cluster" and tag.service == service and wanted.cluster), None)
    if foreign:
        line = text.count(b"\n", 0, foreign.begin) + 1
        raise UsageError(
            f"{file}:{line}: has a <Cluster> of its own; remove it, or write sessions: local in the topology to keep it"
        )
    if chosen:
        edits = _attributes(text, chosen, wanted.connector, drop=("requiredSecret",))
    else:
        parent = next(tag for tag in tags if tag.name == "Service" and tag.service == service)
        edits = [_added_connector(text, parent, wanted.connector)]
    edits += _engine(text, engine, wanted)
    changed = text
    for begin, end, new in sorted(edits, reverse=True):
        changed = changed[:begin] + new + changed[end:]
    _prove(text, changed, wanted, file)
    return changed


def _ajp(tags: Sequence[_Tag], wanted: Mapping[str, str]) -> _Tag | None:
    """The AJP connector to change: the one on the wanted address and port, or on the port, or the only one of its Service."""
    found = [tag for tag in tags if tag.is_ajp]
    same = [tag for tag in found if tag.attributes.get("port") == wanted["port"]]
    exact = [tag for tag in same if tag.attributes.get("address") == wanted["address"]]
    # Another Service's is another application's.
    home = [tag for tag in found if tag.service == _home(tags)]
    return next(iter(exact or same or (home if len(home) == 1 else [])), None)


def _home(tags: Sequence[_Tag]) -> int:
    """The Service that a new connector belongs to: Catalina, as Tomcat's own files call it, or the first with an Engine."""
    engines = [tag.service for tag in tags if tag.name == "Engine"]
    named = [tag.service for tag in tags if tag.name == "Service" and tag.attributes.get("name") == "Catalina"]
    return next((number for number in [*named, *engines] if number in engines), 0)


def _takes(tag: _Tag, port: str) -> bool:
    """Whether a connector that is not AJP's has this port."""
    return tag.name == "Connector" and not tag.is_ajp and tag.attributes.get("port") == port


def _added_connector(text: bytes, service: _Tag, wanted: Mapping[str, str]) -> tuple[int, int, bytes]:
    written = " ".join(f"{name}={_quoted(value)}" for name, value in {"protocol": "AJP/1.3", **wanted}.items())
    return service.end, service.end, _block(text, service, "connector", [f"<Connector {written} />"])


def _engine(text: bytes, engine: _Tag, wanted: Wanted) -> list[tuple[int, int, bytes]]:
    edits = _attributes(text, engine, {"jvmRoute": wanted.route})
    if wanted.cluster:
        edits.append((engine.end, engine.end, _block(text, engine, "cluster", wanted.cluster)))
    return edits


def _block(text: bytes, parent: _Tag, name: str, lines: Sequence[str]) -> bytes:
    """Lines of ours right behind a start tag, indented one step deeper than it, in the file's own line ends."""
    eol = b"\r\n" if b"\r\n" in text else b"\n"
    line_start = text.rfind(b"\n", 0, parent.begin) + 1
    lead = text[line_start : parent.begin]
    indent = (lead if not lead.strip() else b"") + b"  "
    written = [_BEGIN.format(name), *lines, _END.format(name)]
    return b"".join(eol + indent + line.encode() for line in written)


def _without(content: bytes, name: str, file: str) -> bytes:
    """``content`` without our block; UsageError when only one of its marks is there."""
    begin, end = (mark.format(name).encode() for mark in (_BEGIN, _END))
    counts = content.count(begin), content.count(end)
    if counts == (0, 0):
        return content
    start, stop = content.find(begin), content.find(end)
    if counts != (1, 1) or start > stop:
        raise UsageError(
            f'{file}: the comments "{begin.decode()}" and "{end.decode()}" must stand there once each, in this order; '
            "remove what is left of them, and what hafailover wrote between them"
        )
    # From the end of the line before it: that line's own end was there first.
    head = content[:start].rstrip(b" \t")
    head = head[:-2] if head.endswith(b"\r\n") else head[:-1] if head.endswith(b"\n") else head
    return head + content[stop + len(end) :]


def _attributes(
    text: bytes, tag: _Tag, wanted: Mapping[str, str], drop: Sequence[str] = ()
) -> list[tuple[int, int, bytes]]:
    """Edits that set attributes of a start tag; those that are there already are replaced where they stand."""
    edits = []
    last = tag.begin + 1 + len(tag.name.encode())
    missing = dict(wanted)
    for match in _ATTRIBUTE.finditer(text, last, tag.end):
        name = match[1].decode()
        last = match.end()
        if name in drop:
            edits.append((match.start(), match.end(), b""))
        elif name in missing:
            value = missing.pop(name)
            if tag.attributes.get(name) != value:
                edits.append((match.start(2), match.end(2), _quoted(value).encode()))
    new = "".join(f" {name}={_quoted(value)}" for name, value in missing.items())
    if new:
        edits.append((last, last, new.encode()))
    return edits


def _quoted(value: str) -> str:
    return quoteattr(value)


def _tags(content: bytes, file: str) -> list[_Tag]:
    """All start tags; UsageError when the text is not well formed."""
    found: list[_Tag] = []
    services, inside = 0, 0
    parser = expat.ParserCreate()

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal services, inside
        if name == "Service":
            services += 1
            inside = services
        begin = parser.CurrentByteIndex
        found.append(_Tag(name, begin, _tag_end(content, begin), dict(attributes), inside))

    def end(name: str) -> None:
        nonlocal inside
        if name == "Service":
            inside = 0

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise UsageError(
            f"{file}:{error.lineno}: is no XML that Tomcat could load: {expat.ErrorString(error.code)}"
        ) from None
    return found


def _tag_end(content: bytes, begin: int) -> int:
    """The offset behind the ``>`` of the start tag: one inside of a quoted value is none."""
    quote = 0
    for index in range(begin, len(content)):
        byte = content[index]
        if quote:
            quote = 0 if byte == quote else quote
        elif byte in b"\"'":
            quote = byte
        elif byte == ord(">"):
            return index + 1
    raise AssertionError("the parser saw the end of this tag")


def _prove(before: bytes, after: bytes, wanted: Wanted, file: str) -> None:
    """UsageError unless both texts are the same but for what is wanted: a text that fools the search must not pass."""
    old, new = (etree.fromstring(text, etree.XMLParser(resolve_entities=False)) for text in (before, after))
    if _rest(old, wanted) != _rest(new, wanted):
        raise UsageError(f"{file}: is written in a way that cannot be changed safely; set jvmRoute and AJP by hand")


def _rest(root: Any, wanted: Wanted) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    """Every element but ours, in order, without the attributes that may change."""
    found = []
    for element in root.iter(etree.Element):
        inside = [element, *element.iterancestors()]
        if wanted.cluster and any(one.tag == "Cluster" for one in inside):
            continue
        attributes = dict(element.attrib)
        if element.tag == "Engine":
            attributes.pop("jvmRoute", None)
        elif element.tag == "Connector" and attributes.get("protocol", "").startswith(_AJP):
            continue
        found.append((str(element.tag), tuple(attributes.items())))
    return found
