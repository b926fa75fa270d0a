"""The recurring monitor: look, decide, restart in place what needs it, and say so.

A unit that died or hangs is restarted alone: stopping and starting the whole resource would interrupt everything that
runs on the node. Pacemaker is told each time (the resource is degraded, with the reason), and after a bounded number
of restarts that did not help the monitor fails, so that the cluster recovers the resource in its own way.
"""

from __future__ import annotations

import time

from hafailover.agents import generation, managed, units, web
from hafailover.agents.ocf import DEGRADED, ERR_GENERIC, NOT_RUNNING, SUCCESS, Context, OcfError
from hafailover.agents.st2 import decide, look, memory
from hafailover.agents.st2.names import CONSUMERS, HTTP, base, needing, urls, watched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from hafailover.agents.generation import Generation
    from hafailover.agents.st2.memory import Memory, Unit
    from hafailover.agents.units import State

_ASK = 10.0
_BROKER = 0.5  # seconds in which a broker on the same network has taken a connection
_BOOT = 60.0  # seconds after its start in which an API need not answer yet
_START = 60.0  # seconds that a restart may take beyond the time that its stop may take
_SELDOM = 30.0  # seconds between two restarts for new generations: a broker that flaps must not stop all work


def monitor(ctx: Context) -> int:
    """SUCCESS, NOT_RUNNING when nothing lives; OcfError DEGRADED for what was repaired, ERR_GENERIC for what was not."""
    kept = memory.load(ctx.instance)
    if kept is None:
        return _without_memory(ctx)
    before = kept.text()
    try:
        return Round(ctx, kept).run()
    finally:
        if kept.text() != before:
            memory.save(ctx.instance, kept)


def probe(ctx: Context) -> int:
    """Whether any unit of this resource runs here, whoever started it."""
    from hafailover.agents.st2 import life

    return SUCCESS if life.running(ctx) else NOT_RUNNING


def beside(ctx: Context) -> int:
    """Whether something of this resource runs on a node that is not to run it: started by hand, or at boot. Pacemaker stops it then."""
    from hafailover.agents.st2 import life

    found = life.running(ctx)
    if not found:
        return NOT_RUNNING
    names = ", ".join(found)
    ctx.event(
        "st2.beside", f"{names} runs where the cluster did not start it, and is stopped", level="warning", units=names
    )
    return SUCCESS


def _without_memory(ctx: Context) -> int:
    """Nothing tells what was started: take what runs as it is."""
    from hafailover.agents.st2 import conf, installed, life

    if probe(ctx) == NOT_RUNNING:
        return NOT_RUNNING
    kept = memory.Memory()
    kept.generations = {name: generation.read(name).number for name in watched(ctx.params["watch"] or "")}
    kept.brokers = conf.resolve(life.read_conf(ctx).brokers)
    life.remember(ctx, installed.find(ctx).names, kept)
    return SUCCESS


