"""What the facts about StackStorm's units mean: pure functions, each giving its reason or None.

All times are seconds of one clock that does not jump (``time.monotonic``).
"""

from __future__ import annotations

from hafailover.agents.st2.names import base

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from hafailover.agents.units import State

    Broker = tuple[str, int]

SILENT = 2  # monitors in a row without an answer by HTTP: one may fall into a moment of overload
STOPPED = 2  # monitors in a row that find a process stopped: a debugger's moment is not a hang
UNCONNECTED = 3  # monitors in a row without a live broker: a worker that retries by itself is left its chance


def death(name: str, state: State, timers_disabled: bool) -> str | None:
    """What has become of a unit that has no process ("died (signal)"); None if that is as it should be.

    st2timersengine ends with success when its configuration disables it.
    """
    if base(name) == "st2timersengine" and timers_disabled and state.result == "success":
        return None
    if state.active == "failed":
        return f"died ({state.result})"
    return "ended although the cluster did not stop it"


def hung(silent: int, stopped: int, unconnected: int) -> str | None:
    """How a unit whose process lives shows that it hangs, or None; each number is monitors in a row."""
    if silent >= SILENT:
        return f"has not answered by HTTP in {silent} monitors"
    if stopped >= STOPPED:
        return "is stopped by a signal (state T)"
    if unconnected >= UNCONNECTED:
        return f"has had no connection to a broker that works in {unconnected} monitors, although there is one"
    return None


def together(wrong: Mapping[str, str]) -> str:
    """What is wrong with each unit, as one sentence for all that have the same."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in wrong.items():
        by_reason.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(names)} {reason}" for reason, names in by_reason.items())


def unconnected(remotes: Iterable[Broker], before: bool, works: Mapping[Broker, bool]) -> bool | None:
    """Whether a consumer has lost its broker: True, False, or None for no verdict.

    ``remotes`` are the far ends of its established connections, ``before`` whether it was ever seen with a broker,
    ``works`` whether each configured broker takes connections. A connection to a broker that has lost its power
    stays established for ever: nobody is left to end it, and StackStorm asks for no heartbeats. Of a far end that is
    none of the configured brokers (a balancer, a changed name) nothing bad is believed.
    """
    if not any(works.values()):
        return None  # a restart would not help, and what it reconnects to is not there
    if any(works.get(remote, True) for remote in remotes):
        return False
    return True if before else None


def exhausted(deaths: Sequence[float], now: float, limit: int, window: float) -> str | None:
    """Why nothing is restarted in place any more: it was, ``limit`` times within ``window`` seconds before ``now``."""
    recent = [moment for moment in deaths if now - moment < window]
    if len(recent) < limit:
        return None
    if limit == 0:
        return "this resource restarts nothing in place"
    return f"{len(recent)} restarts in place within {window:g} s have not helped"


def overdue(name: str, since: float, now: float, limit: float) -> str | None:
    """Why a restart that was begun at ``since`` and is not over is a failure: it takes longer than ``limit`` seconds."""
    if now - since <= limit:
        return None
    return f"the restart of {name} is not over after {now - since:.0f} s"


def changed(seen: Mapping[str, int], newest: Mapping[str, int]) -> list[str]:
    """The watched resources that began anew since our units last did. A lower number is a change, too."""
    return [resource for resource, number in newest.items() if number != seen.get(resource, 0)]


def drain_warning(drain: float, still_active: float, coordinated: bool) -> str | None:
    """Why running actions would not get the time that the parameter ``drain`` gives them. ``still_active`` is seconds."""
    if drain and not coordinated:
        return (
            "st2actionrunner gives up running actions at once when it is stopped: it waits for them only if st2.conf has "
            "a [coordination] url and service_registry = True"
        )
    if drain > still_active:
        return (
            f"st2actionrunner gives up running actions after {still_active:g} s, so drain={drain:g} s is not reached: "
            "raise [actionrunner] exit_still_active_check in st2.conf"
        )
    return None


def boot_warning(enabled: Sequence[str]) -> str | None:
    """Why units that systemd also starts at boot are dangerous."""
    if not enabled:
        return None
    return (
        f"{', '.join(enabled)} would also be started at boot, before the cluster knows whether it may run here: "
        f"systemctl disable {' '.join(enabled)}"
    )


def masked_warning(masked: Sequence[str]) -> str | None:
    """What a node lacks whose units somebody masked: clients that come here find nobody."""
    if not masked:
        return None
    return (
        f"{', '.join(masked)} is masked on this node, and left out here: systemctl unmask {' '.join(masked)} and "
        "crm_resource --restart, or take it out of units on all nodes"
    )


def stuck(status: str) -> str:
    """Where an execution that does not finish is stuck, by its last status."""
    places = {
        "requested": "no st2scheduler takes it",
        "scheduled": "no st2actionrunner takes it",
        "delayed": "its policy holds it back, or st2scheduler does not go on with it",
        "running": "the action itself does not end",
        "": "st2api does not tell its status",
    }
    return places.get(status, f"its status stays {status}")


def stuck_units(status: str) -> tuple[str, ...]:
    """The services whose restart may help an execution that stays in this status."""
    return {"requested": ("st2scheduler",), "delayed": ("st2scheduler",), "scheduled": ("st2actionrunner",)}.get(
        status, ()
    )
