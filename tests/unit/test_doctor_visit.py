"""The doctor's visit: whose word counts, how old it may be, who is said to be missing, and that nothing ends it."""

import json
import time

import pytest
from hafailover.crm import local
from hafailover.crm.commands import doctor as command
from hafailover.crm.doctor import FAIL, OK, UNKNOWN, Seen, clock, groups, here, post, report, visit
from hafailover.crm.doctor.here import CannotLook
from hafailover.crm.errors import HafailoverError
from status_samples import load

CONF = """nodelist {
    node {
        name: db1
        ring0_addr: 127.0.0.1
    }
    node {
        name: db2
        ring0_addr: 127.0.0.2
    }
}
"""


class Cluster:
    """Stands in for the programs of a node: what they print, and what they were asked."""

    def __init__(self):
        self.letters, self.answers, self.shown = {}, True, []

    def __call__(self, argv, timeout=None, input=None):
        if not self.answers:
            return local.Result(102, "", "Connection refused")
        if argv[0] == "attrd_updater" and "-Q" in argv:
            lines = (f'name="{post.ATTRIBUTE}" host="{node}" value="{text}"' for node, text in self.letters.items())
            return local.Result(0, "\n".join(lines), "")
        if argv[0] == "attrd_updater":
            self.shown.append(argv[-1])
            return local.Result(0, "", "")
        if argv[0] == "cibadmin":
            return local.Result(0, load("healthy").cib, "")
        return local.Result(0, "db1\n", "")


@pytest.fixture
def cluster(monkeypatch):
    run = Cluster()
    monkeypatch.setattr(local, "run", run)
    monkeypatch.setattr(here, "_content", lambda path: CONF if "corosync" in path else "")
    monkeypatch.setattr(here.os, "uname", lambda: type("Name", (), {"nodename": "db1"})())
    monkeypatch.setattr(groups, "look", lambda _here: {"clock": {"synchronised": True}})
    monkeypatch.setattr(clock, "ask", lambda address, seconds: {"ahead": 0.0, "within": 0.001})
    monkeypatch.setattr(visit.Visit, "_wake", lambda self, node: None)
    return run


def letter(age=1.0, **facts):
    return post.write(time.time() - age, {"clock": {"synchronised": True}, **facts})


def test_both_nodes_are_seen_and_this_one_shows_itself(cluster):
    cluster.letters["db2"] = letter()
    seen = visit.Visit().seen()
    assert (seen.here, seen.nodes, dict(seen.missing)) == ("db1", ("db1", "db2"), {})
    assert set(seen.letters) == {"db1", "db2"}
    assert post.read("db1", cluster.shown[0]).facts == {"clock": {"synchronised": True}}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (None, "told nothing of itself yet"),
        ("2nonsense", "told nothing of itself yet"),
        ("old", "120 minutes old"),
    ],
)
def test_whose_word_does_not_count(cluster, text, why):
    if text:
        cluster.letters["db2"] = letter(age=7200) if text == "old" else text
    seen = visit.Visit().seen()
    assert why in seen.missing["db2"]
    assert "db2" not in seen.letters
    found = report.judge(seen)
    assert [one.verdict for one in found.results if one.node == "db2"] == [UNKNOWN]


def test_an_old_word_of_a_clock_that_is_ahead_is_still_old(cluster, monkeypatch):
    monkeypatch.setattr(clock, "ask", lambda address, seconds: {"ahead": 3600.0, "within": 0.001})
    cluster.letters["db2"] = letter(age=0)
    assert "60 minutes old" in visit.Visit().seen().missing["db2"]


def test_a_node_that_is_away(cluster, monkeypatch):
    cluster.letters["db2"] = letter()
    gone = load("pacemaker-stopped").cib
    monkeypatch.setattr(
        local,
        "run",
        lambda argv, timeout=None, input=None: local.Result(0, gone, "") if argv[0] == "cibadmin" else cluster(argv),
    )
    assert visit.Visit().seen().missing["db2"] == "it is not a member of the cluster now"


