"""The program of hafailover-history.service; what it does is in ``hafailover.crm.history.drain``."""

from __future__ import annotations

from hafailover.crm.history.drain import main

__all__ = ["main"]
