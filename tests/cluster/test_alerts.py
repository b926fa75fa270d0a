"""Alerts and promotion hooks on a real pair: a dead webhook gets everything once; hooks run at a failover and stop a switchover."""

from __future__ import annotations

import collections
import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.lab import Lab
from labs import lab_of, shell, until
from pair import healthy, other, primary, status

ADDRESS = "10.77.0.13:8099"  # the machine that votes: it loses no power here
LOG = "/run/hooks.log"
SAY = (
    f"echo $HAFAILOVER_EVENT $HAFAILOVER_OLD $HAFAILOVER_NEW $HAFAILOVER_PLANNED $HAFAILOVER_NODE >> {LOG}; "
    "test ! -e /run/refuse-$HAFAILOVER_EVENT"
)
EXTRA = f"""
alerts:
  hook: {{type: webhook, url: "http://{ADDRESS}/", events: [nodes, fencing, failures, promotions, resources, hooks], timeout: 2s}}
  log: {{type: syslog}}
hooks:
  pre-promote: [{{name: say, command: [/bin/sh, -c, "{SAY}"], critical: true, timeout: 3s}}]
  post-promote: [{{name: say, command: [/bin/sh, -c, "{SAY}"], critical: true, on: all}}]
  post-demote: [{{name: say, command: [/bin/sh, -c, "{SAY}"], critical: false}}]
"""
SERVER = """
import http.server, json
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open("/run/got.jsonl", "a") as file:
            file.write(json.dumps(body) + "\\n")
        self.send_response(204)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("0.0.0.0", 8099), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_of("hist-alerts", DEFAULT_TOPOLOGY.read_text() + EXTRA) as made:
        healthy(made)
        yield made


def voter(lab: Lab) -> str:
    assert lab.quorum_node is not None
    return lab.quorum_node


def got(lab: Lab) -> list[dict[str, Any]]:
    text = lab.exec(voter(lab), ["sh", "-c", "cat /run/got.jsonl || true"]).stdout
    return [json.loads(line) for line in text.splitlines()]


def said(lab: Lab, node: str) -> list[list[str]]:
    """What the hooks wrote on ``node``."""
    return [line.split() for line in lab.exec(node, ["sh", "-c", f"cat {LOG} || true"]).stdout.splitlines()]


def forget(lab: Lab) -> None:
    for node in lab.data_nodes:
        shell(lab, node, f"rm -f {LOG} /run/refuse-*")


def waiting(lab: Lab, node: str) -> int:
    told = json.loads(lab.exec(node, ["hafailover", "alerts", "status", "-o", "json"]).stdout)
    return int(told["inbox"]) + sum(int(one["waiting"]) for one in told["recipients"])


def serve(lab: Lab) -> None:
    """Start the webhook's server."""
    lab.popen(voter(lab), ["python3", "-c", SERVER])


def deliver(lab: Lab) -> None:
    """Have everything delivered."""
    for node in lab.data_nodes:
        until(f"{node} can try", lambda node=node: lab.exec(node, ["hafailover", "alerts", "retry"]).returncode == 0)
        until(f"{node} has delivered everything", lambda node=node: waiting(lab, node) == 0)


def fenced(lab: Lab, gone: str) -> None:
    """Wait until the other node knows that ``gone`` is off: until then, whoever gives it power takes part in a race with its fencing."""
    known = f"OFFLINE: [ {gone} ]"
    until(f"{gone} is fenced", lambda: known in lab.exec(other(lab, gone), ["crm_mon", "-1"]).stdout)


def promote(lab: Lab, node: str) -> tuple[int, str]:
    done = lab.exec(node, ["hafailover", "promote", node, "--yes", "-o", "json"], timeout=240)
    return done.returncode, done.stdout + done.stderr


def hooks_run_as_the_primary_dies(lab: Lab, old: str, new: str) -> None:
    """Kill the server of ``old``; the hooks of ``new`` run, and are told that nobody had planned it."""
    shell(lab, old, "pkill -9 -x mariadbd")
    until("the other one is primary", lambda: primary(lab) == new)
    healthy(lab)
    until("the hooks afterwards have run", lambda: any(line[0] == "post-promote" for line in said(lab, new)))
    assert ["pre-promote", old, new, "no", new] in said(lab, new)
    assert ["post-promote", old, new, "no", new] in said(lab, new)


