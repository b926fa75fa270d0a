"""Which Tomcat this resource is on this node: a systemd unit that is there, or CATALINA_HOME in a unit of ours."""

from __future__ import annotations

import os

from hafailover.agents import answers, nodes, units
from hafailover.agents.ocf import ERR_CONFIGURED, ERR_INSTALLED, Context, OcfError

REMEDY = "install Tomcat, or correct unit (or give catalina_home)"
_KNOWN = ("tomcat10.service", "tomcat9.service", "tomcat.service", "cloudstack-management.service")
_GRACE = 30  # seconds that systemd waits longer than the agent before it kills by itself


def unit_name(ctx: Context) -> str:
    """The unit that this resource runs in. OcfError ERR_CONFIGURED when the parameters name none, or two."""
    unit: str | None = ctx.params["unit"]
    if bool(unit) == bool(ctx.params["catalina_home"]):
        raise OcfError(
            ERR_CONFIGURED,
            f"give either unit (such as {', '.join(_KNOWN)}) or catalina_home, the directory with bin/catalina.sh",
        )
    if not unit:
        return f"hafailover-tomcat-{ctx.instance}.service"
    return units.service(unit)


def base(ctx: Context) -> str:
    """CATALINA_BASE: as given, or the usual one of the unit."""
    given: str | None = ctx.params["catalina_base"] or ctx.params["catalina_home"]
    if given:
        return given
    return f"/var/lib/{unit_name(ctx)[: -len('.service')]}"


def server_xml(ctx: Context) -> str:
    """The path of server.xml."""
    return ctx.params["server_xml"] or f"{base(ctx)}/conf/server.xml"


def worker(ctx: Context) -> str:
    """The name of this node's worker in mod_jk, which its jvmRoute must equal."""
    found = nodes.addresses(ctx.params["workers"] or "")
    return found.get(ctx.node, ctx.node)


def address(ctx: Context) -> tuple[str, int]:
    """Where AJP is spoken on this node."""
    from hafailover.agents.tomcat import ajp

    found = nodes.addresses(ctx.params["nodes"] or "")
    host, port = ajp.parse(ctx.params["ajp"])
    return found.get(ctx.node, host), port


def prepare(ctx: Context, unit: str) -> None:
    """Have systemd know the unit, and leave restarts to the cluster. OcfError ERR_INSTALLED if there is nothing to run."""
    if ctx.params["catalina_home"]:
        units.unit_file(ctx, unit, _own_unit(ctx))
        return
    answers.require_unit(ctx, unit, REMEDY)
    lines = [
        "# Written by ocf:hafailover:tomcat",
        *units.kept_by_the_cluster(ctx),
        f"TimeoutStopSec={_stop_limit(ctx)}",
    ]
    units.drop_in(ctx, unit, "\n".join(lines) + "\n")


def missing(ctx: Context) -> str | None:
    """What of catalina_home is not there, or None."""
    home = ctx.params["catalina_home"]
    if home and not os.path.isfile(f"{home}/bin/catalina.sh"):
        return f"{home}/bin/catalina.sh is not there; correct catalina_home"
    java = ctx.params["java_home"]
    if java and not os.access(f"{java}/bin/java", os.X_OK):
        return f"{java}/bin/java is not there; correct java_home"
    return None


def _own_unit(ctx: Context) -> str:
    reason = missing(ctx)
    if reason:
        raise OcfError(ERR_INSTALLED, reason)
    import pwd

    user = ctx.params["user"]
    try:
        pwd.getpwnam(user)
    except KeyError:
        raise OcfError(ERR_INSTALLED, f"there is no user {user} on this node; create it, or correct user") from None
    home = ctx.params["catalina_home"]
    settings = {"CATALINA_HOME": home, "CATALINA_BASE": base(ctx)}
    settings.update({"JAVA_HOME": ctx.params["java_home"]} if ctx.params["java_home"] else {})
    settings.update({"CATALINA_OPTS": ctx.params["catalina_opts"]} if ctx.params["catalina_opts"] else {})
    lines = [
        "# Written by ocf:hafailover:tomcat",
        "[Unit]",
        f"Description=Tomcat of the cluster's resource {ctx.instance}",
        "After=network.target",
        *units.kept_by_the_cluster(ctx),
        "Type=exec",
        *(f"Environment={_quoted(f'{name}={value}')}" for name, value in settings.items()),
        f"ExecStart={home}/bin/catalina.sh run",
        f"User={user}",
        "UMask=0027",
        "SuccessExitStatus=143",
        "KillMode=mixed",
        f"TimeoutStopSec={_stop_limit(ctx)}",
    ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A word of a unit file: there, % and $ mean something."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _stop_limit(ctx: Context) -> int:
    return int(ctx.params["term"]) + _GRACE
