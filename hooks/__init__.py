"""What the cluster calls: reporters, alert agents, promotion hooks."""
