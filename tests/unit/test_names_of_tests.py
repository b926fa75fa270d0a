"""Every module below tests has a name of its own: pytest imports them by it, and a second one of that name ends a whole run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def test_no_two_modules_share_a_name() -> None:
    shared = {"conftest.py", "__init__.py"}
    names = Counter(path.name for path in TESTS.rglob("*.py") if path.name not in shared and "__init__.py" not in
                    {beside.name for beside in path.parent.iterdir()})  # fmt: skip
    assert len(names) > 300
    assert [name for name, times in names.items() if times > 1] == []
