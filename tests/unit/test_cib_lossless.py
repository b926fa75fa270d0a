"""Whatever CIB is read comes back: those that Pacemaker's schemas allow, those that others' packages ship, and odd ones."""

import re
import tarfile
from pathlib import Path

import cluster_image
import pytest
from hafailover.crm.formats import cib
from hafailover.crm.model import Clone, Group, Primitive, Verbatim
from hafailover.crm.validate import validate
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from rng_documents import SCHEMAS, document

SAMPLES = sorted((Path(__file__).parent / "data" / "cibs").glob("*.xml"))
VERSIONS = sorted(path.stem for path in SCHEMAS.glob("pacemaker-[23].*.rng"))


def normal(text):
    """A document to compare: without status and white space between elements, with everything else, whatever it is."""
    root = etree.fromstring(text)
    for status in root.findall("status"):
        if status.getprevious() is not None and status.tail and status.tail.strip():
            status.getprevious().tail = (status.getprevious().tail or "") + status.tail
        root.remove(status)
    around = [[str(one) for one in root.itersiblings(preceding=way)] for way in (True, False)]
    return [around, _normal(root)]


def _normal(element):
    text, children = [element.text or ""], []
    for child in element:
        children.append(_normal(child))
        text.append(child.tail or "")
    # A note is its text; of an element's text only that counts which is more than white space.
    said = [one for one in text if one.strip()] if isinstance(element.tag, str) else text
    return [str(element.tag), sorted(element.attrib.items()), said, children]


def assert_kept(text):
    raw = text if isinstance(text, bytes) else text.encode()
    configuration = cib.read(cib.parse(raw, "test"))
    written = cib.text(configuration)
    assert normal(written.encode()) == normal(raw)
    # Reading again finds the same: nothing of it depends on how it was written.
    assert cib.text(cib.read(cib.parse(written, "test"))) == written


def test_there_are_schemas_to_make_cibs_from():
    assert {"pacemaker-2.0", "pacemaker-2.10", "pacemaker-3.0", "pacemaker-3.9"} <= set(VERSIONS)
    assert len(SAMPLES) >= 4


@given(st.sampled_from(VERSIONS), st.integers(0, 2**32), st.sampled_from([0.5, 0.7, 0.9]))
@settings(max_examples=60, deadline=None)
def test_every_cib_that_pacemakers_schemas_allow_comes_back(version, seed, chance):
    root = document(version, seed, chance)
    assert validate(root, "made") is None
    assert_kept(etree.tostring(root))


_ODD = ("comment", "instruction", "text", "attribute", "element", "twice", "namespace")


def _spoil(root, kind, place):
    elements = [one for one in root.iter(tag=etree.Element) if one.tag != "status" and "status" not in _path(one)]
    element = elements[place % len(elements)]
    if kind == "comment":
        element.insert(place % (len(element) + 1), etree.Comment(f" note {place} & <x> "))
    elif kind == "instruction":
        element.insert(place % (len(element) + 1), etree.ProcessingInstruction("editor", f"fold={place}"))
    elif kind == "text":
        element.text = f"some < text {place}"
    elif kind == "attribute":
        element.set("unheard-of", f"v{place}")
    elif kind == "element":
        element.insert(place % (len(element) + 1), etree.Element("unheard_of", a="1"))
    elif kind == "twice" and element.getparent() is not None and element.getparent().tag == "configuration":
        element.addnext(etree.fromstring(etree.tostring(element, with_tail=False)))
    elif kind == "namespace":
        element.set("{urn:x}a", "1")


def _path(element):
    return {one.tag for one in element.iterancestors()}


@given(st.integers(0, 2**32), st.lists(st.tuples(st.sampled_from(_ODD), st.integers(0, 500)), min_size=1, max_size=3))
@settings(max_examples=80, deadline=None)
def test_what_no_schema_allows_comes_back_as_well(seed, spoilings):
    root = document("pacemaker-3.9", seed, 0.7)
    for kind, place in spoilings:
        _spoil(root, kind, place)
    assert_kept(etree.tostring(root))


