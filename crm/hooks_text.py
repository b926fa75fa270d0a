"""How promotion hooks went, as the nodes publish it (hooks/hooks_run.py), and what that means to a person. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from hafailover.agents.mariadb import hooks
from hafailover.crm.status import DEGRADED, NOTE, Problem, Service


class Went(NamedTuple):
    """The hooks of one event on one node: ``state`` is ok, warned (one that is not critical failed), failed, refused (a switchover was, for
    a critical one failed) or running. ``epoch``: the one that began with the promotion, or ended with the demotion.
    """

    node: str
    event: str
    epoch: int
    state: str


def read(node: str, published: str) -> tuple[list[Went], str]:
    """What a node says, and the sentences about what failed."""
    words, _, said = published.partition(" | ")
    found = []
    for word in words.split():
        event, _, rest = word.partition("=")
        epoch, _, state = rest.partition(":")
        if epoch.isdecimal() and event in hooks.EVENTS:
            found.append(Went(node, event, int(epoch), state))
    return found, said.strip()


def current(service: Service) -> Iterator[tuple[Went, str]]:
    """What the nodes say of the hooks of the latest change of the primary."""
    for node, published in service.hooks.items():
        found, said = read(node, published)
        for went in found:
            if went.epoch >= service.journal.epoch - (went.event == hooks.POST_DEMOTE):
                yield went, said


def problems(service: Service) -> Iterator[Problem]:
    """What a person should know of failed hooks."""
    for went, said in current(service):
        again = f"mend it, then hafailover hooks run {went.event} --service {service.name} --node {went.node}"
        if went.state == "failed":
            yield Problem(
                DEGRADED, f"a critical {went.event} hook of {service.name} failed on {went.node}", said, again
            )
        elif went.state == "warned":
            yield Problem(NOTE, f"a {went.event} hook of {service.name} failed on {went.node}", said, again)
        elif went.state == "refused":
            yield Problem(
                NOTE, f"a switchover of {service.name} to {went.node} was refused by its {went.event} hook", said
            )
