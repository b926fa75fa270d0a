"""Files that a generated text must equal. HAFAILOVER_WRITE_GOLDEN=1 writes them anew; the difference is for review."""

import os
from pathlib import Path

DIRECTORY = Path(__file__).parent / "golden"


def check(name: str, text: str) -> None:
    file = DIRECTORY / name
    if os.environ.get("HAFAILOVER_WRITE_GOLDEN"):
        file.write_text(text)
    assert text == file.read_text()
