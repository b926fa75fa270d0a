"""A wheel and an editable install: complete, and nothing but ``hafailover.*`` in site-packages."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
ROOMS = ("agents", "crm", "hooks", "vagrant")
DESCRIPTION = ("setup.cfg", "pyproject.toml", "MANIFEST.in", "LICENSE", "README.md")
CLEAN = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/nonexistent"}


def run(*argv: object, **options: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [str(word) for word in argv], capture_output=True, text=True, timeout=120, check=False, env=CLEAN, cwd="/"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def contents() -> set[str]:
    """Every file of the rooms that belongs into a wheel: not what tools and a run of the lab have left there."""
    names = {path.relative_to(CHECKOUT) for room in ROOMS for path in (CHECKOUT / room).rglob("*") if path.is_file()}
    return {
        f"hafailover/{name}"
        for name in names
        if name.suffix != ".md" and not any(part.startswith((".", "__pycache__", "secrets")) for part in name.parts)
    }


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is packaged, for building writes beside it."""
    copy = tmp_path_factory.mktemp("source")
    for room in ROOMS:
        shutil.copytree(CHECKOUT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(CHECKOUT / "man", copy / "man")
    for name in DESCRIPTION:
        if (CHECKOUT / name).exists():
            shutil.copy(CHECKOUT / name, copy)
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-index", "--no-deps", "--no-build-isolation", "-w", out, source)
    (found,) = out.iterdir()
    return found


def environment(directory: Path, *install: object) -> Path:
    """A virtual environment that sees the distribution's libraries and has installed what is given, without an index."""
    run(sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", directory)
    python = directory / "bin/python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", *install)
    return directory


@pytest.fixture(scope="module", params=["wheel", "editable"])
def installed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp(request.param) / "venv"
    if request.param == "wheel":
        return environment(directory, request.getfixturevalue("wheel"))
    return environment(directory, "--no-build-isolation", "--editable", request.getfixturevalue("source"))


def test_every_package_is_listed() -> None:
    config = configparser.ConfigParser()
    config.read(CHECKOUT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    there = {
        "hafailover." + ".".join(path.parent.relative_to(CHECKOUT).parts)
        for room in ROOMS
        for path in (CHECKOUT / room).rglob("__init__.py")
    }
    assert listed == there
    mapped = dict(line.split(" = ") for line in config["options"]["package_dir"].strip().splitlines())
    assert mapped == {f"hafailover.{room}": room for room in ROOMS}


def test_wheel_holds_everything_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        everything = {name for name in archive.namelist() if ".dist-info/" not in name}
        names = {name for name in everything if ".data/data/" not in name}
        (record,) = [name for name in archive.namelist() if name.endswith("/RECORD")]
        recorded = {line.partition(",")[0] for line in archive.read(record).decode().splitlines()}
        licence = archive.read(next(name for name in archive.namelist() if name.endswith("LICENSE")))
    assert names == contents()
    manuals = {name.partition(".data/data/")[2] for name in everything - names}
    assert manuals == {f"share/man/man1/{page.name}" for page in (CHECKOUT / "man").iterdir()}
    assert names <= recorded
    assert b"GNU GENERAL PUBLIC LICENSE" in licence


def test_no_bare_package_reaches_site_packages(installed: Path) -> None:
    (site,) = installed.glob("lib/python*/site-packages")
    bare = [path.name for path in site.iterdir() if path.name in ROOMS]
    assert bare == []
    seen = "import importlib.util, sys; print([n for n in sys.argv[1:] if importlib.util.find_spec(n)])"
    assert run(installed / "bin/python", "-I", "-c", seen, "agents", "crm", "hooks").stdout == "[]\n"


def test_program_runs(installed: Path) -> None:
    assert run(installed / "bin/hafailover", "--version").stdout.startswith("hafailover, version 0.")
    assert "install" in run(installed / "bin/hafailover", "--help").stdout


def test_topologies_are_there(installed: Path) -> None:
    where = "import hafailover.vagrant as v; print(v.__path__[0])"
    room = Path(run(installed / "bin/python", "-c", where).stdout.strip())
    topology = room / "topologies/mariadb-pair.yml"
    assert topology.is_file()
    assert "primitive" in run(installed / "bin/hafailover", "generate", topology).stdout


def test_agents_run(installed: Path, tmp_path: Path) -> None:
    """Isolated and without site, where no editable finder and no .pth file is active."""
    run(installed / "bin/hafailover", "install", "--root", tmp_path)
    for name in ("mariadb", "vip"):
        agent = tmp_path / "usr/lib/ocf/resource.d/hafailover" / name
        assert agent.read_text().startswith("#!/bin/sh\n")
        assert f'<resource-agent name="{name}"' in run(agent, "meta-data").stdout
    assert os.access(tmp_path / "usr/lib/hafailover/mariadb-died", os.X_OK)
    run(installed / "bin/hafailover", "install", "--root", tmp_path, "--uninstall")
    assert list(tmp_path.iterdir()) == []


def test_version_is_one() -> None:
    from hafailover.agents import __version__

    assert run(CHECKOUT / "bin/hafailover", "--version").stdout == f"hafailover, version {__version__}\n"
