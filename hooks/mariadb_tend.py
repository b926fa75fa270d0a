"""The program of the promoted MariaDB server's resident helper; what it does is in ``hafailover.agents.mariadb.tender``."""

from __future__ import annotations

from hafailover.agents.mariadb.tender import main

__all__ = ["main"]
