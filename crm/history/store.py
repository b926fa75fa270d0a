"""A node's copy of the history: one file for each writer, of which lines are only ever added or, at its beginning, dropped.

The records of a writer that are here are always those kept of all up to the last one that is here: a copy has no holes, so the number of
its last record says what it lacks.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Iterator, Sequence

from hafailover.agents import journal
from hafailover.crm.history import records
from hafailover.crm.history.records import Record

_SLACK = 1.2  # a file may be this much larger than what is kept, so that it is not written anew each time
_TAIL = 65536  # bytes
_WRITERS = 64
_ANOTHER = 86400.0  # seconds
_LIVES = 8  # of one node, after which it gets a further one once a day
_BROKEN = (
    errno.EISDIR,
    errno.ELOOP,
    errno.EIO,
    errno.EUCLEAN,
)  # a directory, a link, a bad sector, a broken file system
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC


class Busy(Exception):
    """Another process has the store, and did not give it back in time."""


class Store:
    """The files in ``directory``, which is made when it is needed. OSError when the disk does not take or give them."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    @contextlib.contextmanager
    def lock(self, seconds: float) -> Iterator[None]:
        """Have the store alone; Busy after ``seconds``."""
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        if stat.S_IMODE(os.stat(self.directory).st_mode) & 0o077:
            os.chmod(self.directory, 0o700)  # a copy that was put back may have other rights
        file = os.open(f"{self.directory}/.lock", os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
        try:
            end = time.monotonic() + seconds
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() >= end:
                        raise Busy from None
                    time.sleep(0.01)
            yield
        finally:
            os.close(file)

    def writers(self) -> list[str]:
        """Everybody of whom something is here."""
        try:
            names = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        return sorted(name[:-4] for name in names if name.endswith(".log") and records.WRITER.fullmatch(name[:-4]))

    def have(self) -> dict[str, int]:
        """The number of the last record of each writer."""
        return {writer: last.seq for writer in self.writers() if (last := self.last(writer)) is not None}

    def last(self, writer: str) -> Record | None:
        """The last record of ``writer``, or None."""
        tail = self._content(writer, _TAIL)
        lines = tail.split(b"\n")
        found = (records.read(line) for line in reversed(lines))
        last = next((record for record in found if record is not None and record.writer == writer), None)
        if last is None and len(tail) == _TAIL:
            # What a crash left at its end hides what is before: without it, numbers would be used twice.
            last = max(self.all_of(writer), key=lambda record: record.seq, default=None)
        return last

    def _content(self, writer: str, tail: int = 0) -> bytes:
        """What is in the file of ``writer``, or the last ``tail`` bytes of it; nothing when there is none. One that cannot be read keeps
        nobody from the others: it is put aside, and what was in it is taken from the other nodes again.
        """
        path = self._path(writer)
        try:
            with open(os.open(path, os.O_RDONLY | _FLAGS), "rb") as stream:
                if tail:
                    stream.seek(max(0, stream.seek(0, os.SEEK_END) - tail))
                return stream.read()
        except FileNotFoundError:
            return b""
        except OSError as error:
            if error.errno not in _BROKEN:
                raise
            self._put_aside(path, error)
            return b""

    def _put_aside(self, path: str, error: OSError) -> None:
        aside = f"{path}.broken"
        if os.path.isdir(aside) and not os.path.islink(aside):
            aside = f"{path}.broken.{time.time_ns()}"
        os.rename(path, aside)
        journal.send("warning", "hafailover-history", f"{path} cannot be read ({error.strerror}): it is {aside} now")

    def of(self, writer: str, keep: int) -> list[Record]:
        """The records of ``writer`` that are kept, in their order."""
        return records.trimmed(self.all_of(writer), keep)

    def everything(self, keep: int) -> list[Record]:
        """All records that are kept, sorted."""
        found = [record for writer in self.writers() for record in self.of(writer, keep)]
        return sorted(found, key=records.place)

    def all_of(self, writer: str) -> list[Record]:
        """All records of ``writer`` that are in its file, also such as are to be dropped."""
        found = (records.read(line) for line in self._content(writer).split(b"\n"))
        return [record for record in found if record is not None and record.writer == writer]

    def append(self, writer: str, new: Sequence[Record], keep: int) -> None:
        """Add records, whose numbers must be above all that are here. What is more than is kept is dropped before, not now: what has just
        come is still there when the same is handed in again.
        """
        if not new:
            return
        self._drop(writer, keep)
        file = os.open(self._path(writer), os.O_RDWR | os.O_APPEND | os.O_CREAT | _FLAGS, 0o600)
        try:
            before = os.fstat(file).st_size
            torn = before > 0 and os.pread(file, 1, before - 1) != b"\n"  # a crash has cut the last line
            data = (b"\n" if torn else b"") + b"".join(records.write(record) + b"\n" for record in new)
            try:
                _write(file, data)
                os.fsync(file)
            except OSError:
                # A full disk takes a part, or takes all and says so afterwards. None of it counts: it is handed in still.
                os.ftruncate(file, before)
                raise
        finally:
            os.close(file)

    def _drop(self, writer: str, keep: int) -> None:
        try:
            size = os.stat(self._path(writer), follow_symlinks=False).st_size
        except FileNotFoundError:
            return
        # Not worth a look before there can be a class with too many.
        if size > keep * 128:
            found = self.all_of(writer)
            kept = records.trimmed(found, keep)
            needed = sum(len(records.write(one)) + 1 for one in kept)
            if len(found) > len(kept) * _SLACK or size > _SLACK * needed:
                try:
                    self._replace(writer, kept)
                except OSError:
                    if size > 2 * needed:
                        raise
                    # A disk that is nearly full has no room for two, but perhaps for what there is to write down.

    def _replace(self, writer: str, kept: Sequence[Record]) -> None:
        path = self._path(writer)
        # A fixed name: what a crash leaves behind is written over, not added to.
        file = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS, 0o600)
        try:
            _write(file, b"".join(records.write(record) + b"\n" for record in kept))
            os.fsync(file)
            os.rename(path + ".new", path)
        except OSError:
            os.unlink(path + ".new")  # on a full disk it would take what little there is
            raise
        finally:
            os.close(file)

    def forget(self) -> None:
        """Drop the writers beyond _WRITERS of whom nothing was heard for longest: nodes that were set up anew again and again."""
        writers = self.writers()
        if len(writers) <= _WRITERS:
            return
        heard = {writer: last.order if (last := self.last(writer)) else 0 for writer in writers}
        for writer in sorted(writers, key=lambda one: (-heard[one], one))[_WRITERS:]:
            os.unlink(self._path(writer))

    def writer(self, node: str) -> str:
        """This copy's own name as a writer: ``node``, and letters drawn when the copy began.

        A machine that was copied, or a node that begins with an empty disk, is another writer: numbers are never used twice.
        """
        path = f"{self.directory}/writer"
        # Pacemaker takes names that are none of a file.
        node = re.sub(r"[^A-Za-z0-9._-]", "_", node)[:63] or "_"
        node = node if node[0].isalnum() else f"n{node[:62]}"
        with contextlib.suppress(OSError), open(path, encoding="ascii", errors="replace") as stream:
            known = stream.read(100).strip()
            # Whoever deletes the file has deleted the numbers: the next one begins under another name.
            mine = records.WRITER.fullmatch(known) and known.partition("~")[0] == node
            if mine and os.path.exists(self._path(known)):
                return known
        drawn = f"{node}~" + "".join(_LETTERS[byte % len(_LETTERS)] for byte in os.urandom(4))
        file = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _FLAGS, 0o600)
        with open(file, "w", encoding="utf-8") as stream:
            stream.write(drawn + "\n")
            stream.flush()
            os.fsync(file)
        os.rename(path + ".new", path)
        return drawn

    def another(self) -> bool:
        """Have :meth:`writer` draw another name. False when this node has had many, and the present one is not a day old: nobody can have
        it done often.
        """
        path = f"{self.directory}/writer"
        with open(path, encoding="ascii", errors="replace") as stream:
            node = stream.read(100).partition("~")[0]
        lives = sum(writer.partition("~")[0] == node for writer in self.writers())
        if lives >= _LIVES and time.time() - os.stat(path).st_mtime < _ANOTHER:
            return False
        os.unlink(path)
        return True

    def _path(self, writer: str) -> str:
        return f"{self.directory}/{writer}.log"


def _write(file: int, data: bytes) -> None:
    """All of ``data``: a disk that is nearly full takes less than it is given, and says nothing."""
    left = memoryview(data)
    while left:
        left = left[os.write(file, left) :]
