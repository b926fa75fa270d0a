"""Which notifications of a database end in the shell: those for which the agent would do nothing that is not done right after it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hafailover.agents.mariadb import hooks
from hafailover.crm import install

CHECKOUT = Path(__file__).resolve().parents[2]
SCRIPT = CHECKOUT / "agents/mariadb/needless.sh"
PAIR, TRIO = "db1:10.0.0.1 db2:10.0.0.2", "db1:10.0.0.1 db2:10.0.0.2 db3:10.0.0.3"


def needless(
    tmp_path: Path,
    step: str,
    nodes: str = PAIR,
    promote: str = "",
    demote: str = "",
    configured: str = '{"version": 1, "services": {}}',
    held: bool = False,
    action: str = "notify",
    node: str = "db1",
    running: str = "systemd",
) -> bool:
    """Asks the script itself, with its directories moved."""
    text = SCRIPT.read_text().replace(hooks.CONFIG, str(tmp_path / "hooks.json"))
    text = (
        text.replace("/run/hafailover", str(tmp_path)).replace("/proc/", f"{tmp_path}/proc/")
        + '\nif needless "$1"; then echo needless; else echo needed; fi\n'
    )
    (tmp_path / "hooks.json").write_text(configured)
    if held:
        (tmp_path / "db.held").write_text("waiting 1 it waits")
    for pid, name in enumerate(("bash", running, "crond"), 1):
        (tmp_path / f"proc/{pid}").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"proc/{pid}/comm").write_text(f"{name}\n")
    (tmp_path / "proc/4").mkdir(exist_ok=True)  # one that has just ended
    kind, _, operation = step.partition("-")
    meta = {
        "on_node": node,
        "notify_type": kind,
        "notify_operation": operation,
        "notify_promote_uname": promote,
        "notify_demote_uname": demote,
    }
    environ = {"PATH": os.environ["PATH"], "OCF_RESOURCE_INSTANCE": "db", "OCF_RESKEY_nodes": nodes}
    environ |= {f"OCF_RESKEY_CRM_meta_{name}": value for name, value in meta.items()}
    done = subprocess.run(
        ["sh", "-euc", text, "agent", action], env=environ, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stderr == ""
    return done.stdout == "needless\n"


@pytest.mark.parametrize("step", ["pre-start", "pre-stop", "post-stop", "pre-demote", "post-demote"])
@pytest.mark.parametrize("nodes", [PAIR, TRIO])
def test_nothing_is_done_in_these_steps(tmp_path: Path, step: str, nodes: str) -> None:
    assert needless(tmp_path, step, nodes)


def test_received_positions_are_needed_among_several_replicas(tmp_path: Path) -> None:
    assert needless(tmp_path, "pre-promote", PAIR)
    assert not needless(tmp_path, "pre-promote", TRIO)


def test_a_score_is_looked_after_when_another_one_has_started(tmp_path: Path) -> None:
    assert not needless(tmp_path, "post-start")


@pytest.mark.parametrize("names", ["db1", "db1 ", " db1", "db9 db1 db2"])
def test_who_was_promoted_or_demoted_gets_its_first_monitor_at_once(tmp_path: Path, names: str) -> None:
    assert needless(tmp_path, "post-promote", TRIO, promote=names)
    assert needless(tmp_path, "post-promote", TRIO, promote="db2", demote=names)


def test_another_replica_follows_the_new_primary_now(tmp_path: Path) -> None:
    assert not needless(tmp_path, "post-promote", TRIO, promote="db2 ", demote="db3 ")
    assert not needless(tmp_path, "post-promote", PAIR, promote="db2", demote="")
    assert not needless(tmp_path, "post-promote", PAIR, promote="db11", demote="xdb1")


def test_who_waits_for_its_role_is_told(tmp_path: Path) -> None:
    assert not needless(tmp_path, "post-promote", PAIR, promote="db2", demote="db1", held=True)


@pytest.mark.parametrize("step", ["pre-demote", "post-demote", "pre-promote", "post-promote"])
def test_hooks_hear_of_every_step(tmp_path: Path, step: str) -> None:
    configured = '{"version": 1, "services": {"db": {"hooks": {"post-demote": []}}}}'
    assert not needless(tmp_path, step, promote="db1", configured=configured)


def test_a_dead_server_needs_no_demotion(tmp_path: Path) -> None:
    assert needless(tmp_path, "-", action="demote")
    assert needless(tmp_path, "-", action="demote", running="mariadb-tend")
    assert not needless(tmp_path, "-", action="demote", running="mariadbd")
    assert not needless(tmp_path, "-", action="demote", running="mysqld")
    hooked = '{"version": 1, "services": {"db": {"hooks": {"post-demote": []}}}}'
    assert not needless(tmp_path, "-", action="demote", configured=hooked)


def test_only_what_pacemaker_asks_for(tmp_path: Path) -> None:
    for action in ("monitor", "start", "promote", "meta-data", ""):
        assert not needless(tmp_path, "pre-demote", action=action)
    assert not needless(tmp_path, "pre-demote", node=""), "somebody at a prompt"
    assert not needless(tmp_path, "-", action="demote", node=""), "somebody at a prompt"


def test_the_launcher_goes_on_as_python(tmp_path: Path) -> None:
    """Also with arguments that a shell would take apart, and with meta-data from the file that was installed."""
    install.install(tmp_path)
    agent = tmp_path / install.AGENTS_DIR / "mariadb"
    environ = {"PATH": os.environ["PATH"], "OCF_RESOURCE_INSTANCE": "x"}

    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(agent), *argv], env=environ, capture_output=True, text=True, timeout=30, check=False)

    assert run("no such action").returncode == 3
    assert run("notify", "more").returncode == 2
    assert run().returncode == 2
    assert run("meta-data").stdout == (tmp_path / install.METADATA_DIR / "mariadb").read_text()
