"""``ocf:hafailover:mariadb``: a promotable MariaDB server that never loses an acknowledged write.

Layout: ``gtid``, ``journal`` and ``decide`` are pure (facts in, verdict with its reason out) and are also what
``status`` and ``promote`` call; ``server``, ``sql`` and ``cluster`` touch the world; ``declaration`` says what the agent is, and
``agent`` has its actions.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.ocf import Agent

    agent: Agent
else:

    def __getattr__(name: str) -> Agent:
        """The agent, with its actions, once somebody wants it: they take 60 ms to load, and ``status`` needs the rules alone."""
        if name != "agent":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from hafailover.agents.mariadb import declaration

        # It registers them.
        __import__("hafailover.agents.mariadb.actions")
        globals()["agent"] = declaration.agent
        return declaration.agent
