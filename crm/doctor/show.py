"""A node looks at itself, and shows the others what it saw."""

from __future__ import annotations

import time
from typing import Any

from hafailover.agents import journal
from hafailover.crm import local
from hafailover.crm.doctor import groups, here, post
from hafailover.crm.pacemaker import Pacemaker, PacemakerError


def show(facts: dict[str, dict[str, Any]], at: float) -> None:
    """Let the other members see ``facts``; PacemakerError, NotInstalled."""
    Pacemaker(local.run, 5.0).publish(post.ATTRIBUTE, post.write(at, facts))


def main() -> None:
    """Entry point of the unit hafailover-doctor.service."""
    facts = groups.look(here.look(local.run))
    try:
        show(facts, time.time())
    except (PacemakerError, local.NotInstalled) as error:
        # A node whose cluster does not run has nobody to show it to.
        journal.send("info", "hafailover-doctor", f"not shown to the other nodes: {error}")