def test_a_failover_runs_the_hooks_and_a_dead_webhook_gets_everything_later(lab: Lab) -> None:
    forget(lab)
    old = primary(lab)
    new = other(lab, old)
    hooks_run_as_the_primary_dies(lab, old, new)
    assert any(line[0] == "post-demote" and line[1] == old for line in said(lab, old))
    assert waiting(lab, new) > 0
    assert lab.exec(new, ["hafailover", "alerts", "test", "hook", "--timeout", "8"]).returncode == 1
    # The service dies, and goes on.
    shell(lab, new, "systemctl kill -s KILL hafailover-alerts.service")
    serve(lab)
    deliver(lab)
    told = got(lab)
    assert max(collections.Counter(body["id"] for body in told).values()) == 1
    promotions = [body for body in told if body["task"] == "promote" and body["reporter"] == new]
    assert [body["failed"] for body in promotions] == [False]
    for node in lab.data_nodes:
        times = [body["time"] for body in told if body["reporter"] == node]
        assert times == sorted(times)
    assert "is lost" not in " ".join(body["summary"] for body in told)
    assert lab.exec(new, ["hafailover", "alerts", "test", "hook"]).returncode == 0


def test_a_critical_hook_stops_a_switchover_before_anything_is_changed(lab: Lab) -> None:
    healthy(lab)
    forget(lab)
    old = primary(lab)
    new = other(lab, old)
    epoch = status(lab, new)["services"][0]["journal"]["epoch"]
    shell(lab, new, "touch /run/refuse-pre-promote")
    code, text = promote(lab, new)
    assert code == 3, text
    assert "critical pre-promote hook say" in text
    assert [line[0] for line in said(lab, new)] == ["pre-promote"]
    seen = status(lab, new)
    assert seen["healthy"]
    assert (primary(lab), seen["services"][0]["journal"]["epoch"]) == (old, epoch)
    forget(lab)
    code, text = promote(lab, new)
    assert code == 0, text
    assert said(lab, new).count(["pre-promote", old, new, "yes", new]) == 1
    assert ["post-promote", old, new, "yes", new] in said(lab, new)
    until("the other node's hook has run", lambda: any(line[0] == "post-promote" for line in said(lab, old)))


def test_a_failover_right_after_a_refused_switchover_runs_its_hooks(lab: Lab) -> None:
    healthy(lab)
    forget(lab)
    old = primary(lab)
    new = other(lab, old)
    shell(lab, new, "touch /run/refuse-pre-promote")
    assert promote(lab, new)[0] == 3
    forget(lab)
    hooks_run_as_the_primary_dies(lab, old, new)


def test_a_hook_that_others_can_write_is_not_run_and_known_before(lab: Lab) -> None:
    healthy(lab)
    forget(lab)
    new = other(lab, primary(lab))
    program = lab.exec(new, ["readlink", "-f", "/bin/sh"]).stdout.strip()
    shell(lab, new, f"chmod o+w {program}")
    try:
        told = lab.exec(new, ["hafailover", "hooks", "status"])
        code, text = promote(lab, new)
    finally:
        shell(lab, new, f"chmod o-w {program}")
    assert told.returncode == 1 and "others may write it" in told.stdout
    assert code == 3 and "others may write it" in text
    assert said(lab, new) == []
    assert lab.exec(new, ["hafailover", "hooks", "status"]).returncode == 0


def test_a_critical_hook_that_fails_afterwards_is_told_until_it_is_mended(lab: Lab) -> None:
    healthy(lab)
    forget(lab)
    new = other(lab, primary(lab))
    shell(lab, new, "touch /run/refuse-post-promote")
    code, text = promote(lab, new)
    assert code == 4, text
    assert "hafailover hooks run post-promote" in text
    seen = status(lab, new)
    assert not seen["healthy"]
    until("somebody is told", lambda: any(body["kind"] == "hook" for body in got(lab)))
    forget(lab)
    done = lab.exec(other(lab, new), ["hafailover", "hooks", "run", "post-promote", "--node", new, "--yes"], timeout=60)
    assert done.returncode == 0, done.stderr
    healthy(lab)

    def told() -> Any:
        done = lab.exec(new, ["hafailover", "history", "--kind", "hooks", "-o", "json"], timeout=60)
        found = json.loads(done.stdout)["entries"]
        return [one for one in found if one["outcome"] != "how it ended is not known"]

    # It was written down on the other node, which gathers for a second first, maybe in two parts: how it began, and how it ended.
    (entry,) = until("the history of this node has it", told)
    assert entry["outcome"] == "done" and "hooks run post-promote" in entry["subject"]


