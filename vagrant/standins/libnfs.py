"""Test equipment: an NFSv4 client in user space, by libnfs, that waits for its server as a hard mount does."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import time
from typing import Any, Callable

PORT = 2049
# What a server says about a file; anything else is a matter of the connection or of lost state, and is tried again.
_DEFINITE = (
    errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT,
    errno.ENAMETOOLONG, errno.EISDIR, errno.ENOTDIR, errno.EXDEV, errno.EMLINK, errno.EFBIG, errno.ELOOP, errno.ESTALE,
)  # fmt: skip
_TRIES = 480  # with a connection that works: two minutes, longer than a new server's grace period
_RECONNECT = 4  # after so many of these
_PAUSE = 0.25
_LOST = 4000  # ms without an acknowledgement after which the server counts as gone


STAT_FIELDS = (
    "dev", "ino", "mode", "nlink", "uid", "gid", "rdev", "size", "blksize", "blocks", "atime", "mtime", "ctime",
    "atime_ns", "mtime_ns", "ctime_ns", "used",
)  # fmt: skip
STATVFS_FIELDS = (
    "bsize", "frsize", "blocks", "bfree", "bavail", "files", "ffree", "favail", "fsid", "flag", "namemax",
    "spare1", "spare2", "spare3",
)  # fmt: skip


class Stat(ctypes.Structure):
    """struct nfs_stat_64."""

    _fields_ = tuple((name, ctypes.c_uint64) for name in STAT_FIELDS)


class _Entry(ctypes.Structure):
    pass


_Entry._fields_ = [("next", ctypes.POINTER(_Entry)), ("name", ctypes.c_char_p)]


class Statvfs(ctypes.Structure):
    """struct statvfs."""

    _fields_ = tuple((name, ctypes.c_ulong) for name in STATVFS_FIELDS)


class Timeval(ctypes.Structure):
    """struct timeval."""

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
