"""ocf:hafailover:st2 on a real cluster: StackStorm's services die, hang, begin anew, drain, and move.

The services are stand-ins with the real ones' unit names (test equipment, vagrant/standins/st2) on a real RabbitMQ and MariaDB. The
brokers are started by hand here, so that the agent of the brokers is no part of this test.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any, Callable

import pytest
from by_hand import passes_ocf_tester
from hafailover.crm.install import AGENTS_DIR
from hafailover.vagrant.drill.loads.work import load as work
from hafailover.vagrant.drill.loads.work.oracle import judge
from hafailover.vagrant.lab import Lab, Options
from labs import STACK, lab_of, until

NAME = "st2test"
AGENT = f"/{AGENTS_DIR}/st2"
NODES = ("n1", "n2")
URLS = ("http://10.77.0.11:9101", "http://10.77.0.12:9101")
TOPOLOGY = """
version: 1
lab: true
cluster: {name: st2test, secrets_dir: secrets, encryption: off, detection: {token: 1s}}
nodes:
  n1: {id: 1, links: [10.77.0.11, 10.77.1.11]}
  n2: {id: 2, links: [10.77.0.12, 10.77.1.12]}
quorum: {device: {host: 10.77.0.13, algorithm: ffsplit, tls: off}}
vips:
  vip: {ip: 10.77.0.100/24, follows: db.primary}
services:
  db: {type: mariadb}
  workers: {type: stackstorm, units: active-active, after: [db.primary], drain: 20s}
  single: {type: stackstorm, units: singleton, after: [db.primary], drain: 20s}
