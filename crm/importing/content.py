"""Content on a shared disk, served over NFS, and what is mounted: groups of Filesystem, nfsserver and exportfs, and clones of mounts."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Any

from hafailover.crm import values
from hafailover.crm.importing import findings
from hafailover.crm.importing.draft import ADDRESSES, Draft
from hafailover.crm.importing.hidden import may_show, mount_options
from hafailover.crm.importing.names import Names, duration, fitting, plain, span
from hafailover.crm.resolved import Resource

DISK = "ocf:heartbeat:Filesystem"
EXPORT = "ocf:heartbeat:exportfs"
SERVERS = {
    "ocf:heartbeat:nfsserver": "kernel",
    "systemd:nfs-server": "kernel",
    "systemd:nfs-kernel-server": "kernel",
    "lsb:nfs-kernel-server": "kernel",
    "systemd:nfs-ganesha": "ganesha",
    "ocf:heartbeat:ganesha_nfsd": "ganesha",
}
_NFS = ("nfs", "nfs4")
_SQUASH = {"root_squash": "root", "no_root_squash": "none", "all_squash": "all"}
# What the topology's own options say, or what exportfs does anyway.
_USUAL = {"rw", "ro", "sync", "no_subtree_check", "secure", "wdelay", "hide", *_SQUASH}
_MOUNT = re.compile(r"(\[[0-9A-Fa-f:]+\]|[^:\s]+):(/\S*)\Z")
_TOLD_DISK = ("device", "directory", "fstype", "options", "force_unmount")
_TOLD_EXPORT = (
    "directory", "clientspec", "fsid", "options", "unlock_on_stop", "wait_for_leasetime_on_stop", "rmtab_backup",
)  # fmt: skip
_SERVER_TOLD = ("nfsv4_only", "nfs_no_notify", "nfs_server_scope")
_STOP = 120_000
_NOBODY = 65534


def servers(draft: Draft) -> None:
    """Recognise every group that has a disk, an NFS server and its exports."""
    for top in draft.tops():
        members = [one for one in draft.members(top) if one.agent not in ADDRESSES]
        serving = [one for one in members if one.agent in SERVERS]
        if top.kind != "group" or len(serving) != 1:
            continue
        reason = _server(draft, top, members, serving[0])
        if reason:
            draft.notes.add(findings.LEFT_OUT, top.id, f"is not taken for a file server: {reason}")


def _server(draft: Draft, top: Resource, members: list[Resource], server: Resource) -> str:
    """Turn a group into a service of type nfs-server; why that is not possible, or an empty text."""
    disks = [one for one in members if one.agent == DISK]
    exports = [one for one in members if one.agent == EXPORT]
    others = [one.id for one in members if one not in (*disks, *exports, server)]
    if others:
        return f"{findings.visible(', '.join(others))} in it has no counterpart"
    if len(disks) != 1:
        return f"a topology has one disk for it, and here are {len(disks)}"
    disk = disks[0].params
    if disk.get("device", "").startswith("/dev/drbd"):
        return "its disk is DRBD, which has to be promoted first, and a topology has no DRBD"
    options: dict[str, Any] = {"type": "nfs-server"}
    on = draft.where(top.id, *(one.id for one in members))
    if on:
        options["on"] = on
    kind = SERVERS[server.agent]
    if kind != "kernel":
        options["server"] = kind
    options["disk"] = {"device": disk.get("device", ""), "mount": disk.get("directory", "").rstrip("/")}
    if disk.get("fstype", "ext4") != "ext4":
        options["disk"]["fstype"] = disk["fstype"]
    if disk.get("options", "noatime") != "noatime" and may_show("options", disk["options"]):
        options["disk"]["options"] = disk["options"]
    options["exports"] = _exports(draft, top, options["disk"]["mount"], exports)
    if not options["exports"] and kind == "ganesha":
        text = "its exports are in /etc/ganesha/ganesha.conf, not in a CIB"
        draft.notes.add(findings.ASSUMED, top.id, text, "write them below exports, each with its fsid")
    served = [one for one in exports if not _is_root(one, options["disk"]["mount"])]
    options.update(_how(draft, served))
    stop = max((op.timeout or 0 for one in exports for op in one.operations if op.name == "stop"), default=0)
    if _is_ours(exports) and stop > _STOP:
        options["lease"] = options["grace"] = span(stop - 30_000)
    # An address in the group stays a resource of its own.
    name = draft.service(top.id, options, *members)
    draft.anchors.setdefault(top.id, ("service", name))
    if served:
        draft.services[name]["clients"] = _clients(served)
    _rename(draft, name, top, disks[0], server, exports, options["exports"])
    _say(draft, name, top, disks[0], server, exports)
    return ""


def _is_ours(exports: list[Resource]) -> bool:
    return any("mountpoint=" in one.params.get("options", "") for one in exports)


def _exports(draft: Draft, top: Resource, mount: str, exports: list[Resource]) -> dict[str, Any]:
    """Export name → its keys; several clients of one directory are one export."""
    found: dict[str, Any] = {}
    names, seen = Names(), set()
    for one in exports:
        directory = one.params.get("directory", "").rstrip("/")
        if directory in seen:
            continue
        seen.add(directory)
        fsid = one.params.get("fsid", "")
        if _is_root(one, mount):
            text = f"exports {findings.visible(directory)} as the root of all: version 4 needs no fsid=0 any more, clients mount paths"
            draft.notes.add(findings.LEFT_OUT, one.id, text)
            continue
        wanted = one.id[len(top.id) + 1 :] if one.id.startswith(f"{top.id}-") else directory.rpartition("/")[2]
        name = names.take(wanted or "export", "")
        entry: dict[str, Any] = {"fsid": plain(fsid) if fsid else _free(exports, found)}
        if not fsid or not fsid.isdecimal():
            entry["fsid"] = _free(exports, found)
            text = f"has no number for fsid; {entry['fsid']} is chosen here: with a new one clients have to mount anew"
            draft.notes.add(findings.ASSUMED, one.id, text)
        if directory != f"{mount}/{name}":
            entry["path"] = directory
        if "ro" in one.params.get("options", "").split(","):
            entry["read_only"] = True
        found[name] = entry
    return found


def _is_root(one: Resource, mount: str) -> bool:
    return one.params.get("fsid") == "0" or one.params.get("directory", "").rstrip("/") == mount


def _free(exports: list[Resource], found: dict[str, Any]) -> int:
    used = {one.params.get("fsid") for one in exports} | {str(entry["fsid"]) for entry in found.values()}
    return next(number for number in range(1001, 1001 + len(used) + 1) if str(number) not in used)


def _how(draft: Draft, exports: list[Resource]) -> dict[str, Any]:
    """squash, anon_uid and anon_gid, which a topology has once for all exports."""
    found: dict[str, Any] = {}
    for one in exports:
        said = [word for word in one.params.get("options", "").split(",") if word]
        here: dict[str, Any] = {}
        for word in said:
            key, _, value = word.partition("=")
            if word in _SQUASH and _SQUASH[word] != "root":
                here["squash"] = _SQUASH[word]
            elif key in ("anonuid", "anongid") and value.isdecimal() and value != "0":
                here[f"anon_{key[4:]}"] = plain(value)
            elif word not in _USUAL and key not in ("anonuid", "anongid", "mountpoint", "fsid"):
                draft.notes.add(
                    findings.LEFT_OUT, one.id, f"export option {findings.visible(word, 60)} has no place in a topology"
                )
        if here.get("squash") != "none":
            for key in ("uid", "gid"):
                if f"anon{key}=" not in one.params.get("options", ""):
                    here[f"anon_{key}"] = (
                        _NOBODY  # exportfs's own default; a topology's is root's content for everybody
                    )
        if one is exports[0]:
            found = here
        elif here != found:
            text = (
                "squash and the anonymous user differ from those of the first export; a topology has them once for all"
            )
            draft.notes.add(findings.LEFT_OUT, one.id, text)
    return found


def _clients(exports: list[Resource]) -> list[str]:
    """Who may mount, each once; empty when there is no export."""
    return list(dict.fromkeys(one.params.get("clientspec", "*") for one in exports))


def _rename(
    draft: Draft,
    name: str,
    top: Resource,
    disk: Resource,
    server: Resource,
    exports: list[Resource],
    made: dict[str, Any],
) -> None:
    draft.renames.update({top.id: name, disk.id: f"{name}-disk", server.id: f"{name}-server"})
    mount = draft.services[name]["disk"]["mount"]
    by_path = {entry.get("path", f"{mount}/{export}"): export for export, entry in made.items()}
    clients = _clients([one for one in exports if not _is_root(one, mount)])
    for one in exports:
        export = by_path.get(one.params.get("directory", "").rstrip("/"))
        if export is not None:
            index = clients.index(one.params.get("clientspec", "*"))
            draft.renames[one.id] = f"{name}-{export}" + (f"-{index + 1}" if index else "")


def _say(draft: Draft, name: str, top: Resource, disk: Resource, server: Resource, exports: list[Resource]) -> None:
    text = "lease, grace, threads and versions are in /etc/nfs.conf, not in a CIB"
    draft.notes.add(findings.ELSEWHERE, name, text)
    if _is_ours(exports) or (not exports and f"{top.id}-disk" == disk.id):
        return
    what = (
        "the same group of stock agents with options that make a move safe: version 4 only, who has what open kept on the disk itself "
        "(.nfs-state), the same server scope on each node, so that clients go on where they were"
    )
    draft.notes.add(findings.BECOMES, top.id, f"will become a service of type nfs-server: {what}")
    if "nfs_shared_infodir" in server.params:
        text = "nfs_shared_infodir is not used: the state of version 4 lies in .nfs-state on the disk; locks of version 3 are lost"
        draft.notes.add(findings.LEFT_OUT, server.id, text)
    if not server.agent.startswith("ocf:heartbeat:nfsserver") and server.agent != "systemd:nfs-ganesha":
        draft.becomes(server, "ocf:heartbeat:nfsserver", "which also keeps versions and server scope")


def addresses(draft: Draft) -> None:
    """Leave clients out where they are the network of the address that follows, as they are when nothing is said."""
    for name, service in draft.services.items():
        if service["type"] != "nfs-server" or "clients" not in service:
            continue
        vip = next((vip for vip in draft.vips.values() if vip.get("follows") == name), None)
        if vip is not None and service["clients"] == [_network(str(vip["ip"]))]:
            del service["clients"]
        elif len(service["clients"]) == 1:
            service["clients"] = service["clients"][0]


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_interface(text).network)
    except ValueError:
        return ""


def mounts(draft: Draft, top: Resource) -> None:
    """A clone of hafailover's nfsmount, or a group of them, becomes a service of type nfs-mount."""
    members = draft.members(top)
    group = draft.resolved.resources[top.children[0]] if top.kind == "clone" and top.children else None
    if group is None or group.kind != "group":
        return
    first = members[0].params
    options: dict[str, Any] = {"type": "nfs-mount"}
    on = draft.where(top.id, group.id)
    if on:
        options["on"] = on
    address = draft.addresses.get(first.get("server", ""))
    source = _followed(draft, address) if address is not None else None
    if source is not None and address is not None:
        options["from"] = source
        draft.inside |= {(address.id, top.id), (top.id, address.id)}
    else:
        options["server"] = first.get("server", "")
    if first.get("fstype", "nfs4") != "nfs4":
        options["fstype"] = first["fstype"]
    options["to"] = {}
    for one in members:
        wanted = one.id[len(group.id) + 1 :] if one.id.startswith(f"{group.id}-") else one.id
        export, directory = one.params.get("export", ""), one.params.get("directory", "")
        key = fitting(wanted)
        known = _export_path(draft, source, key) if source else f"/{key}"
        options["to"][key] = directory if export == known else {"export": export, "directory": directory}
    if "options" in first:
        options["options"] = first["options"]
    if source and "serves" in first:
        options["on_server_move"] = "remount"
    for key in ("patience", "ride_through"):
        if key in first:
            options[key] = duration(first[key])
    if values.boolean(first.get("cover")) is False:
        options["cover"] = False
    name = draft.service(group.id, options, top)
    draft.rename_clone(name, top)
    for one, key in zip(members, options["to"]):
        draft.renames[one.id] = f"{name}-{key}"


