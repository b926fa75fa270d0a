"""Tomcats behind Apaches on a real cluster: users click while both are stopped, killed and hung; the agents by hand.

The application is a test application (vagrant/standins/webapp) in the place of CloudStack's.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest
from by_hand import command, passes_ocf_tester, run
from hafailover.vagrant.drill.loads.faults import Fault, Stage
from hafailover.vagrant.drill.loads.web import load
from hafailover.vagrant.drill.loads.web.drill import WebDrill, WebRun
from hafailover.vagrant.lab import Lab, Options
from labs import lab_of, shell, until

NAME = "cloudstack"
# Also the restart that an application with an untested pool needs.
PAIR = WebDrill.topology.read_text().replace(
    "    after: [db.primary]\n", "    after: [db.primary]\n    restart_on_move: [db]\n"
)
UNIT = "hafailover-tomcat-by-hand.service"
HOME, BASE = "/usr/share/tomcat10", "/srv/plain"
PLAIN = {
    "catalina_home": HOME,
    "catalina_base": BASE,
    "catalina_opts": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC",
    "ajp": "127.0.0.1:8119",
}
STATUS = "http://10.82.0.11/jk-status"
# A page whose end takes an hour: a JVM that loaded it hangs when it is stopped.
STUBBORN = "<%! public void jspDestroy() { try { Thread.sleep(3600000); } catch (Exception e) { } } %>loaded"
SERVER_XML = """<Server port="-1"><Service name="Catalina">
<Connector protocol="AJP/1.3" address="127.0.0.1" port="8119" secret="s3cret" bindOnInit="false" />
<Connector protocol="HTTP/1.1" address="127.0.0.1" port="8181" />
<Engine name="Catalina" defaultHost="localhost" jvmRoute="jvm1"><Host name="localhost" appBase="webapps" /></Engine>
</Service></Server>
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_of(NAME, PAIR, Options(timeout=300)) as made:
        yield made


@pytest.fixture(scope="module")
def plain(lab: Lab) -> str:
    """The node with a small Tomcat of its own, without a unit."""
    node = lab.data_nodes[0]
    shell(
        lab,
        node,
        f"mkdir -p {BASE}/{{conf,logs,temp,work,webapps/ROOT}}; cp {HOME}/etc/*.* {BASE}/conf/; cp /etc/tomcat10/context.xml {BASE}/conf/",
    )
    put(lab, node, f"{BASE}/conf/server.xml", SERVER_XML)
    put(lab, node, f"{BASE}/webapps/ROOT/stubborn.jsp", STUBBORN)
    shell(lab, node, f"chown -R tomcat: {BASE}")
    return node


def put(lab: Lab, node: str, path: str, text: str) -> None:
    done = lab.exec(node, ["sh", "-c", f"cat >{path}"], input=text)
    assert done.returncode == 0, done.stderr


def where(lab: Lab, resource: str) -> str:
    return shell(lab, lab.data_nodes[0], f"crm_resource -W -Q -r {resource}").split()[0]


def activation(lab: Lab, node: str, worker: str) -> str:
    script = (
        "import sys, urllib.request as u\n"
        f"print(u.urlopen('{STATUS}?cmd=show&mime=prop&w=wlb', timeout=30).read().decode())"
    )
    lines = shell(lab, node, f'python3 -c "{script}"').splitlines()
    return next(line for line in lines if line.startswith(f"worker.{worker}.activation=")).partition("=")[2]


def drilled(lab: Lab, name: str, node: str, fault: Fault | None = None) -> WebRun:
    done = WebDrill(lab).run(name, node, lambda text: None, fault)
    assert done.problems == (), done.as_json()
    return done


def test_planned_stops_fail_no_request(lab: Lab) -> None:
    site = load.site(lab.name)
    holder, begun = where(lab, site.address), time.time()
    stopped = drilled(lab, "stop-apache", holder)
    assert where(lab, site.address) != holder
    drained = list(lab.journal(holder, begun, ["HAFAILOVER_EVENT=vip.drained"]))
    assert [record["HAFAILOVER_CUT"] for record in drained] == ["0"]
    for done in (stopped, drilled(lab, "stop-tomcat", holder)):
        assert done.failed == 0
    assert list(lab.journal(holder, begun, ["HAFAILOVER_EVENT=tomcat.drained"]))


