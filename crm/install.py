"""Put launchers for the agents and hooks where Pacemaker and systemd look for them, and take them away again.

A launcher is a few lines of Python that start fast: the interpreter runs isolated and without ``site`` (``-I -S``, half
of its start-up time), so that the launcher itself says where our modules and PyMySQL lie.

An agent's launcher is a shell script first, and Python only where that has to be: Pacemaker asks for the meta-data before each start, and
notifies every node of every step, while the service is away. A shell answers in 2 ms, an interpreter that loads the agent in 30 ms, or in
100 ms where several share a processor. What needs no interpreter an agent says in ``needless.sh``: a function of that name, which is given
the action and succeeds when there is nothing to do.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import pkgutil
import shutil
import struct
import subprocess
import sys
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import hafailover.agents as agents_package
import hafailover.crm as crm_package
import hafailover.hooks as hooks_package
from hafailover.agents import ocf_xml
from hafailover.agents.ocf import Agent
from hafailover.crm import install_units
from hafailover.crm.errors import HafailoverError

AGENTS_DIR = Path("usr/lib/ocf/resource.d/hafailover")
HOOKS_DIR = Path("usr/lib/hafailover")
METADATA_DIR = HOOKS_DIR / "meta-data"
CACHE_DIR = Path("var/cache/hafailover/pycache")
_MARK = '# Written by "hafailover install"; "hafailover install --uninstall" removes it.'
_THIRD_PARTY = ("pymysql", "pika")  # what agents may import besides the standard library
_COMPILE_TIMEOUT = 120  # seconds


class Launcher(NamedTuple):
    """A file to install: its path below the root, and its text."""

    path: Path
    text: str
    mode: int = 0o755


def launchers(cache: Path | None = None) -> list[Launcher]:
    """One for each agent (a module of ``agents`` with an ``agent``) and each hook (one of ``hooks`` with a ``main``).

    ``cache`` is where compiled modules are kept if they cannot be kept beside their sources.
    """
    found = []
    for name, agent in agents().items():
        text = _text(f"from {agents_package.__name__}.{name} import agent", "agent.main()", cache, _shell(name))
        found.append(Launcher(AGENTS_DIR / name, text))
        found.append(Launcher(METADATA_DIR / name, ocf_xml.metadata(agent), 0o644))
    for name in _members(hooks_package, "main"):
        text = _text(f"from {hooks_package.__name__}.{name} import main", "main()", cache)
        found.append(Launcher(HOOKS_DIR / name.replace("_", "-"), text))
    # Pacemaker's alert agents are no Python: an interpreter would cost ten times what they do.
    for name in ("alert", "alert_history"):
        first, _, rest = (Path(hooks_package.__path__[0]) / f"{name}.sh").read_text().partition("\n")
        found.append(Launcher(HOOKS_DIR / name.replace("_", "-"), f"{first}\n{_MARK}\n{rest}"))
    found += [Launcher(unit.path, f"{_MARK}\n{unit.text}", 0o644) for unit in install_units.UNITS]
    return found


def agents() -> dict[str, Agent]:
    """Every resource agent by name: whatever module or package beside the framework has an ``agent``."""
    return _members(agents_package, "agent")


def install(root: Path) -> list[str]:
    """Write the launchers below ``root``, compile what they import; one line for each file. HafailoverError."""
    compiled = _compiled()
    cache = None if compiled or os.access(_package_dir() / "agents", os.W_OK) else CACHE_DIR
    lines = []
    current = launchers(None if cache is None else Path("/") / cache)
    try:
        for launcher in current:
            changed = _write(root / launcher.path, launcher.text, launcher.mode)
            lines.append(f"{'wrote' if changed else 'unchanged'} {root / launcher.path}")
        for path in _written(root):
            if path not in [root / launcher.path for launcher in current]:
                path.unlink()
                lines.append(f"removed {path}, which is no longer part of hafailover")
    except OSError as error:
        raise _failure(error) from error
    if not compiled:
        _compile(None if cache is None else root / cache)
    return lines


def uninstall(root: Path) -> list[str]:
    """Remove what ``install`` wrote below ``root``, and nothing else; one line for each file. HafailoverError."""
    lines = []
    try:
        for path in _written(root):
            path.unlink()
            lines.append(f"removed {path}")
        if (root / CACHE_DIR).is_dir():
            shutil.rmtree(root / CACHE_DIR)
            lines.append(f"removed {root / CACHE_DIR}")
        for directory in (
            AGENTS_DIR,
            METADATA_DIR,
            HOOKS_DIR,
            CACHE_DIR.parent,
            *(unit.path.parent for unit in install_units.UNITS),
        ):
            _remove_empty(root, root / directory)
    except OSError as error:
        raise _failure(error) from error
    return lines


def _members(package: ModuleType, attribute: str) -> dict[str, Any]:
    """The attribute of each module in ``package`` that has it, by the module's name."""
    names = sorted(entry.name for entry in pkgutil.iter_modules(package.__path__))
    modules = {name: importlib.import_module(f"{package.__name__}.{name}") for name in names}
    return {name: getattr(module, attribute) for name, module in modules.items() if hasattr(module, attribute)}


