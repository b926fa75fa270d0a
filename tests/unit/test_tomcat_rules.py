"""What facts about a Tomcat mean, and the two protocols it is asked by."""

from __future__ import annotations

import pytest
from hafailover.agents import answers
from hafailover.agents.tomcat import ajp, decide, files, jkstatus
from hafailover.agents.tomcat.jkstatus import Member
from hypothesis import given
from hypothesis import strategies as st
from small_servers import answering, silent

ACTIVE, ERROR, STOPPED = Member("ACT", "OK", 0), Member("ACT", "ERR", 0), Member("STP", "OK", 0)
seconds = st.floats(0, 1000)


@given(st.floats(-10, 1000), seconds, seconds, st.floats(1, 1000), st.floats(0, 60))
def test_a_stop_never_plans_more_than_its_time(
    left: float, drain: float, finish: float, term: float, reserve: float
) -> None:
    plan = decide.budget(left, drain, finish, term, reserve)
    assert min(plan) >= 0
    assert sum(plan) <= max(0.0, left - reserve) + 1e-6
    assert plan.drain <= drain
    assert plan.finish <= finish
    assert plan.term <= term


def test_the_end_of_the_jvm_comes_before_the_waiting() -> None:
    assert decide.budget(120, 60, 20, 30, 12) == (58, 20, 30)
    assert decide.budget(50, 60, 20, 30, 12) == (0, 8, 30)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"jvm1": ACTIVE, "jvm2": ACTIVE}, None),
        ({"jvm1": ACTIVE, "jvm2": Member("ACT", "OK/IDLE", 0)}, None),
        ({"jvm1": ACTIVE, "jvm2": ERROR}, "no other worker takes requests there"),
        ({"jvm1": ACTIVE, "jvm2": STOPPED}, "no other worker takes requests there"),
        ({"jvm1": ACTIVE}, "no other worker takes requests there"),
        ({"jvm8": ACTIVE, "jvm9": ACTIVE}, "it has no worker jvm1, only jvm8, jvm9"),
    ],
)
def test_the_last_worker_serves_until_its_end(members: dict[str, Member], reason: str | None) -> None:
    assert decide.no_drain(members, "jvm1") == reason


def test_a_silence_is_a_failure_after_a_while() -> None:
    assert answers.hung(3, 15, "the JVM has not answered") == (
        False,
        "the JVM has not answered, for 3 s now; it counts as hung after 15 s",
    )
    assert answers.hung(15, 15, "the JVM has not answered") == (
        True,
        "the JVM has not answered, for 15 s now; it hangs",
    )


def test_restarts_for_a_new_database_come_one_after_the_other() -> None:
    assert decide.restart_waits([{"jvm1": ACTIVE, "jvm2": ACTIVE}], "jvm1") is None
    assert decide.restart_waits([{"jvm1": ACTIVE, "jvm2": STOPPED}], "jvm1") == "no other worker takes requests now"
    assert decide.restart_waits([], "jvm1") is None
    both = [{"jvm1": STOPPED, "jvm2": STOPPED}]
    assert decide.yields(both, "jvm2")
    assert not decide.yields(both, "jvm1")
    assert not decide.yields([{"jvm1": ACTIVE, "jvm2": STOPPED}], "jvm2")
    assert decide.changed({"db": 1}, {"db": 2, "mq": 0}) == ["db"]


# -- AJP ------------------------------------------------------------------------------------------------------------------------


def test_a_jvm_that_answers_the_ping_is_well() -> None:
    with answering(lambda asked: ajp.CPONG if asked == ajp.CPING else b"") as port:
        assert ajp.silence(("127.0.0.1", port), 60) is None


