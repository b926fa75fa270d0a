"""An agent that exists only here, by which the agent framework is tested."""

from __future__ import annotations

from hafailover.agents import ocf
from hafailover.agents.ocf import Agent, Context


class Toy:
    """An agent whose handlers keep the context they were given, and do what the test says."""

    def __init__(self) -> None:
        self.agent = Agent("toy", shortdesc="A <toy> & more", longdesc='It is "described" in <b>words</b>\n')
        self.agent.parameter("ip", required=True, unique=True, shortdesc="Address", longdesc="Where & what")
        self.agent.parameter(
            "port",
            type="integer",
            default=3306,
            check=lambda value: None if value > 0 else "not positive",
            shortdesc="Port",
            longdesc="A port",
        )
        self.agent.parameter("fast", type="boolean", default=True, shortdesc="Fast", longdesc="Whether to be fast")
        self.agent.parameter("stall", type="time", default="2s", shortdesc="Stall", longdesc="How long")
        self.agent.parameter("name", shortdesc="Name", longdesc="Optional")
        self.seen: list[Context] = []
        self.outcome: int | Exception = ocf.SUCCESS
        for name in ("start", "stop", "notify", "demote"):
            self.agent.action(name, timeout="30s")(self.handle)
        decorated = self.agent.action("monitor", timeout="20s", interval="10s", role="Unpromoted")(self.handle)
        self.agent.action("monitor", timeout="40s", interval="9s", role="Promoted", depth=1)(decorated)

    def handle(self, ctx: Context) -> int:
        self.seen.append(ctx)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def run(self, action: str, **environ: str) -> int:
        return self.agent.run([action], {"OCF_RESKEY_ip": "192.0.2.1", **environ})

    def context(self, action: str = "start", **environ: str) -> Context:
        assert self.run(action, **environ) == ocf.SUCCESS
        return self.seen[-1]
