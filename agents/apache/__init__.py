"""ocf:hafailover:apache, an Apache HTTP Server whose planned stop cuts no request.

See ``life`` (start, stop, and the monitor's look).
"""

from __future__ import annotations

from hafailover.agents import answers, checks, web
from hafailover.agents.ocf import SUCCESS, Agent, Context

agent = Agent(
    "apache",
    shortdesc="An Apache HTTP Server",
    longdesc="""
Apache in its own systemd unit. A clone of it runs on every node, and an address follows it.

start tests the configuration first, and gives Apache's own words for what is wrong with it. It returns when an HTTP request is
answered.

stop lets requests under way finish (graceful stop), for a time; then it terminates, then it kills. Debian's unit would
terminate at once after the graceful stop was asked for, so the agent has systemd send the graceful signal itself.

The monitor sends an HTTP request: processes that were stopped still have connections taken for them by the kernel. A
silence is degraded (exit code 190) at first and a failure after patience.
""",
)

agent.parameter(
    "unit",
    default="apache2.service",
    shortdesc="systemd unit",
    longdesc="The unit that runs Apache (httpd.service on other distributions). It must not be enabled at boot.",
)
agent.parameter(
    "control",
    default="apache2ctl",
    shortdesc="Control program",
    longdesc="The program that tests the configuration when it is called with configtest (apachectl on other distributions).",
    reloadable=True,
)
agent.parameter(
    "url",
    required=True,
    shortdesc="URL to ask",
    longdesc="An HTTP URL that this Apache answers by itself, such as http://127.0.0.1/. Any answer but a server's error (5xx) will do.",
    check=checks.parsed_by(web.parse),
    reloadable=True,
)
answers.parameters(agent, "Apache", ping="2s", patience="4s", finish="20s", term="10s")


@agent.action("monitor", timeout="30s", interval="3s")
def monitor(ctx: Context) -> int:
    """SUCCESS, NOT_RUNNING, DEGRADED while a silence is new, ERR_GENERIC when it hangs."""
    from hafailover.agents.apache import life

    return life.probe(ctx) if ctx.is_probe else life.monitor(ctx)


@agent.action("start", timeout="60s")
def start(ctx: Context) -> int:
    """Test the configuration, start, and return when it answers."""
    from hafailover.agents.apache import life

    life.start(ctx)
    ctx.event("apache.started", f"{life.unit_name(ctx)} answers")
    return SUCCESS


@agent.action("stop", timeout="60s")
def stop(ctx: Context) -> int:
    """Let requests finish, for a time, and end it."""
    from hafailover.agents.apache import life

    ctx.event("apache.stopped", f"{life.unit_name(ctx)}: {life.stop(ctx)}")
    return SUCCESS


@agent.action("validate-all", timeout="30s")
def validate_all(ctx: Context) -> int:
    """Whether Apache is installed and its configuration is sound."""
    from hafailover.agents.apache import life

    life.validate(ctx)
    return SUCCESS