def _package_dir() -> Path:
    return Path(agents_package.__path__[0]).resolve().parent


def _shell(agent: str) -> str:
    """What a shell answers, and how it goes on as Python: to Python it is a text that nobody reads."""
    path = Path(agents_package.__path__[0]) / agent / "needless.sh"
    own = path.read_text() if path.is_file() else ""
    assert "'''" not in own and "\\" not in own, path
    lines = [
        "''':'",
        f'if [ "$1" = meta-data ] && [ -r /{METADATA_DIR}/{agent} ]; then exec cat /{METADATA_DIR}/{agent}; fi',
        own,
        *(['if needless "$1"; then exit 0; fi'] if own else []),
        f'exec {interpreter()} -IS "$0" "$@"',
        "'''",
    ]
    return "\n".join(line for line in lines if line) + "\n"


def _text(load: str, call: str, cache: Path | None, shell: str = "") -> str:
    """A launcher; ``shell``: what a shell does first."""
    lines = [*(["#!/bin/sh", _MARK, shell] if shell else [f"#!{interpreter()} -IS", _MARK]), "import sys", ""]
    if cache is not None:
        lines.append(f"sys.pycache_prefix = {str(cache)!r}")
    lines += [f"sys.path.append({directory!r})" for directory in third_party_dirs()]
    lines += [
        'package = sys.modules["hafailover"] = type(sys)("hafailover")',
        f"package.__path__ = [{str(_package_dir())!r}]",
        load,
        "",
        call,
    ]
    return "\n".join(lines) + "\n"


def interpreter() -> str:
    """The interpreter outside of any virtual environment, by the name that survives its upgrades."""
    running = os.path.realpath(sys.executable)
    usual = "/usr/bin/python3"
    return usual if os.path.realpath(usual) == running else running


def third_party_dirs() -> list[str]:
    """Where PyMySQL and pika lie, those that are installed: ``-S`` leaves their directories out."""
    found: list[str] = []
    for name in _THIRD_PARTY:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            continue  # an agent that needs it says so when it does; the others work without it
        directory = str(Path(spec.origin).parent.parent)
        if directory not in found:
            found.append(directory)
    return found


def _write(path: Path, text: str, mode: int) -> bool:
    """Write a file at once, for Pacemaker may be about to run it. Whether it was different. OSError."""
    if path.is_file() and path.read_text() == text and path.stat().st_mode & 0o777 == mode:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.chmod(mode)
    new.replace(path)
    return True


def _written(root: Path) -> list[Path]:
    """The launchers below ``root``, told by their mark: another tool's file of the same name is not ours. And the meta-data beside them."""
    found = [path for path in sorted((root / METADATA_DIR).glob("*")) if path.is_file()]
    for directory in (AGENTS_DIR, HOOKS_DIR):
        if (root / directory).is_dir():
            for path in sorted((root / directory).iterdir()):
                if path.is_file() and _MARK.encode() in path.read_bytes()[:400]:
                    found.append(path)
    for path in (root / unit.path for unit in install_units.UNITS):
        if path.is_file() and _MARK.encode() in path.read_bytes()[:400]:
            found.append(path)
    return found


def _remove_empty(root: Path, directory: Path) -> None:
    """Remove ``directory`` and then its parents below ``root``, as long as they are empty."""
    while directory != root:
        if directory.is_dir():
            if any(directory.iterdir()):
                return
            directory.rmdir()
        directory = directory.parent


def _sources() -> list[Path]:
    """The directories whose modules a launcher may import."""
    return [Path(package.__path__[0]) for package in (agents_package, crm_package, hooks_package)]


def _compiled() -> bool:
    """Whether everything has been compiled since it was last changed."""
    for path in (path for directory in _sources() for path in directory.rglob("*.py")):
        try:
            # Magic number, flags (0: valid for the source's time and size), time, size
            with open(importlib.util.cache_from_source(str(path)), "rb") as file:
                header = file.read(16)
        except OSError:
            return False
        status = path.stat()
        numbers = struct.pack("<III", 0, int(status.st_mtime) & 0xFFFFFFFF, status.st_size & 0xFFFFFFFF)
        if header != MAGIC_NUMBER + numbers:
            return False
    return True


def _compile(cache: Path | None) -> None:
    """Compile now what Pacemaker would otherwise compile on every run: it may not be able to write the result."""
    option = [] if cache is None else ["-X", f"pycache_prefix={cache}"]
    command = [interpreter(), "-I", "-S", *option, "-m", "compileall", "-q", *map(str, _sources())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_COMPILE_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HafailoverError(f"cannot compile the agents with {interpreter()}: {error}") from error
    if done.returncode:
        raise HafailoverError(f"cannot compile the agents: {(done.stdout + done.stderr).strip()}")


def _failure(error: OSError) -> HafailoverError:
    hint = "; run it as root, or give another --root" if isinstance(error, PermissionError) else ""
    return HafailoverError(f"cannot change {error.filename}: {error.strerror}{hint}")
