#!/usr/bin/python3
"""Test equipment, no product: stands in for the kernel's NFS client, which a container cannot have.

A real NFSv4 client in user space (libnfs) shown as a file system through FUSE, installed on a node as mount.fuse.labnfs:

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
import socket
import stat
import sys
import time
from pathlib import Path
from typing import Any, Callable, NoReturn

CONTROL = "/run/labnfs"
PORT = 2049
# What a server says about a file; anything else is a matter of the connection or of lost state, and is tried again.
_DEFINITE = (
    errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT,
    errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EXDEV, errno.EMLINK, errno.EFBIG, errno.ELOOP, errno.ESTALE,
)  # fmt: skip
_TRIES = 480  # with a connection that works: two minutes, longer than a new server's grace period
_RECONNECT = 4  # after so many of these
_PAUSE = 0.25
_WRITE = 2048  # libnfs 4.0 cannot encode a write of version 4 that is much longer
_LOST = 4000  # ms without an acknowledgement after which the server counts as gone
_O_MASK = os.O_ACCMODE | os.O_APPEND | os.O_SYNC


_STAT = (
    "dev", "ino", "mode", "nlink", "uid", "gid", "rdev", "size", "blksize", "blocks", "atime", "mtime", "ctime",
    "atime_ns", "mtime_ns", "ctime_ns", "used",
)  # fmt: skip
_STATVFS = (
    "bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "favail", "fsid", "flag", "namemax",
    "spare1", "spare2", "spare3",
)  # fmt: skip


_UNSAID = ("fsid", "flag", "spare1", "spare2", "spare3")


class _Stat(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in _STAT)


class _Entry(ctypes.Structure):
    pass


_Entry._fields_ = [("next", ctypes.POINTER(_Entry)), ("name", ctypes.c_char_p)]


class _Statvfs(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_ulong) for name in _STATVFS)


class _Timeval(ctypes.Structure):
    _fields_ = (("sec", ctypes.c_long), ("usec", ctypes.c_long))


def library() -> Any:
    """libnfs with the types of what is called."""
    lib = ctypes.CDLL("libnfs.so.13")
    context, path, pointer, u64 = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_uint64
    lib.nfs_init_context.restype = context
    lib.nfs_get_error.restype = ctypes.c_char_p
    lib.nfs_readdir.restype = ctypes.POINTER(_Entry)
    for name, types in {
        "nfs_destroy_context": (), "nfs_get_error": (), "nfs_get_fd": (), "nfs_set_version": (ctypes.c_int,),
        "nfs_set_autoreconnect": (ctypes.c_int,), "nfs_mount": (path, path), "nfs_lstat64": (path, pointer),
        "nfs_statvfs": (path, pointer), "nfs_opendir": (path, pointer), "nfs_readdir": (pointer,), "nfs_closedir": (pointer,),
        "nfs_open": (path, ctypes.c_int, pointer), "nfs_open2": (path, ctypes.c_int, ctypes.c_int, pointer), "nfs_close": (pointer,),
        "nfs_pread": (pointer, u64, u64, pointer), "nfs_pwrite": (pointer, u64, u64, pointer), "nfs_fsync": (pointer,),
        "nfs_truncate": (path, u64), "nfs_mkdir2": (path, ctypes.c_int), "nfs_rmdir": (path,), "nfs_unlink": (path,),
        "nfs_rename": (path, path), "nfs_symlink": (path, path), "nfs_link": (path, path),
        "nfs_readlink": (path, pointer, ctypes.c_int), "nfs_chmod": (path, ctypes.c_int),
        "nfs_lchown": (path, ctypes.c_int, ctypes.c_int), "nfs_lutimes": (path, pointer),
    }.items():  # fmt: skip
        getattr(lib, name).argtypes = (context, *types) if name != "nfs_init_context" else ()
    return lib


class Connection:
    """A context of libnfs; ``epoch`` counts how often it was made anew, which ends every open handle."""

    def __init__(self, server: str, export: str, over: Callable[[], None]) -> None:
        self.lib = library()
        self.server, self.export = server, export
        self.epoch = 0
        self._over = over
        self._context: Any = None

    def connect(self) -> str | None:
        """Mount once; what is wrong, or None."""
        self.close()
        try:
            socket.create_connection((self.server, PORT), timeout=2).close()
        except OSError as error:
            return f"{self.server}: {error.strerror or error}"
        context = self.lib.nfs_init_context()
        self.lib.nfs_set_version(context, 4)
        self.lib.nfs_set_autoreconnect(context, 0)
        if self.lib.nfs_mount(context, self.server.encode(), self.export.encode()) != 0:
            said = self.lib.nfs_get_error(context)
            self.lib.nfs_destroy_context(context)
            return f"{self.server}:{self.export}: {said.decode(errors='replace') if said else 'refused'}"
        link = socket.socket(fileno=os.dup(self.lib.nfs_get_fd(context)))
        with link:
            # A server without power says nothing: what is on its way, and an idle connection, both have to end.
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _LOST)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT):
                link.setsockopt(socket.IPPROTO_TCP, option, 2)
        self._context = context
        self.epoch += 1
        return None

    def close(self) -> None:
        """Forget the connection."""
        if self._context is not None:
            self.lib.nfs_destroy_context(self._context)
            self._context = None

    def call(self, name: str, *arguments: Any) -> int:
        """One call; OSError with its error, ConnectionError if that is not the file's but the connection's."""
        if self._context is None:
            raise ConnectionError
        result: int = getattr(self.lib, name)(self._context, *arguments)
        if result >= 0:
            return result
        if -result in _DEFINITE:
            raise OSError(-result, os.strerror(-result))
        raise ConnectionError(-result, os.strerror(-result))

    def hard(self, work: Callable[[], Any]) -> Any:
        """Do ``work`` until the server has answered, for as long as this is mounted."""
        tries = 0
        while True:
            try:
                return work()
            except ConnectionError as error:
                if tries == _TRIES:
                    raise OSError(errno.EIO, os.strerror(errno.EIO)) from error
            while tries % _RECONNECT == 0 and self.connect() is not None:
                tries = 0
                self._over()
                time.sleep(_PAUSE)
            if tries:
                time.sleep(_PAUSE)
            tries += 1

    def entries(self, path: bytes) -> list[str]:
        """The names in a directory."""
        handle = ctypes.c_void_p()
        self.call("nfs_opendir", path, ctypes.byref(handle))
        names = []
        try:
            entry = self.lib.nfs_readdir(self._context, handle)
            while entry:
                names.append(entry.contents.name.decode("utf-8", "surrogateescape"))
                entry = self.lib.nfs_readdir(self._context, handle)
        finally:
            self.lib.nfs_closedir(self._context, handle)
        return names


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
        found = _Stat()
        self._nfs.call("nfs_lstat64", _bytes(path), ctypes.byref(found))
        plain = {f"st_{name}": getattr(found, name) for name in _STAT[1:8]}
        times = {
            f"st_{name}": getattr(found, name) * 10**9 + getattr(found, f"{name}_ns")
            for name in ("atime", "mtime", "ctime")
        }
        plain["st_blocks"] = found.blocks
        return {**plain, **times}

    def statfs(self, path: str) -> dict[str, int]:
        """As statvfs."""
        found = _Statvfs()
        self._nfs.call("nfs_statvfs", _bytes(path), ctypes.byref(found))
        return {f"f_{name}": int(getattr(found, name)) for name in _STATVFS if name not in _UNSAID}

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
        given = (_Timeval * 2)(*(_Timeval(value // 10**9, value % 10**9 // 1000) for value in times or (now, now)))
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


if __name__ == "__main__":
    main(sys.argv[1:])