def events(lab: Lab, node: str, since: float, name: str) -> list[float]:
    """When an agent told of it (Unix time)."""
    found = lab.journal(node, since, [f"HAFAILOVER_EVENT=tomcat.{name}"])
    return [int(record["__REALTIME_TIMESTAMP"]) / 1e6 for record in found]


def test_a_database_that_moves_has_each_tomcat_restarted_in_turn_and_no_request_fails(lab: Lab) -> None:
    nodes, since = load.site(lab.name).nodes, time.time()

    def strike(stage: Stage) -> None:
        WebDrill.faults["move-database"].strike(stage)
        until("each was restarted and answers", lambda: all(events(lab, node, since, "anew") for node in nodes))

    drilled(lab, "move-database", nodes[0], WebDrill.faults["move-database"]._replace(strike=strike))
    spans = sorted((*events(lab, node, since, "drained"), *events(lab, node, since, "anew")) for node in nodes)
    assert [len(span) for span in spans] == [2, 2], spans
    (_, back), (drained, _) = spans
    assert back < drained, "one after the other: some Tomcat always serves"


class Beside(NamedTuple):
    """What is done with the Tomcat without a unit, while what hangs is waited for elsewhere."""

    tested: Future[None]
    killed: Future[None]
    slow: Future[str]
    dumped: Future[str]


@pytest.fixture(scope="module")
def beside(lab: Lab, plain: str) -> Iterator[Beside]:
    with ThreadPoolExecutor(1) as pool:
        yield Beside(
            pool.submit(passes_ocf_tester, lab, plain, "tomcat", "by-hand", 400, **PLAIN),
            pool.submit(killed_in_its_start, lab, plain),
            pool.submit(too_slow, lab, plain),
            pool.submit(hung_in_its_stop, lab, plain),
        )


@pytest.mark.parametrize("fault", ["hang-tomcat", "hang-apache"])
def test_a_session_survives_what_hangs(lab: Lab, beside: Beside, fault: str) -> None:
    drilled(lab, fault, where(lab, load.site(lab.name).address))


def test_nobody_was_fenced(lab: Lab) -> None:
    assert lab.fence_log() == []


def test_the_status_worker_answers_the_nodes_alone(lab: Lab) -> None:
    paths = (
        "/jk-status",
        "/jk-status?cmd=show&mime=prop",
        "//jk-status",
        "/%6ak-status",
        "/x/../jk-status",
        "/jk-status;a=b",
    )
    hosts = ("10.82.0.101", *(f"10.82.0.{number}" for number in (11, 12)))
    asked = "\n".join(f"http://{host}{path}" for host in hosts for path in paths)
    answers = lab.client_exec(["/usr/bin/python3", "-c", _ASKS], input=asked, check=True).stdout.splitlines()
    assert len(answers) == len(hosts) * len(paths)
    assert all(answer in ("403", "404") for answer in answers), answers
    assert answers.count("403") >= len(hosts) * 2
    assert activation(lab, lab.data_nodes[1], "jvm1") == "ACT"


_ASKS = """
import http.client, sys
from urllib.parse import urlsplit
for line in sys.stdin.read().split():
    parts = urlsplit(line)
    asked = http.client.HTTPConnection(parts.hostname, 80, timeout=60)
    asked.request("GET", line[len("http://" + parts.hostname):])
    print(asked.getresponse().status)
"""


# -- a Tomcat without a unit, by hand ----------------------------------------------------------------------------------------------


def test_ocf_tester_passes_a_tomcat_without_a_unit(beside: Beside) -> None:
    beside.tested.result(timeout=500)


def killed_in_its_start(lab: Lab, node: str) -> None:
    argv = " ".join(f"'{word}'" for word in command("tomcat", "start", **PLAIN))
    for delay in ("0.1", "0.5", "1.5"):
        start = f"setsid {argv} >/dev/null 2>&1 </dev/null & pid=$!; sleep {delay}; kill -9 -- -$pid || true"
        shell(lab, node, f"{start}; wait || true")
        run(lab, node, "tomcat", "stop", **PLAIN)
        run(lab, node, "tomcat", "monitor", rc=7, **PLAIN)


def test_a_start_that_was_killed_leaves_what_can_be_stopped(beside: Beside) -> None:
    beside.killed.result(timeout=300)


