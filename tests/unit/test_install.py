"""Launchers: where Pacemaker looks, with what it takes to start fast, and gone again."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hafailover.crm import install, install_units
from hafailover.crm.errors import HafailoverError

CHECKOUT = Path(__file__).resolve().parents[2]
PROGRAM = CHECKOUT / "bin/hafailover"


def hafailover(*argv: object, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*before, str(PROGRAM), *(str(word) for word in argv)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def test_install_again_and_uninstall(tmp_path: Path) -> None:
    done = hafailover("install", "--root", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    names = [f"usr/lib/ocf/resource.d/hafailover/{name}" for name in install.agents()]
    assert set(names) < set(files(tmp_path))
    assert "usr/lib/hafailover/mariadb-died" in files(tmp_path)
    assert sorted(done.stdout.splitlines()) == sorted(f"wrote {tmp_path / name}" for name in files(tmp_path))
    for name in files(tmp_path):
        program = not name.endswith((".conf", ".path", ".service", ".timer")) and "/meta-data/" not in name
        assert (tmp_path / name).stat().st_mode & 0o777 == (0o755 if program else 0o644)
        quick = "/resource.d/" in name or name in ("usr/lib/hafailover/alert", "usr/lib/hafailover/alert-history")
        shell = "/bin/sh" if quick else "/usr/bin/python3 -IS"
        assert not program or (tmp_path / name).read_text().startswith(f"#!{shell}\n")
    again = hafailover("install", "--root", tmp_path)
    assert {line.split()[0] for line in again.stdout.splitlines()} == {"unchanged"}
    gone = hafailover("install", "--root", tmp_path, "--uninstall")
    assert gone.stdout.count("removed") == done.stdout.count("wrote")
    assert list(tmp_path.iterdir()) == []
    nothing = hafailover("install", "--root", tmp_path, "--uninstall")
    assert (nothing.returncode, nothing.stdout) == (0, f"nothing of hafailover was installed below {tmp_path}\n")


def test_files_of_others_stay(tmp_path: Path) -> None:
    other = tmp_path / install.AGENTS_DIR / "mine"
    other.parent.mkdir(parents=True)
    other.write_text("#!/bin/sh\n")
    install.install(tmp_path)
    install.uninstall(tmp_path)
    assert files(tmp_path) == ["usr/lib/ocf/resource.d/hafailover/mine"]


def test_launcher_of_an_agent_that_is_no_more_is_removed(tmp_path: Path) -> None:
    install.install(tmp_path)
    old = tmp_path / install.AGENTS_DIR / "old"
    old.write_text((old.parent / "vip").read_text())
    assert f"removed {old}, which is no longer part of hafailover" in install.install(tmp_path)
    assert not old.exists()


def test_launcher_that_was_changed_is_mended(tmp_path: Path) -> None:
    install.install(tmp_path)
    vip = tmp_path / install.AGENTS_DIR / "vip"
    vip.chmod(0o600)
    assert f"wrote {vip}" in install.install(tmp_path)
    assert vip.stat().st_mode & 0o777 == 0o755


def test_read_only_sources_are_compiled_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a node that sees the checkout read-only: without that, every monitor would compile its modules anew."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setattr(install, "_compiled", lambda: False)
    install.install(tmp_path)
    assert "sys.pycache_prefix = '/var/cache/hafailover/pycache'" in (tmp_path / install.AGENTS_DIR / "vip").read_text()
    compiled = [name for name in files(tmp_path) if name.endswith(".pyc")]
    assert any(f"{CHECKOUT}/agents/ocf." in f"/{name}" for name in compiled)
    install.uninstall(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_compiled_already_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install.install(tmp_path)
    assert install._compiled()
    monkeypatch.setattr(install, "interpreter", lambda: "/bin/false")
    install.install(tmp_path)
    monkeypatch.setattr(install, "MAGIC_NUMBER", b"old!")
    assert not install._compiled()


def test_hook_runs_with_an_empty_environment(tmp_path: Path) -> None:
    install.install(tmp_path)
    hook = tmp_path / install.HOOKS_DIR / "mariadb-died"
    done = subprocess.run(
        [str(hook), "no-such-resource"], env={}, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def one_sentence(done: subprocess.CompletedProcess[str], *words: object) -> None:
    assert done.stdout == ""
    assert done.stderr.startswith("hafailover: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert str(word) in done.stderr


def test_no_such_root(tmp_path: Path) -> None:
    done = hafailover("install", "--root", tmp_path / "nowhere")
    assert done.returncode == 2
    one_sentence(done, tmp_path / "nowhere", "no such directory")


@pytest.mark.parametrize("words", [["--root", ""], ["--root="], ["--uninstall", "--root", ""]], ids=" ".join)
def test_a_root_without_a_name_is_not_this_directory(
    tmp_path: Path, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = hafailover("install", *words)
    assert done.returncode == 2
    one_sentence(done, "--root names no directory")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--uninstall", None])
def test_not_root(tmp_path: Path, option: str | None) -> None:
    install.install(tmp_path)
    for path in (tmp_path, *tmp_path.rglob("*")):
        path.chmod(0o755)
    (tmp_path / install.AGENTS_DIR / "vip").write_text("#!/bin/sh\n" + install._MARK)
    for parent in tmp_path.parents:
        if parent.stat().st_mode & 0o005 != 0o005:
            parent.chmod(0o755)
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    done = hafailover("install", "--root", tmp_path, *([option] if option else []), before=nobody)
    assert done.returncode == 1
    one_sentence(done, f"cannot change {tmp_path}", "Permission denied", "run it as root")


def test_read_only_file_system(tmp_path: Path) -> None:
    script = f"mount -t tmpfs -o ro none {tmp_path} && {PROGRAM} install --root {tmp_path}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    one_sentence(done, f"cannot change {tmp_path}", "Read-only file system")


def test_sources_that_do_not_compile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "interpreter", lambda: "/bin/false")
    monkeypatch.setattr(install, "_compiled", lambda: False)
    with pytest.raises(HafailoverError, match="cannot compile the agents"):
        install.install(tmp_path)


def test_the_units_are_what_systemd_understands(tmp_path: Path) -> None:
    install.install(tmp_path)
    units = [str(tmp_path / unit.path) for unit in install_units.UNITS if unit.path.parent.name == "system"]
    done = subprocess.run(
        ["systemd-analyze", "verify", *units], capture_output=True, text=True, timeout=60, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if "hafailover" in line and "is not executable" not in line]
    assert complaints == []


def test_what_systemd_does_not_do_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = Path.is_dir
    monkeypatch.setattr(Path, "is_dir", lambda self: str(self) == "/run/systemd/system" or real(self))
    calls: list[list[str]] = []

    def run(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(argv)
        if argv[1] == "daemon-reload":
            raise subprocess.TimeoutExpired(argv, 30)
        return subprocess.CompletedProcess(argv, int("tmpfiles" in argv[0]), "", "no user hacluster\n")

    monkeypatch.setattr(install_units.subprocess, "run", run)
    files = "/usr/lib/tmpfiles.d/hafailover-alerts.conf /usr/lib/tmpfiles.d/hafailover-history.conf"
    assert [line.partition(": ")[2].partition(":")[0] for line in install_units.begin()] == [
        f"systemd-tmpfiles --create {files}",
        "systemctl daemon-reload",
    ]
    (restarted,) = [argv[3:] for argv in calls if argv[1] == "restart"]
    timers = {"hafailover-history.timer", "hafailover-doctor.timer"}
    assert set(restarted) == {"hafailover-alerts.path", "hafailover-history.path", *timers}
