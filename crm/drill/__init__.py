"""Break a cluster on purpose, account for every write, and tell about it: a real cluster or a lab."""
