"""Promotion hooks at a planned switchover: those before it are run before anything is changed, those after it are waited for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable

from hafailover.agents.mariadb import hooks, told
from hafailover.crm import hooks_text
from hafailover.crm.errors import HafailoverError
from hafailover.crm.pacemaker import Pacemaker, PacemakerError
from hafailover.crm.rejoin import Node
from hafailover.crm.status import Service, Status

if TYPE_CHECKING:
    from hafailover.agents.mariadb.replication import Login
    from hafailover.crm.pacemaker import Run
    from hafailover.crm.switchover_run import Outcome

_MARGIN = 8.0  # seconds for a unit to be started and for what it publishes to arrive
_LOOK = 0.5


class PlannedHooks:
    """The hooks of a switchover of ``service`` to ``node``. ``login`` is the replication account, None when it cannot be read."""

    def __init__(
        self, run: Run, status: Status, service: Service, node: str, login: Login | None, say: Callable[[str], None]
    ) -> None:
        self._pacemaker = Pacemaker(run, timeout=5)
        self._service, self._node, self._login, self._say = service, node, login, say
        self._online = [one.name for one in status.nodes if one.online and one.name in service.nodes]
        self._found = hooks.configured(service.name)

    def described(self) -> list[str]:
        """One line for each hook that would be run."""
        named = self._found["hooks"] if self._found else {}
        return [
            f"{event} hook {hook['name']} on {'all nodes' if hook['on'] == 'all' else 'the node itself'}"
            f"{', critical' if hook['critical'] else ''}, at most {hook['timeout']:g} s"
            for event in hooks.EVENTS
            for hook in named.get(event, ())
        ]

    def before(self) -> list[str]:
        """Run the pre-promote hooks; one sentence for each thing that speaks against going on. Nothing else is changed."""
        if self._found is None:
            return []
        against = []
        critical = {hook["on"] for hook in self._found["hooks"].get(hooks.PRE_PROMOTE, ()) if hook["critical"]}
        for name in [self._node, *(name for name in self._online if name != self._node)]:
            here = name == self._node
            needed = bool(critical) if here else "all" in critical
            try:
                told = self._ask(name, hooks.PRE_PROMOTE, here)
                if told.get("run"):
                    self._say(f"pre-promote hooks on {name}: {', '.join(told['run'])}")
                against += [f"on {name}: {said}" for said in told.get("failed", ())]
            except HafailoverError as error:
                if needed:
                    against.append(f"the hooks on {name} cannot be run: {error}")
                else:
                    self._say(f"note: the hooks on {name} cannot be run: {error}")
            if against:
                break
        if against:
            self._forget()
        return against

    def _forget(self) -> None:
        """Nothing comes of the switchover: a failover that follows it must not take its hooks for run."""
        for name in self._online if self._login is not None else ():
            try:
                self._ask(name, hooks.PRE_PROMOTE, here=False, planned=False, forget=True)
            except HafailoverError as error:
                self._say(f"note: {name} may run no pre-promote hooks at a failover in the next minutes: {error}")

    def _ask(self, name: str, event: str, here: bool, planned: bool = True, **more: bool) -> dict[str, Any]:
        if self._login is None:
            raise HafailoverError("the replication account cannot be read here, by which nodes know each other")
        service = self._service
        old = service.primary or ""
        return Node(service, name, self._login).ask(
            "hooks",
            event=event,
            old=old,
            new=self._node,
            epoch=service.journal.epoch,
            here=here,
            planned=planned,
            **more,
        )

    def after(self, outcome: Outcome) -> Outcome:
        """Wait for the post-promote hooks of a switchover that has come about; a critical one that failed makes it incomplete."""
        waited = hooks.chosen(self._found, hooks.POST_PROMOTE, here=True)
        if self._found is None:
            return outcome
        if outcome.primary != self._node:
            self._forget()
            return outcome
        end = time.monotonic() + (hooks.seconds(waited) + _MARGIN if waited else 0.0)
        left: list[str] = []
        over, going = False, []
        try:
            while True:
                going = list(self._going())
                done = {went.event: went.state for went, _ in going if went.node == self._node}
                running = [went for went, _ in going if went.state == "running"]
                over = not waited or (hooks.POST_PROMOTE in done and not running)
                if over or time.monotonic() > end:
                    break
                time.sleep(_LOOK)
        except KeyboardInterrupt:
            over = not waited  # the role has moved; what came of it has to be said
        for went, said in going:
            if went.state == "failed":
                left.append(
                    f"a critical {went.event} hook failed on {went.node} ({said}): mend it, then "
                    f"hafailover hooks run {went.event} --service {self._service.name} --node {went.node}"
                )
        if not over:
            left.append(f"the post-promote hooks on {self._node} have not ended: hafailover status")
        if not left:
            return outcome
        result = "incomplete" if outcome.result == "done" else outcome.result
        return replace(outcome, result=result, left_to_do=(*outcome.left_to_do, *left))

    def _going(self) -> Iterator[tuple[hooks_text.Went, str]]:
        """How the hooks of this switchover go."""
        try:
            published = told.published(self._pacemaker, self._service.name)[told.HOOKS]
        except PacemakerError:
            return
        epoch = self._service.journal.epoch
        for node, text in published.items():
            found, said = hooks_text.read(node, text)
            for went in found:
                if went.epoch >= epoch + (went.event != hooks.POST_DEMOTE):
                    yield went, said


def concerned(service: Service, node: str, event: str) -> bool:
    """Whether it was the role of ``node`` that changed, when the primary last did."""
    return (node == service.primary) if event != hooks.POST_DEMOTE else node != service.primary


def run_again(status: Status, service: Service, node: str, event: str, login: Login | None) -> dict[str, Any]:
    """Run the hooks of ``event`` on ``node`` as for the change that made the present primary; HafailoverError."""
    if login is None:
        raise HafailoverError("the replication account cannot be read here, by which nodes know each other")
    here = concerned(service, node, event)
    epoch = service.journal.epoch
    return Node(service, node, login).ask(
        "hooks", event=event, old="", new=service.primary or "", epoch=epoch, here=here
    )
