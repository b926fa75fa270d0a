"""The service types nfs-server and nfs-mount: their resources and order, their files, and what is wrong with a topology."""

from __future__ import annotations

import pytest
from hafailover.agents.nfsmount import agent
from hafailover.crm import generate, topology_check, validate
from hafailover.crm.errors import UsageError
from hafailover.crm.formats import cib, crmsh
from hafailover.crm.service import service_types
from hafailover.vagrant import adapt, plan
from topologies import changed, parse

PAIR = """\
version: 1
lab: true
cluster: {name: c1, secrets_dir: s, encryption: off}
nodes:
  n1: {id: 1, links: [10.77.0.11]}
  n2: {id: 2, links: [10.77.0.12]}
quorum: {device: {host: 10.77.0.13, tls: off}}
"""
CONTENT = (
    PAIR
    + """\
vips:
  vip: {ip: 10.77.0.100/24, follows: content}
services:
  content: {type: nfs-server, disk: {device: /dev/sdx, mount: /srv/st2}, exports: {packs: {fsid: 7}, envs: {fsid: 8}}}
  mnt: {type: nfs-mount, from: content, to: {packs: /opt/st/packs, envs: /opt/st/envs}}
"""
)
MOUNT = "{type: nfs-mount, from: content, to: {packs: /opt/st/packs, envs: /opt/st/envs}}"
OUTSIDE = (
    PAIR
    + """\
services:
  mnt: {type: nfs-mount, server: gl1, fstype: glusterfs, to: {vol01: /opt/st/packs, x: {export: /vol02, directory: /m/x}}}
"""
)


def lines(text, *kinds):
    return [
        line
        for line in crmsh.text(generate.configuration(parse(text))).replace(" \\\n ", "").splitlines()
        if line.startswith(kinds)
    ]


def one(text, start):
    (line,) = lines(text, start)
    return line


def files(text, node="n1"):
    made = parse(text)
    found = {}
    for service in made.services.values():
        for file in service_types()[service.type].files(service, made, node, lambda _: b""):
            found[file.path] = file.content.decode()
    return found


def ganesha(text=CONTENT):
    return changed(("type: nfs-server,", "type: nfs-server, server: ganesha,"), text=text)


@pytest.mark.parametrize(
    "text",
    [
        CONTENT,
        ganesha(),
        OUTSIDE,
        changed((MOUNT, MOUNT[:-1] + ", on_server_move: remount, cover: false, patience: 3s}"), text=CONTENT),
        changed(("{device: {host: 10.77.0.13, tls: off}}", "{two_node: true}"), text=CONTENT),
    ],
)
def test_what_is_generated_is_valid_under_pacemakers_schema(text):
    assert validate.validate(cib.tree(generate.configuration(parse(text))), "t.yml") is None


def test_the_group_is_disk_server_exports_and_the_address_comes_last():
    assert lines(CONTENT, "group") == [
        "group content content-disk content-server content-packs content-envs",
        "group mnt mnt-packs mnt-envs",
    ]
    assert lines(ganesha(), "group")[0] == "group content content-disk content-server"
    assert "order vip-after-content Mandatory: content:start vip:start" in lines(CONTENT, "order")


def test_the_disk_never_asks_fuser_and_its_monitor_reads_and_writes():
    disk = one(CONTENT, "primitive content-disk")
    assert "force_unmount=safe" in disk
    assert disk.endswith("op monitor interval=20s timeout=40s op_params OCF_CHECK_LEVEL=20")


def test_the_server_is_the_same_to_its_clients_wherever_it_runs():
    server = one(CONTENT, "primitive content-server")
    assert "nfs_server_scope=c1-content" in server
    # Its stop would fail on Debian, see test_what_the_server_knows_of_its_clients_moves_with_the_disk.
    assert "infodir" not in server
    assert "nfsv4_only=true" in server
    export = one(CONTENT, "primitive content-packs")
    assert "directory=/srv/st2/packs clientspec=10.77.0.0/24 fsid=7" in export
    assert "rw,sync,no_subtree_check,root_squash,anonuid=0,anongid=0,mountpoint=/srv/st2" in export
    assert "wait_for_leasetime_on_stop=false" in export


