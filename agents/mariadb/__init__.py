"""``ocf:hafailover:mariadb``: a promotable MariaDB server that never loses an acknowledged write.

Layout: ``gtid``, ``journal`` and ``decide`` are pure (facts in, verdict with its reason out) and are also what
``status`` and ``promote`` call; ``server``, ``sql`` and ``cluster`` touch the world; ``agent`` wires them to OCF actions.
"""

from hafailover.agents.mariadb.agent import agent as agent
