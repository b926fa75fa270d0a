"""GlusterFS: hafailover's three layers of clones, and what people build of glusterd and mounts."""

from __future__ import annotations

from typing import Any

from hafailover.crm.importing import findings
from hafailover.crm.importing.draft import Draft
from hafailover.crm.importing.names import duration, fitting, plain, words
from hafailover.crm.resolved import Resource

_DAEMON, _VOLUME, _MOUNT = "ocf:hafailover:glusterd", "ocf:hafailover:glustervolume", "ocf:hafailover:nfsmount"
_STOCK_DAEMONS = ("systemd:glusterd", "ocf:glusterfs:glusterd", "ocf:glusterfs:ganesha_mon")
_STOCK_VOLUME = "ocf:glusterfs:volume"
_DERIVED = ("network.ping-timeout", "auth.allow", "cluster.quorum-type")
_FIXED = {"cluster.heal-timeout": "10", "cluster.self-heal-daemon": "on"}


def read(draft: Draft) -> None:
    """Recognise every glusterd with its volumes and their mounts."""
    volumes: dict[str, list[tuple[Resource, Resource]]] = {}
    mounts: dict[str, list[tuple[Resource, Resource]]] = {}
    for one in _single(draft, _VOLUME):
        volumes.setdefault(one[1].params.get("nodes", ""), []).append(one)
    for one in _single(draft, _MOUNT):
        mounts.setdefault(one[1].params.get("export", ""), []).append(one)
    for top in draft.tops():
        members = draft.members(top)
        if top.kind == "clone" and len(members) == 1 and members[0].agent == _DAEMON:
            # Whoever comes first has them.
            _own(draft, top, members[0], volumes.pop(members[0].params.get("nodes", ""), []), mounts)
        elif top.kind == "clone" and members and members[0].agent in _STOCK_DAEMONS:
            _stock(draft, top, members)


def _single(draft: Draft, agent: str) -> list[tuple[Resource, Resource]]:
    """(clone, primitive) of each clone of one primitive of this agent that is not taken yet."""
    found = []
    for top in draft.tops():
        members = draft.members(top)
        if top.kind == "clone" and len(members) == 1 and members[0].agent == agent:
            found.append((top, members[0]))
    return found


def _own(
    draft: Draft,
    top: Resource,
    daemon: Resource,
    same: list[tuple[Resource, Resource]],
    mounts: dict[str, list[tuple[Resource, Resource]]],
) -> None:
    told = [word.partition(":")[0] for word in daemon.params.get("nodes", "").split()]
    on = [draft.node_names[node] for node in told if node in draft.node_names]
    options: dict[str, Any] = {"type": "glusterfs"}
    if on and on != list(draft.nodes):
        options["on"] = on
    if not same:
        text = "runs glusterd and no volume; a topology describes volumes"
        draft.notes.add(findings.LEFT_OUT, top.id, text)
        return
    parts, options["volumes"] = [top], {}
    called: list[tuple[str, Resource]] = []
    links = [word.partition(":")[2] for word in daemon.params.get("nodes", "").split()]
    previous = ""
    for clone, volume in same:
        key = volume.params.get("volume", volume.id)
        options["volumes"][key] = _volume(key, volume, links)
        parts.append(clone)
        called.append((key, clone))
        draft.inside |= {(top.id, clone.id), (clone.id, top.id)}
        if not mounts.get(f"/{key}"):
            continue
        found = mounts[f"/{key}"].pop(0)
        options["volumes"][key].update(_mount(found[1]))
        parts.append(found[0])
        called.append((f"{key}-mount", found[0]))
        draft.inside |= {
            (clone.id, found[0].id),
            (found[0].id, clone.id),
            (previous, found[0].id),
            (found[0].id, previous),
        }
        previous = found[0].id
    name = draft.service(daemon.id, options, *parts)
    draft.rename_clone(name, top)
    for suffix, clone in called:
        draft.rename_clone(f"{name}-{suffix}", clone)


