"""The programs that ask, outside of the cluster or inside a node. They are run by ``__main__`` and import nothing of hafailover: what
measures a cluster must not share its faults."""
