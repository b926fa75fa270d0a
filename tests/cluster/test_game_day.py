"""``hafailover drill`` as on a real cluster: run inside of a node, which knows nothing of the lab that it lies in."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hafailover.vagrant.command import DEFAULT_TOPOLOGY
from hafailover.vagrant.lab import Lab
from labs import lab_of, shell, until
from pair import healthy, other, primary, sql

NAME = "game-day"
REMOTE_SHELL = Path(__file__).parent / "programs" / "remote_shell.py"
SERVED = "/etc/systemd/system/remote-shell.service"
REMOTE_UNIT = "[Service]\nExecStart=/root/remote_shell.py serve\n[Install]\nWantedBy=multi-user.target\n"
ADMINISTRATOR = "/root/administrator.cnf"
ADDRESS = "10.77.0.100"
KEPT = "/var/lib/hafailover/drills"
PEOPLES = "CREATE SCHEMA shop; CREATE TABLE shop.orders (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(20))"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with lab_of(NAME, DEFAULT_TOPOLOGY) as made:
        healthy(made)
        sql(made, primary(made), f"{PEOPLES}; INSERT INTO shop.orders (what) VALUES ('apples'), ('pears')")
        yield made


def drill(lab: Lab, node: str, *words: str, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    return lab.exec(node, ["hafailover", "drill", *words], timeout=timeout)


def run(lab: Lab, node: str, name: str, *words: str) -> dict[str, Any]:
    """A drill that ends well; its JSON. What it was and how it ended stands in the history."""
    done = drill(lab, node, name, "--yes", "-o", "json", *words)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads(done.stdout)
    [only] = found["runs"]
    assert only["ok"] and only["problems"] == []
    assert (only["lost"], only["extra"], only["concurrent_writers"]) == (0, 0, 0) and only["acknowledged"] > 50
    nothing_is_left(lab)
    return only


def nothing_is_left(lab: Lab) -> None:
    healthy(lab)
    for node in lab.data_nodes:
        until("the schema is gone", lambda node=node: "hafailover_drill" not in sql(lab, node, "SHOW SCHEMAS"), 20)
        assert "hafailover_drill" not in sql(lab, node, "SELECT user FROM mysql.user")
        assert lab.exec(node, ["test", "-e", f"{KEPT}/unfinished.json"]).returncode != 0
        assert "hafailover_drill" not in lab.exec(node, ["nft", "list", "tables"]).stdout
        assert lab.exec(node, ["sh", "-c", "ls -d /run/hafailover-drill-*"]).returncode != 0, "no password is left"


def peoples(lab: Lab) -> list[str]:
    return [sql(lab, node, "SELECT what FROM shop.orders WHERE id < 3 ORDER BY id") for node in lab.data_nodes]


def test_nobody_who_was_not_asked_has_anything_broken(lab: Lab) -> None:
    node = primary(lab)
    done = drill(lab, node, "kill-primary")
    assert done.returncode == 2 and "--yes" in done.stderr
    done = drill(lab, node, "kill-primary", "--dry-run")
    assert done.returncode == 0 and f"kill -9 the database server on {node}" in done.stderr
    assert "Nothing was broken" in done.stderr
    nothing_is_left(lab)


def test_what_cannot_be_done_from_a_node_is_refused_and_said(lab: Lab) -> None:
    node = primary(lab)
    done = drill(lab, node, "power-off-primary", "--yes")
    assert done.returncode == 3 and f"would take the power of {node}" in " ".join(done.stderr.split())
    done = drill(lab, other(lab, node), "kill-primary", "--yes")
    assert done.returncode == 3 and f"needs a program to be run on {node}" in " ".join(done.stderr.split())
    listed = drill(lab, node, "--list").stdout
    assert "kill-primary" in listed and "disk-full" not in listed


def test_in_maintenance_nothing_is_begun(lab: Lab) -> None:
    node = primary(lab)
    shell(lab, node, "crm_attribute -t crm_config -n maintenance-mode -v true")
    try:
        done = drill(lab, node, "kill-primary", "--yes")
        assert done.returncode == 3 and "maintenance mode" in " ".join(done.stderr.split())
    finally:
        shell(lab, node, "crm_attribute -t crm_config -n maintenance-mode -D")
    healthy(lab)


def test_a_switchover_with_reports_and_the_next_one_is_compared(lab: Lab) -> None:
    old = primary(lab)
    files = ["/root/drill.html", "/root/drill.md"]
    words = [word for file in files for word in ("--report", file)]
    found = run(lab, old, "switchover", "--reason", "a test", *words)
    assert (found["from"], found["to"]) == (old, other(lab, old))
    at = {phase["name"]: phase["at"] for phase in found["recovery"]}
    assert 0 < at["promote"] <= at["address"] and at["demote"] < at["promote"] and at["drain"] <= at["promote"]
    page = shell(lab, old, f"cat {files[0]}")
    assert f'data-figure="write_gap_s" data-run="0" value="{found["write_gap_s"]}"' in page
    assert "## switchover: held" in shell(lab, old, f"cat {files[1]}")
    assert shell(lab, old, f"stat -c %a {KEPT}") == "700"
    told = json.loads(shell(lab, old, "hafailover history --kind drill -o json"))["entries"][-1]
    assert told["why"] == "a test" and told["outcome"].startswith("done") and "switchover" in told["subject"]
    shell(lab, old, f"hafailover promote {old} --yes")
    healthy(lab)
    again = drill(lab, old, "switchover", "--yes", "-o", "json")
    assert [one["write_gap_s"] for one in json.loads(again.stdout)["earlier"]] == [found["write_gap_s"]], again.stderr
    nothing_is_left(lab)


def test_a_killed_server_while_people_write_elsewhere(lab: Lab) -> None:
    node = primary(lab)
    before = peoples(lab)
    # Others write all the time, so that no two servers are ever seen at one position.
    sql(lab, node, "CREATE USER people@'%' IDENTIFIED BY 'p'; GRANT INSERT ON shop.* TO people@'%'")
    insert = f"mariadb -h {ADDRESS} -u people -pp -e 'INSERT INTO shop.orders (what) VALUES (UUID_SHORT())'"
    shell(lab, node, f'systemd-run --unit=people bash -c "while :; do {insert} 2>/dev/null; sleep 0.02; done"')
    try:
        found = run(lab, node, "kill-primary")
    finally:
        shell(lab, node, "systemctl stop people")
        sql(lab, primary(lab), "DROP USER people@'%'")
    assert found["from"] == node and found["to"] == other(lab, node)
    assert peoples(lab) == before


def test_a_primary_that_loses_its_power_by_its_own_fence_device(lab: Lab) -> None:
    old = primary(lab)
    new = other(lab, old)
    sql(
        lab,
        old,
        "CREATE OR REPLACE USER administrator@'%' IDENTIFIED BY 'x-y-z'; GRANT ALL ON *.* TO administrator@'%' WITH GRANT OPTION",
    )
    shell(lab, new, f"umask 077; printf '[client]\\nuser=administrator\\npassword=x-y-z\\n' > {ADMINISTRATOR}")
    try:
        found = run(lab, new, "power-off-primary", "--defaults-file", ADMINISTRATOR)
    finally:
        sql(lab, primary(lab), "DROP USER administrator@'%'")
    assert (found["from"], found["to"]) == (old, new)
    at = {phase["name"]: phase["at"] for phase in found["recovery"]}
    assert at["fence"] < at["promote"] <= at["address"] and at["rejoin"] > at["address"]
    fenced = [event for event in lab.fence_log() if event[1] == old and event[0] > found["details"]["fault_at"]]
    assert fenced and abs(fenced[0][0] - found["details"]["fault_at"] - at["fence"]) < 3


def test_one_of_two_links_is_nothing(lab: Lab) -> None:
    node = primary(lab)
    found = run(lab, node, "cut-link")
    assert found["from"] == found["to"] == node and found["write_gap_s"] < 5


def begin(lab: Lab, node: str, scenario: str, until_said: str) -> str:
    """A script that begins a drill in the background, its process in ``$drill``, and waits until it says ``until_said``."""
    said: list[str] = []

    def may_begin() -> bool:
        done = drill(lab, node, scenario, "--dry-run")
        said[:] = [done.stdout + done.stderr]
        return done.returncode == 0

    try:
        until("nothing speaks against it", may_begin)
    except AssertionError:
        raise AssertionError(said) from None
    return f"""
        rm -f /root/drill.out; hafailover drill {scenario} --yes > /root/drill.out 2>&1 & drill=$!
        for _ in $(seq 900); do grep -q '{until_said}' /root/drill.out && break; sleep 0.1; done
        kill -0 $drill || {{ cat /root/drill.out; false; }}
        """


@pytest.mark.parametrize("number", ["TERM", "INT"])
def test_who_is_interrupted_restores(lab: Lab, number: str) -> None:
    node = primary(lab)
    script = (
        begin(lab, node, "stop-primary", "stop-cluster")
        + f"""
        sleep 1; kill -{number} $drill; sleep 1; kill -{number} $drill || true
        code=0; wait $drill || code=$?
        echo "ended with $code"; cat /root/drill.out"""
    )
    # Python ignores Ctrl-C where the shell has had it ignored, as for jobs in the background.
    said = shell(lab, node, script.replace("hafailover drill", "env --default-signal=INT hafailover drill"), 500)
    assert "ended with 130" in said and "put right" in said, said
    assert shell(lab, node, "systemctl is-active corosync pacemaker").split() == ["active", "active"]
    nothing_is_left(lab)


def test_what_a_killed_drill_leaves_is_taken_back_on_request(lab: Lab) -> None:
    node = primary(lab)
    script = begin(lab, node, "stop-primary", "stop-cluster")
    shell(lab, node, script + "sleep 1; kill -KILL $drill; wait $drill || true", 300)
    done = until("it is restored", lambda: _restored(drill(lab, node, "--restore", "--yes")), 120)
    assert done
    nothing_is_left(lab)


def test_what_a_killed_drill_leaves_is_known_on_the_other_node_and_taken_back_from_there(lab: Lab) -> None:
    node = primary(lab)
    new = other(lab, node)
    script = begin(lab, node, "switchover", "write 2s") + "sleep 1; kill -KILL $drill; wait $drill || true"
    account = "CREATE OR REPLACE USER administrator@'%' IDENTIFIED BY 'x-y-z'; GRANT ALL ON *.* TO administrator@'%'"
    sql(lab, node, f"{account} WITH GRANT OPTION")
    shell(lab, new, f"umask 077; printf '[client]\\nuser=administrator\\npassword=x-y-z\\n' > {ADMINISTRATOR}")
    try:
        shell(lab, node, script, 300)
        said = until("it is known there", lambda: _told(drill(lab, new, "--restore", "--dry-run")), 30)
        assert "The drill switchover of" in said and f"begun on {node}" in said, said
        refused = drill(lab, new, "switchover", "--yes")
        assert refused.returncode == 3 and "--restore" in refused.stderr
        done = drill(lab, new, "--restore", "--yes", "-o", "json", "--defaults-file", ADMINISTRATOR)
        assert done.returncode == 0 and json.loads(done.stdout)["done"] is True, done.stderr
    finally:
        sql(lab, primary(lab), "DROP USER IF EXISTS administrator@'%'")
    assert drill(lab, node, "--restore", "--yes").returncode == 0
    nothing_is_left(lab)


def _told(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout if "was not finished" in done.stdout else ""


def test_another_server_of_the_node_is_not_killed_with_it(lab: Lab) -> None:
    node = primary(lab)
    shell(
        lab, node,
        "install -d -o mysql /var/lib/beside && mariadb-install-db --user=mysql --datadir=/var/lib/beside >/dev/null && "
        "systemd-run --unit=beside mariadbd --no-defaults --user=mysql --datadir=/var/lib/beside --skip-networking "
        "--socket=/var/lib/beside/beside.sock --pid-file=/var/lib/beside/beside.pid",
    )  # fmt: skip
    try:
        until("it runs", lambda: lab.exec(node, ["test", "-s", "/var/lib/beside/beside.pid"]).returncode == 0, 60)
        before = shell(lab, node, "cat /var/lib/beside/beside.pid")
        found = run(lab, node, "kill-primary")
        assert found["to"] == other(lab, node)
        assert shell(lab, node, "systemctl show -P MainPID beside").strip() == before.strip()
    finally:
        shell(lab, node, "systemctl stop beside; rm -rf /var/lib/beside")


def _restored(done: subprocess.CompletedProcess[str]) -> bool:
    return done.returncode == 0


@pytest.fixture
def by_ssh(lab: Lab) -> Iterator[str]:
    """The replica's node, from which root gets into the primary's."""
    old = primary(lab)
    new = other(lab, old)
    program = "#!/usr/bin/python3\n" + REMOTE_SHELL.read_text()
    for node in (old, new):
        lab.exec(
            node,
            ["sh", "-c", "cat > /root/remote_shell.py; chmod 755 /root/remote_shell.py"],
            input=program,
            check=True,
        )
    # As sshd it is there again after the fencing.
    lab.exec(old, ["sh", "-c", f"cat > {SERVED}"], input=REMOTE_UNIT, check=True)
    shell(lab, old, "systemctl enable --now remote-shell")
    shell(lab, new, "ln -sf /root/remote_shell.py /usr/local/bin/ssh")
    until(
        "the remote shell answers", lambda: lab.exec(new, ["ssh", "-l", "root", old, "--", "true"]).returncode == 0, 20
    )
    yield new
    shell(lab, new, "rm -f /usr/local/bin/ssh")
    shell(lab, old, f"systemctl disable --now remote-shell; rm -f {SERVED}")


def test_a_primary_that_is_cut_off_is_fenced(lab: Lab, by_ssh: str) -> None:
    found = run(lab, by_ssh, "cut-primary")
    assert found["to"] == by_ssh
    at = {phase["name"]: phase["at"] for phase in found["recovery"]}
    assert at["detect"] < at["fence"] < at["promote"]
