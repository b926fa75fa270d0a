"""What other nodes show is read like a stranger's letter; which records are kept, and the line of each."""

import binascii
import json
import zlib

import pytest
from hafailover.crm.history import mailbox, records
from hafailover.crm.history.records import Record
from hypothesis import given, settings
from hypothesis import strategies as st

HOSTILE = [
    "", "1", "2abc", "1!!!!", "1" + "A" * 20000, mailbox.VERSION + "eJwrzkgsSgUABx4CMA==",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_no_letter_is_left_alone(text):
    assert mailbox.read(text) is None


def packed(named):
    return "1" + binascii.b2a_base64(zlib.compress(json.dumps(named).encode()), newline=False).decode()


def test_a_letter_bomb_and_numbers_without_records_do_no_harm(tmp_path):
    bomb = "1" + binascii.b2a_base64(zlib.compress(b"[" * 10_000_000), newline=False).decode()
    assert mailbox.read(bomb[: 2 * mailbox.LARGEST]) is None
    nothing = {"now": 1, "has": {}, "pieces": [{"w": "db1~aaaa", "a": 0, "u": 10**9, "r": []}]}
    letter = mailbox.read(packed(nothing))
    assert letter is not None and letter.pieces == []
    escape = Record("db1~aaaa", 1, 5, 5, "event", {"text": "a\x1b[2Jb"})
    named = {
        "now": 1,
        "has": {"../../etc": 3},
        "pieces": [{"w": "db1~aaaa", "a": 0, "u": 1, "r": [records.write(escape).decode()]}],
    }
    letter = mailbox.read(packed(named))
    assert letter.has == {} and letter.pieces[0].records[0].facts["text"] == "a\ufffd[2Jb"
    for strange in (
        {"now": 1},
        {"now": "x", "has": {}, "pieces": []},
        {"now": 1, "has": [], "pieces": {}},
        [1],
        {"now": 1, "has": {}, "pieces": [3]},
    ):
        assert mailbox.read(packed(strange)) is None


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_kept_of_parts_is_what_is_kept_of_the_whole(data):
    kinds = st.sampled_from(["fencing", "audit", "event", "resource"])
    made = data.draw(st.lists(st.tuples(kinds, st.integers(0, 1500)), max_size=120))
    whole = [Record("a~aaaa", n, n, n, kind, {"text": "x" * size}) for n, (kind, size) in enumerate(made, 1)]
    keep = data.draw(st.integers(1, 20))
    at = data.draw(st.integers(0, len(whole)))
    parts = records.trimmed(whole[:at], keep) + records.trimmed(whole[at:], keep)
    assert records.trimmed(parts, keep) == records.trimmed(whole, keep)
    if whole:
        assert records.trimmed(whole, keep)[-1] == whole[-1]


@given(st.text(max_size=3000), st.dictionaries(st.text(max_size=40), st.text(max_size=3000), max_size=40))
@settings(max_examples=60, deadline=None)
def test_any_text_is_one_line_that_comes_back(text, found):
    record = Record("db1~aaaa", 1, 2, 3, "event", records.facts({**found, "text": text}))
    line = records.write(record)
    assert len(line) <= records.LONGEST and b"\n" not in line
    again = records.read(line)
    assert again is not None and records.write(again) == line
    assert all(character >= " " and character != "\x7f" for value in again.facts.values() for character in value)
