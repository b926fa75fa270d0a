"""The surroundings of one instance of a volume, for tests of what it does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hafailover.agents.glustervolume import decide, forming, place
from hafailover.agents.glustervolume.decide import Brick, Facts, Told, Volume
from hafailover.agents.ocf import ERR_GENERIC, Deadline, OcfError

NODES = ("a", "b", "c")
PATH = "/b/brick"
BRICKS = tuple(Brick(name, PATH, f"v-client-{at}") for at, name in enumerate(NODES))
ADDRESSES = {"a": "10.0.0.1", "b": "10.0.0.2", "c": "10.0.0.3"}
SERVING = Facts(NODES, "3", "id", "a", False, Volume("id", True, BRICKS, 3, False), {PATH: place.KEPT})


class Stage:
    """The surroundings of one instance on node a: ``facts`` in turn (the last one stays), commands and events as they come."""

    def __init__(self, *facts: Facts) -> None:
        self.facts = list(facts)
        self.commands: list[str] = []
        self.failing: dict[str, list[str]] = {}
        self.events: list[str] = []
        self.logged: list[str] = []
        self.silent = ""
        self.told: list[Told] = []
        self.records: dict[str, str] = {}
        self.pid = 1
        self.files = False
        self.connected: tuple[str, ...] = NODES
        self.rejected: tuple[str, ...] = ()
        params = {
            "volume": "v",
            "brick": "/b",
            "replica": "3",
            "options": "",
            "wait": 0.0,
            "device": None,
            "unit": "g.service",
        }
        self.ctx: Any = SimpleNamespace(
            instance="files-v",
            node="a",
            action="start",
            params=params,
            deadline=Deadline(240),
            run=lambda argv, timeout=None, input=None: self.ran(argv),
            log=lambda level, text: self.logged.append(text),
            event=lambda name, *_, **__: self.events.append(name.partition(".")[2]),
        )

    def ran(self, argv: list[str]) -> Any:
        self.commands.append(" ".join(argv))
        rc = 1 if self.silent in argv else 0
        return SimpleNamespace(rc=rc, out="", err="nobody answers" if rc else "", timed_out=False)

    def ask(self, ctx: object, words: list[str], seconds: float = 60.0, tolerated: str = "") -> str:
        said = " ".join(words)
        self.commands.append(said)
        for beginning, reasons in self.failing.items():
            if said.startswith(beginning) and reasons:
                raise OcfError(ERR_GENERIC, reasons.pop(0))
        return "Connected\nConnected\nConnected\n"

    def sight(self, ctx: object) -> Any:
        pool = SimpleNamespace(
            addresses=ADDRESSES,
            record=lambda name: self.records.get(name, ""),
            write=self.records.__setitem__,
            claim=lambda former: True,
        )
        return SimpleNamespace(
            pool=pool,
            me="a",
            name="v",
            root="/b",
            address=ADDRESSES["a"],
            allow="files-v-allow",
            making="making-v",
            mark="volume v on a",
            facts=lambda: self.facts.pop(0) if len(self.facts) > 1 else self.facts[0],
            known=lambda: ("", ""),
            volume=lambda: self.facts[0].volume,
            mine=lambda volume: [BRICKS[0]] if volume else [],
            pid=lambda brick: self.pid,
            has_files=lambda: self.files,
            tell=self.told.append,
            tell_serving=lambda states: self.told.append(Told(decide.RUNNING)),
            states=lambda volume: {},
            uuid=lambda: "u-a",
            remember=lambda: None,
            note_behind=lambda **more: self.events.append(f"note {sorted(more.get('fewer', ()))}"),
            begin_turn=lambda: self.records.__setitem__("turn", "a.2") or "a.2",
            turn=lambda: self.records["turn"],
            told=dict,
            connected=lambda told: self.connected,
            rejected=lambda: self.rejected,
        )

    def forming(self) -> forming.Forming:
        return forming.Forming(self.ctx)
