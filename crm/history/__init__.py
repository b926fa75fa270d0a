"""What happened to the cluster, as every node remembers it."""

DIRECTORY = "/var/lib/hafailover/history"
"""Where a node keeps it; readable for root alone."""

ALERT = "hafailover-history"
"""Id of the alert that records the history in the cluster's configuration."""
KEEP = "keep"
"""Its parameter: how many records of each writer and class are kept (``history.keep`` of a topology)."""
