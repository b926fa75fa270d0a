"""A real browser without a window, which loads a page from a file and knows no network."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--force-color-profile=srgb",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
TIMEOUT = 120


def run(page: Path, *options: str) -> str:
    """Load ``page`` with these options of Chromium; what it printed."""
    program = shutil.which("chromium")
    assert program, "chromium is in tests/host-packages.txt"
    with tempfile.TemporaryDirectory(prefix="chromium-") as profile:
        done = subprocess.run(
            [program, *_OPTIONS, f"--user-data-dir={profile}", *options, page.as_uri()],
            capture_output=True, text=True, timeout=TIMEOUT, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def rendered(page: Path, width: int = 1000) -> str:
    """The document as it stands after loading."""
    return run(page, f"--window-size={width},2000", "--dump-dom")


def picture(page: Path, target: Path, width: int, height: int, dark: bool = False) -> Path:
    """A picture of the page's beginning."""
    run(
        page,
        f"--window-size={width},{height}",
        f"--screenshot={target}",
        *(["--blink-settings=preferredColorScheme=0"] if dark else []),
    )
    return target


def printed(page: Path, target: Path) -> bytes:
    """The page as a PDF file."""
    run(page, "--no-pdf-header-footer", f"--print-to-pdf={target}")
    return target.read_bytes()
