"""What the doctor makes of what lies between the nodes: clocks, names, paths, links, votes and fencing."""

import socket
import struct

import pytest
from doctor_cases import NOW, only, results, verdicts
from hafailover.crm.doctor import (
    FAIL,
    OK,
    UNKNOWN,
    WARN,
    Letter,
    Seen,
    clock,
    fencing,
    links,
    names,
    paths,
    votes,
)

# -- clocks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "within", "verdict"),
    [
        (0.003, 0.001, OK),
        (-0.4, 0.1, OK),
        (0.9, 0.6, OK),
        (0.9, 0.1, WARN),
        (-2.0, 0.01, WARN),
        (7.3, 0.2, FAIL),
        (-3600.0, 0.2, FAIL),
    ],
)
def test_clocks_apart(ahead, within, verdict):
    told = {node: {"synchronised": True} for node in ("db1", "db2")}
    found = results(clock, "clock", told, asked={"db2": {"ahead": ahead, "within": within}})
    one = only(found, "clock-skew", verdict)
    assert one.node == "db2"
    assert ("ahead of" if ahead > 0 else "behind") in one.what


def test_a_clock_that_could_not_be_compared_is_not_well():
    told = {node: {"synchronised": True} for node in ("db1", "db2")}
    found = results(clock, "clock", told, asked={"db2": {"error": "it does not answer"}})
    assert "because it does not answer" in only(found, "clock-skew", UNKNOWN).what


def test_a_letter_from_the_future_tells_of_a_clock_that_is_ahead():
    told = {"db1": Letter("db1", NOW, {"clock": {"synchronised": True}}), "db2": Letter("db2", NOW + 60, {"clock": {}})}
    found = list(clock.judge(Seen("db1", NOW, ("db1", "db2"), told, {}, {"db2": {"error": "no answer"}})))
    assert "60.0 s ahead" in only(found, "clock-skew", FAIL).what
    assert only(found, "clock-kept", WARN).node == "db2"


def test_the_question_for_the_time_over_midnight(monkeypatch):
    """An answer a millisecond past midnight UTC to a question from just before it is no day away."""
    midnight = 20_000 * 86400.0
    times = iter([midnight - 0.002] * 10)

    class Wire:
        def setblocking(self, _):
            pass

        def sendto(self, data, _):
            self.head = data[8 - 4 : 8]

        def recvfrom(self, _):
            body = struct.pack("!III", 0, 1, 1)
            return b"\x45" + b"\0" * 19 + bytes([14, 0, 0, 0]) + self.head + body, ("192.0.2.2", 0)

    monkeypatch.setattr(clock.time, "time", lambda: next(times))
    monkeypatch.setattr(clock.select, "select", lambda *_: ([1], [], []))
    found = clock._ask(Wire(), "192.0.2.2", clock.time.monotonic() + 1)
    assert abs(found["ahead"]) < 0.1


