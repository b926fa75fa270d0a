"""Disks: what is left where databases, Pacemaker and logs write, and for how long the binary logs can grow on."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hafailover.crm.doctor import FAIL, OK, WARN, Result, Seen, mapping, number, text
from hafailover.crm.doctor.here import Here

TITLE = "Disks"
_ALWAYS = ("/var/lib/pacemaker", "/var/log", "/var/lib/hafailover")
_GIB = 1 << 30
# Shares of a disk, and the room beyond which a small share is no worry.
_WARN, _FAIL, _PLENTY = 0.10, 0.05, 50 * _GIB
_DAY = 86400.0
_SOON = 3.0  # days
_YOUNG = 3600.0  # seconds; binary logs of less tell nothing of the rate
_WHY = "a full disk stops the database, and Pacemaker, which can then write no decision down, has the node fenced"


def read(here: Here) -> dict[str, Any]:
    """``disks``: path → ``free``, ``total`` (bytes), ``inodes`` (share left); ``binlogs``: database → ``size``, ``per_day``, ``free``."""
    data = dict(_datadirs(here)) if here.cib is not None else {}
    disks: dict[str, Any] = {}
    seen = set()
    for path in (*data.values(), *_ALWAYS):
        try:
            about = os.statvfs(path)
            device = Path(path).stat().st_dev
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                disks[path] = {"error": error.strerror}
            continue
        if device not in seen:
            seen.add(device)
            inodes = about.f_favail / about.f_files if about.f_files else 1.0
            size = about.f_frsize
            disks[path] = {"free": about.f_bavail * size, "total": about.f_blocks * size, "inodes": round(inodes, 4)}
    return {"disks": disks, "binlogs": {name: found for name, path in data.items() if (found := _binlogs(path))}}


def _datadirs(here: Here) -> Iterator[tuple[str, str]]:
    for name, params in here.databases():
        yield name, params.get("datadir", "/var/lib/mysql")


def _binlogs(directory: str) -> dict[str, Any]:
    """Size of the binary logs in a data directory, and what they grow by in a day, as far as the oldest that is there tells."""
    try:
        names = [one.name for one in Path(directory).iterdir()]
    except OSError:
        return {}
    bases = {name[: -len(".index")] for name in names if name.endswith(".index") and "relay" not in name}
    files = []
    for name in names:
        base, _, last = name.rpartition(".")
        if base in bases and last.isdigit():
            try:
                files.append(Path(directory, name).stat())
            except OSError:
                continue  # it was purged just now
    if not files:
        return {}
    size = sum(one.st_size for one in files)
    # The oldest was last written to when it was full: what came after it, in the time since.
    oldest = min(files, key=lambda one: one.st_mtime)
    age = time.time() - oldest.st_mtime
    later = size - oldest.st_size
    about = os.statvfs(directory)
    return {
        "size": size,
        "per_day": round(later / age * _DAY) if age > _YOUNG else None,
        "free": about.f_bavail * about.f_frsize,
    }


def judge(seen: Seen) -> Iterator[Result]:
    """A result for each disk that is short, and one for each node."""
    yield from seen.untold("disk", "disk", "its disks")
    keeps = {node: mapping(facts) for node, facts in seen.told("database").items()}
    for node, facts in seen.told("disk").items():
        well = []
        for path, found in mapping(facts.get("disks")).items():
            result = _disk(node, text(path), mapping(found))
            if result.verdict == OK:
                well.append(result.what)
            else:
                yield result
        if well:
            yield Result("disk", OK, node, "; ".join(well))
        for name, found in mapping(facts.get("binlogs")).items():
            yield from _growth(node, text(name, 80), mapping(found), mapping(mapping(keeps.get(node)).get("services")))


def _disk(node: str, path: str, found: Any) -> Result:
    free, total = number(found.get("free")), number(found.get("total"))
    if free is None or not total:
        return Result(
            "disk", WARN, node, f"{path} cannot be looked at: {text(found.get('error', 'it has no size'))}", _WHY
        )
    share, inodes = free / total, number(found.get("inodes"))
    words = f"{path} has {size(free)} free ({share:.0%})"
    fix = f"du -xh --max-depth 2 {shlex.quote(path)} | sort -h | tail; journalctl --vacuum-size 200M; or a larger disk"
    if inodes is not None and inodes < _FAIL:
        return Result("disk", FAIL, node, f"{path} has {inodes:.1%} of its inodes left", _WHY, fix)
    if free >= _PLENTY or share >= _WARN:
        return Result("disk", OK, node, words)
    return Result("disk", FAIL if share < _FAIL else WARN, node, words, _WHY, fix)


def _growth(node: str, name: str, found: Any, services: Any) -> Iterator[Result]:
    now, per_day = number(found.get("size")), number(found.get("per_day"))
    free = number(found.get("free"))
    if not now or not per_day or free is None:
        return
    kept = _days(mapping(mapping(services.get(name)).get("variables")).get("expire_logs_days"))
    grown = per_day * kept if kept else None
    days = free / per_day
    words = f"the binary logs of {name} take {size(now)} and grow by {size(per_day)} a day"
    fix = "SET GLOBAL expire_logs_days = 3 (and options of the database in the topology); or a larger disk"
    if grown is None or grown - now > free:
        until = "nothing is ever purged (expire_logs_days is 0)" if not kept else f"they are kept for {kept:.0f} days"
        verdict = FAIL if days < _SOON else WARN
        yield Result("binlog-growth", verdict, node, f"{words}: the disk is full in {days:.0f} days", until, fix)
    else:
        yield Result("binlog-growth", OK, node, f"{words}, which fits")


def _days(value: object) -> float | None:
    """What the server said of expire_logs_days: "10.000000"."""
    try:
        return float(str(value))
    except ValueError:
        return None


def size(count: float) -> str:
    """Bytes for a person."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(count) < 1024 or unit == "TiB":
            return f"{count:.0f} {unit}" if unit in ("B", "KiB", "MiB") else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError
