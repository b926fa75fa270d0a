"""Run by hafailover-doctor.service: this node looks at itself, and shows the others what it saw."""

from __future__ import annotations

from hafailover.crm.doctor.show import main

__all__ = ["main"]
