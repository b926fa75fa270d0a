"""The promotion journal: the one permanent record from which every node learns whose data is the truth.

It is a single CIB attribute, so that a promotion and the mark "the others are stale" are one write and can never be
seen apart. Its text is ``key=value`` pairs a person can read in ``crm configure show``::

    v=1 epoch=7 primary=db1 gtid=0-1-4711 sync=db2@1f2e.812.991 at=1767225600 by=regain

``sync`` names the peers that hold every acknowledged write, each with the incarnation (one life of its server
process) for which the primary proved it: a restart may have lost received relay log, so the proof ends with the process.

A last, optional field ``origin`` is written once and kept: ``virgin`` when the very first primary was empty, so that everything it ever
held is in its binary log; ``data`` (also when it is missing) when it held more, which an empty server can only get from a clone.
"""

from __future__ import annotations

from hafailover.agents.record import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMA = 1
VIRGIN = "virgin"
DATA = "data"
ACCEPTED = "accept-data-loss"
_SETTLE = 5.0  # seconds
_DECISION = 1000  # epochs


class JournalError(ValueError):
    """The journal cannot be read; nothing may be promoted on its word. The message says why."""


class Journal(NamedTuple):
    """One reading of the promotion journal.

    epoch: rises by one with every promotion. primary: node name of the last promoted server. gtid: its binary log
    position when it was opened for writing. sync: peer → incarnation that holds every acknowledged write.
    at: Unix time of the last change, seconds. by: what changed it (``promote``, ``degrade``, ``regain``, ``accept-data-loss``).
    origin: VIRGIN, DATA, or "" (unknown, to be taken for DATA). forced: the last epoch that began by a person's decision to accept a
    loss, 0 if none: what other servers hold from before it may be the only copy.
    """

    epoch: int
    primary: str
    gtid: str
    sync: Mapping[str, str]
    at: int
    by: str
    origin: str = ""
    forced: int = 0

    def in_sync(self, node: str, incarnation: str) -> bool:
        """Tell whether this life of ``node``'s server was proved to hold every acknowledged write."""
        return bool(incarnation) and self.sync.get(node) == incarnation

    def settling(self, now: float) -> bool:
        """Tell whether a promotion is so fresh that scores are left alone: a change aborts the transition that brings the address."""
        return self.by == "promote" and 0 <= now - self.at < _SETTLE

    def promoted(self, node: str, gtid: str, now: float) -> Journal:
        """The record for a promotion of ``node`` at ``gtid``: every peer is stale from here on."""
        return self._replace(epoch=self.epoch + 1, primary=node, gtid=gtid, sync={}, at=int(now), by="promote")

    def accepted(self, node: str, gtid: str, now: float) -> Journal:
        """The record by which a person makes ``node``, whose server stands at ``gtid``, the last primary although writes may be lost.

        The nodes that are absent may have begun epochs of their own since this copy was written: none of them may have the same number.
        """
        epoch = self.epoch + _DECISION
        return self._replace(epoch=epoch, primary=node, gtid=gtid, sync={}, at=int(now), by=ACCEPTED, forced=epoch)

    def degraded(self, peers: frozenset[str], now: float) -> Journal:
        """The record after which the primary may acknowledge writes that ``peers`` do not hold."""
        return self._replace(sync={k: v for k, v in self.sync.items() if k not in peers}, at=int(now), by="degrade")

    def regained(self, lives: Mapping[str, str], now: float) -> Journal:
        """The record after one of ``lives`` was proved to hold everything so far, and nobody else can acknowledge: node → life."""
        return self._replace(sync=dict(lives), at=int(now), by="regain")


NONE = Journal(epoch=0, primary="", gtid="", sync={}, at=0, by="")


def write(journal: Journal) -> str:
    """Return the attribute's text."""
    sync = ",".join(f"{node}@{life}" for node, life in sorted(journal.sync.items()))
    return (
        f"v={SCHEMA} epoch={journal.epoch} primary={journal.primary} gtid={journal.gtid} "
        f"sync={sync} at={journal.at} by={journal.by}"
        + (f" origin={journal.origin}" if journal.origin else "")
        + (f" forced={journal.forced}" if journal.forced else "")
    )


def read(text: str | None) -> Journal:
    """Parse the attribute's text; None or an empty text is ``NONE``. JournalError when it must not be trusted."""
    if not text:
        return NONE
    fields = dict(part.split("=", 1) for part in text.split() if "=" in part)
    if fields.get("v") != str(SCHEMA):
        raise JournalError(
            f"the promotion journal has schema {fields.get('v')!r}, this node understands {SCHEMA}: "
            "install the same version of hafailover on all nodes"
        )
    try:
        sync = dict(entry.split("@", 1) for entry in fields["sync"].split(",") if entry)
        journal = Journal(
            int(fields["epoch"]),
            fields["primary"],
            fields["gtid"],
            sync,
            int(fields["at"]),
            fields.get("by", ""),
            fields.get("origin", ""),
            int(fields.get("forced", 0)),
        )
    except (KeyError, ValueError) as error:
        raise JournalError(f"the promotion journal is damaged ({error}): {text!r}") from None
    if journal.epoch < 1 or not journal.primary:
        raise JournalError(f"the promotion journal names no primary: {text!r}")
    return journal
