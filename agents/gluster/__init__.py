"""What the agents of GlusterFS have in common: its daemon's files, its command line, its pool, and the layout of volumes."""