class Round:
    """One monitor: what it found wrong and has repaired (``said``), by reason."""

    def __init__(self, ctx: Context, kept: Memory) -> None:
        self.ctx, self.kept = ctx, kept
        self.now = time.monotonic()
        self.said: list[str] = []

    def run(self) -> int:
        """The look, in the order of its cost."""
        lost = [unit for unit in self.kept.units.values() if not self._lives(unit)]
        dead = self._account(lost) if lost else []
        if dead and not any(unit.pid or unit.since for unit in self.kept.units.values()):
            return NOT_RUNNING
        alive = [unit for unit in self.kept.units.values() if unit.pid and not unit.since]
        self._count_silence(alive)
        self._count_stopped(alive)
        self._count_unconnected(alive)
        hung = {unit.name: decide.hung(unit.silent, unit.stopped, unit.unconnected) for unit in alive}
        wrong = {**dict(dead), **{name: reason for name, reason in hung.items() if reason}}
        if wrong:
            self._repair(wrong)
        self._follow_generations()
        if self.said:
            raise OcfError(DEGRADED, "; ".join(self.said))
        return SUCCESS

    # -- looking ----------------------------------------------------------------------------------------------

    def _lives(self, unit: Unit) -> bool:
        process = look.process(unit.pid) if unit.pid else None
        return process is not None and process.started == unit.started

    def _account(self, lost: Sequence[Unit]) -> list[tuple[str, str]]:
        """What became of units without the process that was known; (name, reason) of those that are dead."""
        states = units.state(self.ctx, [f"{unit.name}.service" for unit in lost])
        dead = []
        for unit, state in zip(lost, states.values()):
            if state.dead:
                reason = decide.death(unit.name, state, self._timers_disabled(unit))
                if reason:
                    dead.append((unit.name, reason))
                    if not unit.since:
                        unit.pid = 0
                else:
                    unit.renew(0, "")
            elif state.job or state.active != "active":
                self._await_restart(unit)
            else:
                self._meet(unit, state)
        return dead

    def _timers_disabled(self, unit: Unit) -> bool:
        if base(unit.name) != "st2timersengine":
            return False
        from hafailover.agents.st2 import life

        return life.read_conf(self.ctx).timers_disabled

    def _await_restart(self, unit: Unit) -> None:
        """A restart is under way, ours or a person's: healthy as long as it is not too long."""
        if not unit.since:
            unit.restarting(self.now)
        limit = self.ctx.params["drain"] + _START
        reason = decide.overdue(unit.name, unit.since, self.now, limit)
        if reason:
            raise OcfError(ERR_GENERIC, reason)

    def _meet(self, unit: Unit, state: State) -> None:
        """It lives with another process than the one that was known."""
        process = look.process(state.pid)
        if process is None:
            return  # it has just died again, which the next look tells
        expected = bool(unit.since) or not unit.pid
        unit.renew(state.pid, process.started)
        if not expected:
            self.kept.deaths.append(self.now)
            self.said.append(f"{unit.name} was restarted by somebody else, or by systemd after it had died")
            self.ctx.event("st2.met", self.said[-1], level="warning", unit=unit.name)

    def _count_silence(self, alive: Sequence[Unit]) -> None:
        """Ask those that have an API. OcfError (degraded) is left to ``hung``."""
        asked = {unit.name: unit for unit in alive if unit.name in HTTP}
        if not asked:
            return
        wrong = web.ask(urls(self.ctx.params, asked), self.ctx.deadline.bound(self.ctx.params["patience"]))
        for name, reason in wrong.items():
            unit = asked[name]
            if reason is None:
                unit.silent = 0
            elif not self._is_new(unit):
                unit.silent += 1
                if unit.silent < decide.SILENT:
                    self.said.append(f"{name} {reason}")

    def _is_new(self, unit: Unit) -> bool:
        process = look.process(unit.pid)
        return process is None or process.age(look.uptime()) < _BOOT

    def _count_stopped(self, alive: Sequence[Unit]) -> None:
        for unit in alive:
            process = look.process(unit.pid)
            unit.stopped = unit.stopped + 1 if process is not None and process.state == "T" else 0

    def _count_unconnected(self, alive: Sequence[Unit]) -> None:
        consumers = [unit for unit in alive if base(unit.name) in CONSUMERS]
        if not consumers or not self.kept.brokers:
            return
        sockets = look.connections({port for _, port in self.kept.brokers})
        works = web.works(self.kept.brokers, self.ctx.deadline.bound(_BROKER))
        for unit in consumers:
            remotes = look.remotes(unit.pid, sockets)
            lost = decide.unconnected(remotes, bool(unit.met), works)
            if lost is False:
                unit.met = 1
            if lost is not None:
                unit.unconnected = unit.unconnected + 1 if lost else 0

    # -- repairing --------------------------------------------------------------------------------------------

    def _repair(self, wrong: dict[str, str]) -> None:
        """Restart what is wrong, or say why not. OcfError ERR_GENERIC when restarts have not helped."""
        ctx = self.ctx
        said = decide.together(
            {
                name: f"{reason}: {units.last_line(ctx, f'{name}.service')}"
                if not self.kept.units[name].pid
                else reason
                for name, reason in wrong.items()
            }
        )
        unmanaged = self.unmanaged()
        if unmanaged:
            raise OcfError(DEGRADED, f"{said}; {unmanaged}")
        self.kept.deaths = [moment for moment in self.kept.deaths if self.now - moment < ctx.params["restart_window"]]
        tired = decide.exhausted(self.kept.deaths, self.now, ctx.params["restarts"], ctx.params["restart_window"])
        if tired:
            raise OcfError(ERR_GENERIC, f"{said}; {tired}")
        self.kept.deaths.append(self.now)
        self.restart(list(wrong), said)
        self.said.append(f"{said}; restarted here ({len(self.kept.deaths)} of {ctx.params['restarts']} allowed)")

    def restart(self, names: Sequence[str], why: str) -> None:
        """Have systemd restart units, without waiting for that."""
        ctx = self.ctx
        services = [f"{name}.service" for name in names]
        silent = [f"{name}.service" for name in names if self.kept.units[name].silent]
        if silent:  # it would take its whole time to stop, and has no work that it could finish
            ctx.run(["systemctl", "kill", "--kill-who=all", "--signal=KILL", "--", *silent], timeout=_ASK)
        try:
            units.begin(ctx, services, "restart")
        except OcfError as error:
            raise OcfError(error.rc, f"{why}; {error.reason}") from None
        for name in names:
            self.kept.units[name].restarting(self.now)
        ctx.event("st2.restarted", f"restarted {', '.join(names)}: {why}", level="warning", units=" ".join(names))

    def unmanaged(self) -> str | None:
        """Why nothing may be restarted: the cluster was told to leave the resource alone."""
        return managed.unmanaged(self.ctx)

    # -- beginning anew ---------------------------------------------------------------------------------------

    def _follow_generations(self) -> None:
        """Restart, once, the units that use something that began anew."""
        kinds = watched(self.ctx.params["watch"] or "")
        newest = {resource: generation.read(resource) for resource in kinds}
        news = decide.changed(self.kept.generations, {name: found.number for name, found in newest.items()})
        if not news or self._is_too_soon():
            return
        names = [name for resource in news for name in self._bound_to(kinds[resource], newest[resource])]
        names = list(dict.fromkeys(names))
        why = "; ".join(f"{resource}: {newest[resource].why}" for resource in news)
        if names and self.unmanaged():
            raise OcfError(DEGRADED, f"{', '.join(names)} should begin anew ({why}), but the resource is unmanaged")
        # Before the restart: it must not be done again, whatever becomes of it.
        self.kept.generations.update({name: found.number for name, found in newest.items()})
        self.kept.anew = self.now if names else self.kept.anew
        memory.save(self.ctx.instance, self.kept)
        if names:
            self.restart(names, why)

    def _bound_to(self, kind: str, found: Generation) -> list[str]:
        """The units that may hold on to something from before this generation."""
        uptime, passed = look.uptime(), time.time() - found.since
        names = []
        for name in needing(self.kept.units, [kind]):
            unit = self.kept.units[name]
            process = look.process(unit.pid) if unit.pid and not unit.since else None
            # What is dead, is being restarted or was started since has begun anew already.
            if process is not None and process.age(uptime) > passed:
                names.append(name)
        return names

    def _is_too_soon(self) -> bool:
        return bool(self.kept.anew) and self.now - self.kept.anew < _SELDOM
