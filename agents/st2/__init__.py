"""ocf:hafailover:st2, the services of StackStorm on one node as one resource.

See the modules beside this one: ``names`` (which services run where), ``installed`` (which of them this node has),
``life`` (start and stop), ``tend`` (the monitor), ``decide`` (what its facts mean), ``deep`` (the deep check).
"""

from __future__ import annotations

from hafailover.agents import checks, web
from hafailover.agents.ocf import SUCCESS, Agent, Context
from hafailover.agents.st2 import names

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.st2.installed import Units

agent = Agent(
    "st2",
    shortdesc="StackStorm's services on a node",
    longdesc="""
The systemd units of StackStorm on a node as one resource: a clone of it for the services that run on every node, a
plain resource for those that may run only once in the cluster.

Units that are not installed are left out. Action runners are found as the packages name them, instances of
st2actionrunner@.service, as many as WORKERS in /etc/default/st2actionrunner says. The units must not be enabled at
boot; start and validate-all warn of those that are.

start returns when every unit lives and st2api, st2auth and st2stream answer by HTTP. stop lets running actions finish,
for a time, and then kills.

The monitor sees a unit that died, a process that hangs (no HTTP answer in two monitors, stopped by a signal, no
connection to a broker in three monitors although one works), and restarts that unit alone. It is then degraded (exit
code 190), with the reason. When that was not enough, restarts times within restart_window, the monitor fails, and the
cluster recovers the resource. When a resource of watch began anew, the units that depend on it are restarted
once, and the reason is logged.

A monitor with OCF_CHECK_LEVEL=20 runs an action from end to end.
""",
)


agent.parameter(
    "units",
    required=True,
    shortdesc="Units to run",
    longdesc="""
active: what runs on every node (st2api, st2auth, st2stream, st2actionrunner, st2scheduler, st2workflowengine,
st2rulesengine, st2notifier). singleton: what runs once in the cluster (st2timersengine, st2garbagecollector,
st2sensorcontainer, st2chatops). Or names of units; a name after a minus sign is left out. A unit that is named must be
installed, one of a word need not.
""",
    check=checks.parsed_by(names.Wanted),
)
agent.parameter(
    "watch",
    shortdesc="Resources that units depend on",
    longdesc="""
A list of RESOURCE=KIND. When such a resource tells on this node that it began anew (the broker was restarted, the
database's primary moved, the content was mounted again), the units that depend on it are restarted once. A broker:
all that consume from it. A database: the same and st2garbagecollector. content: st2actionrunner and
st2sensorcontainer. all: every unit.
""",
    check=checks.parsed_by(names.watched),
)
agent.parameter(
    "drain",
    type="time",
    default="60s",
    shortdesc="Time for running actions to finish",
    longdesc="""
How long a stop lets running actions finish before it kills. The timeout of stop must be longer by 30 s. StackStorm waits
for them only if st2.conf has a [coordination] url with service_registry = True, and at most exit_still_active_check
of [actionrunner].
""",
    check=checks.within(0, 3600, "0 to 1h"),
)
for _name, _port in (("api", 9101), ("auth", 9100), ("stream", 9102)):
    agent.parameter(
        _name,
        default=f"http://127.0.0.1:{_port}",
        shortdesc=f"URL of st2{_name}",
        longdesc=f"Where st2{_name} of this node answers. Any answer but a server's error (5xx) will do.",
        check=checks.parsed_by(web.parse),
    )
