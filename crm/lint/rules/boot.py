"""Rules about what starts besides Pacemaker: a unit or a mount that the node brings up by itself at boot."""

from __future__ import annotations

from collections.abc import Iterator

from hafailover.agents.mounts import unescape
from hafailover.crm.lint import ERROR, Facts, Found, rule, units
from hafailover.crm.lint.about import mount_point, plain_path
from hafailover.crm.lint.cluster import primitives
from hafailover.crm.lint.node_files import NodeFiles
from hafailover.crm.lint.paste import command

_FSTAB = "/etc/fstab"
_WHY = (
    "after a reboot systemd starts it before the cluster has a say: a database runs beside the primary, or a disk is mounted on two nodes "
    "at once and its file system is lost"
)


@rule(
    "unit-at-boot",
    ERROR,
    code="L25",
    needs=("resolved", "node"),
    remedy="systemctl disable it on every node; it goes on running, and the cluster starts it from then on",
    why=_WHY,
)
def unit_at_boot(facts: Facts) -> Iterator[Found]:
    """A unit that the cluster starts and stops is also started at boot."""
    assert facts.node is not None
    files: NodeFiles | None = facts.node.files
    if files is None:
        return
    at_boot = units.enabled(files)
    seen: set[str] = set()
    runners = [name for name in at_boot if name.startswith("st2actionrunner@")]
    for one in primitives(facts.cluster):
        mine = list(units.of(one))
        if one.agent == "ocf:hafailover:st2" and "st2actionrunner.service" in mine:
            mine += runners
        for name in (units.canonical(files, unit) for unit in mine):
            link = at_boot.get(name)
            if link is not None and name not in seen:
                seen.add(name)
                yield Found(
                    f"{facts.node.name}: {link}",
                    f"{name} is started at boot too, and resource {one.id} ({one.agent}) is the cluster's to start",
                    command("systemctl", "disable", name),
                )


@rule(
    "mount-at-boot",
    ERROR,
    code="L25b",
    needs=("resolved", "node"),
    remedy="take the mount out of /etc/fstab, or give it the option noauto, on every node",
    why=_WHY,
)
def mount_at_boot(facts: Facts) -> Iterator[Found]:
    """A mount of the cluster is also in /etc/fstab or is a mount unit that is enabled."""
    assert facts.node is not None
    files: NodeFiles | None = facts.node.files
    if files is None:
        return
    mine = {place: one.id for one in primitives(facts.cluster) if (place := mount_point(one)) is not None}
    by_unit = dict(units.mount_points(units.enabled(files)))
    for number, raw in enumerate((files.text(_FSTAB) or "").splitlines(), 1):
        fields = raw.split()
        if len(fields) < 3 or raw.lstrip().startswith("#"):
            continue
        place = plain_path(unescape(fields[1])) if fields[1].startswith("/") else ""
        # systemd makes a unit of each line, which is not another one.
        by_unit.pop(place, None)
        options = fields[3].split(",") if len(fields) > 3 else []
        if place in mine and ("noauto" not in options or "x-systemd.automount" in options):
            yield Found(
                f"{facts.node.name}: {_FSTAB}:{number}",
                f"{place}, which resource {mine[place]} mounts, is mounted at boot too",
                f"sed -i '{number}s/^/# mounted by the cluster: /' {_FSTAB} && systemctl daemon-reload",
            )
    for place, unit in by_unit.items():
        if place in mine:
            text = f"{place}, which resource {mine[place]} mounts, is mounted at boot too, by {unit}"
            yield Found(f"{facts.node.name}: {unit}", text, command("systemctl", "disable", unit))