@pytest.mark.parametrize(
    "text",
    [
        "<cib><configuration/></cib>",
        "<!-- before --><?edit me?><cib><!-- head --><configuration/><!-- tail --><status/><!-- end --></cib><!-- after -->",
        '<cib xmlns:x="urn:x" x:a="1"><configuration><resources x:b="2"/></configuration></cib>',
        "<cib><configuration><acls/><acls a='1'/><!-- two --><resources/><resources b='2'/></configuration></cib>",
        "<cib>a<configuration>b<resources>c<primitive id='p' class='lsb' type='t'>d</primitive>e</resources>f</configuration>g</cib>",
        '<cib><configuration><resources><primitive id="p" class="ocf" provider="" type=""/></resources></configuration></cib>',
        '<cib><configuration><crm_config><cluster_property_set><nvpair name="" id="" value=""/></cluster_property_set>'
        "</crm_config></configuration></cib>",
        '<cib><configuration><resources><primitive id="p" xml:lang="de" class="lsb" type="&#10;&#9;x"/></resources></configuration></cib>',
    ],
)
def test_oddities_come_back(text):
    assert_kept(text)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_the_samples_come_back(path):
    assert_kept(path.read_bytes())
    assert validate(cib.load(str(path)).root, path.name) is None


def test_nothing_that_is_known_hides_behind_a_note_or_an_attribute():
    inner = '<primitive id="p" class="ocf" provider="" type="x"><!-- n -->t<operations/></primitive>'
    text = (
        f'<cib><configuration><resources a="1"><!-- n --><group id="g">t{inner}</group></resources>'
        '<crm_config><cluster_property_set id="s" score="5"><!-- why --><nvpair id="a" name="x" value="set"/></cluster_property_set>'
        '<cluster_property_set id="t" score="INFINITY"><nvpair id="b" name="x" value="more"/></cluster_property_set>'
        '<cluster_property_set id="u" score="INFINITY"><rule id="r"/><nvpair id="c" name="x" value="no"/></cluster_property_set>'
        "</crm_config></configuration></cib>"
    )
    read = cib.read(cib.parse(text, "x"))
    assert [one.id for one in read.primitives()] == ["p"]
    assert isinstance(next(one for one in read.resources if not isinstance(one, Verbatim)), Group)
    assert read.property("x") == "more"


def test_endless_nesting_of_known_elements_needs_no_endless_stack():
    inner = '<primitive id="p" class="lsb" type="t"/>'
    for number in range(200):
        inner = f'<group id="g{number}">{inner}</group>' if number % 2 else f'<clone id="c{number}">{inner}</clone>'
    text = f"<cib><configuration><resources>{inner}</resources></configuration></cib>"
    assert_kept(text)
    assert isinstance(cib.read(cib.parse(text, "x")).resources[0], (Clone, Group))


def test_templates_and_masters_are_known():
    found = {type(one).__name__ for path in SAMPLES for one in cib.load(str(path)).configuration.resources}
    assert {"Primitive", "Group", "Clone", "Verbatim"} <= found
    assert any(isinstance(one, Primitive) and one.template for one in cib.load(str(SAMPLES[0])).configuration.resources)


def _shipped(base):
    """(name, text) of every CIB in crmsh's package: in what its own tests expect, and the states a cluster saved on its way."""
    tests = base / "usr/share/crmsh/tests"
    for path in sorted(tests.glob("*/*")):
        text = path.read_bytes() if path.is_file() else b""
        for number, found in enumerate(re.findall(rb"^<cib[ >].*?^</cib>$", text, re.MULTILINE | re.DOTALL)):
            yield f"{path.name}-{number}", found
    with tarfile.open(tests / "history-test.tar.bz2") as archive:
        for member in archive:
            if re.search(r"pe-input-\d+\.bz2$|/cib\.xml$", member.name):
                yield member.name, archive.extractfile(member).read()


def test_the_cibs_that_crmsh_ships_come_back(tmp_path):
    count = packed = 0
    for name, text in _shipped(cluster_image.need()):
        path = tmp_path / "cib"
        path.write_bytes(text)
        document = cib.load(str(path))
        assert_kept(etree.tostring(document.root.getroottree()))
        count += 1
        packed += name.endswith(".bz2")
    assert count > 20 and packed > 5
