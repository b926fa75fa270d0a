"""Database, brokers and caches of two OpenStack controllers: ``hafailover drill controllers``."""
