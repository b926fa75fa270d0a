"""ocf:hafailover:tomcat, a Tomcat behind mod_jk.

See the modules beside this one: ``place`` (which Tomcat), ``life`` (start and stop), ``drain`` (what Apache is told),
``jkstatus`` and ``ajp`` (the two protocols), ``tend`` (the monitor), ``files`` (do the files agree), ``decide`` (the rules).
"""

from __future__ import annotations

from hafailover.agents import answers, checks, nodes, web
from hafailover.agents.ocf import ERR_CONFIGURED, ERR_INSTALLED, SUCCESS, Agent, Context, OcfError
from hafailover.agents.tomcat import ajp, jkstatus

agent = Agent(
    "tomcat",
    shortdesc="A Tomcat behind Apache's mod_jk",
    longdesc="""
Tomcat on a node, in its own systemd unit (tomcat10.service, tomcat9.service, cloudstack-management.service) or, where
there is none, from a CATALINA_HOME. A clone of it runs on every node.

start returns when the AJP connector answers AJP's own ping and, with url, an HTTP request is answered without a server's
error. It ends at once, with the reason from the journal, when the JVM ends. Before anything is started it refuses a
jvmRoute that is not the name of the worker in mod_jk, and an AJP secret that mod_jk does not have.

stop first has every Apache of status leave this node's worker alone and waits, for a time, until no request is busy
there. Then the unit is stopped; a JVM that does not end writes what its threads do into the journal and is killed. All
of that fits into the action's timeout, so that a hung stop never has the node fenced. When no other worker takes requests,
nothing is drained.

The monitor asks the connector as start does: a JVM that hangs still takes connections. A silence is degraded (exit code
190) at first and a failure after patience. After a stop that was killed half way the monitor has the Apaches use the
worker again; what a person has set in the status worker stays until the next start.
""",
)

agent.parameter(
    "unit",
    shortdesc="systemd unit",
    longdesc="The unit that runs Tomcat. It must not be enabled at boot. Give this or catalina_home.",
)
agent.parameter(
    "catalina_home",
    shortdesc="CATALINA_HOME",
    longdesc="Directory with bin/catalina.sh, for a Tomcat without a unit: the agent makes one until the next boot.",
    check=checks.path,
)
agent.parameter(
    "catalina_base",
    shortdesc="CATALINA_BASE",
    longdesc="Directory with conf/server.xml. Default: catalina_home, or /var/lib/ and the unit's name.",
    check=checks.path,
)
agent.parameter(
    "server_xml",
    shortdesc="server.xml",
    longdesc="The file, where it is not conf/server.xml below CATALINA_BASE.",
    check=checks.path,
)
agent.parameter(
    "java_home",
    shortdesc="JAVA_HOME",
    longdesc="The Java to use with catalina_home. Default: the one that catalina.sh finds.",
    check=checks.path,
)
agent.parameter(
    "catalina_opts",
    shortdesc="CATALINA_OPTS",
    longdesc="Options for the JVM with catalina_home. No secrets: they can be read by everybody on the node.",
)
agent.parameter(
    "user",
    default="tomcat",
    shortdesc="System user",
    longdesc="The user that Tomcat runs as with catalina_home.",
)
agent.parameter(
    "ajp",
    required=True,
    shortdesc="Address and port of the AJP connector",
    longdesc="Where AJP is spoken, such as 127.0.0.1:8009; with nodes, only the port counts.",
    check=checks.parsed_by(ajp.parse),
)
agent.parameter(
    "nodes",
    shortdesc="Addresses of the nodes",
    longdesc="A list of NODE:ADDRESS where each node's connector listens. Default: the address in ajp on every node.",
    check=checks.parsed_by(nodes.addresses),
)
agent.parameter(
    "url",
    shortdesc="URL of the application",
    longdesc="An HTTP URL on this node, such as http://127.0.0.1:8080/client/. Any answer but a server's error (5xx) will do.",
    check=checks.parsed_by(web.parse),
    reloadable=True,
)
answers.parameters(agent, "the JVM", ping="3s", patience="8s", finish="20s", term="30s")
agent.parameter(
    "status",
    shortdesc="Status workers of all Apaches",
    longdesc="""
A list of URLs, such as http://10.0.0.1/jk-status http://10.0.0.2/jk-status. The workers must not be read_only, and this
node must be allowed to ask them. Without it nothing is drained.
""",
    check=checks.parsed_by(jkstatus.urls),
    reloadable=True,
)
agent.parameter(
    "balancer",
    default="wlb",
    shortdesc="Balancer in mod_jk",
    longdesc="The name of the worker of type lb that this Tomcat is a member of.",
    reloadable=True,
)
agent.parameter(
    "workers",
    shortdesc="Names of the workers",
    longdesc="A list of NODE:WORKER. The jvmRoute of each node must be its worker. Default: the names of the nodes.",
    check=checks.parsed_by(nodes.addresses),
)
agent.parameter(
    "workers_file",
    shortdesc="workers.properties",
    longdesc="Where an Apache on this node has its workers; start and validate-all compare the AJP secret with it.",
    check=checks.path,
    reloadable=True,
)
agent.parameter(
    "drain",
    type="time",
    default="0s",
    shortdesc="Time for sessions to end",
    longdesc="""
For how long a planned stop leaves sessions to this worker and only sends new ones elsewhere. With sessions that are
replicated there is no need to wait.
""",
    check=checks.within(0, 86400, "0 to 1d"),
    reloadable=True,
)
agent.parameter(
    "watch",
    shortdesc="Resources whose moves need a restart",
    longdesc="""
A list of resources, such as a database's. When one tells on this node that it began anew (the primary moved), Tomcat is
restarted once, drained, one node after the other. Connection pools that test their connections need no restart.
""",
    reloadable=True,
)


@agent.action("monitor", timeout="60s", interval="5s")
def monitor(ctx: Context) -> int:
    """SUCCESS, NOT_RUNNING, DEGRADED while a silence is new or a restart is under way, ERR_GENERIC when it hangs."""
    from hafailover.agents.tomcat import tend

    return tend.probe(ctx) if ctx.is_probe else tend.monitor(ctx)


@agent.action("start", timeout="240s")
def start(ctx: Context) -> int:
    """Start it; return when it answers and is used."""
    from hafailover.agents.tomcat import life, place

    life.start(ctx)
    ctx.event("tomcat.started", f"{place.unit_name(ctx)} answers", worker=place.worker(ctx))
    return SUCCESS


@agent.action("stop", timeout="120s")
def stop(ctx: Context) -> int:
    """Drain and stop it; what hangs is killed."""
    from hafailover.agents.tomcat import life, place

    said = life.stop(ctx)
    ctx.event("tomcat.stopped", f"{place.unit_name(ctx)}: {said}")
    return SUCCESS


@agent.action("validate-all", timeout="30s")
def validate_all(ctx: Context) -> int:
    """Whether there is something to run, and whether its files agree with mod_jk's."""
    from hafailover.agents.tomcat import files, place

    unit = place.unit_name(ctx)
    missing = place.missing(ctx)
    if missing:
        raise OcfError(ERR_INSTALLED, missing)
    if ctx.params["unit"]:
        answers.require_unit(ctx, unit, place.REMEDY)
    fault = files.fault(ctx)
    if fault:
        raise OcfError(ERR_CONFIGURED, fault)
    return SUCCESS
