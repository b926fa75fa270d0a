"""What a supplier tells its users, through the file between them."""

from __future__ import annotations

import pytest
from hafailover.agents import generation


@pytest.fixture(autouse=True)
def run_dir(monkeypatch, tmp_path):
    monkeypatch.setattr(generation, "RUN_DIR", str(tmp_path / "run"))


def test_nothing_was_told_yet():
    assert generation.read("mq") == generation.NEVER


def test_each_mark_counts():
    assert generation.mark("mq", "the broker restarted").number == 1
    assert generation.mark("mq", "a partition\nhealed").number == 2
    assert generation.read("mq").why == "a partition healed"
    assert generation.read("db") == generation.NEVER


def test_a_note_counts_when_its_key_is_another():
    assert generation.note("db", "3 db1", "the primary is db1")
    assert not generation.note("db", "3 db1", "the primary is db1")
    assert generation.note("db", "4 db2", "the primary is db2")
    found = generation.read("db")
    assert (found.number, found.key, found.why) == (2, "4 db2", "the primary is db2")


@pytest.mark.parametrize("text", ["", "x", "a\tb\tc\td\n"])
def test_a_file_that_is_none_of_ours_is_as_good_as_none(tmp_path, text):
    generation.mark("mq", "x")
    (tmp_path / "run" / "mq.generation").write_text(text)
    assert generation.read("mq") == generation.NEVER
