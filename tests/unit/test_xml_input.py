"""XML that is no CIB, or means harm: one sentence that says so, in little time and memory."""

import bz2
import gzip
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hafailover.crm.errors import UsageError
from hafailover.crm.formats import cib, xml_input
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lxml import etree

GOOD = '<cib epoch="1"><configuration><resources><primitive id="pé" class="lsb" type="x"/></resources></configuration></cib>'
ROOT = Path(__file__).parents[2]


def refused(data):
    with pytest.raises(UsageError) as caught:
        cib.parse(data, "x.xml")
    said = str(caught.value)
    assert said.startswith("x.xml: ") and "\n" not in said and len(said) < 400
    return said


def names(data):
    return [one.id for one in cib.read(cib.parse(data, "x")).primitives()]


@pytest.mark.parametrize(
    "data",
    [
        GOOD,
        GOOD.encode(),
        b"\xef\xbb\xbf" + GOOD.encode(),
        GOOD.encode("utf-16"),
        b"\xfe\xff" + GOOD.encode("utf-16-be"),
        GOOD.encode("utf-16-le"),
        b'<?xml version="1.0" encoding="ISO-8859-1"?>' + GOOD.encode("latin-1"),
        ('<?xml version="1.0" encoding="UTF-16"?>' + GOOD).encode("utf-16"),
        # A str is decoded already, whatever it says of itself.
        '<?xml version="1.0" encoding="ISO-8859-1"?>' + GOOD,
        "<!-- <!DOCTYPE cib> -->" + GOOD,
        bz2.compress(GOOD.encode()),
        gzip.compress(GOOD.encode()),
        bz2.compress(GOOD[:50].encode()) + bz2.compress(GOOD[50:].encode()),
        gzip.compress(GOOD[:50].encode()) + gzip.compress(GOOD[50:].encode()) + bytes(100),
    ],
)
def test_what_can_be_read(data):
    assert names(data) == ["pé"]


BOMB = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"\0" * 100, "0x00"),
        (GOOD.replace("epoch", "ep\0ch"), "0x00"),
        (b"\x7fELF\x02\x01\x01" + bytes(20), "0x02"),
        (GOOD[:60], "is not well-formed XML: "),
        (GOOD + GOOD, "is not well-formed XML: "),
        (GOOD.encode("latin-1"), "no utf-8"),
        (GOOD.encode()[:-2] + b"\xff>", "no utf-8"),
        (b"\xff\xfe" + GOOD.encode("utf-16-le")[:-1], "no utf-16-le"),
        (b"<" + b"\xff" * 10, "no utf-8"),
        (b'<?xml version="1.0" encoding="UTF-99"?><cib/>', "its encoding UTF-99"),
        (b'<?xml version="1.0" encoding="UTF-7"?><cib/>', "its encoding UTF-7"),
        (b'<?xml version="1.0" encoding="rot13"?><cib/>', "its encoding rot13"),
        (b'<?xml version="1.0" encoding="UTF-16"?><cib/>', "its encoding UTF-16"),
        (GOOD.encode("utf-32"), "0x00"),
        (GOOD.encode("cp037"), "no utf-8"),
        ("<cib a='\ud800'/>", "half a character"),
        ("<cib a='\ufffe'/>", "0xfffe"),
        ("<a/>", "its first element is a, not cib"),
        ("<configuration/>", "give the whole one (cibadmin --query)"),
        ("<cib/>", "it holds no configuration"),
        ('<x:cib xmlns:x="u"><configuration/></x:cib>', "is in the namespace u"),
        ("<html>", "is not well-formed XML"),
        ("version: 1\nnodes: {}\n", "is not well-formed XML"),
        (f'<!DOCTYPE cib [<!ENTITY a0 "x">{BOMB}]><cib a="&a11;"><configuration/></cib>', "document type"),
        (
            f'<!-- x --><?y z?>\n<!DOCTYPE cib [<!ENTITY a0 "x">{BOMB}]><cib>&a11;<configuration/></cib>',
            "document type",
        ),
        ('<!DOCTYPE cib SYSTEM "http://127.0.0.1:9/x.dtd"><cib><configuration/></cib>', "document type"),
        (
            '<!DOCTYPE cib [<!ENTITY f SYSTEM "file:///etc/passwd">]><cib><configuration>&f;</configuration></cib>',
            "document",
        ),
        ('<!DOCTYPE cib [<!ENTITY % f SYSTEM "file:///etc/passwd"> %f;]><cib><configuration/></cib>', "document type"),
        ("<cib><configuration>&unheard;</configuration></cib>", "is not well-formed XML"),
        ("<cib>" + "<a>" * 100_000, "is not well-formed XML"),
        (
            "<cib><configuration>" + "<group id='g'>" * 5000 + "</group>" * 5000 + "</configuration></cib>",
            "nested more than 256 deep",
        ),
        ("<cib " + " ".join(f'a{n}="1"' for n in range(300)) + "><configuration/></cib>", "more than 200 attributes"),
        ("<cib " + " ".join(f'xmlns:a{n}="u"' for n in range(9)) + "><configuration/></cib>", "more namespaces"),
        (f'<cib xmlns:a="{"u" * 200}"><configuration/></cib>', "more namespaces"),
        (bz2.compress(GOOD.encode())[:-9], "middle of its bzip2 data"),
        (gzip.compress(GOOD.encode())[:-9], "middle of its gzip data"),
        (b"BZh9" + b"x" * 100, "damaged bzip2 data"),
        (b"\x1f\x8b" + b"x" * 100, "damaged gzip data"),
        (b"\xfd7zXZ\x00" + bytes(30), "unpack it first"),
    ],
    ids=range(41),
)
def test_what_cannot_be_read(data, said):
    assert said in refused(data)


