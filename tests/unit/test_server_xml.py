"""server.xml is changed where it must be and nowhere else."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
from hafailover.crm.edits import server_xml_set
from hafailover.crm.edits.mask import difference
from hafailover.crm.edits.server_xml import Wanted
from hafailover.crm.errors import UsageError
from hypothesis import given
from hypothesis import strategies as st

CONNECTOR = {"address": "10.0.0.1", "port": "8009", "secret": "s3cret", "secretRequired": "true"}
CLUSTER = ['<Cluster className="org.example.Cluster">', '  <Manager className="m" />', "</Cluster>"]
LOCAL = Wanted("jvm1", CONNECTOR, [])
REPLICATED = Wanted("jvm1", CONNECTOR, CLUSTER)
DATA = Path(__file__).parent / "data"
DEBIAN = (DATA / "server-debian-tomcat10.xml").read_bytes()
CLOUDSTACK = (DATA / "server-cloudstack.xml").read_bytes()


def changed_lines(old: bytes, new: bytes) -> list[str]:
    lines = difflib.unified_diff(old.decode().splitlines(), new.decode().splitlines(), lineterm="", n=0)
    return [line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---")]


def test_only_the_wanted_lines_of_debians_file_differ() -> None:
    assert changed_lines(DEBIAN, server_xml_set(DEBIAN, LOCAL, "server.xml")) == [
        "+    <!-- BEGIN hafailover connector -->",
        '+    <Connector protocol="AJP/1.3" address="10.0.0.1" port="8009" secret="s3cret" secretRequired="true" />',
        "+    <!-- END hafailover connector -->",
        '-    <Engine name="Catalina" defaultHost="localhost">',
        '+    <Engine name="Catalina" defaultHost="localhost" jvmRoute="jvm1">',
    ]


def test_session_replication_is_put_into_the_engine() -> None:
    found = changed_lines(server_xml_set(DEBIAN, LOCAL, "f"), server_xml_set(DEBIAN, REPLICATED, "f"))
    assert found == [
        "+      <!-- BEGIN hafailover cluster -->",
        *(f"+      {line}" for line in CLUSTER),
        "+      <!-- END hafailover cluster -->",
    ]


def test_a_connector_that_is_there_keeps_its_place_and_its_other_attributes() -> None:
    new = server_xml_set(CLOUDSTACK, LOCAL, "server.xml")
    assert changed_lines(CLOUDSTACK, new) == [
        '-    <Connector port="20400" protocol="AJP/1.3" redirectPort="8443"',
        "-        requiredSecret='old' emptySessionPath=\"true\" />",
        '-    <Engine jvmRoute="jvm9" name="Catalina" defaultHost="a>b">',
        '+    <Connector port="8009" protocol="AJP/1.3" redirectPort="8443" emptySessionPath="true" address="10.0.0.1" '
        'secret="s3cret" secretRequired="true" />',
        '+    <Engine jvmRoute="jvm1" name="Catalina" defaultHost="a>b">',
    ]


@pytest.mark.parametrize("old", [DEBIAN, CLOUDSTACK, DEBIAN.replace(b"\n", b"\r\n")])
@pytest.mark.parametrize("wanted", [LOCAL, REPLICATED])
def test_repeating_an_edit_changes_nothing(old: bytes, wanted: Wanted) -> None:
    once = server_xml_set(old, wanted, "f")
    assert server_xml_set(once, wanted, "f") == once


def test_what_is_not_wanted_any_more_goes() -> None:
    replicated = server_xml_set(DEBIAN, REPLICATED, "f")
    assert server_xml_set(replicated, LOCAL, "f") == server_xml_set(DEBIAN, LOCAL, "f")


def test_lines_end_as_those_of_the_file() -> None:
    new = server_xml_set(DEBIAN.replace(b"\n", b"\r\n"), REPLICATED, "f")
    assert new.replace(b"\r\n", b"\n") == server_xml_set(DEBIAN, REPLICATED, "f")
    assert b"\n" not in new.replace(b"\r\n", b"")


def test_elements_in_comments_are_none() -> None:
    hidden = DEBIAN.replace(b"<Service name=", b'<!-- <Engine name="x" jvmRoute="no"> <Cluster/> -->\n  <Service name=')
    new = server_xml_set(hidden, REPLICATED, "f")
    assert b'<!-- <Engine name="x" jvmRoute="no"> <Cluster/> -->' in new
    assert new.count(b'jvmRoute="jvm1"') == 1 + DEBIAN.count(b'jvmRoute="jvm1"')


@given(st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=40))
def test_any_secret_is_written_so_that_tomcat_reads_it(secret: str) -> None:
    from lxml import etree

    new = server_xml_set(DEBIAN, Wanted("r", {**CONNECTOR, "secret": secret}, []), "f")
    (connector,) = (one for one in etree.fromstring(new).iter("Connector") if one.get("protocol") == "AJP/1.3")
    assert connector.get("secret") == secret


SMALL = """<Server><Service name="Catalina">
  <Connector port="8080" protocol="HTTP/1.1"/>
  <Engine defaultHost="localhost"><Host name="localhost"/><Host name="other"/></Engine>
