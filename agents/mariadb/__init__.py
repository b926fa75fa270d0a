"""``ocf:hafailover:mariadb``: a promotable MariaDB server that never loses an acknowledged write.

Layout: ``gtid``, ``journal`` and ``decide`` are pure (facts in, verdict with its reason out) and are also what
``status`` and ``promote`` call; ``server``, ``sql`` and ``cluster`` touch the world; ``declaration`` says what the agent is, and
``agent`` has its actions.
"""

from hafailover.agents.mariadb import agent as _actions  # noqa: F401  it registers them
from hafailover.agents.mariadb.declaration import agent as agent
