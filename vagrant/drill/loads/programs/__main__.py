"""Runs one of the programs that lie beside it: ``python3 -I DIRECTORY NAME``, its orders as one line of JSON on standard input."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def main() -> None:
    """Load this directory as a package, so that the programs can import from each other, and run the one that is named."""
    here = Path(__file__).resolve().parent
    found = importlib.util.spec_from_file_location(
        "programs", here / "__init__.py", submodule_search_locations=[str(here)]
    )
    assert found is not None
    sys.modules[found.name] = importlib.util.module_from_spec(found)
    importlib.import_module(f"{found.name}.{sys.argv[1]}").main()


if __name__ == "__main__":
    main()
