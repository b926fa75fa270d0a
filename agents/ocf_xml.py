"""Meta-data of an agent: XML that satisfies the OCF 1.1 schema, and the older DTD of ocf-tester but for reload-agent."""

from __future__ import annotations

from hafailover.agents.deadline import seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from hafailover.agents.ocf import Action, Agent, Parameter

_ORDER = ("start", "stop", "promote", "demote", "notify", "monitor", "reload-agent", "meta-data", "validate-all")
_WIDTH = 100


def escape(text: str) -> str:
    """``text`` for use between tags and inside double quotes."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def filled(text: str) -> str:
    """Paragraphs with lines of readable length: crmsh shows them as they are."""
    paragraphs = []
    for paragraph in text.strip().split("\n\n"):
        lines = [""]
        for word in paragraph.split():
            if lines[-1] and len(lines[-1]) + len(word) >= _WIDTH:
                lines.append("")
            lines[-1] += (" " if lines[-1] else "") + word
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs)


def actions(agent: Agent) -> list[Action]:
    """What the agent advertises, the standard actions included, in the customary order."""
    from hafailover.agents.ocf import RELOAD, Action

    standard = [Action("meta-data", "5s", None, None, None), Action("validate-all", "20s", None, None, None)]
    if agent.reloads:
        standard.insert(0, Action(RELOAD, "20s", None, None, None))
    declared = {entry.name for entry in agent.actions}
    found = [*agent.actions, *(entry for entry in standard if entry.name not in declared)]
    # Stacked decorators apply from the bottom up; intervals, not source lines, give monitors their order.
    found.sort(key=lambda entry: seconds(entry.interval or "0"))
    return sorted(found, key=lambda entry: _ORDER.index(entry.name) if entry.name in _ORDER else len(_ORDER))


def metadata(agent: Agent) -> str:
    """The agent's meta-data document."""
    lines = [
        '<?xml version="1.0"?>',
        '<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">',
        f'<resource-agent name="{escape(agent.name)}" version="{escape(agent.version)}">',
        "<version>1.1</version>",
        f'<longdesc lang="en">\n{escape(filled(agent.longdesc))}\n</longdesc>',
        f'<shortdesc lang="en">{escape(agent.shortdesc)}</shortdesc>',
        "<parameters>",
        *(_parameter(parameter) for parameter in agent.parameters.values()),
        "</parameters>",
        "<actions>",
        *(_action(entry) for entry in actions(agent)),
        "</actions>",
        "</resource-agent>",
    ]
    return "\n".join(lines) + "\n"


def _parameter(parameter: Parameter) -> str:
    # A time is a string to both schemas: OCF 1.1 has no type for it.
    # "unique" rather than 1.1's unique-group, which the DTD of Debian 12's ocf-tester does not know.
    kind = "string" if parameter.type == "time" else parameter.type
    default = "" if parameter.default is None else f' default="{escape(parameter.default)}"'
    # Said only where it is so: the DTD knows neither this attribute nor the action that goes with it.
    reloadable = ' reloadable="1"' if parameter.reloadable else ""
    return (
        f'<parameter name="{escape(parameter.name)}" required="{int(parameter.required)}"'
        f' unique="{int(parameter.unique)}"{reloadable}>\n'
        f'<longdesc lang="en">\n{escape(filled(parameter.longdesc))}\n</longdesc>\n'
        f'<shortdesc lang="en">{escape(parameter.shortdesc)}</shortdesc>\n'
        f'<content type="{kind}"{default}/>\n'
        "</parameter>"
    )


def _action(entry: Action) -> str:
    text = f'<action name="{escape(entry.name)}" timeout="{entry.timeout}"'
    if entry.interval is not None:
        text += f' interval="{entry.interval}"'
    if entry.role is not None:
        text += f' role="{entry.role}"'
    if entry.depth is not None:
        text += f' depth="{entry.depth}"'
    return text + "/>"
