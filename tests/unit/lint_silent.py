"""CIBs that lint's rules 16 to 33 must flag, and the nearest that they must not. All load, and Pacemaker's check says nothing."""

from __future__ import annotations

from typing import NamedTuple

from lint_facts import clone, colocated, configuration, group, ordered, primitive


class Case(NamedTuple):
    """``bad`` and ``good``: a CIB that the rule ``code`` flags, and one that it does not; the rule may need a corosync.conf (a pair)."""

    code: str
    bad: str
    good: str


FENCES = [
    primitive(f"f{node}", "stonith:fence_lab", pcmk_host_list=node, pcmk_delay_base=wait)
    for node, wait in (("a", "5s"), ("b", "0s"))
]
RACING = [primitive(f"f{node}", "stonith:fence_lab", pcmk_host_list=node) for node in "ab"]
DISK = primitive("fs", "ocf:heartbeat:Filesystem", directory="/srv", device="/dev/x", fstype="ext4")
APP = primitive("app", "ocf:heartbeat:Dummy")
DELAY = {"priority-fencing-delay": "20s"}


def made(*elements, **more):
    return configuration(*FENCES, *elements, **more)


def address(name, ip, **more):
    return primitive(name, "ocf:heartbeat:IPaddr2", ip=ip, **more)


def export(name, directory, **more):
    return primitive(name, "ocf:heartbeat:exportfs", directory=directory, clientspec="10.0.0.0/24", **more)


def database(meta=None, **params):
    return clone("db-clone", primitive("db", "ocf:heartbeat:mysql", meta, **params), promotable="true")


CASES = [
    Case("L16", made(address("v1", "10.0.0.9"), address("v2", "10.0.0.9")), made(address("v1", "10.0.0.9"), address("v2", "10.0.0.8"))),
    Case("L16b", made(address("v", "192.0.2.9", cidr_netmask="24")), made(address("v", "10.0.0.9", cidr_netmask="24"))),
    Case("L20", made(properties={"stonith-watchdog-timeout": "10s"}), made(properties={"stonith-watchdog-timeout": "0"})),
    Case("L21", configuration(*RACING, APP), made(APP)),
    Case("L21b", made(database(), properties=DELAY), made(database({"priority": "10"}), properties=DELAY)),
    Case("L23", made(APP, defaults={"migration-threshold": "3"}),
         made(APP, defaults={"migration-threshold": "3", "failure-timeout": "60s"})),
    Case("L24", made(DISK, APP, colocated("app", "fs")), made(DISK, APP, colocated("app", "fs"), ordered("fs", "app"))),
    Case("L29", made(database(additional_parameters="--server-id=1")), made(database())),
    Case("L29c", made(database(additional_parameters="--bind-address=127.0.0.1")), made(database())),
    Case("L30", made(group("g", export("e1", "/srv/a", fsid="7"), export("e2", "/srv/b", fsid="7"))),
         made(group("g", export("e1", "/srv/a", fsid="7"), export("e2", "/srv/b", fsid="8")))),
    Case("L31", made(primitive("m", "ocf:heartbeat:Filesystem", directory="/opt/stackstorm", device="/dev/x", fstype="ext4")),
         made(primitive("m", "ocf:heartbeat:Filesystem", directory="/opt/stackstorm/packs", device="/dev/x", fstype="ext4"))),
    Case("L33", made(database(replication_passwd="s3cr3t-word")), made(database(replication_user="repl"))),
]  # fmt: skip
