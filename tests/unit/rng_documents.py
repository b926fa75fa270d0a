"""Documents at random that a RELAX NG schema allows: Pacemaker's own schemas say what a CIB may be, so they make the CIBs for the tests."""

import random
from functools import cache
from pathlib import Path

from lxml import etree

SCHEMAS = Path("/usr/share/pacemaker")
_NS = "{http://relaxng.org/ns/structure/1.0}"
_REFERENCE = "(an id that is there)"
_TEXTS = ("a", "b c", "é中", "x'\"&<>", "tab\there", "line\nbreak", "-INFINITY", "100", "  ", "$(x)")
_BY_PATTERN = {r"([0-9\-]+)": "1-9", r"([a-zA-Z0-9_\.\-]+)(,[a-zA-Z0-9_\.\-]+)*": "n1,n.2"}


class _Grammar:
    def __init__(self, element, path, parent=None):
        self.parent, self.start, self.defines = parent, None, {}
        self._add(element, path)

    def _add(self, element, path):
        for child in element.iterchildren(_NS + "include"):
            other = path.parent / child.get("href")
            self._add(_schema(other), other)
            self._add(child, path)
        for child in element.iterchildren(_NS + "start", _NS + "define"):
            if child.tag == _NS + "start":
                self.start = (child, path)
            else:
                self.defines[child.get("name")] = (child, path)


@cache
def _schema(path):
    return etree.parse(str(path)).getroot()


class _Maker:
    """Writes one document. ``chance`` is how often what may be left out is there; it sinks with the depth, so that every document ends."""

    def __init__(self, seed, chance):
        self.random, self.chance, self.count = random.Random(seed), chance, 0

    def into(self, parent, path, pattern, grammar, depth):
        for child in pattern.iterchildren(tag=etree.Element):
            self.one(parent, path, child, grammar, depth)

    def grammar(self, parent, path, element, outer, depth):
        own = _Grammar(element, path, outer)
        self.into(parent, own.start[1], own.start[0], own, depth)

    def one(self, parent, path, pattern, grammar, depth):
        kind = pattern.tag[len(_NS) :]
        often = self.chance * (0.75**depth)
        if kind in ("optional", "zeroOrMore", "oneOrMore"):
            least = kind == "oneOrMore"
            most = 1 if kind == "optional" else 3
            for _ in range(max(least, sum(self.random.random() < often for _ in range(most)))):
                self.into(parent, path, pattern, grammar, depth)
        elif kind == "choice":
            options = [one for one in pattern.iterchildren(tag=etree.Element) if one.tag != _NS + "notAllowed"]
            self.one(parent, path, self.random.choice(options), grammar, depth)
        elif kind in ("group", "interleave"):
            children = list(pattern.iterchildren(tag=etree.Element))
            if kind == "interleave":
                self.random.shuffle(children)
            for child in children:
                self.one(parent, path, child, grammar, depth)
        elif kind in ("ref", "parentRef"):
            scope = grammar.parent if kind == "parentRef" else grammar
            found, where = scope.defines[pattern.get("name")]
            self.into(parent, where, found, scope, depth)
        elif kind == "externalRef":
            other = path.parent / pattern.get("href")
            element = _schema(other)
            if element.tag == _NS + "grammar":
                self.grammar(parent, other, element, grammar, depth)
            else:
                self.one(parent, other, element, grammar, depth)
        elif kind == "grammar":
            self.grammar(parent, path, pattern, grammar, depth)
        elif kind == "element":
            self.into(
                etree.SubElement(parent, (pattern.get("name") or "anything").strip()), path, pattern, grammar, depth + 1
            )
        elif kind == "attribute":
            parent.set(
                (pattern.get("name") or f"any{self.random.randrange(9)}").strip(), self.value(path, pattern, grammar)
            )
        elif kind not in ("empty", "notAllowed", "text", "anyName"):
            raise AssertionError(f"{path}: {kind}")

    def value(self, path, pattern, grammar):
        children = list(pattern.iterchildren(tag=etree.Element))
        return self.word(path, children[0], grammar) if children else self.random.choice(_TEXTS)

    def word(self, path, pattern, grammar):
        kind = pattern.tag[len(_NS) :]
        if kind == "value":
            return pattern.text
        if kind == "choice":
            return self.word(path, self.random.choice(list(pattern.iterchildren(tag=etree.Element))), grammar)
        if kind in ("ref", "parentRef"):
            scope = grammar.parent if kind == "parentRef" else grammar
            found, where = scope.defines[pattern.get("name")]
            return self.word(where, found[0], scope)
        if kind == "externalRef":
            other = path.parent / pattern.get("href")
            own = _Grammar(_schema(other), other, grammar)
            return self.word(own.start[1], own.start[0][0], own)
        if kind in ("group", "optional"):
            return self.word(path, pattern[0], grammar)
        if kind == "data":
            param = pattern.find(_NS + "param")
            self.count += pattern.get("type") == "ID"
            by_type = {"ID": f"i{self.count}", "IDREF": _REFERENCE, "boolean": "true"}
            if param is not None:
                return _BY_PATTERN[param.text]
            return by_type.get(pattern.get("type"), "7" if pattern.get("type") != "string" else "x")
        return self.random.choice(_TEXTS)


def document(schema, seed, chance=0.5):
    """A cib element that ``schema`` (pacemaker-3.7) allows, the same for the same ``seed``."""
    path = SCHEMAS / f"{schema}.rng"
    holder = etree.Element("holder")
    maker = _Maker(seed, chance)
    maker.grammar(holder, path, _schema(path), None, 0)
    root = holder[0]
    # A reference must lead somewhere.
    etree.SubElement(root.find("configuration/crm_config"), "cluster_property_set", id="i0")
    for element in root.iter():
        for key, value in element.attrib.items():
            if value == _REFERENCE:
                element.set(key, f"i{maker.random.randint(0, maker.count)}")
    root.set("validate-with", schema)
    return etree.fromstring(etree.tostring(root))
