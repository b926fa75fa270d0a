"""``hafailover adopt``."""

from __future__ import annotations

import os
import time
from typing import Any, NamedTuple

import click
from hafailover.agents.mariadb import replication
from hafailover.agents.mariadb.cluster import Cluster
from hafailover.agents.mariadb.journal import JournalError
from hafailover.agents.mariadb.sql import SqlError
from hafailover.agents.ocf import Context, OcfError
from hafailover.crm import adopt, adopt_facts, completion, consent, local
from hafailover.crm.adopt import Check
from hafailover.crm.adopt_run import ERRORS, Primary, Replica, ready_for, resume_replication
from hafailover.crm.colour import paint
from hafailover.crm.commands.json_answer import JsonCommand, give, known, output
from hafailover.crm.errors import DONE, REFUSED, HafailoverError, RefusedError, UsageError
from hafailover.crm.install import HOOKS_DIR
from hafailover.crm.progress import tell
from hafailover.crm.status import Service, Status
from hafailover.crm.status_facts import gather
from hafailover.crm.status_read import read
from hafailover.crm.status_text import wrapped

_STEPS = 600.0  # seconds for all steps together
_WORDS = {
    adopt.OK: ("ok", "green"),
    adopt.REFUSED: ("REFUSED", "red"),
    adopt.LIVE: ("set now", "yellow"),
    adopt.RESTART: ("restart", "yellow"),
    adopt.WARNING: ("warning", "yellow"),
}

_EPILOG = """\b
Examples (each replica first, then the primary):
  crm_attribute -n maintenance-mode -v true
  hafailover apply /etc/hafailover/topology.yml --wait 0
  hafailover adopt --dry-run
  hafailover adopt

\b
Exit code: 0 done (or nothing to do, or --dry-run and it would go);
1 failed; 2 wrong usage; 3 refused, nothing was changed;
4 begun but not finished: run it again, it goes on.
"""


@click.command(cls=JsonCommand, epilog=_EPILOG)
@completion.service
@consent.options()
@click.option(
    "--wait", type=click.IntRange(0, 86400), default=120, show_default=True, metavar="SECONDS",
    help="On the primary: how long to wait until every replica is in sync.",
)  # fmt: skip
@output
def command(service_name: str | None, dry_run: bool, yes: bool, wait: int, output: str) -> None:
    """Take this node's running server into the cluster, as it is.

    For a pair that replicates already, by file and position or by GTID, and takes writes all the time. While the cluster is in
    maintenance mode, run it on each replica, then on the primary: it checks everything that would break the promise, sets what can be set
    while the server runs, records the primary, and ends the maintenance. No server with writers is restarted.
    """
    local.need_root("adopt", "it reads the replication account and changes systemd's unit of the server")
    consent.need_somebody(yes, dry_run)
    talk = _Talk(output)
    facts = gather(local.run)
    status = read(facts)
    service = _choose(status, service_name)
    if facts.here not in service.nodes:
        raise UsageError(f"{facts.here} is not a data node of {service.name}: run it on {' and '.join(service.nodes)}")
    ctx = adopt_facts.context(facts.cib, service.name, facts.here, _STEPS)
    try:
        _adopt(ctx, status, service, _Way(dry_run, yes, wait), talk)
    except ERRORS as error:
        raise HafailoverError(f"{error}; run it again when that is mended, it goes on where it stopped") from None
    except (JournalError, OcfError) as error:
        raise RefusedError(str(error)) from None


class _Way(NamedTuple):
    """How it is to be done: only looked at, without asking, and how long to wait (seconds) for the replicas."""

    dry_run: bool
    yes: bool
    wait: int


def _adopt(ctx: Context, status: Status, service: Service, way: _Way, talk: _Talk) -> None:
    cluster = Cluster(ctx)
    entry = cluster.journal()
    if not status.maintenance:
        if entry.epoch:
            talk.end(
                "nothing to do", DONE, f"{service.name} is in the cluster already: {entry.primary} is its primary."
            )
            return
        raise RefusedError(
            "the cluster is not in maintenance mode, and would stop servers it does not know: crm_attribute -n maintenance-mode -v true"
        )
    _installed(ctx)
    wanted = adopt_facts.wanted(ctx, local.run)
    with adopt_facts.login(ctx) as connection:
        if not way.dry_run:
            resume_replication(ctx, connection)
        server = adopt_facts.server(ctx, connection)
        source = adopt_facts.source(ctx, connection, server) if server.role == adopt.REPLICA else None
        found = adopt.checks(server, wanted, source)
        if server.role == adopt.PRIMARY:
            found += (adopt_facts.account(ctx, connection), *_others(ctx, cluster, status, service))
        elif source is not None and entry.epoch and entry.primary != source.node:
            found += (Check("journal", adopt.REFUSED, f"{entry.primary} is recorded as primary, not {source.node}"),)
        talk.checks(ctx.node, server.role, found)
        if adopt.refused(found):
            talk.refuse(found)
        if way.dry_run:
            talk.end("planned", DONE, "Nothing was changed (--dry-run).")
            return
        if not way.yes and not click.confirm(f"\nTake {ctx.node} into the cluster?", err=True):
            raise RefusedError("not adopted, nothing was changed")
        if source is not None:
            Replica(ctx, cluster, local.run, talk.say).prepare(connection, server, source.node, adopt.restarts(found))
            talk.end(
                "prepared",
                DONE,
                f"{ctx.node} is ready. Next: hafailover adopt on {_next(ctx, cluster, service, source.node)}",
            )
            return
        primary = Primary(ctx, cluster, local.run, talk.say)
        primary.admit(connection, found)
    if way.wait:
        primary.settle(way.wait)
    later = "; ".join(check.says for check in adopt.restarts(found))
    rest = (
        f" What is left for its next restart: {later}; a switchover (hafailover promote) and a restart of the then replica do it."
        if later
        else ""
    )
    talk.end("done", DONE, f"{ctx.node} is the primary of {service.name}.{rest}")