def _volume(name: str, one: Resource, links: list[str]) -> dict[str, Any]:
    params = one.params
    found: dict[str, Any] = {"replica": plain(params.get("replica", ""))}
    if params.get("brick", f"/srv/gluster/{name}") != f"/srv/gluster/{name}":
        found["brick"] = params["brick"]
    for key in ("device", "fstype"):
        if key in params:
            found[key] = params[key]
    options = dict(word.split("=", 1) for word in params.get("options", "").split() if "=" in word)
    ping = duration(f"{options.get('network.ping-timeout', '10')}s")
    if ping and ping != "10s":
        found["ping_timeout"] = ping
    clients = [one for one in options.get("auth.allow", "").split(",") if one and one not in (*links, "127.0.0.1")]
    if clients:
        found["clients"] = clients
    further = {key: plain(value) for key, value in options.items() if key not in _DERIVED and _FIXED.get(key) != value}
    if further:
        found["options"] = further
    return found


def _mount(one: Resource) -> dict[str, Any]:
    found: dict[str, Any] = {"mount": one.params.get("directory", "")}
    further = [word for word in words(one.params.get("options")) if not word.startswith("backup-volfile-servers=")]
    if further:
        found["mount_options"] = ",".join(further)
    return found


def _stock(draft: Draft, top: Resource, members: tuple[Resource, ...]) -> None:
    """glusterd as people clone it: its volumes are told by their agent, or by what is mounted from the nodes themselves."""
    volumes: dict[str, dict[str, Any]] = {}
    parts = [top]
    for one in members[1:]:
        if one.agent == _STOCK_VOLUME:
            volumes.setdefault(one.params.get("volname", one.id), {})
    for clone, one in _single(draft, _STOCK_VOLUME):
        volumes.setdefault(one.params.get("volname", one.id), {})
        parts.append(clone)
    own = {"localhost", "127.0.0.1", *draft.node_names, *(link for name in draft.nodes for link in draft.links(name))}
    for clone, one in _single(draft, "ocf:heartbeat:Filesystem"):
        server, _, export = one.params.get("device", "").partition(":")
        volume = export.strip("/") or server.rpartition("/")[2]
        if one.params.get("fstype") == "glusterfs" and server in own and "/" not in volume:
            volumes.setdefault(volume, {})["mount"] = one.params.get("directory", "")
            parts.append(clone)
            told = ("device", "directory", "fstype", "options")
            draft.becomes(
                one,
                "ocf:hafailover:nfsmount",
                "which also asks the mount with a deadline, and unmounts what hangs",
                told,
            )
    if not volumes:
        text = "runs glusterd, and no volume of it is in the CIB; a topology describes volumes"
        draft.notes.add(
            findings.LEFT_OUT, top.id, text, "add a service of type glusterfs with its volumes: gluster volume info"
        )
        return
    options: dict[str, Any] = {"type": "glusterfs"}
    on = draft.where(top.id, *top.children)
    if on:
        options["on"] = on
    options["volumes"] = {fitting(name): about for name, about in volumes.items()}
    for number, part in enumerate(parts):
        draft.inside |= {(other.id, part.id) for other in parts[:number]} | {
            (part.id, other.id) for other in parts[:number]
        }
    name = draft.service(members[0].id, options, *parts)
    draft.rename_clone(name, top)
    for clone, one in [(part, draft.members(part)[0]) for part in parts[1:]]:
        volume = fitting(one.params.get("volname") or one.params.get("device", "").partition(":")[2].strip("/"))
        suffix = "" if one.agent == _STOCK_VOLUME else "-mount"
        draft.rename_clone(f"{name}-{volume}{suffix}", clone)
    draft.becomes(
        members[0],
        "ocf:hafailover:glusterd",
        "which also brings the nodes together, forms volumes over them in whatever order they start, and fills a replaced disk",
    )
    text = "bricks and copies of its volumes are not in a CIB: /srv/gluster/VOLUME and a copy on up to three nodes are assumed"
    draft.notes.add(
        findings.ASSUMED, name, text, "compare with gluster volume info, and write brick, device and replica"
    )
