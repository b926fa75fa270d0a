"""A broker cluster of two nodes under load: every message that was confirmed is consumed, whatever happens to one of them or to both.

A publisher with confirms and a consumer run all the time; the last test counts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from brokers import MNESIA, UNIT, ended, events, healthy, mend, pair_of, reason, sever, standby, well
from hafailover.vagrant import state
from hafailover.vagrant.drill.amqp import QUEUE, Load
from hafailover.vagrant.lab import Lab
from labs import shell, until

NAME = "rabbitmqtest"
BOTH = ["mq1", "mq2"]
HOSTS = ["10.79.0.1", "10.79.0.2"]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with pair_of(NAME, ", partition: ignore, partition_patience: 5s") as made:
        yield made


@pytest.fixture(scope="module")
def load(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    password = (state.directory(NAME) / "secrets" / "mq-app").read_text().strip()
    made = Load(lab, HOSTS, ("app", password), tmp_path_factory.mktemp("load"))
    try:
        until("messages go through", lambda: len(made.numbers("consume")) > 20)
        yield made
    finally:
        made.close()


def goes_on(load: Load, since: float) -> None:
    """Messages that are published from now on arrive."""
    last = max(load.numbers("publish"))
    until("messages go on", lambda: max(load.numbers("consume"), default=0) > last + 20)


def other(node: str) -> str:
    return BOTH[1 - BOTH.index(node)]


def leader(lab: Lab) -> str:
    """The node with the copy of the queue that counts."""
    asked = "rabbitmqctl -q list_queues name pid"
    until("the queue has a leader", lambda: f"{QUEUE}\t<" in shell(lab, "mq1", asked))
    return "mq1" if "<rabbit@mq1." in shell(lab, "mq1", asked) else "mq2"


def synchronised(lab: Lab, node: str) -> bool:
    """Whether every copy of the queue is whole."""
    asked = lab.exec(node, ["rabbitmqctl", "-q", "list_queues", "name", "synchronised_slave_pids"], timeout=60).stdout
    return f"{QUEUE}\t[<" in asked


def test_one_cluster_forms_and_nothing_secret_is_seen(lab: Lab) -> None:
    healthy(lab)
    founded = [events(lab, node, "found", 0) for node in BOTH]
    joined = [events(lab, node, "join", 0) for node in BOTH]
    assert sorted(map(len, founded)) == [0, 1]
    assert [len(one) for one in joined] == [1 - len(one) for one in founded]
    assert shell(lab, "mq1", "rabbitmqctl -q list_users | cut -f1 | sort | xargs") == "app hafailover user"
    assert shell(lab, "mq1", "stat -c '%a %U' /var/lib/rabbitmq/.erlang.cookie") == "400 rabbitmq"
    directory = state.directory(NAME) / "secrets"
    secrets = [(directory / name).read_text().strip() for name in ("mq-app", "mq-cookie", "mq-monitor")]
    for node in BOTH:
        seen = shell(lab, node, "cibadmin -Q; ps axww; journalctl -q --no-pager; cat /var/log/rabbitmq/*", 60)
        assert not [secret for secret in secrets if secret in seen]


def test_a_broker_that_is_killed_comes_back(lab: Lab, load: Load) -> None:
    until("the copies are whole", lambda: synchronised(lab, "mq1"))
    node, since = leader(lab), time.time()
    lab.kill(node, UNIT)
    goes_on(load, since)
    until("it was started again", lambda: events(lab, node, "started", since))
    healthy(lab)
    told = [record["MESSAGE"] for record in lab.journal(node, since, ["HAFAILOVER_EVENT=died"])]
    assert told == ["the broker died; reported, to be started again"]
    assert "the broker was started" in shell(lab, node, "cat /run/hafailover/mq.generation")


def test_an_alarm_is_told_by_every_node_and_restarts_no_broker(lab: Lab, load: Load) -> None:
    asked = f"systemctl show --property=MainPID --value {UNIT}"
    before = [shell(lab, node, asked) for node in BOTH]
    begun = time.time()
    shell(lab, "mq1", "rabbitmqctl -q set_vm_memory_high_watermark 0.00001")
    try:
        for node in BOTH:
            until(
                f"{node} tells whose alarm it is",
                lambda node=node: any("on mq1" in said for said in events(lab, node, "alarm", begun)),
            )
            assert lab.exec(node, ["test", "-e", "/run/hafailover/mq.unwell"]).returncode != 0
    finally:
        shell(lab, "mq1", "rabbitmqctl -q set_vm_memory_high_watermark 0.4")
    goes_on(load, time.time())
    assert [shell(lab, node, asked) for node in BOTH] == before


def test_a_node_that_loses_its_power_comes_back(lab: Lab, load: Load) -> None:
    until("the copies are whole", lambda: synchronised(lab, "mq1"))
    node, since = leader(lab), time.time()
    lab.power_off(node)
    goes_on(load, since)
    healthy(lab)
    assert events(lab, node, "started", since)
    assert not events(lab, node, "set-aside", since)


def test_a_node_that_is_cut_off_is_fenced_and_comes_back(lab: Lab, load: Load) -> None:
    until("the copies are whole", lambda: synchronised(lab, "mq1"))
    since, boots = time.time(), {node: lab.states()[node].boots for node in BOTH}
    lab.cut("mq2")
    until("it was fenced", lambda: lab.states()["mq2"].boots > boots["mq2"])
    lab.heal("mq2")
    goes_on(load, since)
    healthy(lab)


def test_a_node_that_lost_its_data_is_forgotten_and_joins(lab: Lab, load: Load) -> None:
    until("the copies are whole", lambda: synchronised(lab, "mq1"))
    since = time.time()
    standby(lab, "mq2", "mq1", True)
    until("its broker has ended", lambda: ended(lab, "mq2"))
    shell(lab, "mq2", f"rm -rf {MNESIA}/*")
    standby(lab, "mq2", "mq1", False)
    goes_on(load, since)
    healthy(lab)
    assert events(lab, "mq2", "forgotten", since) == ["mq1 has forgotten the former broker of this node"]
    assert len(events(lab, "mq2", "join", since)) == 1


def test_a_partition_is_seen_and_ended(lab: Lab, load: Load) -> None:
    """Pacemaker sees both nodes; RabbitMQ was told to leave it alone, so it is the agent's to end it."""
    until("the copies are whole", lambda: synchronised(lab, "mq1"))
    # Nobody publishes: which side goes on is decided by the rule, and what the other one took is lost, as after autoheal.
    load.end("publish")
    until("all has arrived", lambda: load.numbers("publish") <= load.numbers("consume"))
    since = time.time()
    ages = {node: int(shell(lab, node, "cat /run/hafailover/mq.since")) for node in BOTH}
    loser = max(BOTH, key=lambda node: (ages[node], node))
    sever(lab, "mq2", HOSTS[0])
    try:
        # The other one's next monitor may come when the loser has ended already, and then there is nothing to report.
        until("it is reported", lambda: events(lab, loser, "partition", since))
        until("the loser has ended", lambda: "cannot be reached from here" in reason(lab, loser))
        assert ended(lab, loser), "it does not go on beside the other one"
        assert "partitioned from" in reason(lab, loser) or "port 25672" in reason(lab, loser)
    finally:
        mend(lab, "mq2")
    lab.exec("mq1", ["crm_resource", "--cleanup", "-r", "mq"], check=True)
    healthy(lab)
    assert not events(lab, other(loser), "started", since)
    load.begin("publish")
    goes_on(load, since)


def test_all_stop_and_return_in_reverse(lab: Lab, load: Load) -> None:
    """mq2 stops first and returns first: it waits for mq1, which may have more, and Pacemaker can start that meanwhile."""
    until("the copies are whole", lambda: synchronised(lab, "mq1"))
    since = time.time()
    standby(lab, "mq2", "mq1", True)
    until("mq2 has ended", lambda: ended(lab, "mq2"))
    goes_on(load, since)
    standby(lab, "mq1", "mq1", True)
    until("mq1 has ended", lambda: ended(lab, "mq1"))
    standby(lab, "mq2", "mq1", False)
    until("mq2 says for whom it waits", lambda: "waits for mq1" in reason(lab, "mq2"))
    assert 'rc-code="190"' in reason(lab, "mq2")
    assert not well(lab, "mq2", ["mq2"])
    standby(lab, "mq1", "mq1", False)
    goes_on(load, since)
    healthy(lab)


def test_every_confirmed_message_was_consumed(lab: Lab, load: Load) -> None:
    load.end("publish")
    confirmed = load.numbers("publish")
    until("all has arrived", lambda: confirmed <= load.numbers("consume"))
    assert len(confirmed) > 100
