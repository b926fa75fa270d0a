"""The configurations that hafailover has replaced, kept on the node where that was done, for root alone.

A file holds one change: the configuration before and after it. They may hold secrets that somebody wrote into the CIB. While a change is
being made its file's name says so, and that it is made takes but another name: no disk is too full for that.
"""

from __future__ import annotations

import os
import re
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hafailover.crm.errors import HafailoverError
from lxml import etree

DIRECTORY = Path("/var/lib/hafailover/configurations")
KEEP = 20
PENDING, UNCERTAIN, MADE = "pending", "uncertain", ""
_NAME = re.compile(r"(\d{6})(?:\.(pending|uncertain))?\.xml")
VERSION = ("admin_epoch", "epoch", "num_updates")
_STATES = (PENDING, UNCERTAIN, MADE)
_MAX_BYTES = 128 * 1024 * 1024


@dataclass(frozen=True)
class Entry:
    """One change: its ``number`` on this node, ``when`` (Unix time), ``who`` did ``what`` to the cluster ``cluster``, and the elements cib
    (without a status) ``before`` and ``after`` it."""

    number: int
    when: float
    who: str
    what: str
    cluster: str
    before: Any
    after: Any
    state: str = MADE  # PENDING: being made, or whoever made it died over it; UNCERTAIN: the cluster did not answer

    @property
    def clock(self) -> str:
        """When, as people write it."""
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.when))

    def __str__(self) -> str:
        state = {PENDING: "  (not finished)", UNCERTAIN: "  (uncertain: the cluster did not answer)"}.get(
            self.state, ""
        )
        return f"{self.number}  {self.clock}  {self.who}: {self.what}{state}"


@dataclass(frozen=True)
class Damaged:
    """A file that cannot be read any more: the ``number`` of its change, and ``why``, in words with the file's name."""

    number: int
    why: str

    def __str__(self) -> str:
        return f"{self.number}  damaged: {self.why}"


def operator() -> str:
    """Who is at work: the user behind sudo, else the one of this process."""
    name = os.environ.get("SUDO_USER", "") or os.environ.get("LOGNAME", "") or f"uid {os.getuid()}"
    return re.sub(r"[^A-Za-z0-9_.@ -]", "?", name)[:64]


def add(what: str, cluster: str, before: Any, after: Any) -> Entry:
    """Keep a change that is about to be made as pending; the oldest beyond KEEP are removed. HafailoverError when it cannot be kept."""
    try:
        DIRECTORY.mkdir(mode=0o700, parents=True, exist_ok=True)
        DIRECTORY.chmod(0o700)
        numbers = _numbers()
        entry = Entry(numbers[-1] + 1 if numbers else 1, time.time(), operator(), what, cluster, before, after, PENDING)
        _write(entry)
        for number in numbers[: max(len(numbers) + 1 - KEEP, 0)]:
            for state in _STATES:
                _path(number, state).unlink(missing_ok=True)
    except OSError as error:
        raise HafailoverError(
            f"the configuration cannot be kept in {DIRECTORY} ({error.strerror}), so the change could not be taken back; "
            "nothing was changed"
        ) from None
    return entry


def became(entry: Entry, before: Any, after: Any, state: str = MADE) -> Entry:
    """Note what a change has made of what in the end; HafailoverError when that cannot be written, then the entry is as it was."""
    new = replace(entry, before=before, after=after, state=state)
    try:
        # The version matters only to tell whether a patch may still come.
        version = state != UNCERTAIN or _version(entry.before) == _version(before)
        if version and _says(entry.before) == _says(before) and _says(entry.after) == _says(after):
            _path(entry.number, entry.state).replace(_path(entry.number, state))
        else:
            _write(new)
            if state != entry.state:
                _path(entry.number, entry.state).unlink(missing_ok=True)
    except OSError as error:
        raise HafailoverError(f"what is kept for undo cannot be brought up to date ({error.strerror})") from None
    return new


def forget(entry: Entry) -> None:
    """Remove a change that was not made after all."""
    with suppress(OSError):  # it stays pending, and the next command looks what became of it
        _path(entry.number, entry.state).unlink(missing_ok=True)


def entries() -> list[Entry | Damaged]:
    """All that is kept here, the oldest first; HafailoverError when this user may not read it."""
    return [_read(number, state) for number, state in sorted(_files().items())]


def _says(tree: Any) -> bytes:
    return bytes(etree.tostring(tree.find("configuration"), method="c14n"))


def _version(tree: Any) -> tuple[str | None, ...]:
    return tuple(tree.get(key) for key in VERSION)


def _files() -> dict[int, str]:
    """Number → state. Of two files of one change the one that was written last, on the way from pending to made, counts."""
    if not DIRECTORY.is_dir():
        return {}
    found: dict[int, str] = {}
    for path in DIRECTORY.iterdir():
        name = _NAME.fullmatch(path.name)
        if name:
            number, state = int(name[1]), name[2] or MADE
            found[number] = max(found.get(number, state), state, key=_STATES.index)
    return found


def kept() -> list[tuple[int, float]]:
    """The numbers of what is kept here and when it was written (Unix time), the newest first, without reading it. OSError."""
    return [(number, _path(number, state).stat().st_mtime) for number, state in sorted(_files().items(), reverse=True)]


def _numbers() -> list[int]:
    return sorted(_files())


def _path(number: int, state: str) -> Path:
    return DIRECTORY / (f"{number:06d}.{state}.xml" if state else f"{number:06d}.xml")


def _write(entry: Entry) -> None:
    root = etree.Element(
        "change", when=f"{entry.when:.0f}", who=entry.who, what=_plain(entry.what), cluster=_plain(entry.cluster)
    )
    for name, tree in (("before", entry.before), ("after", entry.after)):
        holder = etree.SubElement(root, name)
        cib = etree.SubElement(holder, "cib", dict(tree.attrib))
        cib.append(_copy(tree.find("configuration")))
    # mkstemp makes the file for its owner alone from the beginning.
    descriptor, name = tempfile.mkstemp(dir=DIRECTORY, prefix=".new-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(etree.tostring(root))
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(_path(entry.number, entry.state))
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _copy(element: Any) -> Any:
    return etree.fromstring(etree.tostring(element))


def _plain(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _read(number: int, state: str) -> Entry | Damaged:
    path = _path(number, state)
    try:
        raw = path.read_bytes() if path.stat().st_size < _MAX_BYTES else b""
        root: Any = etree.fromstring(raw, etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True))
        before, after = root.find("before/cib"), root.find("after/cib")
        if before.find("configuration") is None or after.find("configuration") is None:
            raise ValueError("no configuration in it")
        when = float(root.get("when"))
        who, what, cluster = (root.get(name, "") for name in ("who", "what", "cluster"))
        return Entry(number, when, who, what, cluster, before, after, state)
    except PermissionError:
        raise HafailoverError(f"{path}: only root may read it") from None
    except (OSError, ValueError, TypeError, AttributeError, etree.XMLSyntaxError) as error:
        return Damaged(number, f"{path} ({error}); what it kept is lost, remove it")