_HARM = """
import resource, sys
sys.path.insert(0, {root!r})
from types import ModuleType
package = sys.modules["hafailover"] = ModuleType("hafailover")
package.__path__ = [{root!r}]
import gzip
from hafailover.crm.errors import UsageError
from hafailover.crm.formats import cib
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
for data in (
    gzip.compress(b"<cib>" + b" " * (65 << 20), 1),
    b"<cib><configuration>" + b"<a/>" * (4 << 20),
    b"<cib>" + b"<a " + b" ".join(b"a%d=''" % n for n in range(100000)) + b"/>",
    b"<cib a='" + b"x" * (12 << 20) + b"'><configuration/></cib>",
    b"<!--" + b"x<!--" * 300000,
    b"<?x ?>" * 300000,
):
    try:
        cib.read(cib.parse(data, "x"))
    except UsageError as error:
        print(error)
"""


def test_what_is_built_to_fill_the_memory_does_not():
    script = _HARM.format(root=str(ROOT))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    said = ["larger than 64 MiB", "more than 2000000 tags", "more than 200 attributes", "has more than 10000000 bytes"]
    said += ["is not well-formed"] * 2
    assert len(done.stdout.splitlines()) == len(said)
    assert all(one in line for one, line in zip(said, done.stdout.splitlines())), done.stdout


@pytest.mark.parametrize("pack", [bz2.compress, gzip.compress])
def test_what_is_packed_small_and_is_large_is_unpacked_no_further_than_it_may_be(pack, monkeypatch):
    monkeypatch.setattr(xml_input, "MAX_BYTES", 100_000)
    assert "is larger than" in refused(pack(b" " * 100_001))
    assert "it is empty" in refused(pack(b" " * 100_000))


@given(st.binary(max_size=200))
@example(b"BZh")
@example(b"\x1f\x8b\x08\x1f")
@example(b"\xff\xfe<")
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_a_sentence(data):
    refused(data)


@given(
    st.integers(0, len(GOOD)), st.integers(0, 20), st.text(max_size=6), st.sampled_from(["utf-8", "utf-16", "latin-1"])
)
@settings(max_examples=200, deadline=None)
def test_a_damaged_cib_is_read_or_refused(place, cut, put, encoding):
    damaged = GOOD[:place] + put + GOOD[place + cut :]
    try:
        root = cib.parse(damaged.encode(encoding, "replace"), "x")
    except UsageError as error:
        assert str(error).startswith("x: ")
    else:
        assert etree.tostring(cib.tree(cib.read(root)))


def test_files_and_standard_input(tmp_path, monkeypatch):
    path = tmp_path / "pe-input-7.bz2"
    path.write_bytes(bz2.compress(GOOD.encode()))
    assert [one.id for one in cib.load(str(path)).configuration.primitives()] == ["pé"]
    with path.open("rb") as file:
        monkeypatch.setattr(sys, "stdin", os.fdopen(os.dup(file.fileno())))
        document = cib.load("-")
    assert document.origin == "standard input"
    assert document.root.get("epoch") == "1"


def test_a_pipe_is_waited_for(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=lambda: path.write_text(GOOD))
    writer.start()
    try:
        assert [one.id for one in cib.load(str(path)).configuration.primitives()] == ["pé"]
    finally:
        writer.join(10)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/nonexistent/x", "cannot be read: No such file"),
        ("/", "[iI]s a directory"),
        ("/dev/zero", "is a device"),
        ("", "cannot be read"),
        ("a\0b", "is no name of a file"),
        ("x" * 5000, "cannot be read: File name too long"),
    ],
)
def test_what_is_no_file(path, said):
    with pytest.raises(UsageError, match=said):
        cib.load(path)


def test_what_is_larger_than_any_cib_is_not_even_read(tmp_path, monkeypatch):
    monkeypatch.setattr(xml_input, "MAX_BYTES", 1000)
    path = tmp_path / "x"
    path.write_bytes(b"<" * 2000)
    assert len(xml_input.read_file(str(path))) == 1001
    with pytest.raises(UsageError, match="larger than"):
        cib.load(str(path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<cib>\n" + "<a>" * 300 + "</a>" * 300 + "</cib>", "line 2: elements are nested more than 256 deep"),
        (f"<cib a='{'x' * 11_000_000}'/>", "line 1: one value, text or comment has more than 10000000 bytes"),
        (f"<cib><a>{'x' * 11_000_000}</a></cib>", "line 1: one value, text or comment has more than 10000000 bytes"),
        (
            "<cib xmlns='urn:x'><configuration/></cib>",
            "line 1: cib is in the namespace urn:x, and nothing in a CIB is in one; take its",
        ),
        ("<cib>\n<p:configuration xmlns:p='urn:x'/></cib>", "line 2: configuration is in the namespace urn:x"),
    ],
    ids=["deep", "value", "text", "namespace", "prefix"],
)
def test_limits_are_told_in_words_that_help(text, said):
    with pytest.raises(UsageError) as caught:
        cib.parse(text, "x")
    assert str(caught.value).startswith(f"x: {said}")
    assert "XML_PARSE" not in str(caught.value)
