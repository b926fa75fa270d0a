"""The doctor's visit: look at this node, have the others look at themselves, and collect what they told, within a bounded time."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping
from typing import Any

from hafailover.crm import local
from hafailover.crm.doctor import Letter, Seen, clock, groups, here, post
from hafailover.crm.doctor.here import Here
from hafailover.crm.doctor.show import show
from hafailover.crm.errors import HafailoverError
from hafailover.crm.pacemaker import Pacemaker, PacemakerError

OLD = 1500.0
"""Seconds after which what a node told of itself says nothing any more: it tells every ten minutes."""
_TOOL = 3.0  # seconds for each of Pacemaker's tools
_WAKE = 3.0  # seconds for a node's peer service to be reached
_ANSWER = 22.0  # seconds for a node that was asked to have looked at itself
_CLOCK = 1.5
_POLL = 0.5


class Visit:
    """One visit, from this node."""

    def __init__(self) -> None:
        self._here: Here = here.look(local.run)
        self._pacemaker = Pacemaker(local.run, _TOOL)
        self._asked: dict[str, dict[str, Any]] = {}
        self._woken: dict[str, float] = {}
        self._unwoken: dict[str, str] = {}
        self._late: frozenset[str] = frozenset()

    def seen(self) -> Seen:
        """Everything there is to judge; never takes longer than half a minute, and never fails."""
        begun = time.monotonic()
        before, why = self._letters()
        others = [node for node in self._here.nodes if node != self._here.node]
        online, lost = self._online()
        there = [node for node in others if node in online]
        threads = [threading.Thread(target=self._wake, args=(node,), daemon=True) for node in there]
        threads += [threading.Thread(target=self._ask_clock, args=(node,), daemon=True) for node in there]
        for thread in threads:
            thread.start()
        facts = groups.look(self._here)
        at = time.time()
        for thread in threads:
            thread.join(max(0.0, begun + groups.LIMIT - time.monotonic()))
        with contextlib.suppress(PacemakerError, HafailoverError):  # that others are told, too, is a courtesy
            show(facts, at)
        letters = self._collected(before, there, begun)
        own = Letter(self._here.node, at, facts)
        nodes = tuple(dict.fromkeys([self._here.node, *self._here.nodes]))
        missing = {node: self._missing(node, letters.get(node), online, lost, why) for node in others}
        missing = {node: reason for node, reason in missing.items() if reason}
        letters = {node: letter for node, letter in letters.items() if node not in missing}
        asked = {node: dict(found) for node, found in self._asked.items()}
        stale = {node: why for node, why in dict(self._unwoken).items() if why and node in letters}
        stale.update((node, "it has not told anew in time") for node in self._late if node in letters)
        return Seen(own.node, time.time(), nodes, {**letters, own.node: own}, missing, asked, stale)

    def _letters(self) -> tuple[dict[str, Letter], str]:
        try:
            shown = self._pacemaker.published(post.ATTRIBUTE)
        except (PacemakerError, HafailoverError) as error:
            return {}, f"this node's cluster does not answer ({error})"
        return {node: letter for node, text in shown.items() if (letter := post.read(node, text))}, ""

    def _online(self) -> tuple[frozenset[str], str]:
        try:
            return self._pacemaker.joined(), ""
        except (PacemakerError, HafailoverError) as error:
            return frozenset(), f"this node's cluster does not answer ({error})"

    def _wake(self, node: str) -> None:
        """Have a node look at itself now, where a database's peer service can be reached; elsewhere what it told last has to do."""
        from hafailover.agents.mariadb import replication
        from hafailover.agents.mariadb.cloning import link
        from hafailover.agents.mariadb.peer_port import peer_port
        from hafailover.agents.nodes import addresses
        from hafailover.agents.ocf import OcfError
        from hafailover.crm.doctor.here import CannotLook

        # Until it has said that it begins: a node that hangs says nothing.
        self._unwoken[node] = "it did not answer in time"
        try:
            for name, params in self._here.databases():
                nodes = addresses(params.get("nodes", ""))
                if node not in nodes:
                    continue
                login = replication.login(params.get("credentials", ""))
                own = params.get("clone_port", "")
                port = peer_port(int(params.get("port", "3306")), int(own) if own.isdigit() else None)
                with link.connect(nodes[node], port, link.key(name, login.password), _WAKE) as peer:
                    at = time.time()
                    peer.say({"v": link.VERSION, "do": "doctor"})
                    if peer.hear().get("begun"):
                        self._woken[node] = at
                        del self._unwoken[node]
                        return
            self._unwoken[node] = ""  # it shares no database with this node, and tells every ten minutes
        except OcfError as error:
            self._unwoken[node] = error.reason
        except (ValueError, OSError, CannotLook, link.LinkError, link.PeerRefused) as error:
            self._unwoken[node] = str(error)

    def _ask_clock(self, node: str) -> None:
        errors = []
        for address in self._here.nodes.get(node, ()):
            found = clock.ask(address, _CLOCK)
            if "error" not in found:
                self._asked[node] = found
                return
            errors.append(str(found["error"]))
        self._asked[node] = {"error": "; ".join(dict.fromkeys(errors)) or "corosync.conf does not name its address"}

    def _collected(self, before: Mapping[str, Letter], there: list[str], begun: float) -> dict[str, Letter]:
        """What the nodes tell, once those that were asked to have told anew, or their time is over."""
        found = dict(before)
        waiting = set(self._woken)
        while waiting:
            letters, _ = self._letters()
            arrived = time.time()
            for node in list(waiting):
                letter = letters.get(node)
                if letter is not None and (node not in before or letter != before[node]):
                    waiting.discard(node)
                    self._bound_clock(node, letter, arrived)
            found.update(letters)
            self._late = frozenset(waiting)
            if not waiting or time.monotonic() > begun + _ANSWER:
                break
            time.sleep(_POLL)
        return {node: letter for node, letter in found.items() if node in there}

    def _bound_clock(self, node: str, letter: Letter, arrived: float) -> None:
        """A letter was written after it was asked for and before it came: where its own time lies outside of that, a clock is wrong."""
        if "error" not in self._asked.get(node, {"error": ""}):
            return
        asked = self._woken[node]
        middle, half = (asked + arrived) / 2, (arrived - asked) / 2
        self._asked[node] = {"ahead": letter.at - middle, "within": half}

    def _missing(self, node: str, letter: Letter | None, online: frozenset[str], lost: str, why: str) -> str:
        """Why a node told nothing that counts, or ""."""
        if lost or why:
            return lost or why
        if node not in online:
            return "it is not a member of the cluster now"
        if letter is None:
            return "it has told nothing of itself yet (there: systemctl start hafailover-doctor; systemctl status hafailover-doctor.timer)"
        age = time.time() - letter.at
        skew = self._asked.get(node, {}).get("ahead")
        age += skew if isinstance(skew, float) else 0.0
        if age > OLD:
            return f"what it told of itself is {age / 60:.0f} minutes old (there: systemctl status hafailover-doctor.timer)"
        return ""