def test_a_lost_node_is_told_once_by_the_one_that_is_left(lab: Lab) -> None:
    healthy(lab)
    gone = other(lab, primary(lab))
    left = other(lab, gone)
    before = len(got(lab))
    lab.power_off(gone, hold=True)
    until("it is told", lambda: any(body["summary"] == f"node {gone} is lost" for body in got(lab)[before:]))
    fenced(lab, gone)
    lab.power_on(gone)
    lab.await_boot(gone)
    healthy(lab)
    for node in lab.data_nodes:
        until(f"{node} has delivered everything", lambda node=node: waiting(lab, node) == 0)
    lost = [body for body in got(lab)[before:] if body["summary"] == f"node {gone} is lost"]
    assert [body["reporter"] for body in lost] == [left]


def test_ten_thousand_events_and_a_dead_webhook_delay_nothing(lab: Lab) -> None:
    healthy(lab)
    deliver(lab)
    began = time.monotonic()
    assert promote(lab, other(lab, primary(lab)))[0] == 0
    undisturbed = time.monotonic() - began
    healthy(lab)
    shell(lab, voter(lab), "pkill -f http.server")
    before = len(got(lab))
    flood = (
        "for i in $(seq 0 4999); do t=$EPOCHREALTIME; "
        "CRM_alert_kind=resource CRM_alert_rsc=probe CRM_alert_task=start CRM_alert_rc=0 CRM_alert_target_rc=0 CRM_alert_status=0 "
        "CRM_alert_timestamp_epoch=${t%.*} CRM_alert_timestamp_usec=${t#*.} CRM_alert_desc=$i "
        "CRM_alert_node_sequence=$i /usr/lib/hafailover/alert; done"
    )
    as_hacluster = ["setpriv", "--reuid=hacluster", "--regid=haclient", "--init-groups", "bash", "-c", flood]
    floods = [lab.popen(node, as_hacluster) for node in lab.data_nodes]
    began = time.monotonic()
    code, text = promote(lab, other(lab, primary(lab)))
    disturbed = time.monotonic() - began
    assert code == 0, text
    logging.info("a switchover took %.1f s, and %.1f s in the flood", undisturbed, disturbed)
    assert disturbed < undisturbed + 60, (
        f"{disturbed:.1f} s instead of {undisturbed:.1f}: something waits for the webhook"
    )
    for one in floods:
        assert one.wait(timeout=600) == 0
    for node in lab.data_nodes:
        until(f"{node} has all of them", lambda node=node: waiting(lab, node) >= 5000)
        most = "grep VmHWM /proc/$(systemctl show -P MainPID hafailover-alerts.service)/status"
        memory = int(shell(lab, node, most).split()[1]) // 1024
        disk = int(shell(lab, node, "du -sk /var/lib/hafailover/alerts | cut -f1")) // 1024
        logging.info("%s: %d MiB of memory, %d MiB of disk", node, memory, disk)
        assert memory < 128
        assert disk < 25
    # One of them is rebooted with all that in its queue.
    rebooted = other(lab, primary(lab))
    lab.power_off(rebooted, hold=True)
    fenced(lab, rebooted)
    lab.power_on(rebooted)
    lab.await_boot(rebooted)
    healthy(lab)
    serve(lab)
    began = time.monotonic()
    deliver(lab)
    told = got(lab)[before:]
    logging.info("%d delivered in %.0f s", len(told), time.monotonic() - began)
    assert max(collections.Counter(body["id"] for body in told).values()) == 1
    for node in lab.data_nodes:
        probes = [int(body["description"]) for body in told if body["resource"] == "probe" and body["reporter"] == node]
        assert probes == list(range(5000))
    assert sum(body["dropped"] for body in told) == 0
