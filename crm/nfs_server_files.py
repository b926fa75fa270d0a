"""Configuration files of an NFS server that moves between nodes: the kernel's, and Ganesha's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hafailover.crm.files import RenderedFile
from hafailover.crm.nfs_names import address_of, export_path, server_scope, state_dir
from hafailover.crm.schema import milliseconds

if TYPE_CHECKING:
    from hafailover.crm.topology import Service, Topology

# What nfs-utils reads after /etc/nfs.conf.
NFS_CONF = "/etc/nfs.conf.d/hafailover.conf"
NFSDCLD_UNIT = "/etc/systemd/system/nfsdcld.service.d/hafailover.conf"
GANESHA_CONF = "/etc/ganesha/ganesha.conf"
GANESHA_UNIT = "/etc/systemd/system/nfs-ganesha.service.d/hafailover.conf"

_SQUASH = {"root": "root_squash", "none": "no_root_squash", "all": "all_squash"}
_GANESHA_SQUASH = {"root": "Root_Squash", "none": "No_Root_Squash", "all": "All_Squash"}


def clients(service: Service, topology: Topology) -> list[str]:
    """Who may mount: as the topology says, or the network of the service's address."""
    given = service.options.get("clients")
    if isinstance(given, str):
        return [given]
    if given:
        return list(given)
    vip = address_of(topology, service.name)
    return [str(vip.interface.network)] if vip else []


def kernel_options(service: Service, export: Mapping[str, Any]) -> str:
    """The options of exportfs for one export, without its fsid."""
    options = service.options
    words = ["ro" if export["read_only"] else "rw", "sync", "no_subtree_check", _SQUASH[options["squash"]]]
    if options["squash"] != "none":
        words += [f"anonuid={options['anon_uid']}", f"anongid={options['anon_gid']}"]
    # Without it, and with the disk not mounted, the same fsid stands for the directory below the mount point: clients write there.
    words.append(f"mountpoint={options['disk']['mount']}")
    return ",".join(words)


def kernel(service: Service, topology: Topology) -> list[RenderedFile]:
    """Lease, grace and versions of the kernel's server, which dominate how long a move takes, and where it keeps its clients."""
    options = service.options
    text = f"""# Written by hafailover for {service.name}; changes are lost.
[nfsd]
vers2=n
vers3=n
vers4=y
threads={options["threads"]}
lease-time={_seconds(options["lease"])}
grace-time={_seconds(options["grace"])}
[nfsdcld]
storagedir={state_dir(service)}
"""
    # It keeps its file open on the disk, so it ends with the server; and it would make an empty one below the mount point.
    unit = (
        f"# Written by hafailover for {service.name}.\n"
        f"[Unit]\nPartOf=nfs-server.service\nConditionPathIsMountPoint={options['disk']['mount']}\n"
    )
    return [RenderedFile(NFS_CONF, text.encode()), RenderedFile(NFSDCLD_UNIT, unit.encode())]


def ganesha(service: Service, topology: Topology) -> list[RenderedFile]:
    """The whole configuration of Ganesha, and how its unit stops."""
    options = service.options
    exports = "".join(_ganesha_export(service, topology, name) for name in options["exports"])
    text = f"""# Written by hafailover for {service.name}; changes are lost.
NFS_CORE_PARAM {{
    NFS_Protocols = 4;
    Enable_NLM = false;
    Enable_RQUOTA = false;
    # The node that has the disk is the only server: there are no others to agree with about a grace period.
    Clustered = false;
}}
NFSV4 {{
    Lease_Lifetime = {_seconds(options["lease"])};
    Grace_Period = {_seconds(options["grace"])};
    RecoveryBackend = fs;
    # On the disk: the next holder knows whose claims to wait for.
    RecoveryRoot = "{state_dir(service)}";
    # The same server on whichever node: clients reclaim from it what they had open.
    Server_Scope = "{server_scope(service, topology)}";
    Server_Owner = "{server_scope(service, topology)}";
    Allow_Numeric_Owners = true;
    Only_Numeric_Owners = true;
}}
{exports}"""
    # Its own stop asks over D-Bus, and when nobody answers there is nothing to wait for.
    unit = f"# Written by hafailover for {service.name}.\n[Service]\nTimeoutStopSec=15s\nRestart=no\n"
    return [RenderedFile(GANESHA_CONF, text.encode()), RenderedFile(GANESHA_UNIT, unit.encode())]


def _ganesha_export(service: Service, topology: Topology, name: str) -> str:
    options, export = service.options, service.options["exports"][name]
    path, fsid = export_path(service, name), export["fsid"]
    access = "RO" if export["read_only"] else "RW"
    # An export id has 16 bits, and is no part of a file handle's meaning to clients beyond one server's life.
    number = list(options["exports"]).index(name) + 1
    return f"""EXPORT {{
    Export_Id = {number};
    Path = "{path}";
    Pseudo = "{path}";
    Protocols = 4;
    Filesystem_Id = {fsid}.{fsid};
    Access_Type = None;
    Squash = {_GANESHA_SQUASH[options["squash"]]};
    Anonymous_Uid = {options["anon_uid"]};
    Anonymous_Gid = {options["anon_gid"]};
    SecType = sys;
    FSAL {{ Name = VFS; }}
    CLIENT {{ Clients = {", ".join(clients(service, topology))}; Access_Type = {access}; }}
}}
"""


def _seconds(value: str) -> int:
    return milliseconds(value) // 1000