def _choose(status: Status, name: str | None) -> Service:
    names = [service.name for service in status.services]
    if not names:
        raise UsageError(
            "this cluster has no database service yet: hafailover apply TOPOLOGY --wait 0, in maintenance mode"
        )
    if name is None and len(names) > 1:
        raise UsageError(f"there are several database services ({', '.join(names)}): say which with --service NAME")
    service = status.service(name or names[0])
    if service is None:
        raise UsageError(f"there is no database service {name}; known: {', '.join(names)}")
    return service


def _installed(ctx: Context) -> None:
    hook = f"/{HOOKS_DIR}/mariadb-died"
    if not os.access(hook, os.X_OK):
        raise RefusedError(f"{hook} is not there: hafailover install on this node")
    replication.login(ctx.params["credentials"])


def _others(ctx: Context, cluster: Cluster, status: Status, service: Service) -> tuple[Check, ...]:
    """On the primary: whether everybody else has been prepared, and the cluster can record it."""
    found = []
    if not status.quorum.quorate:
        found.append(Check("quorum", adopt.REFUSED, "this partition has no quorum, so nothing can be recorded"))
    if service.journal.epoch and service.journal.primary != ctx.node:
        found.append(Check("journal", adopt.REFUSED, f"{service.journal.primary} is recorded as primary already"))
    ready = ready_for(cluster, ctx.node)
    for name in service.nodes:
        if name == ctx.node:
            continue
        node, one = status.node(name), service.instance(name)
        if node is None or not node.online:
            found.append(Check("replicas", adopt.REFUSED, f"{name} is not in the cluster: start its Pacemaker"))
        elif name in ready:
            found.append(_replica_check(ctx, name))
        elif one is not None and name in service.promoted:
            found.append(
                Check(
                    "two-primaries",
                    adopt.REFUSED,
                    f"{name} is writable, too, and was not prepared as a replica: run hafailover adopt on {name} first; if it replicates "
                    "from nobody, one of the two must become a replica of the other",
                )
            )
        else:
            found.append(
                Check("replicas", adopt.REFUSED, f"{name} is not prepared: run hafailover adopt on {name} first")
            )
    return tuple(found)


def _replica_check(ctx: Context, name: str) -> Check:
    """Ask it, when it already has the replication account and runs; what it looked like when it was prepared is minutes old."""
    try:
        with replication.connect(ctx, name) as peer:
            replica, writable = peer.replica(), peer.writable()
    except SqlError:
        return Check("replicas", adopt.OK, f"{name} is prepared")
    if writable:
        return Check("two-primaries", adopt.REFUSED, f"{name} is writable again: run hafailover adopt on {name} again")
    if replica is None:
        return Check(
            "replicas", adopt.REFUSED, f"{name} does not replicate any more: run hafailover adopt on {name} again"
        )
    return Check("replicas", adopt.OK, f"{name} is prepared and read-only")


def _next(ctx: Context, cluster: Cluster, service: Service, primary: str) -> str:
    left = [
        name for name in service.nodes if name not in (ctx.node, primary) and name not in ready_for(cluster, primary)
    ]
    return left[0] if left else primary


class _Talk:
    """Where words go: text on standard output; with JSON there, progress on standard error."""

    def __init__(self, output: str) -> None:
        self._json = output == "json"
        self._paint = paint(err=self._json)
        self._begin = time.monotonic()
        self._report: dict[str, Any] = known(
            {
                "schema": 1,
                "node": "",
                "role": "",
                "result": "",
                "says": "",
                "checks": [],
                "steps": [],
            }
        )

    def say(self, text: str) -> None:
        """A step that was done."""
        after = round(time.monotonic() - self._begin, 2)
        self._report["steps"].append({"after_s": after, "says": text})
        tell(f"  {after:7.2f} s  {text}", self._json)

    def checks(self, node: str, role: str, found: tuple[Check, ...]) -> None:
        """The list of what was found."""
        self._report.update(node=node, role=role, checks=[check._asdict() for check in found])
        tell(f"{node}, to be a {role}" if role == adopt.REPLICA else f"{node}, to be the {role}", self._json)
        for check in found:
            word, colour = _WORDS[check.verdict]
            lines = wrapped(check.says, f"  {word:<8}  ", " " * 12)
            tell("  " + self._paint(word, colour) + lines[0][2 + len(word) :], self._json)
            for line in lines[1:]:
                tell(line, self._json)

    def end(self, result: str, code: int, says: str) -> None:
        """The last word, and with JSON the report."""
        self._report.update(result=result, says=says, exit_code=code)
        tell(f"\n{says}", self._json)
        if self._json:
            give(self._report)

    def refuse(self, found: tuple[Check, ...]) -> None:
        """End with REFUSED."""
        number = len(adopt.refused(found))
        says = f"{number} check{'s stand' if number > 1 else ' stands'} in the way"
        self._report.update(result="refused", says=says, exit_code=REFUSED)
        if self._json:
            give(self._report)
        raise RefusedError(f"nothing was changed: {says}")
