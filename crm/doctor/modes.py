"""Secrets: whether anybody but those who must can read the files that hold them."""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hafailover.crm.doctor import FAIL, OK, WARN, Result, Seen, text
from hafailover.crm.doctor.here import Here
from hafailover.crm.files import group_name as _group
from hafailover.crm.files import user_name as _user
from hafailover.crm.status_xml import pairs

TITLE = "Secrets"
_KNOWN = {
    "/etc/corosync/authkey": 0o400,
    "/etc/pacemaker/authkey": 0o640,
    "/var/lib/rabbitmq/.erlang.cookie": 0o400,
    "/etc/hafailover/redis-password": 0o600,
}
_DIRECTORY = "/etc/hafailover/secrets"
_MOST = 60  # files
_WHY = "who can read it can replicate all data, switch nodes off, or join the cluster"


def read(here: Here) -> dict[str, Any]:
    """``files``: [path, mode, the most that it should be, owner, group] of each file that holds a secret."""
    wanted = dict(_KNOWN)
    for primitive in here.cib.iter("primitive") if here.cib is not None else ():
        for name, value in pairs(primitive.find("instance_attributes")).items():
            if value.startswith("/") and name.endswith("_script") and primitive.get("class") == "stonith":
                wanted[value] = 0o700
            elif value.startswith("/") and name in ("credentials", "defaults_extra_file"):
                wanted[value] = 0o600
    wanted.update(_below(_DIRECTORY))
    files: list[list[Any]] = []
    for path, most in wanted.items():
        try:
            about = Path(path).stat()
        except OSError:
            continue
        files.append([path, stat.S_IMODE(about.st_mode), most, _user(about.st_uid), _group(about.st_gid)])
    files.sort(
        key=lambda one: not _open(one[1], one[2])
    )  # what is wrong is never among those for which there is no room
    return {"files": files[:_MOST]}


def _open(mode: int, most: int) -> int:
    """The rights that others have beyond ``most``."""
    return mode & ~most & 0o077


def _below(directory: str) -> Iterator[tuple[str, int]]:
    for above, _, names in os.walk(directory):
        yield above, 0o700
        for name in names:
            yield f"{above}/{name}", 0o600


def judge(seen: Seen) -> Iterator[Result]:
    """A result for each file that is open, and one for each node where none is."""
    yield from seen.untold("modes", "secret-mode", "its secrets")
    for node, facts in seen.told("modes").items():
        count, bad = 0, False
        for entry in facts.get("files") or ():
            if not (isinstance(entry, list) and len(entry) == 5 and all(type(one) is int for one in entry[1:3])):
                continue
            path, mode, most, owner, group = text(entry[0]), entry[1], entry[2], text(entry[3], 40), text(entry[4], 40)
            count += 1
            more = _open(mode, most)
            if more:
                bad = True
                who = "everybody" if more & 0o007 else f"the group {group}"
                what = f"{path} ({mode:04o} {owner}:{group}) is open to {who}"
                fix = f"chmod {most:04o} {shlex.quote(path)}"
                yield Result("secret-mode", FAIL if more & 0o007 else WARN, node, what, _WHY, fix)
        if count and not bad:
            yield Result("secret-mode", OK, node, f"{count} files with secrets are open to nobody else")