def too_slow(lab: Lab, node: str) -> str:
    said = run(lab, node, "tomcat", "start", timeout=10, rc=1, **PLAIN, url="http://127.0.0.1:8182/")
    run(lab, node, "tomcat", "stop", **PLAIN)
    return said


def test_a_start_that_is_too_slow_says_so_and_can_be_stopped(beside: Beside) -> None:
    assert "at the end of the start's time" in beside.slow.result(timeout=300)


def hung_in_its_stop(lab: Lab, node: str) -> str:
    """A JVM that a page has made hang is stopped; what its unit has logged."""
    run(lab, node, "tomcat", "start", timeout=240, **PLAIN)
    page = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8181/stubborn.jsp', timeout=120).read())"
    assert "loaded" in shell(lab, node, f'python3 -c "{page}"')
    begun = time.time()
    run(lab, node, "tomcat", "stop", timeout=60, **PLAIN, term="3s")
    run(lab, node, "tomcat", "monitor", rc=7, **PLAIN)
    return "\n".join(record["MESSAGE"] for record in lab.journal(node, begun, [f"_SYSTEMD_UNIT={UNIT}"]))


def test_a_jvm_that_hangs_in_its_stop_tells_what_its_threads_do_and_is_killed(beside: Beside) -> None:
    journal = beside.dumped.result(timeout=500)
    assert "Full thread dump" in journal
    assert "jspDestroy" in journal


@pytest.mark.parametrize(
    ("parameters", "rc", "reason"),
    [
        ({"catalina_home": "/nowhere"}, 5, "/nowhere/bin/catalina.sh is not there; correct catalina_home"),
        ({"catalina_base": "/nowhere"}, 6, "/nowhere/conf/server.xml cannot be read"),
        ({"java_home": "/nowhere"}, 5, "/nowhere/bin/java is not there; correct java_home"),
        ({"unit": "tomcat10.service"}, 6, "give either unit"),
        ({"ajp": "8119"}, 6, "parameter ajp"),
        ({"ajp": "127.0.0.1:8120"}, 6, "has no AJP connector on port 8120, only on 8119"),
        ({"workers": "cs1:jvm9"}, 6, "jvmRoute is jvm1, mod_jk's worker for this node is jvm9"),
        (
            {"workers": "cs1:jvm1", "workers_file": "/etc/hafailover/web-workers.properties"},
            6,
            "is not that of worker jvm1 in workers.properties",
        ),
    ],
)
def test_what_is_wrong_is_said(lab: Lab, plain: str, parameters: dict[str, str], rc: int, reason: str) -> None:
    said = run(lab, plain, "tomcat", "validate-all", rc=rc, **{**PLAIN, **parameters})
    assert reason in said
    assert "s3cret" not in said


def test_a_tomcat_with_a_wrong_file_is_not_started(lab: Lab, plain: str) -> None:
    assert "jvmRoute" in run(lab, plain, "tomcat", "start", rc=1, **PLAIN, workers="cs1:jvm9")
    run(lab, plain, "tomcat", "monitor", rc=7, **PLAIN)


def test_a_missing_unit_and_a_missing_control_program_are_said(lab: Lab, plain: str) -> None:
    said = run(lab, plain, "tomcat", "start", rc=5, unit="tomcat7.service", ajp="127.0.0.1:1")
    assert "tomcat7.service is not installed on this node" in said
    said = run(lab, plain, "apache", "start", rc=5, url="http://127.0.0.1/", control="apache7ctl")
    assert "apache7ctl is not installed on this node" in said


# -- actions that were killed ------------------------------------------------------------------------------------------------------


def test_a_stop_that_was_killed_is_taken_back_by_the_monitor(lab: Lab) -> None:
    node = lab.data_nodes[0]
    shell(lab, node, "crm_attribute -t crm_config -n maintenance-mode -v true; sleep 1")
    try:
        parameters = {"unit": "tomcat10.service", "ajp": "10.82.0.11:8009", "workers": "cs1:jvm1", "drain": "1h"}
        parameters.update(status=STATUS, term="5s")
        stop = command("tomcat", "stop", 3600, **parameters)
        pid = shell(lab, node, f"setsid {' '.join(stop)} >/dev/null 2>&1 </dev/null & echo $!")
        until("it drains", lambda: activation(lab, node, "jvm1") == "DIS")
        shell(lab, node, f"kill -9 -- -$(ps -o pgid= {pid} | tr -d ' ')")
        assert activation(lab, node, "jvm1") == "DIS"
        run(lab, node, "tomcat", "monitor", interval=10, **parameters)
        assert activation(lab, node, "jvm1") == "ACT"
    finally:
        shell(lab, node, "rm -f /run/hafailover/by-hand.*; crm_attribute -t crm_config -n maintenance-mode -D")


