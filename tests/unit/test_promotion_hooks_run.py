"""Promotion hooks are run within their time whatever they do, and how they went is told."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import hook_place
import pytest
from hafailover.agents.mariadb import told
from hafailover.hooks import hooks_run
from hook_place import configure


@pytest.fixture
def place(tmp_path, monkeypatch):
    return hook_place.made(tmp_path, monkeypatch)


def run(event: str = "pre-promote", **given: str) -> list[str]:
    return hooks_run.Run(
        "db", event, {"node": "db1", "old": "db2", "new": "db1", "epoch": "8", "here": "", **given}
    ).perform()


def published(place: Path) -> str:
    return told.read((place / "c/hafailover-db-told@db1").read_text())[told.HOOKS]


def alive(mark: str) -> bool:
    return subprocess.run(["pgrep", "-f", mark], capture_output=True, check=False).returncode == 0


def test_a_hook_is_told_what_happens_and_nothing_else(place, monkeypatch):
    monkeypatch.setenv("SECRET", "x")
    configure(place, {"command": ["/bin/sh", "-c", "env > $0", str(place / "out")]})
    assert run(planned="") == []
    told = dict(line.split("=", 1) for line in (place / "out").read_text().splitlines())
    assert told.pop("PATH")
    assert {key: value for key, value in told.items() if key not in ("PWD", "SHLVL", "_", "OLDPWD")} == {
        "LC_ALL": "C.UTF-8",
        "HAFAILOVER_EVENT": "pre-promote",
        "HAFAILOVER_SERVICE": "db",
        "HAFAILOVER_CLUSTER": "c1",
        "HAFAILOVER_NODE": "db1",
        "HAFAILOVER_OLD": "db2",
        "HAFAILOVER_NEW": "db1",
        "HAFAILOVER_OLD_ADDRESS": "",
        "HAFAILOVER_NEW_ADDRESS": "",
        "HAFAILOVER_ADDRESS": "192.0.2.10",
        "HAFAILOVER_PORT": "3306",
        "HAFAILOVER_EPOCH": "8",
        "HAFAILOVER_PLANNED": "yes",
    }
    assert published(place) == "pre-promote=8:ok | "


def runner(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The program itself: a process that adopts what its hooks leave behind."""
    code = (
        "import sys; from types import ModuleType; p = sys.modules['hafailover'] = ModuleType('hafailover'); "
        f"p.__path__ = [{str(Path(__file__).resolve().parents[2])!r}]; "
        "from hafailover.agents.mariadb import hooks, told; from hafailover.hooks import hooks_run; "
        f"hooks.CONFIG = {str(place / 'hooks.json')!r}; hooks_run.RUN_DIR = told.RUN_DIR = {str(place / 'run')!r}; hooks_run.main()"
    )
    argv = ["/usr/bin/python3", "-c", code, "db", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, env=dict(os.environ))


def test_it_is_killed_with_all_that_it_has_started_and_hidden(place):
    mark = f"777{os.getpid()}"
    script = f"sleep {mark} & (setsid setsid sleep {mark} & ) ; setsid sh -c 'sleep {mark}' & sleep {mark}"
    configure(place, {"command": ["/bin/sh", "-c", script], "timeout": 0.5})
    began = time.monotonic()
    done = runner(place, "pre-promote", "node=db1", "old=db2", "new=db1", "epoch=8", "here")
    assert done.returncode == 1
    assert done.stderr == "critical pre-promote hook h0: killed after 0.5 s\n"
    assert time.monotonic() - began < 5
    assert not alive(f"sleep {mark}")


def test_what_a_hook_leaves_running_is_ended(place):
    mark = f"778{os.getpid()}"
    configure(place, {"command": ["/bin/sh", "-c", f"(setsid sleep {mark} &)"]})
    assert runner(place, "pre-promote", "node=db1", "epoch=8", "here").returncode == 0
    assert not alive(f"sleep {mark}")


def test_endless_output_is_bounded(place):
    configure(
        place,
        {"command": ["/usr/bin/yes"], "timeout": 0.5},
        {"command": ["/bin/sh", "-c", "yes >&2 | head; exit 3"]},
    )
    failed = run(within="1.0")
    assert failed[0].startswith("critical pre-promote hook h0: killed after 0.5 s: y y y")
    assert all(len(text) < 500 for text in failed)
    assert len(published(place)) < 600


