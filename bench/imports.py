#!/usr/bin/python3
"""What an agent loads before it does anything: modules, and the processor time of starting it, also against another checkout.

The interpreter is started as the launchers start it, isolated and without ``site``, with bytecode that is compiled already. The checkouts
take turns. It needs no lab.

    bench/imports.py                                     # ocf:hafailover:mariadb, a Markdown table
    git worktree add /tmp/before v0.1
    bench/imports.py --agent vip --against /tmp/before
"""

from __future__ import annotations

import os
import re
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import common
from hafailover.crm.errors import HafailoverError, UsageError
from hafailover.crm.install import interpreter, third_party_dirs

HERE = Path(__file__).resolve().parents[1]
SHOWN = 12
_LINE = re.compile(rb"^import time:\s+(\d+) \|\s+\d+ \|\s*(\S+)$", re.MULTILINE)


class Loaded(NamedTuple):
    """What one checkout's agent loads: ``modules``, each with its own time, and the whole start; medians over ``runs``, in ms."""

    checkout: str
    agent: str
    runs: int
    cpu_ms: float
    bare_cpu_ms: float
    modules: Mapping[str, float]


def program(root: Path, agent: str) -> str:
    """What a launcher does up to the agent's own code."""
    lines = ["import sys", *(f"sys.path.append({directory!r})" for directory in third_party_dirs())]
    lines += [
        'package = sys.modules["hafailover"] = type(sys)("hafailover")',
        f"package.__path__ = [{str(root)!r}]",
        f"from hafailover.agents.{agent} import agent",
    ]
    return "\n".join(lines)


def once(code: str, options: Sequence[str], cache: Path) -> tuple[float, bytes]:
    """Start it; processor seconds and what it said. HafailoverError when it fails."""
    with tempfile.TemporaryFile() as said:
        files = [(os.POSIX_SPAWN_DUP2, said.fileno(), 2)]
        argv = [interpreter(), "-IS", "-X", f"pycache_prefix={cache}", *options, "-c", code]
        _, status, usage = os.wait4(os.posix_spawn(argv[0], argv, {}, file_actions=files), 0)
        said.seek(0)
        text = said.read()
    if status:
        raise HafailoverError(f"it does not start: {text.decode(errors='replace').strip().splitlines()[-1:]}")
    return usage.ru_utime + usage.ru_stime, text


def measure(roots: Sequence[Path], agent: str, runs: int) -> list[Loaded]:
    """Each checkout's agent, in turn. HafailoverError."""
    times: dict[Path | None, list[float]] = {root: [] for root in (*roots, None)}
    own: dict[Path, dict[str, list[int]]] = {root: {} for root in roots}
    with tempfile.TemporaryDirectory(prefix="hafailover-bench-") as cache:
        for number in range(runs + 1):
            for root in times:
                code = "" if root is None else program(root, agent)
                seconds, _ = once(code, [], Path(cache))
                if number == 0:
                    continue  # it has compiled what it loads
                times[root].append(seconds * 1000)
                if root is not None:
                    for took, name in _LINE.findall(once(code, ["-X", "importtime"], Path(cache))[1]):
                        own[root].setdefault(name.decode(), []).append(int(took))
    bare = round(statistics.median(times[None]), 1)
    return [
        Loaded(
            checkout=str(root),
            agent=agent,
            runs=runs,
            cpu_ms=round(statistics.median(times[root]), 1),
            bare_cpu_ms=bare,
            modules={name: round(statistics.median(took) / 1000, 2) for name, took in own[root].items()},
        )
        for root in roots
    ]


def table(found: Sequence[Loaded]) -> str:
    """In Markdown: the whole, then the dearest modules of each."""
    lines = [
        "| checkout | CPU ms of a start | of these the bare interpreter | modules | ours | runs |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for one in found:
        ours = sum(name.startswith("hafailover.") for name in one.modules)
        lines.append(
            f"| {one.checkout} | {one.cpu_ms} | {one.bare_cpu_ms} | {len(one.modules)} | {ours} | {one.runs} |"
        )
    for one in found:
        dearest = sorted(one.modules.items(), key=lambda item: -item[1])[:SHOWN]
        lines += ["", f"| {one.checkout}: module | ms of its own |", "|---|--:|"]
        lines += [f"| {name} | {took:.2f} |" for name, took in dearest]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = common.parser("What an agent loads before it does anything; without a lab.")
    parser.add_argument("--agent", default="mariadb", help="which agent (default: mariadb)")
    parser.add_argument("--against", type=Path, help="another checkout to compare with")
    parser.add_argument("-n", "--runs", type=int, default=30, help="starts of each (default: 30)")
    options = parser.parse_args()
    with common.ending("imports"):
        roots = [root.resolve() for root in (options.against, HERE) if root]
        for root in roots:
            if not any((root / "agents" / name).exists() for name in (options.agent, f"{options.agent}.py")):
                raise UsageError(f"{root} has no agent {options.agent}")
        found = measure(roots, options.agent, options.runs)
    common.answer(options, found, table(found))


if __name__ == "__main__":
    main()
