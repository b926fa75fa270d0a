"""The steps that look: what a scenario can wait for, and what must stay so for a while."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Mapping

from hafailover.agents.mariadb import journal
from hafailover.crm import waiting
from hafailover.crm.drill import actions, database, exposure, people, settled
from hafailover.crm.drill.actions import Step
from hafailover.crm.drill.stage import Act, Stage
from hafailover.crm.drill.timeline import Power, fenced_nodes
from hafailover.crm.errors import HafailoverError
from lxml import etree

_POLL = 0.25
_STATUS_TIMEOUT = 30.0
_SHOWN = 300  # characters
_OFTEN = 0.02  # seconds between two looks at what times are measured from
_REJOIN_WITHOUT_REPAIR = 60.0  # seconds; agents that cannot repair a replica have given up by then

Condition = Callable[[Stage, Step], "str | None"]
"""Say why it is not so, or None."""


def takeover(stage: Stage, step: Step) -> str | None:
    """Another node than the step's serves clients."""
    node = stage.node(step)
    return None if stage.conditions.taken_over(node) else f"no other node than {node} serves clients"


def fenced(stage: Stage, step: Step) -> str | None:
    """The node was fenced since the fault."""
    assert stage.fault is not None
    node, power = stage.node(step), [Power(*entry) for entry in stage.place.fence_log()]
    return None if node in fenced_nodes(power, stage.fault) else f"{node} has not been fenced"


def rejoined(stage: Stage, step: Step) -> str | None:
    """The node is a replica in sync."""
    why = stage.conditions.why_not_replica(stage.node(step))
    return why and f"{stage.node(step)} is not a replica in sync ({why})"


def all_settled(stage: Stage, step: Step) -> str | None:
    """Every server is in its place and in sync, and the client is served."""
    seen = settled.look(stage.place, stage.target, stage.conditions)
    return None if seen.primary else f"not all servers are in their places and in sync ({'; '.join(seen.why)})"


def promoted(stage: Stage, step: Step) -> str | None:
    """Pacemaker has promoted this node and no other."""
    seen, node = database.cluster(stage.place, stage.target).promoted, stage.node(step)
    return None if list(seen) == [node] else f"{', '.join(seen) or 'no node'} is promoted, not {node}"


def nobody_promoted(stage: Stage, step: Step) -> str | None:
    """Pacemaker has promoted nobody."""
    seen = database.cluster(stage.place, stage.target).promoted
    return f"{', '.join(seen)} is promoted" if seen else None


def stale(stage: Stage, step: Step) -> str | None:
    """The promotion journal does not count the node among those that hold every acknowledged write."""
    node, entry = stage.node(step), _journal(stage)
    return f"the journal calls {node} in sync" if node in entry.sync else None


def in_sync(stage: Stage, step: Step) -> str | None:
    """The promotion journal says that the node holds every acknowledged write."""
    node, entry = stage.node(step), _journal(stage)
    return None if node in entry.sync else f"the journal does not call {node} in sync"


def _journal(stage: Stage) -> journal.Journal:
    cib = etree.fromstring(database.cib_text(stage.place).encode())
    found = cib.find(f".//crm_config//nvpair[@id='hafailover-{stage.target.database}-journal']")
    if found is None:
        raise HafailoverError("there is no promotion journal")
    return journal.read(found.get("value"))


def serving(stage: Stage, step: Step) -> str | None:
    """A write that the client began after this step was acknowledged."""
    last = stage.conditions.last_acknowledged()
    return None if last is not None and last.start > stage.began else "no write of the client was acknowledged"


def silent(stage: Stage, step: Step) -> str | None:
    """No write that the client began after this step was acknowledged."""
    return None if serving(stage, step) else "a write of the client was acknowledged"


def says(stage: Stage, step: Step) -> str | None:
    """``hafailover status`` on the node prints the text, white space apart."""
    node, text = stage.node(step), stage.words(step.parameters["text"])
    done = stage.place.exec(node, ["hafailover", "status"], _STATUS_TIMEOUT)
    said = " ".join((done.stdout + " " + done.stderr).split())
    return None if text in said else f"hafailover status on {node} does not say {text!r} but: {said[:_SHOWN]}"


def logged(stage: Stage, step: Step) -> str | None:
    """The node's journal since the fault contains the text."""
    node, text = stage.node(step), stage.words(step.parameters["text"])
    return None if text in stage.place.logs(node, stage.fault) else f"nothing on {node} has logged {text!r}"


def server_down(stage: Stage, step: Step) -> str | None:
    """No database server runs in the node."""
    found = stage.breakage.servers(stage.node(step))
    return f"server process {', '.join(found)} runs on {stage.node(step)}" if found else None


def one_server(stage: Stage, step: Step) -> str | None:
    """Not more than one server runs on the datadir of the node."""
    found = stage.breakage.servers(stage.node(step))
    return f"{len(found)} server processes run on {stage.node(step)}: {', '.join(found)}" if len(found) > 1 else None


def no_password_shown(stage: Stage, step: Step) -> str | None:
    """No password in use is to be found where it must not be."""
    return exposure.found(stage.place)


CONDITIONS: Mapping[str, Condition] = {
    "takeover": takeover,
    "fenced": fenced,
    "rejoined": rejoined,
    "settled": all_settled,
    "promoted": promoted,
    "nobody-promoted": nobody_promoted,
    "stale": stale,
    "in-sync": in_sync,
    "serving": serving,
    "silent": silent,
    "says": says,
    "logged": logged,
    "server-down": server_down,
    "one-server": one_server,
    "no-password-shown": no_password_shown,
}

assert tuple(CONDITIONS) == actions.CONDITIONS


def wait(stage: Stage, step: Step) -> None:
    """Go on when the condition holds; HafailoverError says why it does not, when the time is up."""
    until, within = step.parameters["until"], step.seconds("within")
    if until == "rejoined" and not stage.stack.repairs:
        within = min(within, _REJOIN_WITHOUT_REPAIR)
    if until == "settled":
        # What was asked for may not have begun yet, and then nothing looks out of place.
        for process in stage.requests:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(people.REQUEST_TIMEOUT + 10)
    why: str | None = None

    def holds() -> bool | None:
        nonlocal why
        try:
            why = CONDITIONS[until](stage, step)
        except HafailoverError as error:
            why = str(error)  # a tool that does not answer now may answer later
        return True if why is None else None

    try:
        waiting.wait(until, within, holds, _OFTEN if until == "takeover" else _POLL)
    except HafailoverError as error:
        raise HafailoverError(f"{why or error} within {within:g} s") from None
    if until in ("rejoined", "settled") and stage.rejoined is None:
        stage.rejoined = time.time()


def hold(stage: Stage, step: Step) -> None:
    """Look again and again; HafailoverError the first time that the condition does not hold. At least one look is taken."""
    that, until = step.parameters["that"], time.monotonic() + step.seconds("for")
    began = time.monotonic()
    while True:
        why = CONDITIONS[that](stage, step)
        if why:
            raise HafailoverError(f"{that}, but after {time.monotonic() - began:.1f} s: {why}")
        if time.monotonic() >= until:
            return
        time.sleep(min(_POLL, max(0.0, until - time.monotonic())))


TABLE: Mapping[str, Act] = {"wait": wait, "hold": hold}
