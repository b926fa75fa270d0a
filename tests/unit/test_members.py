"""Which nodes the cluster has and is to have: what is done about it, and when not."""

from dataclasses import replace

import pytest
from corosync_cmap import nodelist
from hafailover.crm import local, members, members_run, simulate
from hafailover.crm.errors import HafailoverError, IncompleteError
from hafailover.crm.formats import cib
from hafailover.crm.local import Result
from hafailover.crm.members import Facts, Member, Steps, Wanted
from hafailover.crm.pacemaker import PacemakerError
from hafailover.crm.services.mariadb import SERVICE_TYPE as MARIADB
from topologies import BASE, changed, parse

TRIO = changed(
    ("  db2: {id: 2, links: [10.77.0.12, 10.77.1.12]}\nquorum: {device: {host: 10.77.0.13, tls: off}}\n",
     "  db2: {id: 2, links: [10.77.0.12, 10.77.1.12]}\n  db3: {id: 3, links: [10.77.0.14, 10.77.1.14]}\n"),
)  # fmt: skip
TRIO_LMS = changed(("vips:", "quorum: {device: {host: 10.77.0.13, tls: off, algorithm: lms}}\nvips:"), text=TRIO)


def wanted(text):
    return members_run.wanted(parse(text))


def facts(text, *, file=None, **more):
    """A healthy cluster that runs the topology ``text`` and whose nodes have the file of ``file``."""
    now = wanted(text)
    names = frozenset(now.members)
    found = Facts(now.members, now.quorum, names, names, names, frozenset(), True, names)
    return replace(found, **more)


def judged(text, there):
    asked = wanted(text)
    todo = members.steps(asked, there)
    return todo, members.refusal(asked, there, todo)


@pytest.mark.parametrize("text", [BASE, TRIO, TRIO_LMS])
def test_nothing_is_done_to_a_cluster_that_has_the_nodes(text):
    todo, reason = judged(text, facts(text))
    assert not todo and todo.sentences() == [] and reason is None
    # Another file alone is no reason to reload it: it may be the operator's.
    assert judged(text, facts(text, quorum={}, written=False)) == (Steps(), None)


def test_an_offline_member_is_nothing_to_wait_for():
    assert judged(TRIO, facts(TRIO, online=frozenset({"db1", "db2"}))) == (Steps(), None)


def test_a_new_node_is_taken_in_when_all_have_the_file():
    todo, reason = judged(TRIO, facts(BASE))
    assert reason is None
    assert todo == Steps(reload=True, added=("db3",))
    assert todo.sentences() == [
        "have Corosync read corosync.conf again on all nodes",
        "wait until db3 has joined",
    ]


@pytest.mark.parametrize("seen", [False, True])
def test_running_it_again_goes_on_where_it_ended(seen):
    """Corosync knows the node already; it has not joined."""
    two = frozenset({"db1", "db2"})
    there = facts(TRIO, online=two, seen=frozenset({"db1", "db2", "db3"}) if seen else two, shown=frozenset())
    # One that was a member before and is off is not waited for.
    assert judged(TRIO, there) == (Steps(added=() if seen else ("db3",)), None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"written": False}, "this machine's /etc/corosync/corosync.conf is not what the topology makes: on every node, hafailover"),
        ({"shown": frozenset({"db1"})}, "db2 has not shown that its corosync.conf is what the topology makes"),
        ({"online": frozenset({"db1"})}, "db2 is not online, so it may come back with another corosync.conf"),
    ],
)  # fmt: skip
def test_a_node_with_another_file_would_keep_the_membership_from_settling(change, said):
    _, reason = judged(TRIO, facts(BASE, **change))
    assert reason.startswith("db3 is not in Corosync's node list yet, and ")
    assert said in reason


def test_the_device_is_not_counted_on_while_its_votes_change():
    _, reason = judged(TRIO_LMS, facts(BASE))
    assert "3 votes of nodes and 2 of the quorum device, 3 make a quorum, and 2 nodes are online" in reason
    assert "Take quorum.device out of the topology for this step" in reason
    # With all three there it may come back.
    assert judged(TRIO_LMS, facts(TRIO)) == (Steps(reload=True), None)