def _followed(draft: Draft, address: Resource) -> str | None:
    """The file server that an address is with."""
    for rsc in (address.id, address.top):
        for tie in draft.together.get(rsc, ()):
            kind, name = draft.anchors.get(tie.with_rsc, ("", ""))
            if kind == "service" and draft.services[name]["type"] == "nfs-server":
                return name
    kind, name = draft.anchors.get(address.top, ("", ""))
    return name if kind == "service" and draft.services[name]["type"] == "nfs-server" else None


def _export_path(draft: Draft, service: str, export: str) -> str | None:
    entry = draft.services[service]["exports"].get(export)
    return None if entry is None else str(entry.get("path", f"{draft.services[service]['disk']['mount']}/{export}"))


def stock_mounts(draft: Draft) -> None:
    """Clones of Filesystem that mount a network file system."""
    for top in draft.tops():
        members = draft.members(top)
        if top.kind != "clone" or not members or any(one.agent != DISK for one in members):
            continue
        parts = [_MOUNT.match(one.params.get("device", "")) for one in members]
        types = {one.params.get("fstype", "") for one in members}
        served = {part[1] for part in parts if part}
        if None in parts or len(types) != 1 or len(served) != 1 or not types <= {*_NFS, "glusterfs", "ceph"}:
            continue
        _stock_mount(draft, top, members, next(iter(served)), next(iter(types)), [part[2] for part in parts if part])


