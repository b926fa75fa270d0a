"""What must be the same on all nodes: versions, and configuration files; and on each, what the topology makes of its files."""

from __future__ import annotations

import hashlib
import hmac
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hafailover.agents import __version__
from hafailover.crm.doctor import FAIL, OK, UNKNOWN, WARN, Result, Seen, mapping, text, these
from hafailover.crm.doctor.here import CannotLook, Here
from hafailover.crm.errors import HafailoverError

TITLE = "The same on all nodes"
_TOPOLOGY = "/etc/hafailover/topology.yml"
_COROSYNC = "/etc/corosync/corosync.conf"
_FILES = (_COROSYNC, _TOPOLOGY)
_SECRET_FILES = ("/etc/corosync/authkey", "/etc/pacemaker/authkey")
_RENDER = f"hafailover render {_TOPOLOGY} --install --diff"
_WHY_VERSION = (
    "a failover is when the other version is used for the first time, with the data or the messages of this one"
)
_WHY_FILE = (
    "nodes that work by different settings disagree when it matters: at the next restart, or when a link is lost"
)


def read(here: Here) -> dict[str, Any]:
    """``versions``: program → version; ``files``: path → digest, null where there is none; ``stale``: files that differ from the topology.

    ``unmade``: why the topology's files could not be made, or "".
    """
    stale, unmade = _stale(here.node)
    return {"versions": _versions(here), "files": dict(_digests()), "stale": stale, "unmade": unmade}


def _versions(here: Here) -> dict[str, str]:
    found = {"hafailover": __version__, "agents": agents(), "Python": "{}.{}".format(*sys.version_info[:2])}
    asked = {"Pacemaker": ("pacemakerd", "--version"), "Corosync": ("corosync", "-v")}
    if here.cib is not None and any(True for _ in here.databases()):
        asked["MariaDB"] = ("mariadbd", "--version")
    for name, argv in asked.items():
        try:
            found[name] = version(here.say(*argv))
        except CannotLook as error:
            found[name] = f"? ({error})"
    return found


def version(said: str) -> str:
    """The first thing in it that looks like a version: 2.1.5, 10.11.6-MariaDB-0+deb12u1."""
    match = re.search(r"\d+\.\d+(?:\.\d+)?(?:[-+.~:\w]*\w)?", said)
    return match[0] if match else said.strip()[:60]


def agents(package: Path | None = None) -> str:
    """A digest of the agents' and hooks' programs as they are installed: twelve digits."""
    root = package or Path(__file__).resolve().parents[2]
    digest = hashlib.sha256()
    for room in ("agents", "hooks", "crm"):
        for file in sorted((root / room).rglob("*")):
            if file.suffix in (".py", ".sh") and file.is_file():
                digest.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _digests() -> Iterator[tuple[str, str | None]]:
    for path in _FILES:
        content = _content(path)
        yield path, None if content is None else hashlib.sha256(content).hexdigest()[:16]
    # What members of haclient can read must tell nothing of a key; this does, only to who has another key of the cluster's.
    mine = _content(_SECRET_FILES[0]) or _content(_SECRET_FILES[1])
    for path in _SECRET_FILES if mine else ():
        content = _content(path)
        yield path, None if content is None else hmac.new(mine or b"", content, "sha256").hexdigest()[:16]


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 22)
    except OSError:
        return None


def _stale(node: str) -> tuple[list[str], str]:
    """The files of this node that are not what its topology makes of them, and why that is not known, or ""."""
    from hafailover.crm import render, topology
    from hafailover.crm.install_files import current

    if not Path(_TOPOLOGY).exists():
        return [], f"there is no {_TOPOLOGY} here"
    try:
        wanted = topology.load(_TOPOLOGY)
        made = render.render(wanted, node, lambda _: _PLACEHOLDER)
        return [file.path for file in made if not file.secret and not current(Path(file.path), file, own=True)], ""
    except HafailoverError as error:
        return [], str(error).splitlines()[0]


_PLACEHOLDER = b"0123456789abcdef" * 8
"""In place of each secret, which is on none of the nodes beside the files made of it; those are not compared."""


def judge(seen: Seen) -> Iterator[Result]:
    """A result for each program and file, and for each node's own files."""
    yield from seen.untold("same", "same", "its versions and files")
    told = seen.told("same")
    yield from _compared("version", told, "versions", _WHY_VERSION)
    yield from _compared("file", told, "files", _WHY_FILE)
    for node, facts in told.items():
        stale = [text(path) for path in facts.get("stale") or ()]
        if facts.get("unmade"):
            yield Result(
                "rendered-files",
                UNKNOWN,
                node,
                f"its files against the topology: not looked at, because {text(facts['unmade'])}",
            )
        elif stale:
            why = "somebody changed them by hand, or the topology and did not write them since"
            yield Result(
                "rendered-files", WARN, node, f"not as its topology makes them: {', '.join(stale)}", why, _RENDER
            )
        else:
            yield Result("rendered-files", OK, node, "its files are as its topology makes them")


def _compared(kind: str, told: Mapping[str, Any], key: str, why: str) -> Iterator[Result]:
    names = list(dict.fromkeys(name for facts in told.values() for name in mapping(facts.get(key))))
    if len(told) < 2:
        if names:
            what = f"whether {'versions' if kind == 'version' else 'files'} are the same"
            yield Result(f"same-{kind}s", UNKNOWN, "", f"{what}: not looked at, because only {these(told)} told any")
        return
    same = []
    for name in names:
        values: dict[str, list[str]] = {}
        for node, facts in told.items():
            found = mapping(facts.get(key))
            if name in found or kind == "file":
                value = found.get(name)
                values.setdefault("there is none" if value is None else text(value, 120), []).append(node)
        if len(values) > 1:
            yield _differs(kind, text(name, 120), values, why)
        else:
            same.append(_one(kind, text(name, 120), next(iter(values), "")))
    if same:
        yield Result(f"same-{kind}s", OK, "", f"the same on {these(told)}: {', '.join(same)}")


def _one(kind: str, name: str, value: str) -> str:
    return name if kind == "file" or name == "agents" else f"{name} {value}"


def _differs(kind: str, name: str, values: Mapping[str, list[str]], why: str) -> Result:
    apart = "; ".join(f"{value} on {these(nodes)}" for value, nodes in values.items())
    if kind == "file":
        fix = f"on each: sha256sum {shlex.quote(name)}; {_RENDER}; then on one: hafailover plan {_TOPOLOGY}"
        return Result("same-files", FAIL, "", f"{name} is not the same: {apart}", why, fix)
    fix = "bring the nodes to one version, one after the other: crm node standby NODE, upgrade, crm node online NODE"
    verdict = FAIL if name in ("hafailover", "agents") else WARN
    return Result("same-versions", verdict, "", f"{name} is not the same: {apart}", why, fix)
