"""``ocf:hafailover:nfsmount``: a directory of a file server that may fail over, mounted without ever hanging with it.

Pure: ``mounts`` (the kernel's table), ``wanted`` (what is asked for, and whether a mount is that), ``decide`` (what is wrong),
``options``. In the world: ``child`` (work that may hang), ``probe`` (does it answer), ``place`` and ``mounting`` (start), ``users`` and
``release`` (stop). ``declaration`` says what the agent is, ``actions`` has its actions.
"""

from hafailover.agents.nfsmount import actions as _actions  # noqa: F401  it registers them
from hafailover.agents.nfsmount.declaration import agent as agent
