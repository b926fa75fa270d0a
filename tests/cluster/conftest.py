"""Fixtures of more than one module; each module's own ``lab`` is the lab that they use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hafailover.vagrant.lab import Lab
from pair import healthy
from stubborn import Writer


@pytest.fixture
def writer(lab: Lab, tmp_path: Path) -> Iterator[Writer]:
    """A writer through the address of a healthy pair that has the tables of ``stubborn.make``."""
    healthy(lab)
    made = Writer(lab, tmp_path)
    try:
        made.progress()
        yield made
    finally:
        made.close()
