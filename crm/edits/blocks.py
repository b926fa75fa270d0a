"""Lines of ours between two marks in a file that is otherwise somebody else's."""

from __future__ import annotations

from collections.abc import Sequence

from hafailover.crm.edits import marks
from hafailover.crm.errors import UsageError


def block(content: bytes, name: str, lines: Sequence[str], file: str = "the file") -> bytes:
    """``content`` with ``lines`` as the block ``name`` ("" for the only one), in its place or at the end.

    Without lines there is no block either. UsageError when there is one mark without the other.
    """
    label = f"hafailover {name}".strip()
    old = marks.split(content, file)
    eol = marks.end_of_line(old)
    begin = _places(old, f"# BEGIN {label}")
    end = _places(old, f"# END {label}")
    ours = [f"{line}".encode() + eol for line in (f"# BEGIN {label}", *lines, f"# END {label}")] if lines else []
    if not begin and not end:
        return b"".join([*marks.finished(old, eol), *ours]) if ours else content
    if len(begin) != 1 or len(end) != 1 or begin > end:
        line = min([*begin, *end]) + 1
        raise UsageError(
            f'{file}:{line}: the lines "# BEGIN {label}" and "# END {label}" must stand there once each, in this order; '
            "remove what is left of them, and the lines between that hafailover wrote"
        )
    return b"".join([*old[: begin[0]], *ours, *old[end[0] + 1 :]])


def _places(lines: Sequence[bytes], mark: str) -> list[int]:
    return [index for index, line in enumerate(lines) if line.strip() == mark.encode()]