agent.parameter(
    "patience",
    type="time",
    default="5s",
    shortdesc="Time for an HTTP answer",
    longdesc="How long st2api, st2auth and st2stream may take to answer a monitor, 1s to 15s.",
    check=checks.within(1, 15, "1s to 15s"),
)
agent.parameter(
    "restarts",
    type="integer",
    default=3,
    shortdesc="Restarts in place",
    longdesc="""
How often, within restart_window, units that died or hang are restarted in place before the monitor fails; with 0 it
fails at once.
""",
    check=checks.within(0, 100, "0 to 100"),
)
agent.parameter(
    "restart_window",
    type="time",
    default="10m",
    shortdesc="Time that restarts are counted in",
    longdesc="After this time a restart in place is no longer counted.",
    check=checks.positive,
)
agent.parameter(
    "workers",
    type="integer",
    shortdesc="Action runners on a node",
    longdesc="Instances of st2actionrunner@.service. Default: WORKERS in /etc/default/st2actionrunner, or else 10.",
    check=checks.within(1, 500, "1 to 500"),
)
agent.parameter(
    "config",
    default="/etc/st2/st2.conf",
    shortdesc="StackStorm's configuration",
    longdesc="The file that the units read. The agent reads in it the brokers and whether timers are disabled.",
)
agent.parameter(
    "deep_action",
    default="core.noop",
    shortdesc="Action of the deep check",
    longdesc="The action that a monitor with OCF_CHECK_LEVEL=20 runs; it must succeed.",
)
agent.parameter(
    "deep_parameters",
    shortdesc="Parameters of the deep check's action",
    longdesc="A JSON object.",
)
agent.parameter(
    "deep_timeout",
    type="time",
    default="60s",
    shortdesc="Time for the deep check's action",
    longdesc="How long the deep check's action may take from its submission to its success.",
    check=checks.positive,
)
agent.parameter(
    "credentials",
    shortdesc="File with the deep check's API key",
    longdesc="A file of mode 0600 with a line api_key = … in the section [st2].",
)


@agent.action("monitor", timeout="30s", interval="10s")
@agent.action("monitor", timeout="90s", interval="300s", depth=20)
def monitor(ctx: Context) -> int:
    """SUCCESS, NOT_RUNNING, DEGRADED when something was repaired or is suspicious, ERR_GENERIC when repairs do not help."""
    from hafailover.agents.st2 import tend

    if ctx.is_probe:
        return tend.probe(ctx)
    if ctx.role == "Stopped":
        return tend.beside(ctx)
    if ctx.check_level >= 10:
        from hafailover.agents.st2 import deep

        return deep.check(ctx)
    return tend.monitor(ctx)


@agent.action("start", timeout="180s")
def start(ctx: Context) -> int:
    """Start the units; return when they live and answer."""
    from hafailover.agents.st2 import life

    found = life.start(ctx)
    for warning in _warnings(ctx, found):
        ctx.log("warning", warning)
    ctx.event("st2.started", f"{len(found.names)} units run: {', '.join(found.names)}", units=" ".join(found.names))
    return SUCCESS


@agent.action("stop", timeout="120s")
def stop(ctx: Context) -> int:
    """Stop the units; running actions have time to finish."""
    from hafailover.agents.st2 import life

    killed = life.stop(ctx)
    text = f"stopped; killed after its time to finish: {', '.join(killed)}" if killed else "stopped"
    ctx.event("st2.stopped", text, level="warning" if killed else "notice", killed=" ".join(killed))
    return SUCCESS


@agent.action("validate-all", timeout="30s")
def validate_all(ctx: Context) -> int:
    """Whether units are installed, configuration and credentials can be read; warnings are logged."""
    from hafailover.agents.st2 import deep, installed

    found = installed.find(ctx)
    deep.parameters(ctx.params["deep_parameters"])
    if ctx.params["credentials"]:
        deep.api_key(ctx.params["credentials"])
    for warning in _warnings(ctx, found):
        ctx.log("warning", warning)
    return SUCCESS


def _warnings(ctx: Context, units: Units) -> list[str]:
    from hafailover.agents.st2 import decide, life
    from hafailover.agents.st2.names import RUNNER, base

    configuration = life.read_conf(ctx)
    found = [decide.boot_warning(units.enabled), decide.masked_warning(units.masked)]
    if any(base(name) == RUNNER for name in units.names):
        found.append(decide.drain_warning(ctx.params["drain"], configuration.still_active, configuration.coordinated))
    return [warning for warning in found if warning]
