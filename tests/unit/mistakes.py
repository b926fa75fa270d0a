"""What every message about a mistake in a topology must be."""

from __future__ import annotations


def one_sentence(message: str, said: str) -> None:
    """``message`` is one sentence with ``said`` in it, and then at most the line of the file with a mark below it."""
    first, *excerpt = message.splitlines()
    assert said in first
    assert [line.lstrip(" 0123456789")[:1] for line in excerpt] in ([], ["|", "|"]), message
    assert not excerpt or set(excerpt[1].strip(" |")) == {"^"}, message
