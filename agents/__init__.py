"""The resource agents that Pacemaker runs, and the framework they share."""

__version__ = "0.1.0"