def test_together_they_take_no_longer_than_they_may(place):
    configure(place, *({"command": ["/bin/sleep", "9"]} for _ in range(3)))
    began = time.monotonic()
    failed = run(within="0.6")
    assert time.monotonic() - began < 3
    assert failed[2] == "critical pre-promote hook h2: not run: those before it took all the time"


def test_failures_are_published_without_what_would_confuse_readers_and_alerted(place):
    nasty = 'echo \'a" host="db9" value="<x>| &\' >&2; exit 3'
    configure(place, {"command": ["/bin/sh", "-c", nasty]}, {"command": ["/nonexistent"], "critical": False})
    assert len(run()) == 1
    words, said = published(place).split(" | ")
    assert words == "pre-promote=8:failed"
    assert said.startswith(
        "critical pre-promote hook h0: ended with 3: a' host='db9' value=''x'' '; pre-promote hook h1: cannot be run"
    )
    events = sorted(path.read_text() for path in (place / "alerts/inbox").iterdir())
    assert len(events) == 2
    assert "kind=hook" in events[0]


def program(place: Path) -> Path:
    made = place / "bin/hook"
    made.parent.mkdir()
    made.write_text(f"#!/bin/sh\ntouch {place}/ran\n")
    made.chmod(0o755)
    return made


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("file by all", "others may write it, mode 0757"),
        ("file by group", "others may write it, mode 0775"),
        ("directory by all", "others may write it, mode 0777 ("),
        ("link", "others may write it, mode 0777 ("),
        ("link in the middle", "others may write it, mode 0777 ("),
    ],
)
def test_what_others_can_write_is_not_run_as_root(place, what, said):
    hook = program(place)
    called = hook
    if what == "file by all":
        hook.chmod(0o757)
    elif what == "file by group":
        hook.chmod(0o775)
    elif what == "directory by all":
        hook.parent.chmod(0o777)
    else:
        # Its own directory is well, but what leads there can be made to lead elsewhere.
        (place / "open").mkdir()
        (place / "open").chmod(0o777)
        (place / "open/way").symlink_to(hook if what == "link" else hook.parent)
        called = place / ("open/way" if what == "link" else "open/way/hook")
    configure(place, {"command": [str(called)]})
    (failed,) = run()
    assert failed.startswith(f"critical pre-promote hook h0: not run as root: {said}")
    assert not (place / "ran").exists()


def test_what_is_roots_alone_is_run_also_through_links(place):
    hook = program(place)
    (place / "way").symlink_to("bin/../bin")
    (place / "round").symlink_to("round")
    configure(place, {"command": [f"{place}/way/{hook.name}"]}, {"command": [f"{place}/round/x"]})
    assert run() == ["critical pre-promote hook h1: cannot be run: Too many levels of symbolic links"]
    assert (place / "ran").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_somebody_else_is_not_run_as_root(place):
    hook = program(place)
    os.chown(hook, 65534, 65534)
    configure(place, {"command": [str(hook)]})
    assert run() == ["critical pre-promote hook h0: not run as root: it belongs to the user 65534"]
    os.chown(hook, 0, 0)
    os.chown(hook.parent, 65534, 65534)
    assert run() == [f"critical pre-promote hook h0: not run as root: it belongs to the user 65534 ({hook.parent})"]
    assert not (place / "ran").exists()


def test_hooks_are_run_and_told_of_where_nothing_can_be_written_down(place):
    (place / "run").write_text("in the way")
    configure(place, {"command": [str(program(place))]}, event="post-promote")
    assert run("post-promote") == []
    assert (place / "ran").exists()
    assert published(place) == "post-promote=8:ok | "


def test_a_refused_switchover_is_no_failure_of_the_service(place):
    configure(place, {"command": ["/bin/false"]})
    run(planned="")
    assert published(place).startswith("pre-promote=8:refused | ")


def test_hooks_for_all_nodes_and_for_the_one_that_changes(place):
    configure(place, {"command": ["/bin/false"]}, {"command": ["/bin/false"], "on": "all"}, event="post-promote")
    given = {"node": "db1", "epoch": "8"}
    assert hooks_run.Run("db", "post-promote", given).perform() == ["critical post-promote hook h1: ended with 1"]
    assert len(run("post-promote")) == 2
