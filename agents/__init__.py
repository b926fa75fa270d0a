"""The resource agents that Pacemaker runs, and the framework they share."""

__version__ = "0.1.0"

RUN_DIR = "/run/hafailover"
"""Where agents remember, in small files, what is true until the node boots."""
