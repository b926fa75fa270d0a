"""The files a node gets before its cluster starts, and the archive they travel in."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from hafailover.crm.files import RenderedFile
from hafailover.vagrant.adapt import FENCE_AGENT, STAND_IN
from hafailover.vagrant.host import package_root
from hafailover.vagrant.plan import QUORUM, SPARE, Machine, Plan

# The oldest feature set that the nodes' Pacemaker (2.1 and 3.0) accepts; the DC raises it. Without a configuration on
# disk, and with the default dc-deadtime, the first election takes 20 s and more.
CIB = """<cib crm_feature_set="3.16.1" validate-with="pacemaker-3.7" epoch="1" num_updates="0" admin_epoch="0">
  <configuration>
    <crm_config>
      <cluster_property_set id="lab-options">
        <nvpair id="lab-options-dc-deadtime" name="dc-deadtime" value="1s"/>
      </cluster_property_set>
    </crm_config>
    <nodes/>
    <resources/>
    <constraints/>
  </configuration>
  <status/>
</cib>
"""

_WANTS = "/etc/systemd/system/multi-user.target.wants"
_UNITS = "/lib/systemd/system"


def hosts(plan: Plan) -> str:
    """/etc/hosts of every machine of the lab; there is no name server."""
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost"]
    lines += [f"{machine.address}\t{machine.name}" for machine in plan.machines]
    return "\n".join(lines) + "\n"


def units(machine: Machine, plan: Plan) -> list[str]:
    """The units a machine starts at every boot, in order: it comes back into the cluster by itself after fencing."""
    if machine.role == SPARE:
        return []
    if machine.role == QUORUM:
        return ["corosync-qnetd.service"]
    device = ["corosync-qdevice.service"] if any(m.role == QUORUM for m in plan.machines) else []
    return ["corosync.service", *device, "pacemaker.service"]


def files(machine: Machine, plan: Plan) -> list[RenderedFile]:
    """The lab's own files of a machine; those of the topology come from render."""
    own = [
        RenderedFile("/etc/hosts", hosts(plan).encode()),
        RenderedFile("/usr/local/bin/hafailover", _launcher(plan.checkout).encode(), 0o755),
    ]
    if machine.role == QUORUM:
        return [*own, RenderedFile("/etc/default/corosync-qnetd", b'COROSYNC_QNETD_OPTIONS="-s off"\n')]
    agent = (package_root() / "vagrant" / FENCE_AGENT).read_bytes()
    own += [
        RenderedFile(f"/usr/sbin/{FENCE_AGENT}", agent, 0o755),
        RenderedFile(f"/usr/sbin/mount.{STAND_IN}", _program(plan.checkout, "vagrant.standins.labnfs").encode(), 0o755),
    ]
    if machine.role == SPARE:
        return own
    return [
        *own,
        RenderedFile("/var/lib/pacemaker/cib/cib.xml", CIB.encode(), 0o600, "hacluster", "haclient"),
    ]


def links(machine: Machine, plan: Plan) -> Mapping[str, str]:
    """Symbolic links of a machine (path to target): its units enabled, without the price of systemctl enable."""
    return {f"{_WANTS}/{unit}": f"{_UNITS}/{unit}" for unit in units(machine, plan)}


def archive(contents: Iterable[RenderedFile], symlinks: Mapping[str, str]) -> bytes:
    """A tar archive with owners by name, to be unpacked by root at / of a node."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for file in contents:
            member = tarfile.TarInfo(file.path.lstrip("/"))
            member.size, member.mode, member.mtime = len(file.content), file.mode, int(time.time())
            member.uname, member.gname = file.owner, file.group
            tar.addfile(member, io.BytesIO(file.content))
        for path, target in symlinks.items():
            member = tarfile.TarInfo(path.lstrip("/"))
            member.type, member.linkname, member.mtime = tarfile.SYMTYPE, target, int(time.time())
            tar.addfile(member)
    return buffer.getvalue()


def _launcher(checkout: str) -> str:
    """The program as a node sees it: this very package, wherever it lies, by the node's own interpreter."""
    program = Path(checkout) / "bin" / "hafailover"
    if program.exists():
        return f'#!/bin/sh\nexec /usr/bin/python3 {program} "$@"\n'
    return _program(checkout, "crm.cli", "")


def _program(checkout: str, module: str, arguments: str = "sys.argv[1:]") -> str:
    """A program that calls ``main`` of a module of this package, with the node's own interpreter."""
    return (
        "#!/usr/bin/python3\n"
        "import sys\n"
        "package = sys.modules['hafailover'] = type(sys)('hafailover')\n"
        f"package.__path__ = [{checkout!r}]\n"
        f"from hafailover.{module} import main\n"
        f"main({arguments})\n"
    )
