"""What has to be in mongod.conf of a node that is a member of the external MongoDB."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hafailover.crm.edits import yaml_data, yaml_set
from hafailover.crm.errors import UsageError
from hafailover.crm.external import mongodb_members
from hafailover.crm.files import FileEdit

if TYPE_CHECKING:
    from hafailover.crm.topology import Topology

PATH = "/etc/mongod.conf"


def edits(topology: Topology, node: str) -> list[FileEdit]:
    """The change to mongod.conf on ``node``: it listens where its peers look for it, and knows its replica set."""
    address = mongodb_members(topology).get(node)
    mongodb = topology.external.mongodb
    if address is None or mongodb is None:
        return []
    return [FileEdit(PATH, lambda old: edited(old, address, node, mongodb.replica_set), secret=True)]


def edited(old: bytes, address: str, node: str, replica_set: str | None) -> bytes:
    """``old`` with ``address`` among those it listens on, and the name of its set; UsageError.

    A file that is not there stays so: MongoDB is not installed on this node, or keeps its configuration elsewhere.
    """
    if not old.strip():
        return old
    if re.search(rb"(?m)^[ \t]*\w+[ \t]*=", old) and not re.search(rb"(?m)^\w+:", old):
        raise UsageError(f"{PATH}: is in the format before MongoDB 2.6 (KEY = VALUE); write it as YAML first")
    data = yaml_data(old, PATH)
    settings: Mapping[str, Any] = data if isinstance(data, dict) else {}
    values: dict[str, str] = {}
    listening = _listening(settings, address, node)
    if listening is not None:
        values["net.bindIp"] = listening
    if replica_set is not None:
        there = _section(settings, "replication").get("replSetName")
        if there not in (None, replica_set):
            # A member that comes up under another name finds itself outside of its own set, and serves nobody.
            raise UsageError(
                f"{PATH}: replication.replSetName is {there!r}, and external.mongodb.uri says {replica_set!r}; "
                "correct the one that is wrong (a set that has data cannot be renamed)"
            )
        values["replication.replSetName"] = replica_set
    return yaml_set(old, values, PATH)


def _listening(settings: Mapping[str, Any], address: str, node: str) -> str | None:
    """What bindIp has to be, or None when the address is covered as it is."""
    net = _section(settings, "net")
    written = [part.strip() for part in str(net.get("bindIp") or "127.0.0.1").split(",") if part.strip()]
    everything = "::" if ":" in address else "0.0.0.0"  # noqa: S104 (recognised, not used)
    if net.get("bindIpAll") is True or {"*", everything, address, node} & set(written):
        return None
    return ",".join([*written, address])


def _section(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = settings.get(name)
    return found if isinstance(found, dict) else {}