def test_too_many_at_once():
    more = TRIO.replace("vips:", "  db4: {id: 4, links: [10.77.0.15, 10.77.1.15]}\nvips:", 1)
    two = changed(("quorum: {device: {host: 10.77.0.13, tls: off}}\n", ""))
    _, reason = judged(more, facts(two))
    assert reason.endswith("Add fewer nodes at a time")
    assert judged(TRIO, facts(two)) == (Steps(reload=True, added=("db3",)), None)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("db2: {id: 2", "db2: {id: 7", "db2 has the id 2 in the running cluster and 7 in the topology"),
        ("db1: {id: 1, links: [10.77.0.11", "db1: {id: 1, links: [10.77.0.21", "the addresses of db1 differ too"),
    ],
)
def test_what_cannot_change_with_the_nodes(old, new, said):
    _, reason = judged(TRIO.replace(old, new), facts(BASE))
    assert said in reason


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("db2: {id: 2", "db2: {id: 7", "db2 has the id 2 in the running cluster and 7 in the topology"),
        (
            "db1: {id: 1, links: [10.77.0.11",
            "db1: {id: 1, links: [10.77.0.21",
            "the addresses of db1 differ (10.77.0.11, ",
        ),
    ],
)
def test_a_slip_in_a_node_that_is_there_does_not_get_to_the_services(old, new, said):
    todo, reason = judged(BASE.replace(old, new), facts(BASE))
    assert not todo.reload
    assert said in reason


def test_an_address_that_was_written_as_a_name_may_be_the_same():
    named = {name: replace(member, links=(name, member.links[1])) for name, member in wanted(BASE).members.items()}
    assert judged(BASE, facts(BASE, running=named)) == (Steps(), None)


def test_a_new_node_with_the_id_of_another():
    text = TRIO.replace("db2: {id: 2", "db2: {id: 4").replace("db3: {id: 3", "db3: {id: 2")
    there = facts(BASE, running={"db1": Member("db1", 1, ("10.77.0.11", "10.77.1.11")), "x": Member("x", 2, ())})
    asked = wanted(text)
    todo = Steps(reload=True, added=("db3",))
    assert "the id 2 of db3 is that of x" in members.refusal(asked, there, todo)


PAIR_AGAIN = {"online": frozenset({"db1", "db2"}), "written": True}


def test_a_stopped_node_is_removed():
    todo, reason = judged(BASE, facts(TRIO_LMS, **PAIR_AGAIN))
    assert reason is None
    assert todo == Steps(reload=True, removed=("db3",), leaving=("db3",))
    # Corosync has forgotten it, and Pacemaker not yet.
    names = frozenset({"db1", "db2", "db3"})
    todo, reason = judged(BASE, facts(BASE, configured=names, seen=names))
    assert (todo, reason) == (Steps(removed=("db3",)), None)
    assert todo.sentences() == ["remove node db3 from Pacemaker"]


def test_a_running_or_lost_node_is_not_removed():
    _, reason = judged(BASE, facts(TRIO))
    assert reason.startswith(
        "db3 is no longer in the topology and still runs in the cluster: move away what must go on"
    )
    _, reason = judged(BASE, facts(TRIO, unclean=frozenset({"db3"}), **PAIR_AGAIN))
    assert "nobody knows that it is off" in reason


def test_one_after_the_other():
    swapped = TRIO.replace("db3", "db4").replace("id: 3", "id: 4")
    _, reason = judged(swapped, facts(TRIO, online=frozenset({"db1", "db2"})))
    assert reason.startswith("db4 is to be added and db3 removed")


def test_a_quorum_device_that_changes_is_read_again():
    other = BASE.replace("10.77.0.13", "10.77.0.19")
    assert judged(other, facts(BASE)) == (Steps(reload=True), None)
    assert judged(other, facts(BASE, written=False)) == (Steps(), None)


@pytest.mark.parametrize(
    ("said", "asked", "found"),
    [
        ("Algorithm:\t\tLMS\n", "ffsplit", "lms"),
        ("Algorithm:\t\tFifty-Fifty split\n", "ffsplit", None),
        ("Algorithm:\t\tFifty-Fifty split\n", "lms", "ffsplit"),
        ("", "lms", None),
    ],
)
def test_the_devices_daemon_keeps_its_algorithm(said, asked, found):
    assert members.other_algorithm(said, asked) == found


def test_what_is_missing_on_a_new_node_is_said():
    assert "hafailover render t.yml --install; systemctl enable --now corosync pacemaker" in members.awaited(
        "n", False, "t.yml"
    )
    assert "its Pacemaker has not joined" in members.awaited("n", True, "t.yml")


JOURNAL = "v=1 epoch=3 primary=db3 gtid=0-3-1 sync= at=1 by=promote"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, None),
        (JOURNAL.replace("primary=db3", "primary=db1"), None),
        (JOURNAL, "db3 was the last primary of db and may hold what nobody else has"),
        ("v=99", "who was the last primary of db cannot be told"),
    ],
)
def test_the_last_primary_is_not_removed(text, said):
    asked = []
    reason = MARIADB.still_needed(
        parse().services["db"], "db3", lambda group, name: asked.append((group, name)) or text
    )
    assert asked == [("hafailover-db", "journal")]
    assert reason is None if said is None else said in reason