"""
FLAGS = "/run/st2-standin"
MESSAGING = "amqp://st2:st2@10.77.0.11:5672/, amqp://st2:st2@10.77.0.12:5672/"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_of(NAME, TOPOLOGY, Options(sets=STACK, timeout=240)) as made:
        start_brokers(made)
        work.install_pack(made, "n1")
        work.install_pack(made, "n2")
        # The brokers are no resource here; what would tell of them is this file, which the tests write.
        run(made, "n1", "crm_resource", "-r", "workers", "--set-parameter", "watch", "-v", "mq=broker db=database")
        healthy(made)
        yield made


def start_brokers(lab: Lab) -> None:
    """A cluster of two brokers with mirrored queues, which every stand-in then finds."""
    cookie = "cat >/var/lib/rabbitmq/.erlang.cookie && chown rabbitmq: /var/lib/rabbitmq/.erlang.cookie"
    for node in NODES:
        lab.exec(
            node, ["sh", "-c", f"{cookie} && chmod 400 /var/lib/rabbitmq/.erlang.cookie"], input="standin", check=True
        )
        change = f"s#^url = amqp.*#cluster_urls = {MESSAGING}#"
        run(lab, node, "sed", "-i", change, "/etc/st2/st2.conf")
    for node in NODES:
        run(lab, node, "systemctl", "start", "rabbitmq-server", timeout=300)  # which waits until it is ready
    for words in (["stop_app"], ["reset"], ["join_cluster", "rabbit@n1"], ["start_app"]):
        run(lab, "n2", "rabbitmqctl", "-q", *words)
    run(lab, "n1", "rabbitmqctl", "-q", "add_user", "st2", "st2")
    run(lab, "n1", "rabbitmqctl", "-q", "set_permissions", "st2", ".*", ".*", ".*")
    mirrored = '{"ha-mode":"all","ha-sync-mode":"automatic"}'
    run(lab, "n1", "rabbitmqctl", "-q", "set_policy", "ha-all", r"^(?!amq\.).*", mirrored)


def run(lab: Lab, node: str, *argv: str, rc: int = 0, timeout: float = 120, input: str | None = None) -> str:
    done = lab.exec(node, argv, timeout=timeout, input=input)
    assert done.returncode == rc, done.stdout + done.stderr
    return done.stdout + done.stderr


def healthy(lab: Lab) -> None:
    until("the lab is healthy", lambda: not lab.problems(), 240)


def events(lab: Lab, node: str, name: str, since: float) -> list[dict[str, Any]]:
    """What the agent told on a node, oldest first."""
    return list(lab.journal(node, since, [f"HAFAILOVER_EVENT={name}"]))


def pids(lab: Lab, node: str) -> dict[str, int]:
    """Main processes of all units that run."""
    argv = ["systemctl", "show", "--property=Id,MainPID", "st2*.service"]
    blocks = run(lab, node, *argv).strip().split("\n\n")
    found = [dict(line.split("=", 1) for line in block.splitlines()) for block in blocks if block]
    return {
        block["Id"].removesuffix(".service"): int(block["MainPID"])
        for block in found
        if block.get("MainPID", "0") != "0"
    }


def where(lab: Lab, resource: str) -> str:
    for node in NODES:
        if lab.states()[node].power == "on":
            answer = lab.exec(node, ["crm_resource", "-W", "-Q", "-r", resource])
            if answer.returncode == 0:
                return answer.stdout.split()[0] if answer.stdout.strip() else ""
    return ""


def mark(lab: Lab, node: str, resource: str, number: int, why: str) -> None:
    """What the agent of ``resource`` writes when its users have to begin anew."""
    text = f"{number}\t{time.time():.3f}\t\t{why}\n"
    run(lab, node, "sh", "-c", f"cat >/run/hafailover/{resource}.generation", input=text)


def agent(lab: Lab, node: str, action: str, rc: int = 0, interval: int = 0, **params: str) -> str:
    """Run the agent by hand; what it said."""
    environ = {
        "OCF_ROOT": "/usr/lib/ocf",
        "OCF_RESOURCE_INSTANCE": "hand",
        "OCF_RESKEY_CRM_meta_interval": str(interval),
    }
    environ.update((f"OCF_RESKEY_{name}" if name.islower() else name, value) for name, value in params.items())
    return run(lab, node, "env", *(f"{name}={value}" for name, value in environ.items()), AGENT, action, rc=rc)


def test_work_is_done_and_nothing_ticks_twice(lab: Lab) -> None:
    holder = where(lab, "single")
    assert {"st2timersengine", "st2sensorcontainer"} <= set(pids(lab, holder))
    other = next(node for node in NODES if node != holder)
    assert not {"st2timersengine", "st2sensorcontainer"} & set(pids(lab, other))
    for node in NODES:
        assert {"st2api", "st2actionrunner@1", "st2actionrunner@2", "st2scheduler"} <= set(pids(lab, node))
    with work.Worker(lab, URLS) as worker:
        worker.await_progress(20)
    verdict = judge(work.await_done(lab, where(lab, "vip"), worker.acknowledged()))
    assert verdict.problems == ()
    assert verdict.done >= 20
    assert set(verdict.missed) == {"st2timersengine", "st2sensorcontainer"}


def test_deep_check_runs_an_action_with_its_key_and_says_where_it_is_stuck(lab: Lab) -> None:
    node = where(lab, "vip")
    deep = {
        "units": "active",
        "OCF_CHECK_LEVEL": "20",
        "deep_timeout": "60s",
        "credentials": "/etc/hafailover/test.cred",
    }
    run(lab, node, "sh", "-c", "umask 077; cat >/etc/hafailover/test.cred", input="[st2]\napi_key = k3y\n")

    def well() -> bool:
        try:
            agent(lab, node, "monitor", interval=10000, **deep)
            return True
        except AssertionError:
            return False

    # On a busy machine an API may just be starting again after what was done before.
    until("the deep check is well", well)
    run(lab, node, "sh", "-c", "echo other >/etc/st2/standin.keys")
    assert "refuses the deep check's API key (401)" in agent(lab, node, "monitor", 190, 10000, **deep)
    run(lab, node, "sh", "-c", "echo k3y >/etc/st2/standin.keys")
    agent(lab, node, "monitor", interval=10000, **deep)
    run(lab, node, "rm", "/etc/st2/standin.keys")
    said = agent(lab, node, "monitor", 190, 10000, **{**deep, "deep_action": "nopack.nothing"})
    assert "nopack.nothing ended as failed" in said
    # Long enough for a busy machine to have begun it.
    slow = {**deep, "deep_action": "drill.work", "deep_parameters": '{"seconds": 40}', "deep_timeout": "10s"}
    assert "is running: the action itself does not end" in agent(lab, node, "monitor", 190, 10000, **slow)
    run(lab, node, "chmod", "644", "/etc/hafailover/test.cred")
    assert "can be read by others" in agent(lab, node, "monitor", 6, 10000, **deep)


def test_dead_worker_is_restarted_alone_and_a_hung_api_is_seen(lab: Lab) -> None:
    healthy(lab)
    begun, before = time.time(), {node: pids(lab, node) for node in NODES}
    lab.kill("n1", "st2scheduler.service")
    run(lab, "n2", "systemctl", "kill", "--signal=STOP", "st2api.service")
    (dead, *_) = until("the dead scheduler is restarted", lambda: events(lab, "n1", "st2.restarted", begun))
    assert dead["MESSAGE"].startswith("restarted st2scheduler: st2scheduler died (signal)")
    (hung, *_) = until("the hung api is restarted", lambda: events(lab, "n2", "st2.restarted", begun))
    assert hung["HAFAILOVER_UNITS"] == "st2api"
    assert (
        "has not answered by HTTP in 2 monitors" in hung["MESSAGE"]
        or "is stopped by a signal (state T)" in hung["MESSAGE"]
    )
    for node, unit in (("n1", "st2scheduler"), ("n2", "st2api")):
        # What hangs may be told before its end has come: it is the next one that is waited for.
        old = before[node].pop(unit)
        after = until(
            f"{unit} is back", lambda n=node, u=unit, o=old: (p := pids(lab, n)).get(u) not in (None, o) and p
        )
        after.pop(unit)
        assert {name: after.get(name) for name in before[node]} == before[node], "nothing else was touched"
    shown = run(lab, "n1", "crm_mon", "-1")
    assert "OCF_DEGRADED" in shown
    assert "st2scheduler died (signal)" in shown
    run(lab, "n1", "crm_resource", "--cleanup", "-r", "workers")
    healthy(lab)


def test_new_generation_of_the_broker_restarts_once_who_consumes_from_it(lab: Lab) -> None:
    healthy(lab)
    begun, before = time.time(), pids(lab, "n1")
    mark(lab, "n1", "mq", 1, "the broker on n1 was restarted")
    (told, *_) = until("the workers are restarted", lambda: events(lab, "n1", "st2.restarted", begun))
    assert told["MESSAGE"].endswith("mq: the broker on n1 was restarted")
    assert "st2actionrunner@1" in told["HAFAILOVER_UNITS"].split()
    begins = ("st2scheduler", "st2actionrunner@1", "st2actionrunner@2", "st2rulesengine", "st2notifier")
    until("all began anew", lambda: all(pids(lab, "n1").get(u, before[u]) != before[u] for u in begins))
    after = until("all are back", lambda: len(p := pids(lab, "n1")) == len(before) and p)
    for unit in ("st2api", "st2auth"):
        assert after[unit] == before[unit], "it holds on to nothing"
    time.sleep(25)  # two more monitors
    assert len(events(lab, "n1", "st2.restarted", begun)) == 1
    assert events(lab, "n2", "st2.restarted", begun) == []
    assert pids(lab, "n1") == after


def test_worker_that_hangs_after_its_broker_was_lost_is_seen(lab: Lab) -> None:
    healthy(lab)
    # The agent learns of brokers when it starts, and there were none by then.
    run(lab, "n1", "crm", "--wait", "resource", "restart", "workers-clone", timeout=240)
    healthy(lab)
    sockets = f"pid={pids(lab, 'n1')['st2scheduler']},"
    until("the scheduler is connected", lambda: sockets in run(lab, "n1", "ss", "-Htnp", "dport", "=", ":5672"))
    time.sleep(12)  # a monitor must have seen it so
    run(lab, "n1", "sh", "-c", f"mkdir -p {FLAGS} && touch {FLAGS}/hang")
    begun = time.time()
    lost = "has had no connection to a broker that works in 3 monitors"
    run(lab, "n1", "rabbitmqctl", "-q", "close_all_connections", "test")
    run(lab, "n2", "rabbitmqctl", "-q", "close_all_connections", "test")
    try:
        (told, *_) = until("the hung workers are restarted", lambda: events(lab, "n1", "st2.restarted", begun))
        assert lost in told["MESSAGE"]
        assert "st2scheduler" in told["HAFAILOVER_UNITS"].split()
    finally:
        run(lab, "n1", "rm", f"{FLAGS}/hang")
    with work.Worker(lab, URLS) as worker:
        worker.await_progress(5)
    assert judge(work.await_done(lab, where(lab, "vip"), worker.acknowledged())).problems == ()
    run(lab, "n1", "crm_resource", "--cleanup", "-r", "workers")


def test_singletons_tick_exactly_once_when_their_node_loses_its_power(lab: Lab) -> None:
    healthy(lab)
    holder = where(lab, "single")
    survivor = next(node for node in NODES if node != holder)
    with work.Worker(lab, URLS) as worker:
        worker.await_progress(10)
        lab.power_off(holder, hold=True)
        until("the singletons run on the survivor", lambda: where(lab, "single") == survivor)
        worker.await_progress(20)
    verdict = judge(work.await_done(lab, survivor, worker.acknowledged()))
    report = "\n".join(verdict.lines())
    assert verdict.problems == (), report
    assert verdict.publish_gap is not None
    sys.stdout.write(report + "\n")
    lab.power_on(holder)
    lab.await_boot(holder)


# The last ones: they take the services out of the cluster's hands.


@pytest.fixture(scope="module")
def by_hand(lab: Lab) -> str:
    """A node whose services are stopped, and whose broker runs."""
    run(lab, "n1", "systemctl", "start", "rabbitmq-server")
    for resource in ("workers-clone", "single"):
        run(lab, "n1", "crm_resource", "-r", resource, "--meta", "-p", "target-role", "-v", "Stopped")
    for node in NODES:
        until("all is stopped", lambda n=node: not any(p.startswith("st2") for p in pids(lab, n)))  # type: ignore[misc]
    return "n1"


def test_a_stop_waits_for_running_actions_and_no_longer_than_its_limit(lab: Lab, by_hand: str) -> None:
    ours = {"units": "st2api st2scheduler st2actionrunner", "drain": "15s", "OCF_RESKEY_CRM_meta_timeout": "60000"}
    agent(lab, by_hand, "start", **ours)
    with work.Worker(lab, URLS[:1], every=60, seconds=6, patience=20) as worker:
        worker.await_progress(1)
    (short,) = worker.acknowledged()
    until("the short action runs", lambda: running(lab, short.id))
    begun = time.time()
    agent(lab, by_hand, "stop", **ours)
    assert events(lab, by_hand, "st2.stopped", begun)[-1]["HAFAILOVER_KILLED"] == ""
    assert work.evidence(lab, where(lab, "vip"), ()).executions[short.id].status == "succeeded"

    agent(lab, by_hand, "start", **ours)
    with work.Worker(lab, URLS[:1], every=60, seconds=600, patience=20) as worker:
        worker.await_progress(1)
    (long,) = worker.acknowledged()
    until("the long action runs", lambda: running(lab, long.id))
    begun = time.time()
    agent(lab, by_hand, "stop", **ours)
    assert "st2actionrunner@" in events(lab, by_hand, "st2.stopped", begun)[-1]["HAFAILOVER_KILLED"]
    assert 14 < time.time() - begun < 60
    assert pids(lab, by_hand) == {}


def running(lab: Lab, identity: str) -> bool:
    """Whether an execution is under way."""
    return work.evidence(lab, where(lab, "vip"), ()).executions[identity].status == "running"


def test_ocf_tester_passes(lab: Lab, by_hand: str) -> None:
    passes_ocf_tester(lab, by_hand, "st2", "hand", units="st2api st2scheduler st2actionrunner", drain="5s")


def test_wrong_parameters_and_what_is_not_installed(lab: Lab, by_hand: str) -> None:
    assert "parameter units is required" in agent(lab, by_hand, "start", 6)
    assert "write active, singleton" in agent(lab, by_hand, "start", 6, units="all;")
    assert "a kind is broker" in agent(lab, by_hand, "start", 6, units="active", watch="mq=cache")
    assert "not a URL" in agent(lab, by_hand, "validate-all", 6, units="active", api="st2api")
    assert "st2nothing is not installed on this node" in agent(lab, by_hand, "start", 5, units="st2nothing")
    assert "not installed" in agent(lab, by_hand, "validate-all", 5, units="st2nothing")
    agent(lab, by_hand, "monitor", 7, units="st2nothing")
    agent(lab, by_hand, "stop", units="st2nothing")
    run(lab, by_hand, "systemctl", "enable", "st2api")
    begun = time.time()
    agent(lab, by_hand, "validate-all", units="active")
    assert "systemctl disable st2api.service" in lab.logs(by_hand, begun)
    run(lab, by_hand, "systemctl", "disable", "st2api")


@pytest.fixture
def ordered(lab: Lab, by_hand: str) -> Iterator[Callable[[str, str], None]]:
    """Order something of all stand-ins of the node, until the test is over."""

    def order(flag: str, text: str) -> None:
        run(lab, by_hand, "sh", "-c", f"mkdir -p {FLAGS} && rm -f {FLAGS}/* && cat >{FLAGS}/{flag}", input=text)

    yield order
    run(lab, by_hand, "rm", "-rf", FLAGS)


def test_a_start_that_is_slow_or_fails_says_why_and_can_be_stopped(
    lab: Lab, by_hand: str, ordered: Callable[[str, str], None]
) -> None:
    ours = {"units": "st2api st2scheduler", "drain": "5s", "OCF_RESKEY_CRM_meta_timeout": "30000"}
    ordered("slow-start", "4")
    begun = time.monotonic()
    agent(lab, by_hand, "start", **ours)
    assert time.monotonic() - begun > 4, "it returns when the API answers"
    agent(lab, by_hand, "stop", **ours)
    ordered("slow-start", "300")
    said = agent(lab, by_hand, "start", 1, **ours)
    assert "st2api refuses connections" in said
    assert "at the end of the start's time" in said
    agent(lab, by_hand, "stop", **ours)
    ordered("die", "st2scheduler")
    assert "st2scheduler died (exit-code): cannot start, as a test has ordered" in agent(
        lab, by_hand, "start", 1, **ours
    )
    agent(lab, by_hand, "stop", **ours)
    agent(lab, by_hand, "monitor", 7, **ours)


@pytest.mark.parametrize("action", ["start", "stop"])
def test_an_agent_that_is_killed_at_any_step_leaves_nothing_that_the_next_action_minds(
    lab: Lab, by_hand: str, action: str
) -> None:
    ours = {"units": "st2api st2scheduler st2actionrunner", "drain": "5s"}
    words = [f"OCF_RESKEY_{name}={value}" for name, value in ours.items()]
    environ = ["OCF_ROOT=/usr/lib/ocf", "OCF_RESOURCE_INSTANCE=hand", *words]
    for moment in ("0.05", "0.2", "0.4", "0.8", "1.6", "2.5"):
        if action == "stop":
            agent(lab, by_hand, "start", **ours)
        lab.exec(by_hand, ["env", *environ, "timeout", "-s", "KILL", moment, AGENT, action])
        if action == "start":
            agent(lab, by_hand, "start", **ours)
            agent(lab, by_hand, "monitor", **ours)
        agent(lab, by_hand, "stop", **ours)
        agent(lab, by_hand, "monitor", 7, **ours)
    assert pids(lab, by_hand) == {}