def test_a_jvm_that_was_stopped_takes_connections_and_does_not_answer() -> None:
    with silent() as port:
        wrong = ajp.silence(("127.0.0.1", port), 0.2)
        assert wrong == f"has not answered AJP's ping at 127.0.0.1:{port} within 0.2 s"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(b"", "without an answer"), (b"AB\0\2xx", "is this an AJP connector?"), (b"HTTP/1.1 400", "is this")],
)
def test_what_is_no_connector_is_told_apart(answer: bytes, reason: str) -> None:
    with answering(lambda asked: answer) as port:
        assert reason in (ajp.silence(("127.0.0.1", port), 60) or "")


def test_nobody_listens() -> None:
    with silent() as port:
        pass
    assert (
        ajp.silence(("127.0.0.1", port), 60) == f"does not take AJP connections at 127.0.0.1:{port}: Connection refused"
    )


@pytest.mark.parametrize("place", ["", "8009", ":8009", "host:", "host:0", "host:70000", "host:x"])
def test_what_is_no_place(place: str) -> None:
    with pytest.raises(ValueError, match="such as"):
        ajp.parse(place)


def test_places() -> None:
    assert ajp.parse("10.0.0.1:8009") == ("10.0.0.1", 8009)
    assert ajp.parse("[fd00::1]:8009") == ("fd00::1", 8009)


# -- mod_jk's status worker -----------------------------------------------------------------------------------------------------

SHOWN = """\
worker.list=wlb
worker.wlb.busy=0
worker.jvm1.activation=ACT
worker.jvm1.state=OK/IDLE
worker.jvm1.busy=0
worker.jvm2.activation=DIS
worker.jvm2.state=ERR
worker.jvm2.busy=3
worker.result.type=OK
worker.result.message=Action finished
"""


def page(body: str, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n{body}".encode()


def test_workers_are_read() -> None:
    asked = []
    with answering(lambda request: (asked.append(request), page(SHOWN))[1]) as port:
        found = jkstatus.members(f"http://127.0.0.1:{port}/jk-status", "wlb", 60)
    assert found == {"jvm1": Member("ACT", "OK/IDLE", 0), "jvm2": Member("DIS", "ERR", 3)}
    assert asked[0].startswith(b"GET /jk-status?cmd=show&mime=prop&w=wlb HTTP/1.0\r\n")


def test_a_worker_is_set() -> None:
    asked = []
    with answering(lambda request: (asked.append(request), page("worker.result.type=OK\n"))[1]) as port:
        jkstatus.set_activation(f"http://127.0.0.1:{port}/jk-status", "wlb", "jvm1", jkstatus.STOPPED, 60)
    assert b"cmd=update&mime=prop&w=wlb&sw=jvm1&vwa=s " in asked[0]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (
            page("worker.result.type=ERROR\nworker.result.message=could not find sub worker\n"),
            "could not find sub worker",
        ),
        (page("Forbidden", "403 Forbidden"), "answers 403 Forbidden; is this node allowed to ask it?"),
        (page("<html>"), "is no status worker of mod_jk"),
        (b"", "answers nothing"),
    ],
)
def test_a_refusal_that_looks_like_success_is_an_error(answer: bytes, reason: str) -> None:
    with answering(lambda request: answer) as port:
        url = f"http://127.0.0.1:{port}/jk-status"
        for action in (
            lambda: jkstatus.set_activation(url, "wlb", "jvm1", jkstatus.ACTIVE, 60),
            lambda: jkstatus.members(url, "wlb", 60),
        ):
            with pytest.raises(jkstatus.StatusError) as caught:
                action()
            assert reason in str(caught.value)


def test_an_apache_that_hangs_holds_nothing_up() -> None:
    with silent() as port, pytest.raises(jkstatus.StatusError, match="does not answer"):
        jkstatus.members(f"http://127.0.0.1:{port}/jk-status", "wlb", 0.2)


# -- do the files agree ---------------------------------------------------------------------------------------------------------

