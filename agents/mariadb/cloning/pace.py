"""How fast a clone may be, whether there is room for it, and whether the data directory holds everything."""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MIB = 1 << 20
_SPARE = 1.1  # a clone grows while it is made, and its recovery writes a log
_LEAST_SPARE = 64 * MIB


class TokenBucket:
    """Lets ``rate`` bytes per second pass on average, and half a second's worth at once; rate 0: as fast as it goes."""

    def __init__(
        self,
        rate: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._clock, self._sleep = clock, sleep
        self._burst = rate / 2
        self._tokens = self._burst
        self._at = clock()

    def take(self, size: int) -> None:
        """Wait until ``size`` more bytes may pass."""
        if not self._rate:
            return
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate) - size
        self._at = now
        if self._tokens < 0:
            self._sleep(-self._tokens / self._rate)


def needed(size: int) -> int:
    """Bytes that must be free for a clone of a data directory of ``size`` bytes."""
    return max(int(size * _SPARE), size + _LEAST_SPARE)


def space_refusal(size: int, free: int, where: str) -> str | None:
    """Say why a clone of ``size`` bytes does not fit into ``free`` bytes, or None. The old data stay until the new are in sync."""
    if free >= needed(size):
        return None
    return f"not enough space: the clone needs {mib(needed(size))} beside the old data, {mib(free)} are free on the file system of {where}"


def free(path: str) -> int:
    """Bytes that are free on the file system of ``path``."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def size_of(directory: str, without: tuple[str, ...] = ()) -> int:
    """Bytes on disk below ``directory``, but for files and directories whose name begins with one of ``without``."""
    total = 0
    waiting = [directory]
    while waiting:
        try:
            with os.scandir(waiting.pop()) as entries:
                for entry in entries:
                    if entry.name.startswith(without):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
        except FileNotFoundError:  # dropped while we look
            continue
    return total


def mib(size: float) -> str:
    """``size`` bytes for a person."""
    return f"{size / MIB:.0f} MiB" if size < 10240 * MIB else f"{size / MIB / 1024:.1f} GiB"


_PLACES = frozenset(
    {
        "log_bin", "log_bin_index", "relay_log", "relay_log_index", "innodb_data_home_dir", "innodb_log_group_home_dir",
        "innodb_undo_directory", "aria_log_dir_path",
    }
)  # fmt: skip


def elsewhere(config: str, datadir: str) -> str | None:
    """Say which part of the data the server's configuration file puts outside of the data directory, or None.

    Such files would be left behind by an exchange of data directories, and belong to another history then.
    """
    for line in config.splitlines():
        name, equals, value = line.partition("=")
        name, value = name.strip().lower().replace("-", "_"), value.strip().strip("\"'")
        if not equals or name not in _PLACES or not value.startswith("/"):
            continue
        real = os.path.realpath(value)
        if real != datadir and not real.startswith(datadir + "/"):
            return f"{name} puts files into {value}, outside of the data directory: such a server cannot be cloned"
    return None