def _stock_mount(
    draft: Draft, top: Resource, members: Iterable[Resource], server: str, fstype: str, exports: list[str]
) -> None:
    options: dict[str, Any] = {"type": "nfs-mount"}
    on = draft.where(top.id, *top.children)
    if on:
        options["on"] = on
    address = draft.addresses.get(server.strip("[]"))
    source = _followed(draft, address) if address is not None else None
    if source is not None and address is not None:
        options["from"] = source
        draft.inside |= {(address.id, top.id), (top.id, address.id), (source, top.id)}
    else:
        options["server"] = server.strip("[]")
    if fstype != "nfs4":
        options["fstype"] = fstype
    names, options["to"] = Names(), {}
    for one, export in zip(members, exports):
        directory = one.params.get("directory", "")
        key = names.take(directory.rstrip("/").rpartition("/")[2] or "mount", "")
        options["to"][key] = {"export": export, "directory": directory}
        if source and export == _export_path(draft, source, key):
            options["to"][key] = directory
        given = one.params.get("options", "")
        if given and not may_show("options", given):
            shown, what = mount_options(draft, fitting(top.children[0]), given)
            draft.notes.add(findings.SECRET, one.id, what, f"write options: {findings.visible(shown)} into the service")
        elif given:
            what = f"mount options {findings.visible(given)} are not taken over: the default ones wait for a server that moves"
            draft.notes.add(findings.LEFT_OUT, one.id, what, "write options into the service if they are needed")
    group = draft.resolved.resources[top.children[0]]
    name = draft.service(group.id, options, top)
    draft.rename_clone(name, top)
    for one, key in zip(members, options["to"]):
        draft.renames[one.id] = f"{name}-{key}"
        draft.becomes(
            one,
            "ocf:hafailover:nfsmount",
            "which also asks the mount with a deadline, rides through a move of its server, and unmounts what hangs",
            (*_TOLD_DISK, "options"),
        )