SERVER = """<Server><Service><Connector port="8080" protocol="HTTP/1.1"/>
<Connector protocol="AJP/1.3" port="8009" secret="s3cret"/><Engine jvmRoute="jvm1"/></Service></Server>"""
OTHER = '<Server><Service><Connector protocol="AJP/1.3" port="9009"/><Engine jvmRoute="other"/></Service>'
ENTITY = '<!DOCTYPE Server [<!ENTITY rest SYSTEM "rest.xml">]><Server><Service>&rest;</Service></Server>'
WORKERS = "worker.list=wlb\n# a comment\nworker.jvm1.host = 10.0.0.1\nworker.jvm1.secret=s3cret\n"


@pytest.mark.parametrize(
    ("server", "workers", "worker", "reason"),
    [
        (SERVER, WORKERS, "jvm1", None),
        (SERVER, None, "jvm1", None),
        (SERVER.replace("jvm1", "jvm9"), None, None, None),
        (SERVER.replace("jvm1", "jvm9"), WORKERS, "jvm1", "jvmRoute is jvm9, mod_jk's worker for this node is jvm1"),
        (SERVER.replace(' jvmRoute="jvm1"', ""), WORKERS, "jvm1", "jvmRoute is none, mod_jk's worker"),
        (SERVER.replace("s3cret", "other"), WORKERS, "jvm1", "is not that of worker jvm1"),
        (SERVER, WORKERS.replace("s3cret", "other"), "jvm1", "is not that of worker jvm1"),
        (SERVER, "worker.list=wlb\n", "jvm1", "mod_jk's worker jvm1 is not in workers.properties"),
        (SERVER.replace('secret="s3cret"', ""), WORKERS, "jvm1", "needs a secret and has none"),
        (
            SERVER.replace('port="8009"', 'port="20400"'),
            WORKERS,
            "jvm1",
            "no AJP connector on port 8009, only on 20400",
        ),
        (SERVER.replace("AJP/1.3", "org.apache.coyote.ajp.AjpNioProtocol"), WORKERS, "jvm1", None),
        (SERVER.replace("secret=", "requiredSecret="), WORKERS, "jvm1", None),
        # Of two Services, the Engine behind the connector counts.
        (SERVER.replace("<Server>", OTHER), WORKERS, "jvm1", None),
        (SERVER.replace("<Server>", OTHER), WORKERS.replace("jvm1", "other"), "other", "jvmRoute is jvm1, mod_jk's"),
        # What is told elsewhere is not judged.
        (SERVER.replace("8009", "${ajp.port}"), WORKERS, "jvm1", None),
        (SERVER.replace("s3cret", "${ajp.secret}").replace("jvm1", "${route}"), WORKERS, "jvm1", None),
        (ENTITY, WORKERS, "jvm1", None),
        (SERVER, "worker.t.secret=s3cret\nworker.jvm1.reference=worker.t\n", "jvm1", None),
        (SERVER, "worker.t.secret=other\nworker.jvm1.reference=worker.t\n", "jvm1", "is not that of worker jvm1"),
    ],
)
def test_files_that_do_not_agree(server: str, workers: str | None, worker: str | None, reason: str | None) -> None:
    known = None if workers is None else files.read_workers(workers)
    found = files.disagreement(files.read_server(server.encode()), known, worker, "8009", "server.xml")
    assert (found is None) == (reason is None), found
    assert (reason or "") in (found or "")
    assert "s3cret" not in (found or "")


def test_a_file_is_read_in_what_it_is_written_in() -> None:
    text = "<?xml version='1.0' encoding='{}'?><!-- Größe -->" + SERVER
    found = [files.read_server(text.format(name).encode(name)) for name in ("utf-8", "iso-8859-1", "utf-16")]
    assert found[0] == found[1] == found[2] == files.read_server(b"\xef\xbb\xbf" + SERVER.encode())


def test_a_file_that_tomcat_could_not_load() -> None:
    with pytest.raises(ValueError, match="mismatched tag: line 1"):
        files.read_server(b"<Server><Service></Server>")
