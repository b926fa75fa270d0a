"""``hafailover history`` on a real pair: what the cluster wrote down by itself, and that every node tells the same, also after a cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.lab import Lab
from labs import lab_of, shell, until
from pair import UNIT, healthy, other, primary, sql

NAME = "hist-record"
INBOX = "/run/hafailover/inbox"
STORE = "/var/lib/hafailover/history"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_of(NAME, DEFAULT_TOPOLOGY) as made:
        healthy(made)
        yield made


def history(lab: Lab, node: str, *options: str) -> dict[str, Any]:
    done = lab.exec(node, ["hafailover", "history", *options, "-o", "json"], timeout=60)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def entries(lab: Lab, node: str, kind: str, since: float) -> list[dict[str, Any]]:
    return [one for one in history(lab, node, "--all")["entries"] if one["kind"] == kind and one["at"] >= since]


def now(lab: Lab, node: str) -> float:
    return float(shell(lab, node, "date +%s.%N"))


def awaited(lab: Lab, node: str, kind: str, since: float, outcome: str = "", why: str = "") -> dict[str, Any]:
    """The newest entry of ``kind`` since then whose outcome says ``outcome``, and whose reason, known to another node, says ``why``."""

    def found() -> dict[str, Any] | None:
        some = [one for one in entries(lab, node, kind, since) if outcome in one["outcome"] and why in one["why"]]
        return some[-1] if some else None

    try:
        entry: dict[str, Any] = until(f"{node} tells of a {kind} ({outcome})", found)
    except AssertionError as error:
        told = [
            (one["kind"], one["at"] - since, one["outcome"], names(one))
            for one in history(lab, node, "--all")["entries"][-4:]
        ]
        raise AssertionError(f"{error}; the newest that it tells, with seconds since then: {told}") from None
    return entry


def same_everywhere(lab: Lab) -> list[dict[str, Any]]:
    """Wait until all nodes tell the same, word for word, and nothing is missing; the entries."""

    def agreed() -> list[dict[str, Any]] | None:
        lists = [history(lab, node, "--all") for node in lab.cluster_nodes]
        complete = not any(one["missing"] for one in lists)
        return lists[0]["entries"] if complete and all(one["entries"] == lists[0]["entries"] for one in lists) else None

    found: list[dict[str, Any]] = until("all nodes tell the same", agreed)
    return found


def names(entry: dict[str, Any]) -> list[str]:
    return [step["name"] for step in entry["steps"]]


def test_the_first_start_is_recorded_and_only_root_reads_it(lab: Lab) -> None:
    found = same_everywhere(lab)
    assert "promotion" in {one["kind"] for one in found}
    applied = next(one for one in found if one["kind"] == "apply")
    assert applied["outcome"].startswith(("done", "incomplete")) and "hafailover apply" in applied["subject"]
    for node in lab.cluster_nodes:
        assert shell(lab, node, f"stat -c '%a %U %G' {INBOX}") == "1770 root haclient"
        assert shell(lab, node, f"stat -c %a {STORE}") == "700"
        assert set(shell(lab, node, f"stat -c %a {STORE}/*.log").split()) == {"600"}
        assert shell(lab, node, f"ls -A {INBOX}") == ""
        as_hacluster = ["setpriv", "--reuid=hacluster", "--regid=haclient", "--init-groups"]
        assert lab.exec(node, [*as_hacluster, "ls", STORE]).returncode != 0
        assert lab.exec(node, [*as_hacluster, "hafailover", "history"]).returncode == 1


def test_a_failover_with_its_steps(lab: Lab) -> None:
    old = primary(lab)
    new = other(lab, old)
    since = now(lab, new)
    lab.kill(old, UNIT)
    entry = awaited(lab, new, "failover", since, f"{old} → {new}", why="mariadbd died")
    assert entry["who"] == "the cluster"
    found = names(awaited(lab, new, "failover", since, "address after"))
    assert found.index("detect") < found.index("promote") < found.index("address")
    healthy(lab)
    told = same_everywhere(lab)
    (mine,) = [one for one in told if one["kind"] == "failover" and one["at"] >= since]
    shown = lab.exec(old, ["hafailover", "history", "show", mine["id"]], timeout=60)
    assert shown.returncode == 0 and "detect" in shown.stdout and "address" in shown.stdout
    assert entries(lab, old, "rejoin", since), "it came back"


def test_a_switchover_names_who_and_why(lab: Lab) -> None:
    healthy(lab)
    old = primary(lab)
    new = other(lab, old)
    since = now(lab, new)
    done = lab.exec(new, ["hafailover", "promote", new, "--yes", "--reason", "a new kernel"], timeout=240)
    assert done.returncode == 0, done.stderr
    entry = awaited(lab, old, "switchover", since, "done")
    assert entry["who"].endswith(f" on {new}") and entry["why"] == "a new kernel"
    assert {"demote", "promote", "address"} <= set(names(entry))
    assert not entries(lab, old, "failover", since)
    assert lab.exec(old, ["hafailover", "promote", old, "--dry-run"], timeout=60).returncode == 0
    same_everywhere(lab)
    assert len(entries(lab, old, "switchover", since)) == 1, "a look is not written down"


def test_a_lost_replica_is_a_degradation_that_ends(lab: Lab) -> None:
    healthy(lab)
    node = primary(lab)
    replica = other(lab, node)
    since = now(lab, node)
    shell(lab, node, f"crm_standby -v on -N {replica}")
    try:
        until("the replica has ended", lambda: lab.exec(replica, ["pgrep", "-x", "mariadbd"]).returncode == 1)
        sql(lab, node, "CREATE DATABASE IF NOT EXISTS told")
        awaited(lab, node, "degrade", since)
    finally:
        shell(lab, node, f"crm_standby -D -N {replica}")
    healthy(lab)
    awaited(lab, node, "degrade", since, "in sync again after")
    same_everywhere(lab)


def test_a_cut_node_is_fenced_and_learns_what_happened_without_it(lab: Lab) -> None:
    healthy(lab)
    old = primary(lab)
    new = other(lab, old)
    since = now(lab, new)
    lab.cut(old)
    try:
        entry = awaited(lab, new, "failover", since, f"{old} → {new}")
        assert "fence" in names(entry)
    finally:
        lab.heal(old)
    healthy(lab)
    told = same_everywhere(lab)
    (mine,) = [one for one in told if one["kind"] == "failover" and one["at"] >= since]
    fence = [step for step in mine["steps"] if step["name"] == "fence"]
    assert all(len(step["seen_by"]) >= 1 for step in fence)
    assert len({step["says"] for step in fence}) == len(fence), "one fencing is one step, whoever tells of it"


def probe(lab: Lab, node: str, count: int) -> None:
    """As many actions of resources as that, told as Pacemaker tells them."""
    alert = "setpriv --reuid=hacluster --regid=haclient --init-groups /usr/lib/hafailover/alert-history"
    told = f"CRM_alert_kind=resource CRM_alert_node={node} CRM_alert_rsc=probe$i CRM_alert_task=start CRM_alert_rc=0 CRM_alert_target_rc=0"
    shell(lab, node, f"for i in $(seq {count}); do {told} {alert}; done", 300)


def test_hundreds_of_records_reach_a_node_that_was_away(lab: Lab) -> None:
    healthy(lab)
    node = primary(lab)
    away = other(lab, node)
    since = now(lab, node)
    shell(lab, away, "systemctl stop pacemaker", 120)
    probe(lab, node, 300)
    shell(lab, away, "systemctl start pacemaker", 120)
    healthy(lab)
    same_everywhere(lab)
    facts = [
        step["facts"].get("rsc", "")
        for one in history(lab, away, "--all")["entries"]
        for step in one["steps"]
        if step["at"] >= since  # the entry may have begun before
    ]
    assert len({name for name in facts if name.startswith("probe")}) == 300


def test_a_node_whose_history_was_deleted_has_it_again(lab: Lab) -> None:
    healthy(lab)
    before = {one["steps"][0]["record"] for one in same_everywhere(lab)}
    node = primary(lab)
    shell(lab, node, f"rm -rf {STORE}")
    lab.exec(node, ["hafailover", "rejoin", node, "--yes"], timeout=120)
    assert {step["record"] for one in same_everywhere(lab) for step in one["steps"]} >= before
    # It goes on as another writer, so that no number is used twice.
    assert int(shell(lab, node, f"ls {STORE} | grep -c '^{node}~.*log'")) == 2
    assert shell(lab, node, f"stat -c %a {STORE}") == "700"


def test_a_file_that_cannot_be_read_is_put_aside_and_comes_again(lab: Lab) -> None:
    healthy(lab)
    before = {one["steps"][0]["record"] for one in same_everywhere(lab)}
    node = primary(lab)
    away = other(lab, node)
    name = shell(lab, away, f"cd {STORE}; ls -d {node}~*.log | head -n 1")
    shell(lab, away, f"cd {STORE}; rm '{name}'; mkdir '{name}'")
    assert {step["record"] for one in same_everywhere(lab) for step in one["steps"]} >= before
    assert shell(lab, away, f"stat -c %F '{STORE}/{name}.broken'") == "directory"
    shell(lab, away, f"rm -r '{STORE}/{name}.broken'")


@contextmanager
def small_disk(lab: Lab, node: str) -> Iterator[None]:
    """The history of ``node`` on a disk of half a megabyte that is full."""
    stop = "systemctl stop hafailover-history.path hafailover-history.timer hafailover-history.service"
    start = "systemctl start hafailover-history.path hafailover-history.timer"
    mount = f"mount -t tmpfs -o size=512k,mode=700 small {STORE}; cp -a /root/kept/. {STORE}"
    fill = f"dd if=/dev/zero of={STORE}/stuff bs=1k 2>/dev/null || true"
    shell(lab, node, f"{stop}; rm -rf /root/kept; cp -a {STORE} /root/kept; {mount}; {fill}; {start}")
    try:
        yield
    finally:
        keep = f"rm -rf {STORE}/stuff /root/kept; cp -a {STORE} /root/kept"
        shell(lab, node, f"{stop}; {keep}; umount {STORE}; cp -a /root/kept/. {STORE}; {start}")


def test_a_full_disk_keeps_nobody_from_looking_and_nothing_is_lost(lab: Lab) -> None:
    healthy(lab)
    same_everywhere(lab)
    node = other(lab, primary(lab))
    with small_disk(lab, node):
        probe(lab, node, 50)  # the last page of the file has room for some
        reason = ["--reason", "said on a full disk"]
        done = lab.exec(node, ["hafailover", "rejoin", node, "--yes", *reason], timeout=120)
        shown = lab.exec(node, ["hafailover", "history"], timeout=60)
        assert shown.returncode == 0 and "could not be written down" in shown.stderr, (shown.stderr, done.stderr)
        assert int(shell(lab, node, f"ls {INBOX} | wc -l")) > 0
        shell(lab, node, f"rm {STORE}/stuff")
        told = same_everywhere(lab)
        assert any(one["why"] == "said on a full disk" for one in told)
    same_everywhere(lab)


def test_what_hacluster_puts_into_the_inbox_does_no_harm(lab: Lab) -> None:
    node = lab.data_nodes[0]
    script = (
        f"cd {INBOX}; ln -s /etc/shadow link; mkfifo pipe; mkdir -p deep/a/b/c; truncate -s 1G huge; "
        "printf 'kind=node\\0node=\\033[2Jdb1\\0desc=lost\\0' > forged; printf 'kind=audit\\0what=mine\\0' > audit"
    )
    as_hacluster = ["setpriv", "--reuid=hacluster", "--regid=haclient", "--init-groups", "bash", "-c", script]
    assert lab.exec(node, as_hacluster).returncode == 0
    until("the inbox is empty", lambda: shell(lab, node, f"ls -A {INBOX}") == "")
    done = lab.exec(node, ["hafailover", "history", "--all"], timeout=60)
    assert done.returncode == 0 and "\033" not in done.stdout and "mine" not in done.stdout
    assert shell(lab, node, "systemctl is-active hafailover-history.path hafailover-history.timer") == "active\nactive"


def test_an_inbox_that_pacemaker_may_not_write_into_is_mended(lab: Lab) -> None:
    node = lab.data_nodes[0]
    shell(lab, node, f"chmod 700 {INBOX}; chown 0:0 {INBOX}")
    as_hacluster = ["setpriv", "--reuid=hacluster", "--regid=haclient", "--init-groups"]
    alert = [
        "env",
        "CRM_alert_kind=node",
        f"CRM_alert_node={node}",
        "CRM_alert_desc=member",
        "/usr/lib/hafailover/alert-history",
    ]
    assert lab.exec(node, [*as_hacluster, *alert]).returncode == 0, "an alert holds up nobody"
    assert "not recorded, the inbox is missing, full, or closed" in shell(
        lab, node, "journalctl -t hafailover-history -n 20 -o cat"
    )
    history(lab, node)
    assert shell(lab, node, f"stat -c '%a %U %G' {INBOX}") == "1770 root haclient"


def test_the_price(lab: Lab) -> None:
    """Alerts hold up nobody, and nothing stays in memory."""
    node = lab.data_nodes[0]
    alert = "/usr/lib/hafailover/alert-history"
    command = f"CRM_alert_kind=node CRM_alert_node={node} CRM_alert_desc=member {alert}"
    took = float(
        shell(
            lab,
            node,
            f"s=$(date +%s%N); for i in 1 2 3 4 5 6 7 8 9 10; do {command}; done; echo $(( ($(date +%s%N) - s) / 10000000 ))",
        )
    )
    assert took < 500, f"{took} ms for one alert"
    until("nothing of it runs", lambda: lab.exec(node, ["pgrep", "-f", "history-drain"]).returncode == 1)
