"""What can be explained on a node whose own cluster does not run: its last copy of the CIB, and what the servers say themselves."""

from __future__ import annotations

from typing import Any, NamedTuple

from hafailover.agents.nodes import addresses
from hafailover.crm.errors import HafailoverError
from hafailover.crm.explain import SCHEMA, journal_words, server_facts
from hafailover.crm.status import Service, plain_data
from hafailover.crm.status_database import read_journal
from hafailover.crm.status_facts import database_resources
from hafailover.crm.status_offline import CIB_ON_DISK
from hafailover.crm.status_xml import pairs, parse
from hafailover.crm.switchover_facts import ask_everybody


class Glimpse(NamedTuple):
    """One service: the journal as last known here, what each server says (node → sentences), and what follows."""

    service: str
    journal: str
    servers: tuple[tuple[str, tuple[str, ...]], ...]
    conclusion: str


def look(now: float, path: str = CIB_ON_DISK) -> list[Glimpse]:
    """Explain what can be; HafailoverError when there is no CIB on this node's disk."""
    return [_glimpse(service, now) for service in services(path)]


def services(path: str) -> list[Service]:
    """The database services that the CIB on this node's disk configures; nobody knows what they do now."""
    try:
        with open(path, encoding="utf-8") as file:
            cib = parse(file.read())
    except OSError as error:
        raise HafailoverError(
            f"there is no configuration of a cluster on this node ({path}: {error.strerror})"
        ) from None
    found = []
    for clone, primitive in database_resources(cib):
        name, params = primitive.get("id", ""), pairs(primitive.find("instance_attributes"))
        entry, wrong = read_journal(cib, name)
        try:
            nodes = addresses(params.get("nodes", ""))
        except ValueError:
            nodes = {}
        port = params.get("port", "3306")
        found.append(
            Service(
                name=name,
                clone=clone.get("id", ""),
                primary=None,
                promoted=(),
                journal=entry,
                journal_error=wrong,
                instances=(),
                reigns={},
                nodes=nodes,
                port=int(port) if port.isdigit() else 3306,
                credentials=params.get("credentials", ""),
            )
        )
    return found


def _glimpse(service: Service, now: float) -> Glimpse:
    answers = ask_everybody(service)
    servers: list[tuple[str, tuple[str, ...]]] = []
    for node in service.nodes:
        answer = answers.servers.get(node)
        if answer is None or answer.error:
            servers.append((node, (f"server: {answer.error if answer else f'not asked, {answers.unasked}'}",)))
        else:
            servers.append((node, tuple(server_facts(answer))))
    writable = [node for node, answer in answers.servers.items() if answer.writable]
    conclusion = (
        f"{', '.join(writable)} is writable now, so it is the primary; ask there"
        if writable
        else "No server that could be asked is writable. What may be promoted is decided by the cluster: "
        "start Pacemaker here, or ask on another node"
    )
    return Glimpse(service.name, journal_words(service, now), tuple(servers), conclusion)


def as_json(found: list[Glimpse], reason: str, seen_by: str, at: float) -> dict[str, Any]:
    """The documented shape: ``available`` is false."""
    return {
        "schema": SCHEMA,
        "available": False,
        "reason": reason,
        "seen_by": seen_by,
        "at": at,
        "last_known": plain_data(tuple(found)),
    }
