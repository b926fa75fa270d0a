"""How a broker begins, on real nodes: wrong parameters, foreign data, power lost half-way, a slow start, and what a person may allow."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from brokers import MNESIA, UNIT, ended, events, healthy, pair_of, reason, standby
from by_hand import passes_ocf_tester
from hafailover.crm.install import AGENTS_DIR
from hafailover.vagrant.lab import Lab
from labs import shell, until

NAME = "rabbitmqstart"
AGENT = f"/{AGENTS_DIR}/rabbitmq"
COOKIE = "/var/lib/rabbitmq/.erlang.cookie"
PARAMETERS = {
    "nodes": "mq1:10.79.0.1 mq2:10.79.0.2",
    "credentials": "/etc/hafailover/mq.cred",
    "definitions": "/etc/hafailover/mq-definitions.cred",
    "version": "3.10",
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with pair_of(NAME) as made:
        yield made


def act(lab: Lab, action: str, **parameters: str) -> tuple[int, str]:
    """Run the agent on mq1 by hand: its exit code and what it said."""
    environment = [f"OCF_RESKEY_{name}={value}" for name, value in {**PARAMETERS, **parameters}.items()]
    argv = ["env", "OCF_ROOT=/usr/lib/ocf", "OCF_RESOURCE_INSTANCE=mq", *environment, AGENT, action]
    done = lab.exec("mq1", argv, timeout=120)
    return done.returncode, done.stderr


def stop(lab: Lab, node: str) -> None:
    standby(lab, node, "mq1", True)
    until(f"the broker on {node} has ended", lambda: ended(lab, node))


def clean_up(lab: Lab) -> None:
    lab.exec("mq1", ["crm_resource", "--cleanup", "-r", "mq"], check=True)


def allow(lab: Lab, node: str, word: str) -> None:
    lab.exec("mq1", ["crm_attribute", "-N", node, "-l", "reboot", "-n", "mq-allow", "-v", word], check=True)


def test_metadata_satisfies_every_schema(lab: Lab) -> None:
    healthy(lab)
    shell(lab, "mq1", f"{AGENT} meta-data >/tmp/rabbitmq.xml")
    for schema in (
        "--relaxng /usr/share/pcs/data/ocf-1.1.rng",
        "--relaxng /usr/share/resource-agents/metadata.rng",
        "--dtdvalid /usr/share/resource-agents/ra-api-1.dtd",
    ):
        shell(lab, "mq1", f"xmllint --noout {schema} /tmp/rabbitmq.xml")
    assert "RabbitMQ cluster that forms itself" in shell(lab, "mq1", "crm ra info ocf:hafailover:rabbitmq")


@pytest.mark.parametrize(
    ("parameters", "code", "said"),
    [
        ({"nodes": ""}, 6, "parameter nodes is required"),
        ({"nodes": "mq1"}, 6, "is not name:address"),
        ({"nodes": "mq7:10.79.0.7"}, 5, "does not name mq1"),
        ({"credentials": "/nowhere"}, 1, "/nowhere cannot be read"),
        ({"credentials": "relative"}, 6, "not an absolute path"),
        ({"definitions": "/nowhere"}, 1, "/nowhere cannot be read"),
        ({"version": "4.0"}, 5, "RabbitMQ 3.10.8 is installed"),
        ({"port": "70000"}, 6, "not between 1 and 65535"),
        ({"wait": "soon"}, 6, "not a time"),
        ({"user": "nobodyatall"}, 5, "there is no user nobodyatall"),
        ({"cookie": "/etc/hosts"}, 4, "must belong to rabbitmq"),
    ],
)
def test_wrong_parameters_are_named(lab: Lab, parameters: dict[str, str], code: int, said: str) -> None:
    found, text = act(lab, "validate-all", **parameters)
    assert (found, said in text) == (code, True), text


def test_a_wrong_cookie_is_not_started_with(lab: Lab) -> None:
    shell(lab, "mq1", f"cp -p {COOKIE} /root/cookie; chmod 0640 {COOKIE}")
    try:
        code, text = act(lab, "start")
        assert (code, "must belong to rabbitmq with mode 0400, not 0640" in text) == (4, True), text
        shell(lab, "mq1", f"chmod 0600 {COOKIE}; echo THEPACKAGESOWN >{COOKIE}; chmod 0400 {COOKIE}")
        code, text = act(lab, "start")
        assert (code, "is not the cluster's Erlang cookie" in text) == (1, True), text
    finally:
        shell(lab, "mq1", f"cp -p /root/cookie {COOKIE}; chmod 0400 {COOKIE}")
    assert act(lab, "validate-all")[0] == 0


def test_without_the_program_nothing_runs(lab: Lab) -> None:
    stop(lab, "mq2")
    shell(lab, "mq2", "mv /usr/lib/rabbitmq/lib /usr/lib/rabbitmq/lib.away")
    try:
        standby(lab, "mq2", "mq1", False)
        until("it is said", lambda: "rabbitmq-server is not installed on this node" in reason(lab, "mq2"))
    finally:
        shell(lab, "mq2", "mv /usr/lib/rabbitmq/lib.away /usr/lib/rabbitmq/lib")
    clean_up(lab)
    healthy(lab)


def test_power_lost_in_the_middle_of_joining(lab: Lab) -> None:
    stop(lab, "mq2")
    shell(lab, "mq2", f"rm -rf {MNESIA}/*")
    since = time.time()
    standby(lab, "mq2", "mq1", False)
    begun = "/var/lib/rabbitmq/hafailover-mq.begun"
    half = f"test -e {begun} && test -e {MNESIA}/rabbit@mq2"
    until("it is half made", lambda: lab.exec("mq2", ["sh", "-c", half]).returncode == 0)
    lab.power_off("mq2")
    healthy(lab)
    assert lab.exec("mq2", ["test", "-e", begun]).returncode != 0
    assert events(lab, "mq2", "join", since)


def test_a_slow_start_is_not_a_failed_one(lab: Lab) -> None:
    """Its process is stopped while it boots, and goes on much later: the start has long ended, in success."""
    stop(lab, "mq2")
    lab.exec("mq1", ["crm_resource", "-r", "mq", "-p", "wait", "-v", "5s"], check=True)
    timeout = "//op[@id='mq-start-0']"
    shell(lab, "mq1", f'cibadmin --modify --xpath "{timeout}" -X \'<op id="mq-start-0" timeout="30s"/>\'')
    standby(lab, "mq2", "mq1", False)
    until("it is there", lambda: not ended(lab, "mq2"))
    shell(lab, "mq2", "pkill -STOP -x beam.smp")
    try:
        until("its monitor says so", lambda: "the broker still boots" in reason(lab, "mq2"))
    finally:
        shell(lab, "mq2", "pkill -CONT -x beam.smp")
    healthy(lab)
    shell(lab, "mq1", f'cibadmin --modify --xpath "{timeout}" -X \'<op id="mq-start-0" timeout="240s"/>\'')
    assert "fail-count" not in shell(lab, "mq1", "crm_mon -1 --failcounts | grep -v '^$'").replace("fail-count=0", "")


def test_a_stopped_process_is_ended(lab: Lab) -> None:
    shell(lab, "mq2", "pkill -STOP -x beam.smp")
    stop(lab, "mq2")
    standby(lab, "mq2", "mq1", False)
    healthy(lab)


def test_one_node_goes_on_when_a_person_says_so(lab: Lab) -> None:
    stop(lab, "mq2")
    stop(lab, "mq1")
    since = time.time()
    standby(lab, "mq2", "mq1", False)
    until("mq2 says what can be done", lambda: "-n mq-allow -v force-boot" in reason(lab, "mq2"))
    allow(lab, "mq2", "force-boot")
    until("it goes on", lambda: events(lab, "mq2", "started", since))
    assert events(lab, "mq2", "forced", since)
    assert "force-boot" not in shell(lab, "mq2", "attrd_updater -Q -A -n mq-allow || true")
    standby(lab, "mq1", "mq1", False)
    healthy(lab)


def test_data_of_its_own_are_never_wiped_unasked(lab: Lab) -> None:
    """A node with a broker of its own, which holds a queue: first as it is, then with a person's word."""
    stop(lab, "mq2")
    shell(
        lab,
        "mq2",
        f"rm -rf {MNESIA}/*; systemctl start {UNIT}; rabbitmqctl -q add_vhost precious; systemctl stop {UNIT}",
        timeout=180,
    )
    since = time.time()
    standby(lab, "mq2", "mq1", False)
    until("it is refused", lambda: "nothing is wiped" in reason(lab, "mq2"))
    assert "-v join" in reason(lab, "mq2")
    assert "precious" in shell(
        lab,
        "mq2",
        f"strings -a {MNESIA}/rabbit@mq2/rabbit_vhost.D* 2>/dev/null || cat {MNESIA}/rabbit@mq2/rabbit_vhost.D*",
    )
    allow(lab, "mq2", "join")
    clean_up(lab)
    healthy(lab)
    (said,) = events(lab, "mq2", "set-aside", since)
    place = said.rpartition(" ")[2]
    assert "rabbit@mq2.set-aside-" in place
    shell(lab, "mq2", f"test -e {place}/schema.DAT")