def test_an_export_for_several_clients_is_a_resource_for_each():
    text = changed(("type: nfs-server,", "type: nfs-server, clients: [10.0.0.1, '@st2'],"), text=CONTENT)
    assert "clientspec=10.0.0.1 " in one(text, "primitive content-packs ")
    assert "clientspec=@st2 " in one(text, "primitive content-packs-2 ")


def test_who_writes_as_root_becomes_the_anonymous_user():
    text = changed(("type: nfs-server,", "type: nfs-server, anon_gid: 998, squash: all,"), text=CONTENT)
    assert "all_squash,anonuid=0,anongid=998" in one(text, "primitive content-packs")


def test_ride_through_orders_the_start_and_the_stop_and_never_a_restart():
    assert [line for line in lines(CONTENT, "order") if "mnt" in line] == [
        "order mnt-clone-after-vip Mandatory: vip:start mnt-clone:start symmetrical=false",
        "order mnt-clone-stops-before-vip Optional: mnt-clone:stop vip:stop symmetrical=false",
    ]
    assert "serves=" not in one(CONTENT, "primitive mnt-packs")


def test_remount_is_both_ways_because_the_bind_mount_must_go_before_the_disk():
    text = changed((MOUNT, MOUNT[:-1] + ", on_server_move: remount}"), text=CONTENT)
    assert [line for line in lines(text, "order") if "mnt" in line] == [
        "order mnt-clone-after-vip Mandatory: vip:start mnt-clone:start"
    ]
    mount = one(text, "primitive mnt-packs")
    assert "server=10.77.0.100 export=/srv/st2/packs serves=/srv/st2/packs disk=/srv/st2" in mount


def test_a_server_outside_of_the_cluster_is_mounted_without_an_order():
    assert lines(OUTSIDE, "order") == []
    assert "server=gl1 export=/vol01 fstype=glusterfs" in one(OUTSIDE, "primitive mnt-vol01")
    assert "directory=/m/x server=gl1 export=/vol02" in one(OUTSIDE, "primitive mnt-x")


def test_every_parameter_that_is_generated_is_one_of_the_agents():
    text = changed(
        (MOUNT, MOUNT[:-1] + ", on_server_move: remount, cover: false, patience: 3s, ride_through: 1m, options: hard}"),
        text=CONTENT,
    )
    for primitive in generate.configuration(parse(text)).primitives():
        if primitive.agent_name == "ocf:hafailover:nfsmount":
            (params,) = primitive.sets("instance_attributes")
            assert {pair.name for pair in params.pairs} <= set(agent.parameters)


def test_lease_grace_and_versions_are_where_nfs_utils_reads_them():
    conf = files(CONTENT)["/etc/nfs.conf.d/hafailover.conf"]
    for line in ("vers3=n", "lease-time=15", "grace-time=15", "threads=16"):
        assert f"\n{line}\n" in conf


def test_what_the_server_knows_of_its_clients_moves_with_the_disk():
    made = files(CONTENT)
    assert "\n[nfsdcld]\nstoragedir=/srv/st2/.nfs-state\n" in made["/etc/nfs.conf.d/hafailover.conf"]
    unit = made["/etc/systemd/system/nfsdcld.service.d/hafailover.conf"]
    assert "\nPartOf=nfs-server.service\n" in unit
    assert "\nConditionPathIsMountPoint=/srv/st2\n" in unit


