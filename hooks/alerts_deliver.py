"""The program of hafailover-alerts.service; what it does is in ``hafailover.hooks.alerts.service``."""

from __future__ import annotations

from hafailover.hooks.alerts.service import main

__all__ = ["main"]
