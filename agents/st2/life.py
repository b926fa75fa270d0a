"""Start and stop of the units, each within the action's time."""

from __future__ import annotations

import time

from hafailover.agents import generation, units, web
from hafailover.agents.ocf import ERR_GENERIC, Context, OcfError
from hafailover.agents.st2 import conf, decide, installed, look, memory
from hafailover.agents.st2.memory import Memory, Unit
from hafailover.agents.st2.names import DRAINED, HTTP, RUNNER, SINGLETON, Wanted, base, urls, watched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from hafailover.agents.st2.installed import Units
    from hafailover.agents.units import State

_POLL = 0.2
_ASK = 10.0
_SETTLED = 2.0  # seconds that each unit has to live: with a bad configuration they end soon after their start
_LEAST = 1.0  # seconds that an API has at least to answer
_TO_KILL = 10.0  # seconds kept for killing what did not end, and for saying so
_GRACE = 10.0  # seconds that systemd waits longer than the drain before it kills by itself
_SHORT = 30  # seconds in which units end that have nothing to finish


def start(ctx: Context) -> Units:
    """Start what is installed; return when all live and those with an API answer. OcfError with the reason if not."""
    found = installed.find(ctx)
    configuration = read_conf(ctx)
    kept = Memory()
    # Before the units: what begins anew while they start, they may have met in its former life.
    kept.generations = {name: generation.read(name).number for name in watched(ctx.params["watch"] or "")}
    kept.brokers = conf.resolve(configuration.brokers)
    _drop_ins(ctx, found)
    begun = time.time()
    for stage in _stages(found.names):
        _begin(ctx, stage, configuration.timers_disabled, begun)
    _await_answers(ctx, found, configuration.timers_disabled, begun)
    remember(ctx, found.names, kept)
    return found


def remember(ctx: Context, names: Sequence[str], kept: Memory) -> None:
    """Keep the processes of the units for the monitor."""
    services = installed.services(names)
    for name, state in zip(names, units.state(ctx, services).values()):
        process = look.process(state.pid) if state.pid else None
        kept.units[name] = Unit(name, state.pid, process.started) if process else Unit(name)
    memory.save(ctx.instance, kept)


def read_conf(ctx: Context) -> conf.Conf:
    """st2.conf; OcfError when it is not readable as such."""
    try:
        return conf.load(ctx.params["config"])
    except ValueError as error:
        raise OcfError(ERR_GENERIC, f"{ctx.params['config']} is not a configuration file: {error}") from None


def _stages(names: Sequence[str]) -> list[list[str]]:
    """Workers, then those who take work in, then those who make work: nothing is asked of what is not there yet."""
    interfaces = [name for name in names if base(name) in HTTP]
    sources = [name for name in names if base(name) in SINGLETON]
    workers = [name for name in names if name not in interfaces and name not in sources]
    return [stage for stage in (workers, interfaces, sources) if stage]


def _drop_ins(ctx: Context, found: Units) -> None:
    """Have systemd leave restarts to the cluster, and give running actions their time."""
    texts = {}
    for unit, service in installed.templates(found.names).items():
        lines = ["# Written by ocf:hafailover:st2", "[Service]", "Restart=no"]
        if service in DRAINED:
            # mixed: the signal goes to the service alone, which waits for the actions it runs. With the default every
            # running action would get it, too.
            lines += [f"TimeoutStopSec={ctx.params['drain'] + _GRACE:g}", "KillMode=mixed"]
        else:
            lines.append(f"TimeoutStopSec={_SHORT}")
        texts[unit] = "\n".join(lines) + "\n"
    units.drop_ins(ctx, texts)


def _begin(ctx: Context, names: list[str], timers_disabled: bool, begun: float) -> None:
    """Start units together and wait until all are active. OcfError with the last line of the first that is not."""
    services = installed.services(names)
    units.begin(ctx, services)
    while True:
        states = dict(zip(names, units.state(ctx, services).values()))
        _refuse_dead(ctx, states, timers_disabled, begun)
        waiting = [name for name, state in states.items() if state.active == "activating" or state.job]
        if not waiting:
            return
        if ctx.deadline.bound(float("inf")) < _TO_KILL / 2:
            raise OcfError(ERR_GENERIC, _late(ctx, waiting[0], "is still being started", begun))
        time.sleep(_POLL)


def _await_answers(ctx: Context, found: Units, timers_disabled: bool, begun: float) -> None:
    """Wait until every API answers and no unit has ended soon after its start."""
    questions = urls(ctx.params, found.names)
    settled = time.monotonic() + _SETTLED
    while True:
        states = dict(zip(found.names, units.state(ctx, installed.services(found.names)).values()))
        _refuse_dead(ctx, states, timers_disabled, begun)
        answers = web.ask(questions, max(_LEAST, min(ctx.params["patience"], _left(ctx))))
        wrong = {name: reason for name, reason in answers.items() if reason}
        if not wrong and time.monotonic() >= settled:
            return
        if _left(ctx) <= 0:
            name = next(iter(wrong), found.names[0])
            raise OcfError(ERR_GENERIC, _late(ctx, name, wrong.get(name) or "was started too late", begun))
        time.sleep(_POLL)


def _left(ctx: Context) -> float:
    """Seconds until a start has to say why it did not succeed."""
    return max(0.0, ctx.deadline.bound(float("inf")) - _TO_KILL / 2)


def _late(ctx: Context, name: str, what: str, begun: float) -> str:
    return f"{name} {what} at the end of the start's time: {units.last_line(ctx, f'{name}.service', begun)}"


def _refuse_dead(ctx: Context, states: dict[str, State], timers_disabled: bool, begun: float) -> None:
    for name, state in states.items():
        reason = decide.death(name, state, timers_disabled) if state.dead else None
        if reason:
            raise OcfError(ERR_GENERIC, f"{name} {reason}: {units.last_line(ctx, f'{name}.service', begun)}")


def stop(ctx: Context) -> list[str]:
    """Stop everything of this resource: running actions get ``drain`` seconds. The names of units that had to be killed."""
    # A socket first: it would start its service again for the next client.
    sockets = [f"{name}.socket" for name in Wanted(ctx.params["units"]).names]
    alive = [*_alive(ctx, sockets), *running(ctx)]
    killed: list[str] = []
    if alive:
        patience = ctx.params["drain"] + _GRACE / 2
        reserve = min(_TO_KILL, ctx.deadline.remaining() / 2)
        killed = units.stop(ctx, alive, max(0.0, min(patience, ctx.deadline.remaining() - reserve)))
    memory.forget(ctx.instance)
    return killed


def running(ctx: Context) -> list[str]:
    """The services of this resource that have not ended, whoever started them, also if their unit file is gone."""
    names = Wanted(ctx.params["units"]).names
    services = installed.services(names)
    if RUNNER in names:
        # All instances: some may be left from a time when there were to be more.
        argv = ["systemctl", "list-units", "--all", "--plain", "--no-legend", "--no-pager", f"{RUNNER}@*.service"]
        services += [line.split()[0] for line in ctx.run(argv, timeout=_ASK).out.splitlines() if line.strip()]
    return _alive(ctx, services)


def _alive(ctx: Context, names: Sequence[str]) -> list[str]:
    return [name for name, state in units.state(ctx, names).items() if not state.dead]
