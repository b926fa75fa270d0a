"""Writers of files on a GlusterFS volume: ``hafailover drill files``."""
