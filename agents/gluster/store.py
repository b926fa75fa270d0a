"""What glusterd keeps in its directory: who it is, whom it knows, which volumes there are. Read without asking it anything."""

from __future__ import annotations

import os

from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

DIRECTORY = "/var/lib/glusterd"
_BEFRIENDED = 3  # "Peer in Cluster"
_REJECTED = 6  # "Peer Rejected": the two have different descriptions of a volume
_STARTED = "1"


class Identity(NamedTuple):
    """Who a glusterd is: its UUID, and the operating version of its pool. Both are empty before it needed one."""

    uuid: str = ""
    version: str = ""


class Stored(NamedTuple):
    """A volume: bricks as (UUID of the node, host, path, id) in order; ``width`` of a replica set, ``arbiter`` whether its last one is."""

    id: str
    started: bool
    bricks: tuple[tuple[str, str, str, str], ...]
    width: int
    arbiter: bool


def identity(directory: str = DIRECTORY) -> Identity:
    """Who this node's glusterd is."""
    found = _pairs(f"{directory}/glusterd.info")
    return Identity(found.get("UUID", ""), found.get("operating-version", ""))


def peers(directory: str = DIRECTORY) -> dict[str, list[str]]:
    """The names and addresses by which each peer that is in the pool is known, by UUID."""
    return _peers(directory, _BEFRIENDED)


def rejected(directory: str = DIRECTORY) -> dict[str, list[str]]:
    """The same of each peer that this one rejects, or is rejected by."""
    return _peers(directory, _REJECTED)


def _peers(directory: str, state: int) -> dict[str, list[str]]:
    found = {}
    for name in _names(f"{directory}/peers"):
        values = _pairs(f"{directory}/peers/{name}")
        if values.get("state") == str(state):
            found[values.get("uuid", name)] = [value for key, value in values.items() if key.startswith("hostname")]
    return found


def volumes(directory: str = DIRECTORY) -> list[str]:
    """The names of all volumes."""
    return [name for name in _names(f"{directory}/vols") if os.path.isfile(f"{directory}/vols/{name}/info")]


def volume(name: str, directory: str = DIRECTORY) -> Stored | None:
    """A volume, or None when this glusterd does not have it."""
    info = _pairs(f"{directory}/vols/{name}/info")
    if "volume-id" not in info:
        return None
    bricks = []
    for number in range(int(info.get("count", "0"))):
        about = _pairs(f"{directory}/vols/{name}/bricks/{info.get(f'brick-{number}', '')}")
        names = ("uuid", "hostname", "path", "brick-id")
        uuid, host, path, ident = (about.get(name, "") for name in names)
        bricks.append((uuid, host, path, ident))
    arbiter = info.get("arbiter_count", "0") not in ("0", "")
    return Stored(
        info["volume-id"], info.get("status") == _STARTED, tuple(bricks), int(info.get("replica_count", "1")), arbiter
    )


def own_host(directory: str = DIRECTORY) -> str:
    """What the volumes call this node, "" when it has no brick of any."""
    own = identity(directory).uuid
    found = (volume(name, directory) for name in volumes(directory))
    return next((host for one in found if one for uuid, host, _, _ in one.bricks if own and uuid == own), "")


def options(name: str, directory: str = DIRECTORY) -> dict[str, str]:
    """The options that were set on a volume, among the other things that its file has."""
    return _pairs(f"{directory}/vols/{name}/info")


def adopt(who: Identity, known: Mapping[str, str], directory: str = DIRECTORY) -> None:
    """Give a glusterd that does not run, and holds nothing, its former identity, and the peers by UUID with their addresses. OSError.

    It then learns of the volumes from its peers, which take it for the node that it was.
    """
    os.makedirs(f"{directory}/peers", mode=0o755, exist_ok=True)
    for uuid, address in known.items():
        _write(f"{directory}/peers/{uuid}", f"uuid={uuid}\nstate={_BEFRIENDED}\nhostname1={address}\n")
    # Last: an adoption that was interrupted is begun again.
    _write(f"{directory}/glusterd.info", f"UUID={who.uuid}\noperating-version={who.version}\n")


def _write(path: str, text: str) -> None:
    descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(f"{path}.new", path)


def _pairs(path: str) -> dict[str, str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return dict(line.rstrip("\n").partition("=")[::2] for line in file if "=" in line)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return {}


def _names(directory: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if not name.endswith(".new"))
    except FileNotFoundError:
        return []
