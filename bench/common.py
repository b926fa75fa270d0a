"""What the benchmarks share: the checkout under its name, which lab they work on, and how they end."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

package = sys.modules.setdefault("hafailover", ModuleType("hafailover"))
package.__path__ = [str(Path(__file__).resolve().parent.parent)]

from hafailover.crm.errors import HafailoverError  # noqa: E402
from hafailover.vagrant import state  # noqa: E402
from hafailover.vagrant.lab import Lab  # noqa: E402


def parser(description: str) -> argparse.ArgumentParser:
    """A parser with the options of every benchmark: ``lab`` and ``output`` (markdown or json)."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--lab", help="which lab; not needed when there is only one")
    made.add_argument("-o", "--output", choices=["markdown", "json"], default="markdown", help="form of the answer")
    return made


def lab(name: str | None) -> Lab:
    """The lab ``name``, or the only one there is; HafailoverError."""
    names = state.names()
    if name is None and len(names) != 1:
        raise HafailoverError(f"say which lab with --lab; there are: {', '.join(names) or 'none (hafailover lab up)'}")
    return Lab.open(name or names[0])


def answer(options: argparse.Namespace, found: Any, table: str) -> None:
    """Print what was asked for: ``found`` as JSON, named tuples as objects, or the Markdown ``table``."""
    text = json.dumps(_plain(found), indent=2) if options.output == "json" else table
    sys.stdout.write(text + "\n")


def _plain(found: Any) -> Any:
    if hasattr(found, "_asdict"):
        found = found._asdict()
    if isinstance(found, dict):
        return {name: _plain(value) for name, value in found.items()}
    return [_plain(one) for one in found] if isinstance(found, (list, tuple)) else found


@contextmanager
def ending(program: str) -> Iterator[None]:
    """End the program with a sentence and its exit code when a HafailoverError comes out of it."""
    try:
        yield
    except HafailoverError as error:
        print(f"{program}: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