def test_who_does_not_answer_is_told_of():
    assert "error" in clock.ask("2001:db8::1", 0.1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", lambda *_: (_ for _ in ()).throw(PermissionError(1, "Operation not permitted")))
        assert "not permitted" in clock.ask("192.0.2.2", 0.1)["error"]


# -- names ----------------------------------------------------------------------------------------------------------

LINKS = {"db1": ["10.0.0.1", "10.1.0.1"], "db2": ["10.0.0.2", "10.1.0.2"]}
NAMES = {"db1": ["10.0.0.1"], "db2": ["10.0.0.2"]}
BACK = {"10.0.0.1": "db1", "10.1.0.1": "db1-ring1", "10.0.0.2": "db2.example.org", "10.1.0.2": "db2"}


def told_names(**changes):
    return {"names": NAMES, "addresses": BACK, "links": LINKS, **changes}


def test_names_that_are_right():
    assert verdicts(results(names, "names", {"db1": told_names(), "db2": told_names()})) == {OK}


def test_a_name_that_leads_nowhere_or_elsewhere():
    found = results(
        names,
        "names",
        {"db1": told_names(names={"db1": ["127.0.1.1"], "db2": "!Name or service not known"}), "db2": told_names()},
    )
    assert only(found, "name-forward", WARN).what == "the name db1 is 127.0.1.1"
    nowhere = only(found, "name-forward", FAIL)
    assert "db2 leads nowhere: Name or service not known" in nowhere.what
    assert "echo '10.0.0.2 db2' >> /etc/hosts" in nowhere.fix
    elsewhere = results(names, "names", {"db1": told_names(names={**NAMES, "db2": ["192.0.2.9"]}), "db2": told_names()})
    assert "corosync.conf has 10.0.0.2 and 10.1.0.2" in only(elsewhere, "name-forward", WARN).why


def test_names_that_differ_between_nodes():
    other = told_names(names={**NAMES, "db3": ["10.0.0.4"]})
    third = told_names(names={**NAMES, "db3": ["10.0.0.3"]})
    found = results(names, "names", {"db1": third, "db2": other})
    assert "db3 is 10.0.0.3 on db1; 10.0.0.4 on db2" in only(found, "names-same", FAIL).what


def test_an_address_that_has_the_wrong_name_or_none():
    found = results(
        names,
        "names",
        {
            "db1": told_names(addresses={**BACK, "10.0.0.2": "!no name", "10.1.0.2": "db1", "10.1.0.1": "!no name"}),
            "db2": told_names(),
        },
    )
    what = only(found, "name-backward", WARN).what
    assert "10.1.0.2 is called db1, and is db2's" in what
    assert "10.0.0.2 has no name" in what
    assert "10.1.0.1" not in what


# -- paths and links ------------------------------------------------------------------------------------------------


def told_paths(mtu, large, small, peer="db2"):
    return {"mtus": {"0": mtu}, "peers": {peer: {"0": {"large": large, "small": small}}}}


def test_large_packets_that_get_lost():
    found = results(paths, "paths", {"db1": told_paths(1500, False, True), "db2": told_paths(1400, True, True, "db1")})
    lost = only(found, "path-mtu", FAIL)
    assert (lost.node, lost.what) == ("db1", "to db2 on link 0 packets of 1500 bytes get lost, smaller ones do not")
    assert "1400 on db2, 1500 on db1" in only(found, "link-mtu", WARN).what
    assert only(found, "path-mtu", OK).node == "db2"


def test_a_path_on_which_nothing_answers_is_not_well():
    found = results(paths, "paths", {"db1": told_paths(1500, False, False)})
    assert "no ping comes back" in only(found, "path-mtu", UNKNOWN).what
    assert OK not in verdicts(found)


CFGTOOL = """Local node ID 1, transport knet
LINK ID 0 udp
\taddr\t= 10.77.0.11
\tstatus:
\t\tnodeid:          1:\tlocalhost
\t\tnodeid:          2:\tconnected
LINK ID 1 udp
\taddr\t= 10.77.1.11
\tstatus:
\t\tnodeid:          1:\tlocalhost
\t\tnodeid:          2:\tdisconnected
"""


def test_corosyncs_links():
    found = links.parse(CFGTOOL)
    assert found == {"0": {"1": "localhost", "2": "connected"}, "1": {"1": "localhost", "2": "disconnected"}}
    told = {"db1": {"links": found, "names": {"1": "db1", "2": "db2"}}}
    assert only(results(links, "links", told), "corosync-link", FAIL).what == "link 1 to db2 is disconnected"
    # A node that is reached over another link is there, though it has told nothing of itself.
    assert only(results(links, "links", told, missing={"db2": "it has told nothing"}), "corosync-link", FAIL)
    # Of a node that is away anyhow, that is known already; it is not called connected.
    away = {
        "links": {key: {"1": "localhost", "2": "disconnected", "3": "connected"} for key in "01"},
        "names": told["db1"]["names"],
    }
    one = only(results(links, "links", {"db1": away}, missing={"db2": "it is off"}), "corosync-link", OK)
    assert one.what == "2 links, all connected, except those to db2, which is not there"
    good = {"links": {key: {**one, "2": "connected"} for key, one in found.items()}, "names": {}}
    assert only(results(links, "links", {"db1": good}), "corosync-link", OK).what == "2 links, all connected"
    alone = {"links": {"0": found["0"]}, "names": {}}
    assert "single link" in only(results(links, "links", {"db1": alone}), "corosync-link", WARN).what


# -- votes and fencing ----------------------------------------------------------------------------------------------


def told_votes(**device):
    return {
        "votes": 3,
        "expected": 3,
        "needed": 2,
        "device": {"host": "qnet", "running": True, "voting": True, "state": "Connected", **device},
    }


def test_votes():
    assert verdicts(results(votes, "votes", {"db1": told_votes()})) == {OK}
    away = only(
        results(votes, "votes", {"db1": told_votes(voting=False, state="Connect failed")}), "quorum-device", FAIL
    )
    assert "does not vote for it (Connect failed)" in away.what
    dead = only(results(votes, "votes", {"db1": told_votes(voting=False, running=False)}), "quorum-device", FAIL)
    assert "systemctl enable --now corosync-qdevice" in dead.fix
    few = {"votes": 2, "expected": 3, "needed": 2, "device": None}
    assert only(results(votes, "votes", {"db1": few}), "votes", WARN).what == "counts 2 of 3 votes, 2 are needed"


def told_fencing(status1="", status2="", enabled=True):
    devices = {"fence-db1": {"status": status1, "list": ["db1"]}, "fence-db2": {"status": status2, "list": ["db2"]}}
    return {"enabled": enabled, "devices": devices}


def test_fencing_devices():
    assert verdicts(results(fencing, "fencing", {"db1": told_fencing(), "db2": told_fencing()})) == {OK}
    found = results(fencing, "fencing", {"db1": told_fencing(status2="Connection timed out"), "db2": told_fencing()})
    bad = only(found, "fence-device", FAIL)
    assert (bad.node, bad.what) == ("db1", "fence-db2 does not answer: Connection timed out")
    assert "reboot" not in bad.fix


def test_a_device_that_is_kept_off_its_own_target():
    told = {"db1": told_fencing(status1="No such device"), "db2": told_fencing(status2="No such device")}
    assert verdicts(results(fencing, "fencing", told)) == {OK}
    found = results(fencing, "fencing", {"db1": told["db1"]})
    assert "fence-db1: not looked at" in only(found, "fence-device", UNKNOWN).what


def test_fencing_that_is_off_or_covers_nobody():
    assert only(results(fencing, "fencing", {"db1": told_fencing(enabled=False)}), "fencing-enabled", FAIL)
    assert only(results(fencing, "fencing", {"db1": {"enabled": True, "devices": {}}}), "fence-device", FAIL)
    told = {"enabled": True, "devices": {"fence-db1": {"status": "", "list": ["db1"]}}}
    assert only(results(fencing, "fencing", {"db1": told, "db2": told}), "fence-target", WARN).node == "db2"


def test_what_stonith_admin_lists():
    assert fencing.targets("db1\ndb2\n\n") == ["db1", "db2"]
    assert fencing.targets("No devices found for x\n") == []