def test_an_address_whose_drain_was_killed_hears_again(lab: Lab) -> None:
    node = lab.data_nodes[0]
    parameters = {"ip": "10.82.0.150/24", "drain": "1h"}
    run(lab, node, "vip", "start", **parameters)
    serve = "setsid socat TCP-LISTEN:9999,bind=10.82.0.150 EXEC:'sleep 3600' >/dev/null 2>&1 </dev/null"
    shell(lab, node, f"{serve} & echo $! >/run/socat.pid")
    client = lab.client_popen(["/usr/bin/python3", "-c", _CONNECTS])
    try:
        until("a client is connected", lambda: "ESTAB" in shell(lab, node, "ss -Htn state all sport = :9999"))
        stop = command("vip", "stop", 3600, **parameters)
        pid = shell(lab, node, f"setsid {' '.join(stop)} >/dev/null 2>&1 </dev/null & echo $!")
        until("new connections are dropped", lambda: "drop" in shell(lab, node, "nft list ruleset"))
        shell(lab, node, f"kill -9 -- -$(ps -o pgid= {pid} | tr -d ' ')")
        assert "drop" in shell(lab, node, "nft list ruleset")
        run(lab, node, "vip", "monitor", interval=10, **parameters)
        assert "drop" not in shell(lab, node, "nft list ruleset")
    finally:
        client.kill()
        client.wait(timeout=60)
        shell(lab, node, "kill $(cat /run/socat.pid) || true")
    run(lab, node, "vip", "stop", **parameters)


_CONNECTS = """
import socket, time
end = time.monotonic() + 120
while time.monotonic() < end:
    try:
        held = socket.create_connection(("10.82.0.150", 9999), 5)
        time.sleep(3600)
    except OSError:
        time.sleep(0.2)
"""


# -- Apache, by hand -----------------------------------------------------------------------------------------------------------------


def test_ocf_tester_passes_apache_and_its_configuration_is_tested(lab: Lab) -> None:
    node = lab.data_nodes[0]
    shell(lab, node, f"crm_resource -r web-clone --ban -N {node} -Q; crm_resource --wait -T 120")
    try:
        passes_ocf_tester(lab, node, "apache", "by-hand", url="http://127.0.0.1/hafailover-alive")
        put(lab, node, "/etc/apache2/conf-enabled/wrong.conf", "NoSuchDirective on\n")
        for action, rc in (("validate-all", 6), ("start", 1)):
            said = run(lab, node, "apache", action, rc=rc, url="http://127.0.0.1/")
            assert "Apache's configuration: Invalid command 'NoSuchDirective'" in said
    finally:
        shell(lab, node, "rm -f /etc/apache2/conf-enabled/wrong.conf; crm_resource -r web-clone --clear")


def test_the_rendered_files_are_what_is_there(lab: Lab) -> None:
    node = lab.data_nodes[1]
    server = shell(lab, node, "stat -c %a:%U:%G /etc/tomcat10/server.xml; cat /etc/tomcat10/server.xml")
    assert server.startswith("640:root:tomcat\n")
    assert 'jvmRoute="jvm2"' in server
    secret = shell(lab, node, "sed -n 's/^worker.jvm2.secret=//p' /etc/hafailover/web-workers.properties")
    assert Path(f"/var/lib/hafailover/labs/{NAME}/secrets/app-ajp").read_text().strip() == secret
    assert secret in server
    for log in ("journalctl --no-pager", "cat /var/log/apache2/*.log", "ps axww", "cibadmin -Q"):
        assert secret not in shell(lab, node, log)
    readable = "find /etc /run /srv /tmp /var -xdev -type f -perm -004 -size -1000k -exec grep -lF -f /root/searched {} + || true"
    script = f"umask 077; cat >/root/searched; {readable}; rm /root/searched"
    found = lab.exec(node, ["sh", "-c", script], input=secret, check=True)
    assert (found.stdout, found.stderr) == ("", "")
