"""bench/growth.py without a lab: every size is a topology that loads, and the table says what was measured."""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hafailover.crm import topology as topologies
from hafailover.crm import yamldoc
from hafailover.crm.errors import UsageError

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))

import growth
from growth import Growth, Monitor, Size


@pytest.mark.parametrize("size", [*growth.SIZES, Size(4, 0), Size(9, 3)], ids=str)
def test_each_size_is_a_topology(size: Size) -> None:
    made = topologies.parse(yamldoc.parse(growth.topology(size), "growth.yml"))
    assert len(made.services["db"].nodes) == size.nodes
    assert (made.quorum.device is not None) == (size.nodes % 2 == 0)


def test_what_is_asked_for() -> None:
    assert growth.parsed("3x10") == Size(3, 10)
    for text in ("3", "x", "1x5", "3x-1", "axb", "10x1"):
        with pytest.raises(UsageError, match="NODESxEXTRAS"):
            growth.parsed(text)


def test_extra_resources_have_names_of_their_own() -> None:
    names = [ElementTree.fromstring(growth.extra(number)).get("id") for number in (1, 2)]
    assert names == ["extra-1", "extra-2"]


def test_the_table_has_no_number_where_there_is_none() -> None:
    found = [Growth(2, 1, "kill-primary", 4, 0.5, 0.9, 1.8, 0), Growth(3, 1, "kill-primary", 4, None, None, None, 8)]
    text = growth.table(found, [Monitor(2, 1, "ours", 40, 41.5)])
    assert "| 2 | 1 | kill-primary | 0.50 | 0.90 | 1.80 | 4 | 0 |" in text
    assert "| 3 | 1 | kill-primary |  |  |  | 4 | 8 |" in text
    assert "| 2 | 1 | ours | 41.5 | 40 |" in text
