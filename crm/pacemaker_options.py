"""The names that Pacemaker knows: cluster properties as its own daemons list them, and what it does not list itself."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

from hafailover.agents import process
from lxml import etree

VERSION = "2.1.5 to 3.0"
"""The versions whose names are listed here; those of an installed Pacemaker are added."""

_DAEMONS = ("pacemaker-schedulerd", "pacemaker-controld", "pacemaker-based", "pacemaker-fenced")
_PLACES = ("/usr/lib/pacemaker", "/usr/libexec/pacemaker", "/usr/lib64/pacemaker")
_TIMEOUT = 10.0  # seconds


def _names(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\S+", text))


PROPERTIES = _names(
    """
    batch-limit cancel-removed-actions cluster-delay cluster-infrastructure cluster-ipc-limit cluster-name
    cluster-recheck-interval concurrent-fencing crmd-finalization-timeout crmd-integration-timeout
    crmd-transition-delay dc-deadtime dc-version election-timeout enable-acl enable-startup-probes fence-reaction
    fence-remote-without-quorum fencing-action fencing-enabled fencing-max-attempts fencing-reaction fencing-timeout
    fencing-watchdog-timeout have-watchdog join-finalization-timeout join-integration-timeout last-lrm-refresh
    load-threshold maintenance-mode migration-limit no-quorum-policy node-action-limit node-health-base
    node-health-green node-health-red node-health-strategy node-health-yellow node-pending-timeout pe-error-series-max
    pe-input-series-max pe-warn-series-max placement-strategy priority-fencing-delay remove-after-stop
    shutdown-escalation shutdown-lock shutdown-lock-limit start-failure-is-fatal startup-fencing stonith-action
    stonith-enabled stonith-max-attempts stonith-timeout stonith-watchdog-timeout stop-all-resources
    stop-orphan-actions stop-orphan-resources stop-removed-resources symmetric-cluster transition-delay
    """
)
# The options that the cluster writes itself; what they say is no part of a configuration.
WRITTEN_BY_PACEMAKER = _names("cluster-infrastructure cluster-name dc-version have-watchdog last-lrm-refresh")
META = _names(
    """
    allow-migrate allow-unhealthy-nodes clone-max clone-min clone-node-max collocated container
    container-attribute-target critical failure-timeout globally-unique interleave is-managed maintenance master-max
    master-node-max migration-threshold multiple-active notify ordered priority promotable promoted-max
    promoted-node-max provides remote-addr remote-allow-migrate remote-connect-timeout remote-node remote-port
    requires resource-stickiness restart-type target-role description
    """
)
OPERATION = _names(
    """
    enabled id interval interval-origin name on-fail record-pending requires role role_after_failure start-delay
    timeout description
    """
)


@cache
def properties(places: tuple[str, ...] = _PLACES) -> frozenset[str]:
    """Every cluster property that is known, by this list or by the Pacemaker that is installed here."""
    found = set(PROPERTIES)
    for daemon in _DAEMONS:
        program = next((Path(place, daemon) for place in places if os.access(Path(place, daemon), os.X_OK)), None)
        if program is not None:
            found |= _named(_said(program))
    return frozenset(found)


def _said(program: Path) -> str:
    try:
        done = process.run(str(program), [str(program), "metadata"], _TIMEOUT, {"LC_ALL": "C.UTF-8"}, None)
    except OSError:
        return ""
    return done.out if done.rc == 0 and not done.timed_out else ""


def _named(text: str) -> set[str]:
    try:
        root = etree.fromstring(text.encode(), etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False))
    except (etree.XMLSyntaxError, ValueError):
        return set()
    return {str(one.get("name")) for one in root.iter("parameter") if one.get("name")}