def test_what_the_packages_first_start_made_is_nothing(lab: Lab) -> None:
    stop(lab, "mq2")
    shell(lab, "mq2", f"rm -rf {MNESIA}/*; systemctl start {UNIT}; systemctl stop {UNIT}", timeout=180)
    since = time.time()
    standby(lab, "mq2", "mq1", False)
    healthy(lab)
    assert events(lab, "mq2", "looked", since) == ["the broker of its own holds nothing"]


def test_a_running_broker_is_taken_over(lab: Lab) -> None:
    pid = shell(lab, "mq2", "pgrep -x beam.smp")
    lab.exec("mq1", ["crm_attribute", "-n", "maintenance-mode", "-v", "true"], check=True)
    lab.exec("mq1", ["crm_resource", "--refresh", "-r", "mq"], check=True)
    lab.exec("mq1", ["crm_attribute", "-n", "maintenance-mode", "-D"], check=True)
    healthy(lab)
    assert shell(lab, "mq2", "pgrep -x beam.smp") == pid


# The last one: it takes the broker out of the cluster's hands.
def test_ocf_tester_passes(lab: Lab) -> None:
    lab.exec("mq1", ["crm_resource", "-r", "mq-clone", "--meta", "-p", "target-role", "-v", "Stopped"], check=True)
    until("both have ended", lambda: ended(lab, "mq1") and ended(lab, "mq2"))
    last = max(
        ("mq1", "mq2"), key=lambda node: float(shell(lab, node, f"stat -c %Y {MNESIA}/rabbit@{node}/LATEST.LOG"))
    )
    passes_ocf_tester(lab, last, "rabbitmq", "mq", **PARAMETERS)
