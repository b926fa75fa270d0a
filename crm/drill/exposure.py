"""Is a password to be seen where it must not be? Searches processes, logs, the configuration, reports and files of every node."""

from __future__ import annotations

from collections.abc import Iterator

from hafailover.crm.drill.place import Place

_TIMEOUT = 120.0
_CREDENTIALS = ("sh", "-c", "cat /etc/hafailover/*.cred")
# Directories whose files people and programs read, or attach to a report; the datadir is the server's own.
_PLACES = ("/var/log", "/var/lib/pacemaker", "/var/lib/corosync", "/run", "/tmp", "/etc", "/root")  # noqa: S108 (looked into, not used)
_SHORTEST = 12
_REPORTS = (
    ("ps", "axeww", "-o", "args"),
    ("cibadmin", "-Q"),
    ("crm_mon", "-1", "-A", "-r", "-n", "--output-as=xml"),
    ("corosync-cmapctl",),
    ("hafailover", "status"),
    ("hafailover", "status", "-o", "json"),
    ("systemctl", "show", "hafailover-mariadb-*"),
)


def found(place: Place) -> str | None:
    """Return the first where where a password is to be seen, or None. The search itself is proved by finding the credentials file."""
    for node in place.data_nodes:
        passwords = _passwords(place, node)
        if not passwords or min(map(len, passwords)) < _SHORTEST:
            return f"the passwords of {node} cannot be searched for: none is known, or one is too short"
        for where, text in _texts(place, node):
            if not text:
                return f"{where} on {node} shows nothing, so it cannot be searched"
            if any(password in text for password in passwords):
                return f"{where} on {node} shows a password"
        argv = ["grep", "-rlsF", "-f", "-", *_PLACES]
        files = place.exec(node, argv, _TIMEOUT, input="\n".join(sorted(passwords)) + "\n").stdout.split()
        if not files:
            return f"the search on {node} did not even find the credentials"
        modes = place.exec(node, ["stat", "-c", "%a %n", *files], _TIMEOUT).stdout.splitlines()
        open_files = [line.partition(" ")[2] for line in modes if not line.partition(" ")[0].endswith("00")]
        if open_files:
            return f"{open_files[0]} on {node} holds a password and others may read it"
    return None


def _passwords(place: Place, node: str) -> set[str]:
    text = place.exec(node, list(_CREDENTIALS), _TIMEOUT, check=True).stdout
    pairs = (line.partition("=") for line in text.splitlines())
    return {value.strip() for name, _, value in pairs if name.strip() == "password"}


def _texts(place: Place, node: str) -> Iterator[tuple[str, str]]:
    yield "the journal", place.logs(node)
    for argv in _REPORTS:
        yield " ".join(argv), place.exec(node, argv, _TIMEOUT).stdout
