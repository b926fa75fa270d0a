"""Reading corosync.conf: what Corosync would read, where it stands, and what is said of a broken one."""

from __future__ import annotations

import pytest
from hafailover.crm import corosync, corosync_conf, topology
from hafailover.crm.errors import UsageError
from hypothesis import example, given, settings
from hypothesis import strategies as st
from topologies import EXAMPLES

WRITTEN = """# Made by somebody
totem {
\tversion: 2
    cluster_name: shop
    token: 1000
    interface {
        linknumber: 0
    }
}

nodelist {
    node {
        name: a
        nodeid: 1
        ring0_addr: 10.0.0.1
        ring1_addr: 10.1.0.1
    }
    node {
        ring1_addr: fd00::2
        ring0_addr: 10.0.0.2
        quorum_votes: 0
        nodeid: 2
    }
}
quorum{
  provider: corosync_votequorum
  device {
    model: net
    votes: 1
    net {\t
      host: q: really
      host: qnetd
    }
  }
}
quorum {
  two_node: 1
}
"""


def test_what_stands_there_and_where():
    conf = corosync_conf.parse(WRITTEN.replace("\n", "\r\n"), "c.conf")
    assert [(one.called, one.id, dict(one.links), one.votes, one.line) for one in conf.nodes] == [
        ("a", 1, {0: "10.0.0.1", 1: "10.1.0.1"}, 1, 12),
        ("node 2", 2, {0: "10.0.0.2", 1: "fd00::2"}, 0, 18),
    ]
    assert conf.get("quorum.device.net.host") == ("qnetd", 32), "the last of two counts"
    assert (conf.text("quorum.two_node"), conf.number("quorum.device.votes")) == ("1", 1), "two sections are one"
    assert conf.has_device
    assert conf.waits_for_all
    assert conf.token == 1000
    assert conf.place("quorum.two_node") == "c.conf:37"
    assert conf.place("totem") == "c.conf:2"
    assert conf.place("quorum.wait_for_all") == "c.conf"
    assert conf.get("totem.token_coefficient") is None


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_what_we_write_is_what_is_read(file):
    wanted = topology.load(file)
    conf = corosync_conf.parse(corosync.text(wanted))
    assert {one.name: (one.id, tuple(one.links.values())) for one in conf.nodes} == {
        one.name: (one.id, one.links) for one in wanted.nodes.values()
    }
    assert conf.text("totem.cluster_name") == wanted.name
    assert conf.has_device == (wanted.quorum.device is not None)
    for key, value in corosync.quorum_keys(wanted).items():
        assert conf.text(key) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("totem {\n  version: 2\n", "c:1: section totem is never closed; add a } at its end"),
        ("}\n", "c:1: this brace closes nothing; remove it, or write the section that it ends"),
        ("totem { version: 2 }\n", "c:1: something stands behind the { of section totem; put it into the next line"),
        ("totem {\n  version\n}\n", "c:2: is no setting and no section; write KEY: VALUE, SECTION { or }"),
        ("totem {\n  }}\n", "c:2: is no setting and no section; give the closing brace a line of its own"),
        (" {\n", "c:1: a section begins without a name; write NAME {"),
        (": x\n", "c:1: there is no key before the colon; write KEY: VALUE"),
        ("#" * 600, "c:1: is longer than 510 characters, and Corosync reads no such line"),
        ("a {\n" * 40, "c:17: sections are more than 16 deep; is a } missing above?"),
        ("x" * (1 << 21), "c: is larger than 1 MiB, which no corosync.conf is"),
    ],
)
def test_a_broken_file_is_refused_with_the_line(text, expected):
    with pytest.raises(UsageError) as caught:
        corosync_conf.parse(text, "c")
    assert str(caught.value) == expected


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        corosync_conf.read(tmp_path / "corosync.conf")
    (tmp_path / "c").write_bytes(b"totem {\n  cluster_name: \xff\xfe\n}\n")
    assert corosync_conf.read(tmp_path / "c").get("totem.cluster_name").line == 2


PIECES = st.sampled_from(
    ["quorum {", "nodelist {", "node {", "}", "two_node: 1", "nodeid: x", "ring0_addr: a", "ring99999999999999999999_addr: a",
     "ring²_addr: b", "", "#", ":", "{", "name:", "device {", "votes: 1e9", "\ufeff", "\x00"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.lists(PIECES, max_size=25).map("\n".join), st.text(max_size=200)))
@example("nodelist {\nnode {\nring²_addr: b\nnodeid: ²\n}\n}\n")
def test_any_text_is_read_or_refused_in_one_sentence(text):
    try:
        conf = corosync_conf.parse(text, "c")
    except UsageError as error:
        assert str(error).startswith("c:")
        assert "\n" not in str(error)
        return
    assert isinstance(conf.waits_for_all, bool)
    assert all(isinstance(node.called, str) for node in conf.nodes)
    assert conf.token >= 0