CMAP = "nodelist.local_node_pos (u32) = 1\n" + nodelist(
    {"nodeid": 1, "ring0_addr": "10.77.0.11", "ring1_addr": "10.77.1.11"},
    {"name": "db2", "nodeid": 2, "ring0_addr": "10.77.0.12", "ring1_addr": "10.77.1.12"},
)
QUORUM = """quorum.device.model (str) = net
quorum.device.net.algorithm (str) = ffsplit
quorum.device.net.host (str) = 10.77.0.13
quorum.device.net.tls (str) = off
quorum.device.timeout (u32) = 5400
quorum.device.votes (u32) = 1
quorum.provider (str) = corosync_votequorum
"""
CIB = """<cib><configuration><nodes><node id="1" uname="db1"/><node id="2" uname="db2"/><node id="r" uname="r" type="remote"/></nodes>
</configuration><status><node_state id="1" uname="db1"/></status></cib>"""
MON = """<pacemaker-result><nodes><node name="db1" online="true" pending="false" unclean="false" type="member"/>
<node name="db2" online="true" pending="true" unclean="true" type="member"/><node name="r" online="true" type="remote"/></nodes>
<status code="0"/></pacemaker-result>"""


@pytest.fixture
def answers(monkeypatch, tmp_path):
    """What the tools say: by their first words, the last answer for ever."""
    found = {
        "corosync-cmapctl nodelist.": [Result(0, CMAP, "")],
        "corosync-cmapctl quorum.": [Result(0, QUORUM, "")],
        "crm_mon": [Result(0, MON, "")],
        "attrd_updater": [Result(0, 'name="hafailover-corosync-conf" host="db1" value="abc"\n', "")],
    }
    calls = []

    def run(argv, timeout=None, input=None):
        calls.append(" ".join(argv))
        given = found.get(" ".join(argv[:2])) or found[argv[0]]
        return given.pop(0) if len(given) > 1 else given[0]

    monkeypatch.setattr(local, "run", run)
    monkeypatch.setattr(local, "installed", lambda program: True)
    monkeypatch.setattr(members_run.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(members_run, "COROSYNC_CONF", tmp_path / "corosync.conf")
    found["calls"] = calls
    return found


def test_the_facts_are_read(answers):
    found = members_run.look(parse(), cib.parse(CIB, "x"))
    # Without a name in corosync.conf a node is what Pacemaker calls it.
    assert found.running == wanted(BASE).members
    assert found.quorum == wanted(BASE).quorum
    assert (found.configured, found.seen) == ({"db1", "db2"}, {"db1"})
    assert (found.online, found.unclean) == ({"db1"}, {"db2"})
    assert (found.written, found.shown) == (False, set())


def test_a_machine_with_the_file_has_shown_it(answers):
    from hafailover.crm import corosync

    members_run.COROSYNC_CONF.write_text(corosync.text(parse()))
    members_run.show_file()
    digest = answers["calls"][-1].rpartition(" ")[2]
    assert answers["calls"][-1] == f"attrd_updater -p -n hafailover-corosync-conf -U {digest}"
    answers["attrd_updater"][:] = [Result(0, f'name="hafailover-corosync-conf" host="db1" value="{digest}"\n', "")]
    found = members_run.look(parse(), cib.parse(CIB, "x"))
    assert (found.written, found.shown) == (True, {"db1", "db2"})


def test_corosync_that_does_not_answer(answers):
    answers["corosync-cmapctl nodelist."][:] = [
        Result(1, "", "Failed to initialize the cmap API. Error CS_ERR_LIBRARY")
    ]
    with pytest.raises(HafailoverError, match="Corosync does not say which nodes it knows: Failed to initialize"):
        members_run.look(parse(), cib.parse(CIB, "x"))


def test_a_reload_that_corosync_puts_off_is_tried_again(answers):
    answers["cibadmin"] = [Result(0, "", "")]
    answers["corosync-cfgtool"] = [Result(6, "", "Error CS_ERR_TRY_AGAIN"), Result(0, "", "")]
    done = []
    members_run.carry_out(parse(), Steps(reload=True), 0, done.append, done.append)
    assert done == ["Corosync has read corosync.conf again on all nodes"]
    assert [call.split()[0] for call in answers["calls"]] == ["cibadmin", "corosync-cfgtool", "corosync-cfgtool"]


def test_a_node_that_does_not_come_is_incomplete_and_says_what_is_left(answers, monkeypatch):
    answers["corosync-quorumtool"] = [Result(0, "Quorate: Yes\nNodeid Votes Name\n 1 1 db1\n", "")]
    told = []
    with pytest.raises(IncompleteError, match=r"db2 has not joined .*and run hafailover apply again"):
        members_run.carry_out(parse(), Steps(added=("db2",)), 0, told.append, told.append)
    # The second time its Corosync is there, and then it has joined.
    answers["corosync-quorumtool"][:] = [Result(0, "Quorate: Yes\nNodeid Votes Name\n 1 1 db1\n 2 1 db2\n", "")]
    answers["crm_mon"][:] = [Result(0, MON, ""), Result(0, MON.replace('pending="true"', 'pending="false"'), "")]
    members_run.carry_out(parse(), Steps(added=("db2",)), 1e12, told.append, told.append)
    assert told[-2].startswith("waiting: Corosync on db2 is there, its Pacemaker has not joined")
    assert told[-1] == "db2 has joined"


def test_a_node_that_pacemaker_keeps_is_incomplete(answers):
    answers["crm_node"] = [Result(1, "", "no")]
    with pytest.raises(
        IncompleteError, match="Corosync does not know db3 any more, but Pacemaker does not let it go: crm_node: no"
    ):
        members_run.carry_out(parse(), Steps(removed=("db3",)), 0, print, print)
    assert answers["calls"] == ["crm_node --force --remove db3"]


@pytest.mark.parametrize(
    ("flags", "tool", "said"),
    [
        (("A,V,NMW", "A,V,NMW"), "Algorithm:\t\tFifty-Fifty split\n", []),
        (("A,V,NMW", "NR"), "", ["the quorum device has no vote on db2"]),
        (("A,NV,NMW", "NA,NV,NMW"), "", ["the quorum device has no vote on db1", "the quorum device has no vote on db2"]),
        (("A,V,NMW", "A,V,NMW"), "Algorithm:\t\tLMS\n", ["corosync-qdevice still works with lms"]),
    ],
)  # fmt: skip
def test_a_device_that_does_not_vote_is_named(answers, flags, tool, said):
    rows = "".join(f"   {number}   1   {flag} db{number}\n" for number, flag in enumerate(flags, 1))
    answers["corosync-quorumtool"] = [Result(0, f"Nodeid Votes Qdevice Name\n{rows}   0   1   Qdevice\n", "")]
    answers["corosync-qdevice-tool"] = [Result(0, tool, "")]
    found = members_run.silent_device(parse(), 0, print)
    assert [sentence.partition(" (")[0].partition(":")[0] for sentence in found] == said
    assert members_run.silent_device(parse(TRIO), 0, print) == []


def test_nodes_are_read_from_what_pacemaker_says(answers):
    assert [(node.name, node.online, node.unclean) for node in simulate.nodes()] == [
        ("db1", True, False),
        ("db2", False, True),
    ]


def test_wanted_is_what_corosync_is_given():
    assert wanted(TRIO_LMS) == Wanted(
        {
            f"db{n}": Member(f"db{n}", n, (f"10.77.0.1{link}", f"10.77.1.1{link}"))
            for n, link in ((1, 1), (2, 2), (3, 4))
        },
        {
            "quorum.provider": "corosync_votequorum",
            "quorum.device.model": "net",
            "quorum.device.votes": "2",
            "quorum.device.timeout": "5400",
            "quorum.device.net.host": "10.77.0.13",
            "quorum.device.net.algorithm": "lms",
            "quorum.device.net.tls": "off",
        },
        2,
        False,
        "t.yml",
    )


def test_an_attribute_daemon_that_begins_later_than_the_others_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = PacemakerError("attrd_updater failed with 102: Could not connect to attrd: Connection refused")
    answers: list[object] = [refused, refused, {"db1": "abc"}]

    class Asked:
        def __init__(self, run: object) -> None:
            pass

        def published(self, name: str) -> object:
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            if isinstance(answer, PacemakerError):
                raise answer
            return answer

    monkeypatch.setattr(members_run, "Pacemaker", Asked)
    monkeypatch.setattr(members_run, "_LOOK_EVERY", 0.01)
    assert members_run._shown() == {"db1": "abc"}
    answers[:] = [refused]
    monkeypatch.setattr(members_run, "_PATIENCE", 0.05)
    with pytest.raises(HafailoverError, match="Could not connect to attrd"):
        members_run._shown()
