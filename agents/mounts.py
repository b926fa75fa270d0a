"""The kernel's table of mounts, read as text: never a ``stat`` of what is mounted, which hangs with its server."""

from __future__ import annotations

from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TABLE = "/proc/self/mountinfo"


class Mount(NamedTuple):
    """One line of mountinfo; paths and source are unescaped. ``root`` is the directory of the file system that is mounted."""

    id: int
    parent: int
    device: str
    root: str
    point: str
    options: tuple[str, ...]
    fstype: str
    source: str
    super_options: tuple[str, ...]

    @property
    def identity(self) -> str:
        """A name of this mount that a later one at the same place does not have."""
        return f"{self.id}@{self.device}"

    @property
    def read_only(self) -> bool:
        """Whether the mount, or the whole file system, refuses writes."""
        return "ro" in self.options or "ro" in self.super_options

    def __str__(self) -> str:
        return f"{self.source} ({self.fstype})" if self.root == "/" else f"{self.root} of {self.source} ({self.fstype})"


def read(table: str = TABLE) -> list[Mount]:
    """Every mount of this process's namespace. OSError."""
    with open(table, "rb") as file:
        return parse(file.read().decode("utf-8", "surrogateescape"))


def parse(text: str) -> list[Mount]:
    """The mounts in the text of a mountinfo file; a line that is none is left out."""
    found = []
    for line in text.splitlines():
        # Between the sixth field and the hyphen stand any number of optional ones.
        before, hyphen, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if hyphen and len(left) >= 6 and len(right) >= 3:
            found.append(
                Mount(
                    int(left[0]),
                    int(left[1]),
                    left[2],
                    unescape(left[3]),
                    unescape(left[4]),
                    tuple(left[5].split(",")),
                    unescape(right[0]),
                    unescape(right[1]),
                    tuple(right[2].split(",")),
                )
            )
    return found


def unescape(text: str) -> str:
    """The kernel writes space, tab, newline, hash and backslash as three octal digits."""
    if "\\" not in text:
        return text
    first, *rest = text.split("\\")
    octal = "01234567"
    parts = [first]
    for part in rest:
        digits = part[:3]
        escape = len(digits) == 3 and all(digit in octal for digit in digits)
        parts.append(chr(int(digits, 8)) + part[3:] if escape else "\\" + part)
    return "".join(parts)


def stack(mounts: Sequence[Mount], directory: str) -> list[Mount]:
    """What is mounted at ``directory``, the lowest first: each covers the one before it."""
    here = {mount.id: mount for mount in mounts if mount.point == directory}
    below = {mount.parent for mount in here.values()}
    ordered: list[Mount] = []
    # Each chain is followed from its top; there is one, unless a hidden mount lies under another parent.
    for top in (mount for mount in here.values() if mount.id not in below):
        chain: list[Mount] = []
        mount: Mount | None = top
        while mount is not None and mount not in chain:
            chain.insert(0, mount)
            mount = here.get(mount.parent)
        ordered += [each for each in chain if each not in ordered]
    return ordered


def visible(mounts: Sequence[Mount], path: str) -> Mount | None:
    """The mount that a look-up of ``path`` ends in, given that no symbolic link is on the way."""
    ids = {mount.id for mount in mounts}
    current = next((mount for mount in mounts if mount.point == "/" and mount.parent not in ids), None)
    if current is None:  # a mount namespace whose root is its own parent
        current = next((mount for mount in mounts if mount.point == "/"), None)
    children: dict[int, list[Mount]] = {}
    for mount in mounts:
        if mount.parent != mount.id:
            children.setdefault(mount.parent, []).append(mount)
    for place in _ways(path):
        found: Mount | None = current
        while found is not None:
            current = found
            found = next((child for child in children.get(current.id, ()) if child.point == place), None)
    return current


def _ways(path: str) -> Iterable[str]:
    """``/a/b`` → ``/``, ``/a``, ``/a/b``."""
    yield "/"
    names = [name for name in path.split("/") if name]
    for index in range(len(names)):
        yield "/" + "/".join(names[: index + 1])


def below(mounts: Sequence[Mount], directory: str) -> list[Mount]:
    """What is mounted somewhere under ``directory``, the deepest first."""
    found = [mount for mount in mounts if mount.point.startswith(directory.rstrip("/") + "/")]
    return sorted(found, key=lambda mount: (mount.point.count("/"), mount.id), reverse=True)
