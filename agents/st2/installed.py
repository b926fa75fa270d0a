"""Which of the wanted units this node has."""

from __future__ import annotations

from hafailover.agents.ocf import ERR_GENERIC, ERR_INSTALLED, Context, OcfError
from hafailover.agents.record import NamedTuple
from hafailover.agents.st2 import conf
from hafailover.agents.st2.names import RUNNER, Wanted, base

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ASK = 10.0
_THERE = "loaded"


class Fragment(NamedTuple):
    """A unit file as systemd sees it: ``load`` (loaded, not-found, masked …), ``enabled`` (UnitFileState)."""

    load: str
    enabled: str


class Units(NamedTuple):
    """What there is: ``names`` to run, in order; ``enabled`` are unit files that are also started at boot, ``masked`` those left out
    because somebody masked them.
    """

    names: tuple[str, ...]
    enabled: tuple[str, ...]
    masked: tuple[str, ...] = ()


def find(ctx: Context) -> Units:
    """The units of this resource on this node. OcfError ERR_INSTALLED if there is none, or a named one is missing."""
    wanted = Wanted(ctx.params["units"])
    asked = services(wanted.names)
    asked += [f"{RUNNER}@1.service"] if RUNNER in wanted.names else []
    count = ctx.params["workers"] or conf.workers()
    return choose(wanted, _show(ctx, asked), count)


def choose(wanted: Wanted, there: Mapping[str, Fragment], workers: int) -> Units:
    """The rule of ``find``; ``there`` has a Fragment for each asked unit, ``workers`` is how many action runners to run."""
    names: list[str] = []
    missing: list[str] = []
    for name in wanted.names:
        if name == RUNNER and _loaded(there, f"{RUNNER}@1.service"):
            # The package's own st2actionrunner.service starts and stops the instances one after another: each would
            # get its time to drain, one after another, too.
            names += [f"{RUNNER}@{number}" for number in range(1, workers + 1)]
        elif _loaded(there, f"{name}.service"):
            names.append(name)
        elif name in wanted.explicit:
            state = there.get(f"{name}.service", Fragment("not-found", "")).load
            missing.append(f"{name} is {'masked' if state == 'masked' else 'not installed'}")
    if missing:
        raise OcfError(ERR_INSTALLED, f"{'; '.join(missing)} on this node; install it, or take it out of units")
    if not names:
        raise OcfError(
            ERR_INSTALLED,
            f"no unit of {', '.join(wanted.names)} is installed on this node; install StackStorm's packages",
        )
    enabled = [name for name, fragment in there.items() if fragment.enabled == "enabled"]
    masked = [name for name, fragment in there.items() if fragment.load == "masked"]
    return Units(tuple(names), tuple(enabled), tuple(masked))


def services(names: Sequence[str]) -> list[str]:
    """Names as systemd wants them."""
    return [f"{name}.service" for name in names]


def templates(names: Sequence[str]) -> dict[str, str]:
    """Unit file → base name of the service, one for all instances of a template."""
    return {f"{base(name)}@.service" if "@" in name else f"{name}.service": base(name) for name in names}


def _loaded(there: Mapping[str, Fragment], name: str) -> bool:
    return name in there and there[name].load == _THERE


def _show(ctx: Context, asked: Sequence[str]) -> dict[str, Fragment]:
    argv = ["systemctl", "show", "--property=LoadState,UnitFileState", "--", *asked]
    answer = ctx.run(argv, timeout=_ASK)
    blocks = answer.out.strip().split("\n\n") if answer.out.strip() else []
    if answer.timed_out or answer.rc != 0 or len(blocks) != len(asked):
        raise OcfError(ERR_GENERIC, f"systemd does not tell which units there are: {answer.err.strip() or 'no answer'}")
    return dict(zip(asked, map(_fragment, blocks)))


def _fragment(block: str) -> Fragment:
    values = dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
    return Fragment(values.get("LoadState", ""), values.get("UnitFileState", ""))
