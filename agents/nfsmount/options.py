"""Mount options that lose data, or that say something else than the agent does. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_NFS = ("nfs", "nfs4")
_OURS = {
    "bg": "a mount in the background counts as started before it is there",
    "bind": "the agent decides about bind mounts; give serves",
    "rbind": "the agent decides about bind mounts; give serves",
    "move": "the agent mounts a server's directory",
    "remount": "the agent mounts anew when that is needed",
    "noauto": "it belongs in fstab, which must not mount this directory at all",
    "x-systemd.automount": "two would decide about the mount, systemd and the cluster",
    "user": "only root mounts it, through the cluster",
    "users": "only root mounts it, through the cluster",
    "password": "everybody sees it in ps; put it into a file and give its name (credentials=, secretfile=)",
    "pass": "everybody sees it in ps; put it into a file and give its name (credentials=)",
    "secret": "everybody sees it in ps; put it into a file and give its name (secretfile=)",
}


def refusal(options: Sequence[str]) -> str | None:
    """Why these options cannot be used, or None."""
    for option in options:
        name = option.partition("=")[0]
        if name in _OURS:
            return f"option {name}: {_OURS[name]}"
    if "hard" in options and ("soft" in options or "softerr" in options):
        return "options hard and soft contradict each other; hard is the one that loses nothing"
    if "ro" in options and "rw" in options:
        return "options ro and rw contradict each other"
    return None


def warnings(fstype: str, options: Sequence[str]) -> list[str]:
    """What is allowed and dangerous, one sentence each."""
    if fstype not in _NFS:
        return []
    found = []
    values = dict(option.partition("=")[::2] for option in options)
    for soft in ("soft", "softerr"):
        if soft in values:
            found.append(
                f"option {soft}: a request that the server does not answer in time fails, and what was written is lost "
                "without a word; use hard"
            )
    if values.get("proto", values.get("udp", "")) in ("udp", "udp6") or "udp" in values:
        found.append("option udp: fragments can be joined wrongly and corrupt data; use tcp")
    if "nolock" in values or values.get("local_lock", "none") not in ("none", ""):
        found.append("locks are kept on this node only: two nodes can hold the same lock")
    if "async" not in values and values.get("timeo", "").isdecimal() and int(values["timeo"]) < 10:
        found.append(f"option timeo={values['timeo']}: tenths of a second; a busy server is slower than that")
    return found


def arguments(fstype: str, options: Sequence[str]) -> list[str]:
    """The options as they are given to mount."""
    given = list(options)
    # Whether to try again, and until when, is the agent's to decide: mount.nfs would go on for two minutes.
    if fstype in _NFS and not any(option.startswith("retry=") for option in given):
        given.append("retry=0")
    return ["-o", ",".join(given)] if given else []


def at_boot(fstab: str, directory: str) -> str | None:
    """What is wrong with the text of an fstab: it mounts the directory, too."""
    for line in fstab.splitlines():
        fields = line.split()
        if len(fields) < 4 or fields[0].startswith("#"):
            continue
        point = fields[1].replace("\\040", " ").rstrip("/") or "/"
        options = fields[3].split(",")
        if point != directory:
            continue
        if "x-systemd.automount" in options:
            return f"/etc/fstab lets systemd mount {directory}, too; remove that line"
        if "noauto" not in options:
            return f"/etc/fstab mounts {directory} at boot, before the cluster decides; remove that line, or add noauto to it"
    return None