def test_without_the_cluster_this_node_is_looked_at_alone(cluster):
    cluster.answers = False
    seen = visit.Visit().seen()
    assert set(seen.letters) == {"db1"}
    assert "does not answer" in seen.missing["db2"]
    assert report.judge(seen).worst == UNKNOWN


def test_a_woken_node_is_waited_for_and_bounds_its_clock(cluster, monkeypatch):
    monkeypatch.setattr(clock, "ask", lambda address, seconds: {"error": "a firewall drops it"})
    cluster.letters["db2"] = letter(age=60)

    def wake(self, node):
        self._woken[node] = time.time()
        cluster.letters[node] = post.write(time.time() + 30, {"clock": {"synchronised": True}, "new": {}})

    monkeypatch.setattr(visit.Visit, "_wake", wake)
    seen = visit.Visit().seen()
    assert "new" in seen.letters["db2"].facts
    assert seen.asked["db2"]["ahead"] == pytest.approx(30, abs=2)
    assert any((one.check, one.verdict) == ("clock-skew", FAIL) for one in report.judge(seen).results)


def test_a_woken_node_that_says_nothing_more_is_said_to_be_late(cluster, monkeypatch):
    monkeypatch.setattr(visit, "_ANSWER", 0.2)
    cluster.letters["db2"] = letter(age=60)
    monkeypatch.setattr(visit.Visit, "_wake", lambda self, node: self._woken.update({node: time.time()}))
    assert visit.Visit().seen().stale == {"db2": "it has not told anew in time"}


def test_a_group_that_fails_or_hangs_is_one_that_was_not_looked_at(monkeypatch):
    class Fails:
        TITLE = "x"

        @staticmethod
        def read(_):
            raise RuntimeError("nobody thought of this")

    class Cannot:
        @staticmethod
        def read(_):
            raise CannotLook("it is dark\nand cold")

    class Hangs:
        @staticmethod
        def read(_):
            time.sleep(30)

    monkeypatch.setattr(groups, "GROUPS", {"fails": Fails, "cannot": Cannot, "hangs": Hangs})
    begun = time.monotonic()
    found = groups.look(None, limit=0.3)
    assert time.monotonic() - begun < 5
    assert "mistake in hafailover itself (RuntimeError" in found["fails"]["error"]
    assert found["cannot"] == {"error": "it is dark"}
    assert found["hangs"] == {"error": "it took longer than 0.3 s"}


@pytest.mark.parametrize(
    ("facts", "options", "code"),
    [
        ({"clock": {"synchronised": True}}, [], 0),
        ({"clock": {"synchronised": False}}, [], 0),
        ({"clock": {"synchronised": False}}, ["--fail-on", "warning"], 1),
        ({"clock": {"synchronised": True}, "modes": {"files": [["/a", 0o666, 0o600, "root", "root"]]}}, [], 1),
        ({"clock": {"error": "dark"}}, [], 4),
    ],
)
def test_exit_codes(monkeypatch, capsys, facts, options, code):
    made = Seen("db1", time.time(), ("db1",), {"db1": visit.Letter("db1", time.time(), facts)}, {})
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(visit, "Visit", lambda: type("Made", (), {"seen": lambda self: made})())
    # One group, so that what it lacks of the others is not in the way.
    monkeypatch.setattr(report, "GROUPS", {name: groups.GROUPS[name] for name in facts})
    with pytest.raises(SystemExit) as ended:
        command.command.main([*options, "-o", "json"])
    told = json.loads(capsys.readouterr().out)
    assert ended.value.code == code
    assert (told["result"] == "ok") == (told["counts"]["ok"] == len(told["checks"]))
    assert OK not in (told["result"],) or code == 0


def test_nobody_but_root(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(HafailoverError, match="run as root"):
        command.command.main([], standalone_mode=False)