</Service></Server>
"""
SECOND = """<Service name="Two"><Connector port="9009" protocol="AJP/1.3" secret="theirs"/>
<Engine name="Two" jvmRoute="two"/></Service>"""


@pytest.mark.parametrize(
    ("begin", "encoding"),
    [
        ("\ufeff", "utf-8"),
        ("\ufeff<?xml version='1.0' encoding='utf-8'?>\n", "utf-8"),
        ("<?xml version='1.0' encoding='iso-8859-1'?>\n<!-- Größe -->\n", "latin-1"),
        ("<?xml version='1.0' encoding='windows-1252'?>\n<!-- Größe in € -->\n", "cp1252"),
        ("<?xml-stylesheet href='x'?><!DOCTYPE Server [<!ENTITY a 'b'>]>\n<!-- <Connector port='8009' -->\n", "ascii"),
    ],
)
def test_whatever_a_file_is_written_in_stays(begin: str, encoding: str) -> None:
    old = (begin + SMALL).encode(encoding)
    new = server_xml_set(old, REPLICATED, "f")
    assert new.startswith(begin.encode(encoding))
    assert new.decode(encoding).count('jvmRoute="jvm1"') == 1
    assert server_xml_set(new, REPLICATED, "f") == new


def test_the_engine_behind_the_connector_gets_the_route() -> None:
    first = SMALL.replace("<Server>", '<Server><Service name="Zero"><Engine name="Zero"/></Service>').encode()
    for old in (first, first.replace(b"  <Connector", b'  <Connector port="8009" protocol="AJP/1.3"/><Connector')):
        new = server_xml_set(old, REPLICATED, "f").decode()
        assert '<Engine name="Zero"/>' in new
        assert '<Engine defaultHost="localhost" jvmRoute="jvm1">' in new


def test_the_connector_of_another_service_is_another_applications() -> None:
    new = server_xml_set(SMALL.replace("</Server>", SECOND + "</Server>").encode(), REPLICATED, "f").decode()
    assert SECOND in new
    assert new.index('port="8009"') < new.index("<Engine defaultHost")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (SMALL.encode("utf-16"), "f: is written in UTF-16; write it in UTF-8"),
        (SMALL.encode("utf-16-be"), "f: is written in UTF-16; write it in UTF-8"),
        (SMALL.replace("8080", "8009").encode(), "f:2: this Connector, which is none of AJP, has the port 8009"),
        (SMALL.encode() + b"\0", "f:5: is no XML that Tomcat could load"),
        (("<!-- Größe -->" + SMALL).encode("latin-1"), "f:1: is no XML that Tomcat could load"),
        (b"<Server><Engine/></Server>", "f: has no Service with an Engine; is it Tomcat's server.xml?"),
        (
            b"<!DOCTYPE Server [<!ENTITY c \"<Connector port='8009' protocol='AJP/1.3'/>\">]>"
            + SMALL.replace("  <Connector", "&c;<Connector").encode(),
            "f: is written in a way that cannot be changed safely",
        ),
        (b"", "f: is not there, or empty; install Tomcat first, or correct base"),
        (b"<Server>", "f:1: is no XML that Tomcat could load: no element found"),
        (b"<Server><Service/></Server>", "f: has no Service with an Engine; is it Tomcat's server.xml?"),
        (
            b'<Server><Service><Engine>\n<Cluster className="c"/></Engine></Service></Server>',
            "f:2: has a <Cluster> of its own; remove it, or write sessions: local in the topology to keep it",
        ),
        (DEBIAN + b"<!-- BEGIN hafailover cluster -->", "must stand there once each, in this order"),
    ],
)
def test_what_cannot_be_changed_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        server_xml_set(content, REPLICATED, "f")
    assert reason in str(caught.value)


def test_a_cluster_of_somebody_else_stays_when_ours_is_not_wanted() -> None:
    own = DEBIAN.replace(b"    </Engine>", b'      <Cluster className="their.own"/>\n    </Engine>')
    assert b'<Cluster className="their.own"/>' in server_xml_set(own, LOCAL, "f")


def test_a_difference_shows_no_secret() -> None:
    wanted = Wanted("jvm1", CONNECTOR, ["<Interceptor", '  encryptionKey="c0ffee" />'])
    new = DEBIAN + "\n".join(wanted.cluster).encode() + server_xml_set(DEBIAN, LOCAL, "f")
    shown = "\n".join(difference(DEBIAN, new, "f", secret=True))
    assert "jvmRoute" in shown
    assert "s3cret" not in shown
    assert "c0ffee" not in shown
