"""One search of one's own, for an idle machine: ``python -m tests.model --nodes 3 --without election off``.

Prints how far it came, and the story of what it found. Faults are named as often as they may come: ``off off cut``.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from types import ModuleType

_TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(_TESTS)]
sys.modules.setdefault("hafailover", ModuleType("hafailover")).__path__ = [str(_TESTS.parent)]

from model.search import Search, tell  # noqa: E402
from model.setup import FAULTS, Setup  # noqa: E402
from model.starts import STARTS  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=", ".join(FAULTS))
    parser.add_argument("--nodes", type=int, default=2, choices=(2, 3))
    parser.add_argument("--start", default="in sync", choices=sorted(STARTS))
    parser.add_argument("--writes", type=int, default=2, help="by clients (default 2)")
    parser.add_argument("--total", type=int, help="faults of all kinds (default: all that are named)")
    parser.add_argument("--two-node", action="store_true", help="no quorum device")
    parser.add_argument("--fence-first", action="store_true", help="the agent's parameter")
    parser.add_argument("--without", action="append", default=[], metavar="RULE", help="leave it out (see bugs.py)")
    parser.add_argument("--assume", action="append", default=[], help="about the world (see setup.py)")
    parser.add_argument("--ignore", action="append", default=[], metavar="INVARIANT", help="how its sentence begins")
    parser.add_argument("--no-liveness", action="store_true", help="do not ask whether each state comes back to health")
    parser.add_argument("--states", type=int, default=2_000_000, help="give up after so many (default %(default)s)")
    args = parser.parse_args()
    setup = Setup(
        nodes=args.nodes,
        start=args.start,
        faults=tuple(sorted((kind, args.faults.count(kind)) for kind in set(args.faults))),
        total=len(args.faults) if args.total is None else args.total,
        writes=args.writes,
        two_node=args.two_node,
        fence_first=args.fence_first,
        without=frozenset(args.without),
        assume=frozenset(args.assume),
    )
    found = Search(setup).run(args.states, liveness=not args.no_liveness, ignore=frozenset(args.ignore))
    if found.violation:
        sys.stdout.write(tell(found) + "\n")
    end = "all of them" if found.complete else "stopped"
    counts = f"{found.states} states ({end}), {found.transitions} steps, {found.deepest} deep"
    sys.stdout.write(f"{counts}, {found.seconds:.0f} s\n")
    return int(found.violation is not None)


if __name__ == "__main__":
    sys.exit(main())
