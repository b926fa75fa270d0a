"""Start, stop and look of one Apache, each within the action's time."""

from __future__ import annotations

import time

from hafailover.agents import answers, units, web
from hafailover.agents.memo import Memo
from hafailover.agents.ocf import ERR_CONFIGURED, ERR_GENERIC, NOT_RUNNING, SUCCESS, Context, OcfError

_ASK = 10.0
_POLL = 0.2
_TEST = 20.0  # seconds for a test of the configuration, which reads every file of it
_TO_KILL = 8.0
_HUNG = 1.0  # seconds that a graceful stop gets that cannot become one, for nothing answers
_GRACE = 30
_REMEDY = "install Apache, or correct unit"


def unit_name(ctx: Context) -> str:
    """The unit that runs Apache."""
    return units.service(ctx.params["unit"])


def validate(ctx: Context) -> None:
    """OcfError when it is not installed, or its configuration is not sound."""
    answers.require_unit(ctx, unit_name(ctx), _REMEDY)
    fault = _test(ctx)
    if fault:
        raise OcfError(ERR_CONFIGURED, fault)


def _test(ctx: Context) -> str | None:
    """What Apache says of its configuration if it does not take it."""
    done = ctx.run([ctx.params["control"], "configtest"], timeout=_TEST)
    if done.timed_out:
        return f"{ctx.params['control']} configtest did not end within {_TEST:g} s"
    if done.rc == 0:
        return None
    lines = [line.strip() for line in f"{done.err}\n{done.out}".splitlines() if line.strip()]
    # A hint about the server's name and the help of the wrapper stand around the sentence that counts.
    telling = [line for line in lines if not line.startswith(("AH00558", "Action ", "The Apache error log"))]
    # What is wrong comes last there, and Pacemaker shows only the beginning of a long reason.
    said = " <- ".join(reversed(telling or lines)) or f"exit code {done.rc}"
    return f"Apache's configuration: {said}"


def start(ctx: Context) -> None:
    """Start it; return when it answers. OcfError with the reason if not."""
    unit = unit_name(ctx)
    answers.require_unit(ctx, unit, _REMEDY)
    fault = _test(ctx)
    if fault:
        raise OcfError(ERR_GENERIC, fault)
    _drop_in(ctx, unit)
    answers.start(
        ctx,
        unit,
        "Apache",
        lambda timeout: _silence(ctx, timeout),
        lambda since: units.last_line(ctx, unit, since),
    )


def _drop_in(ctx: Context, unit: str) -> None:
    """Have systemd leave restarts to the cluster, and stop without cutting requests.

    Debian's unit asks for a graceful stop and then, because the asking is over at once, terminates right after it.
    """
    lines = [
        "# Written by ocf:hafailover:apache",
        *units.kept_by_the_cluster(ctx),
        "ExecStop=",
        "KillSignal=SIGWINCH",
        "KillMode=mixed",
        f"TimeoutStopSec={int(ctx.params['finish'] + ctx.params['term']) + _GRACE}",
    ]
    units.drop_in(ctx, unit, "\n".join(lines) + "\n")


def _silence(ctx: Context, timeout: float) -> str | None:
    wrong = web.ask({"url": ctx.params["url"]}, timeout)["url"]
    return wrong and f"{wrong} (asked for {ctx.params['url']})"


def stop(ctx: Context) -> str:
    """End it gracefully, else by force; how it ended, as words. Nothing that is dead takes time."""
    unit = unit_name(ctx)
    if units.state(ctx, [unit])[unit].dead:
        answers.forget(ctx)
        return "it was not running"
    Memo(ctx.instance).write(units.PLANNED, "")
    # It may have been started by a person.
    _drop_in(ctx, unit)
    left = max(0.0, ctx.deadline.remaining() - _TO_KILL)
    term = min(ctx.params["term"], left)
    well = not answers.hangs(ctx) and _silence(ctx, min(ctx.params["ping"], 2.0)) is None
    finish = min(ctx.params["finish"] if well else _HUNG, left - term)
    forced: list[str] = []
    if not well and answers.is_stopped(ctx):
        # systemd's signal comes with a CONT: requests that their users have long repeated would be passed on now.
        units.kill(ctx, [unit])
        forced.append("killed, for it was stopped by a signal")

    def terminate(names: list[str]) -> None:
        forced.append("terminated, for requests did not end")
        ctx.run(["systemctl", "kill", "--kill-who=main", "--signal=TERM", "--", unit], timeout=_ASK)
        end = time.monotonic() + term
        while not units.state(ctx, [unit])[unit].dead:
            if time.monotonic() > end:
                forced[:] = ["killed, for it did not terminate"]
                return
            time.sleep(_POLL)

    units.stop(ctx, [unit], finish, terminate)
    answers.forget(ctx)
    return forced[0] if forced else "every request has ended"


def probe(ctx: Context) -> int:
    """Whether it runs here, whoever started it."""
    unit = unit_name(ctx)
    return NOT_RUNNING if units.state(ctx, [unit])[unit].dead else SUCCESS


def monitor(ctx: Context) -> int:
    """SUCCESS, NOT_RUNNING; OcfError DEGRADED for a silence that is new, ERR_GENERIC for one that lasts."""
    unit = unit_name(ctx)
    process = answers.process(ctx)
    if process is None:
        answers.look_again(ctx, unit, lambda since: units.last_line(ctx, unit, since))
    wrong = _silence(ctx, ctx.params["ping"])
    if wrong is None and process is not None and process.state in "Tt":
        # Its children answer until the next of them is due to be replaced.
        wrong = "was stopped by a signal: its main process does not look after the others"
    if wrong:
        answers.silent(ctx, "Apache", wrong)
    Memo(ctx.instance).clear(answers.SILENT)
    return SUCCESS
