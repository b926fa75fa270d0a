"""pcmk_host_list and pcmk_host_map as Pacemaker's fencer reads them: one reader for everybody who asks."""

import pytest
from hafailover.crm import fence_hosts
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("a b", ["a", "b"]),
        ("a,b;c\td\ne", ["a", "b", "c", "d", "e"]),
        (" , a ;; b ", ["a", "b"]),
        ("a\\nb", ["a", "b"]),  # as a backslash and an n: how the fencer is told of a line's end
        ("db-1.example.org db_2", ["db-1.example.org", "db_2"]),
        ("a:1 b=2", ["a", "b"]),  # a name ends where no name goes on
        (":a", []),
        ("on OFF a Off", ["a"]),  # agents that print a plug's state behind it
        ("invalid option\na b", ["a", "b"]),
        ("a variable", []),
        ("", []),
    ],
)
def test_a_list(text, names):
    assert list(fence_hosts.parse_list(text)) == names


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a:1;b:2", [("a", "1"), ("b", "2")]),
        ("a=1 b=2\tc:3", [("a", "1"), ("b", "2"), ("c", "3")]),
        ("a:1,2;b:3", [("a", "1,2"), ("b", "3")]),  # two power supplies: a comma is the agent's
        (" ; a:1 ;; ", [("a", "1")]),
        ("a", []),
        ("a b:1", [("b", "1")]),
        ("a:", [("a", "")]),
        (":1;b:2", [("b", "2")]),
        ("a:b:c", [("b", "c")]),  # the trap: meant as the outlet b:c of a
        (r"a:b\:c", [("a", "b:c")]),
        (r"a:vm\ one;b:vm\;two", [("a", "vm one"), ("b", "vm;two")]),
        (r"a\:b:1", [(r"a\:b", "1")]),
        (r"a:one\\two", [("a", "onetwo")]),
        ("a:1\nb:2", [("1\nb", "2")]),
        ("a::1", [("a", "1")]),
        ("a:1;b:2\\", [("a", "1")]),  # the fencer steps over the end, and the last pair is lost
    ],
)
def test_a_map(text, pairs):
    assert list(fence_hosts.parse_map(text)) == pairs


@given(st.text(alphabet="ab12:=;\\ \t,\n", max_size=30))
def test_any_text_is_read_and_no_outlet_has_a_backslash(text):
    for name, outlet in fence_hosts.parse_map(text):
        assert name
        assert "\\" not in outlet
    assert all(fence_hosts.parse_list(text))


@pytest.mark.parametrize(
    ("params", "covers"),
    [
        ({"pcmk_host_list": "db1"}, True),
        ({"pcmk_host_list": "DB1,db2"}, True),
        ({"pcmk_host_list": "db2"}, False),
        ({"pcmk_host_list": "db2", "pcmk_host_map": "db1:7"}, True),  # both count
        ({"pcmk_host_map": "db1=7;db2=8"}, True),
        ({"pcmk_host_map": "DB1:7"}, True),
        ({"pcmk_host_map": "db2:db1"}, True),  # an outlet that is called like a node
        ({"pcmk_host_map": "db2:7,8"}, False),
        ({"pcmk_host_list": ""}, False),
        ({}, None),
        ({"pcmk_host_check": "none", "pcmk_host_list": "db2"}, True),
        ({"pcmk_host_check": "dynamic-list", "pcmk_host_list": "db2"}, None),
        ({"pcmk_host_check": "Static-List", "pcmk_host_list": "db1"}, True),
        ({"pcmk_host_check": "static-list"}, False),
        ({"pcmk_host_check": "status", "pcmk_host_map": "db1:7"}, None),
    ],
)
def test_whether_a_device_is_for_a_node(params, covers):
    assert fence_hosts.read(params).covers("db1") is covers


def test_an_outlet_is_found_whatever_the_case_and_the_last_pair_counts():
    hosts = fence_hosts.read({"pcmk_host_map": "db1:1;DB1:2", "pcmk_host_list": "db1 db3"})
    assert hosts.outlet("Db1") == "2"
    assert hosts.outlet("db3") is None
    assert hosts.names == ("db1", "db3", "DB1")