def test_ganesha_keeps_its_state_on_the_disk_and_its_file_handles_fixed():
    conf = files(ganesha())["/etc/ganesha/ganesha.conf"]
    assert 'RecoveryRoot = "/srv/st2/.nfs-state";' in conf
    assert "Filesystem_Id = 7.7;" in conf
    assert 'Server_Scope = "c1-content";' in conf
    assert "NFS_Protocols = 4;" in conf
    assert "CLIENT { Clients = 10.77.0.0/24; Access_Type = RW; }" in conf
    assert "{type" not in conf
    assert "TimeoutStopSec" in files(ganesha())["/etc/systemd/system/nfs-ganesha.service.d/hafailover.conf"]


def test_pacemaker_ends_before_systemd_takes_mounts_of_the_network_away():
    text = files(CONTENT)["/etc/systemd/system/resource-agents-deps.target.d/hafailover-mnt.conf"]
    assert "After=remote-fs.target" in text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("envs: {fsid: 8}", "envs: {fsid: 7}", "7 is the fsid of packs too"),
        ("{fsid: 8}", "{fsid: 8, path: /srv/other}", "does not lie below /srv/st2"),
        ("mount: /srv/st2", "mount: /opt/stackstorm", "/opt/stackstorm is a directory of the system"),
        ("{fsid: 8}", "{fsid: 0}", "write a whole number from 1"),
        ("type: nfs-server,", "type: nfs-server, lease: 5s,", "whole seconds from 10s to 1h"),
        ("type: nfs-server,", "type: nfs-server, lease: 30s,", "is shorter than the lease of 30s"),
        ("vip: {ip: 10.77.0.100/24, follows: content}", "vip: {ip: 10.77.0.100/24}", "no address that moves with it"),
        ("from: content", "from: contnet", "unknown service of type nfs-server 'contnet'; allowed: content; did you mean 'content'?"),
        ("{packs: /opt", "{pack: /opt", "unknown export of content 'pack'"),
        ("/opt/st/packs", "/opt/stackstorm", "/opt/stackstorm is a directory of the system"),
        ("envs: /opt/st/envs", "envs: /opt/st/packs/envs", "lies in /opt/st/packs, where packs is mounted"),
        ("from: content,", "from: content, options: 'soft,hard',", "contradict each other"),
        ("from: content,", "from: content, server: x,", "give either from"),
        ("from: content,", "", "give either from"),
        ("from: content,", "from: content, after: [content],", "names content, which from does already"),
        ("from: content,", "from: content, fstype: glusterfs,", "content serves NFS"),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_with_a_reason(old, new, said):
    with pytest.raises(UsageError) as raised:
        parse(changed((old, new), text=CONTENT))
    assert said in str(raised.value)


def test_remount_needs_a_server_that_the_cluster_sees_move():
    with pytest.raises(UsageError, match="only ride-through is possible"):
        parse(changed(("server: gl1,", "server: gl1, on_server_move: remount,"), text=OUTSIDE))


def test_two_services_cannot_have_the_same_directory():
    text = CONTENT + "  again: {type: nfs-mount, from: content, to: {packs: /opt/st/packs}}\n"
    with pytest.raises(UsageError, match="/opt/st/packs is used by service mnt"):
        parse(text)
    assert list(topology_check.problems(parse(CONTENT))) == []


def test_the_lab_serves_in_user_space_from_a_disk_that_all_nodes_see():
    topology = parse(CONTENT)
    assert adapt.shared_disks(topology) == (plan.SharedDisk("/dev/sdx", ("packs", "envs")),)
    made, notes = adapt.adapt(topology, adapt.plan("x", topology))
    assert made.services["content"].options["server"] == "ganesha"
    assert made.services["mnt"].options["fstype"] == "fuse.labnfs"
    assert any("loop device" in note for note in notes)
    assert any("Ganesha" in note for note in notes)
    assert any("test equipment" in note for note in notes)


def test_a_plan_with_a_shared_disk_survives_the_labs_state_file():
    topology = parse(CONTENT)
    made = adapt.plan("x", topology)
    from dataclasses import replace

    made = replace(made, shared_disks=adapt.shared_disks(topology))
    assert plan.Plan.from_json(made.to_json()) == made
