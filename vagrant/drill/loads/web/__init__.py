"""Users of the web tier: ``hafailover drill web``."""
