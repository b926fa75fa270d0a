"""Test equipment, no product: stands in for the kernel's NFS client, which a container cannot have.

A real NFSv4 client in user space (libnfs) shown as a file system through FUSE, on each node of a lab as mount.fuse.labnfs:

    mount -t fuse.labnfs SERVER:/EXPORT DIRECTORY [-o delay=SECONDS]

Like a hard mount it waits for its server for ever, and goes on when that answers again, also when another machine does; unlike the
kernel's client it does not reclaim its opens from a new server, it opens again. What a process waits for here cannot be interrupted
by any signal (state D), so it is worse than the kernel's client, which a SIGKILL gets out of most waits.

By command it hangs or is stale: the file /run/labnfs/DIRECTORY (slashes written as hyphens) holds "hang", "stale" or "eio".
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from hafailover.vagrant.standins.libnfs import STAT_FIELDS, STATVFS_FIELDS, Connection, Stat, Statvfs, Timeval

CONTROL = "/run/labnfs"
_O_MASK = os.O_ACCMODE | os.O_APPEND | os.O_SYNC
_WRITE = 2048  # libnfs 4.0 cannot encode a write of version 4 that is much longer
_UNSAID = ("fsid", "flag", "spare1", "spare2", "spare3")


class _File:
    """An open file: its handle, and of which connection it is."""

    def __init__(self, path: bytes, flags: int) -> None:
        self.path, self.flags = path, flags
        self.handle: Any = None
        self.epoch = 0


class Client:
    """The operations as fusepy calls them."""

    use_ns = True

    def __init__(self, connection: Connection, mounted: Mounted) -> None:
        self._nfs = connection
        self._mounted = mounted
        self._files: dict[int, _File] = {}
        self._next = 1

    def __call__(self, op: str, *arguments: Any) -> Any:
        """Every operation comes through here."""
        if op in ("init", "destroy"):
            return getattr(self, op)()
        self._mounted.obey()
        return self._nfs.hard(lambda: getattr(self, op)(*arguments))

    def init(self, *_: Any) -> None:
        """In the process that stays."""
        self._nfs.connect()
        self._mounted.begin()

    def destroy(self, *_: Any) -> None:
        """The mount has ended."""
        self._nfs.close()

    def getattr(self, path: str, _: Any = None) -> dict[str, Any]:
        """As lstat."""
        found = Stat()
        self._nfs.call("nfs_lstat64", _bytes(path), ctypes.byref(found))
        plain = {f"st_{name}": getattr(found, name) for name in STAT_FIELDS[1:8]}
        times = {
            f"st_{name}": getattr(found, name) * 10**9 + getattr(found, f"{name}_ns")
            for name in ("atime", "mtime", "ctime")
        }
        plain["st_blocks"] = found.blocks
        return {**plain, **times}

    def statfs(self, path: str) -> dict[str, int]:
        """As statvfs."""
        found = Statvfs()
        self._nfs.call("nfs_statvfs", _bytes(path), ctypes.byref(found))
        return {f"f_{name}": int(getattr(found, name)) for name in STATVFS_FIELDS if name not in _UNSAID}

    def readdir(self, path: str, _: Any) -> list[str]:
        """The names, those of the directory itself and of its parent among them."""
        return [".", "..", *(name for name in self._nfs.entries(_bytes(path)) if name not in (".", ".."))]

    def readlink(self, path: str) -> str:
        """Where a symbolic link points."""
        buffer = ctypes.create_string_buffer(4097)
        self._nfs.call("nfs_readlink", _bytes(path), buffer, 4096)
        return buffer.value.decode("utf-8", "surrogateescape")

    def open(self, path: str, flags: int) -> int:
        """A number for the open file."""
        file = _File(_bytes(path), flags & _O_MASK)
        self._handle(file)
        return self._keep(file)

    def create(self, path: str, mode: int, _: Any = None) -> int:
        """Make a file, belonging to who asked, and open it."""
        file = _File(_bytes(path), os.O_RDWR)
        handle = ctypes.c_void_p()
        self._nfs.call("nfs_open2", file.path, os.O_RDWR | os.O_CREAT, stat.S_IMODE(mode), ctypes.byref(handle))
        file.handle, file.epoch = handle, self._nfs.epoch
        self._nfs.call("nfs_chmod", file.path, stat.S_IMODE(mode))  # it leaves the mode at 0600
        self._own(file.path)
        return self._keep(file)

    def read(self, _: str, size: int, offset: int, number: int) -> bytes:
        """At most ``size`` bytes."""
        buffer = ctypes.create_string_buffer(size)
        read = self._nfs.call("nfs_pread", self._handle(self._files[number]), offset, size, buffer)
        return buffer.raw[:read]

    def write(self, _: str, data: bytes, offset: int, number: int) -> int:
        """How many bytes were written."""
        done = 0
        while done < len(data):
            piece = data[done : done + _WRITE]
            done += self._nfs.call("nfs_pwrite", self._handle(self._files[number]), offset + done, len(piece), piece)
        return done

    def fsync(self, _: str, __: int, number: int) -> int:
        """Have the server write it to its disk."""
        return self._nfs.call("nfs_fsync", self._handle(self._files[number]))

    def flush(self, _: str, number: int) -> int:
        """On every close: close-to-open consistency."""
        file = self._files[number]
        return self._nfs.call("nfs_fsync", self._handle(file)) if file.flags & os.O_ACCMODE else 0

    def release(self, _: str, number: int) -> int:
        """The last close."""
        file = self._files.pop(number, None)
        if file is not None and file.handle is not None and file.epoch == self._nfs.epoch:
            self._nfs.call("nfs_close", file.handle)
        return 0

    def truncate(self, path: str, length: int, _: Any = None) -> int:
        """Set a file's length."""
        return self._nfs.call("nfs_truncate", _bytes(path), length)

    def mkdir(self, path: str, mode: int) -> None:
        """Make a directory that belongs to who asked."""
        self._nfs.call("nfs_mkdir2", _bytes(path), stat.S_IMODE(mode))
        self._own(_bytes(path))

    def rmdir(self, path: str) -> int:
        """Remove a directory."""
        return self._nfs.call("nfs_rmdir", _bytes(path))

    def unlink(self, path: str) -> int:
        """Remove a file."""
        return self._nfs.call("nfs_unlink", _bytes(path))

    def rename(self, old: str, new: str) -> int:
        """Rename, in place of what is there."""
        return self._nfs.call("nfs_rename", _bytes(old), _bytes(new))

    def symlink(self, link: str, target: str) -> int:
        """A symbolic link."""
        return self._nfs.call("nfs_symlink", _bytes(target), _bytes(link))

    def link(self, new: str, old: str) -> int:
        """Another name."""
        return self._nfs.call("nfs_link", _bytes(old), _bytes(new))

    def chmod(self, path: str, mode: int) -> int:
        """Set permissions; libnfs 4.0 cannot for a directory (EISDIR)."""
        return self._nfs.call("nfs_chmod", _bytes(path), stat.S_IMODE(mode))

    def chown(self, path: str, uid: int, gid: int) -> int:
        """Set owner and group; -1 leaves one as it is."""
        if -1 in (uid, gid):
            found = self.getattr(path)
            uid, gid = (found["st_uid"] if uid == -1 else uid), (found["st_gid"] if gid == -1 else gid)
        return self._nfs.call("nfs_lchown", _bytes(path), uid, gid)

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        """Set times, in nanoseconds."""
        now = time.time_ns()
        given = (Timeval * 2)(*(Timeval(value // 10**9, value % 10**9 // 1000) for value in times or (now, now)))
        return self._nfs.call("nfs_lutimes", _bytes(path), given)

    def _keep(self, file: _File) -> int:
        number, self._next = self._next, self._next + 1
        self._files[number] = file
        return number

    def _handle(self, file: _File) -> Any:
        if file.handle is None or file.epoch != self._nfs.epoch:
            handle = ctypes.c_void_p()
            self._nfs.call("nfs_open", file.path, file.flags, ctypes.byref(handle))
            file.handle, file.epoch = handle, self._nfs.epoch
        return file.handle

    def _own(self, path: bytes) -> None:
        import fusepy  # type: ignore[import-not-found]

        uid, gid, _ = fusepy.fuse_get_context()
        if uid or gid:
            self._nfs.call("nfs_lchown", path, uid, gid)


class Mounted:
    """Where this is mounted, and what the tests want of it."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.control = f"{CONTROL}/{directory.strip('/').replace('/', '-')}"
        self._device = ""

    def begin(self) -> None:
        """Learn which mount is ours; a handle that was stale in an earlier one is not in this."""
        self._device = next(reversed(self._devices()), "")
        if self._word() == "stale":
            Path(self.control).unlink()

    def over(self) -> None:
        """End this process if its mount is gone: nobody waits for an answer any more."""
        if self._device and self._device not in self._devices():
            os._exit(0)

    def obey(self) -> None:
        """Wait as long as the control file says "hang"; OSError if it says so."""
        looked = time.monotonic()
        while True:
            word = self._word()
            if word in ("stale", "eio"):
                number = errno.ESTALE if word == "stale" else errno.EIO
                raise OSError(number, os.strerror(number))
            if word != "hang":
                return
            time.sleep(0.05)
            if time.monotonic() - looked > 1:
                looked = time.monotonic()
                self.over()

    def _word(self) -> str:
        try:
            with open(self.control) as file:
                return file.read().strip()
        except FileNotFoundError:
            return ""

    def _devices(self) -> list[str]:
        with open("/proc/self/mountinfo") as file:
            lines = [line.split() for line in file]
        return [words[2] for words in lines if words[4] == self.directory and "fuse.labnfs" in words]


def _bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")


def fail(text: str) -> NoReturn:
    """End as mount programs do."""
    sys.stderr.write(f"mount.fuse.labnfs: {text}\n")
    sys.exit(32)


def main(argv: list[str]) -> None:
    """``SOURCE DIRECTORY [-o OPTIONS]``; other words that mount(8) gives are not needed."""
    if len(argv) < 2:
        fail("usage: mount.fuse.labnfs SERVER:/EXPORT DIRECTORY [-o OPTIONS]")
    source, directory = argv[0], argv[1].rstrip("/")
    options = argv[argv.index("-o") + 1].split(",") if "-o" in argv[:-1] else []
    delay = next((option.partition("=")[2] for option in options if option.startswith("delay=")), "0")
    server, colon, export = source.partition(":/")
    if not colon:
        fail(f"{source} is not SERVER:/EXPORT")
    time.sleep(float(delay))
    Path(CONTROL).mkdir(exist_ok=True)
    mounted = Mounted(directory)
    connection = Connection(server, f"/{export}", mounted.over)
    wrong = connection.connect()
    connection.close()
    if wrong:
        fail(wrong)
    import fusepy

    fusepy.FUSE(
        Client(connection, mounted), directory, nothreads=True, fsname=source, subtype="labnfs", allow_other=True,
        default_permissions=True, nonempty=True, big_writes=True, attr_timeout=1, entry_timeout=1, ac_attr_timeout=1,
        **({"ro": True} if "ro" in options else {}),
    )  # fmt: skip
