"""The reference page of an agent in Markdown, made from its declaration."""

from __future__ import annotations

from hafailover.agents import ocf_xml
from hafailover.agents.ocf import Agent, Parameter


def page(agent: Agent) -> str:
    """The page for people: description, parameters, actions, and how to configure it with crmsh."""
    actions = ocf_xml.actions(agent)
    parts = [
        f"# ocf:hafailover:{agent.name}",
        "<!-- Made by `hafailover docs` from the agent's declaration; change it there. -->",
        f"{agent.shortdesc}.",
        ocf_xml.filled(agent.longdesc),
        "## Parameters",
        "\n".join(
            [
                "| name | type | default | meaning |",
                "|---|---|---|---|",
                *(_parameter(parameter) for parameter in agent.parameters.values()),
            ]
        ),
        "## Actions",
        "\n".join(
            [
                "| action | timeout at least | interval | role |",
                "|---|---|---|---|",
                *(f"| {a.name} | {a.timeout} | {a.interval or ''} | {a.role or ''} |" for a in actions),
            ]
        ),
        "## Configuration",
        _example(agent),
    ]
    return "\n\n".join(parts) + "\n"


def _parameter(parameter: Parameter) -> str:
    default = "required" if parameter.required else "" if parameter.default is None else f"`{parameter.default}`"
    meaning = f"**{parameter.shortdesc}.** {' '.join(parameter.longdesc.split())}".replace("|", "\\|")
    return f"| `{parameter.name}` | {parameter.type} | {default} | {meaning} |"


def _example(agent: Agent) -> str:
    """A primitive with everything that must be said, and the operations as advertised."""
    required = [parameter.name for parameter in agent.parameters.values() if parameter.required]
    lines = [f"primitive NAME ocf:hafailover:{agent.name}"]
    lines.append("params " + " ".join(f'{name}="{name.upper()}"' for name in required))
    for entry in ocf_xml.actions(agent):
        if entry.name not in ("meta-data", "validate-all"):
            words = [f"interval={entry.interval}"] if entry.interval else []
            words += [f"role={entry.role}"] if entry.role else []
            lines.append(f"op {entry.name} " + " ".join([*words, f"timeout={entry.timeout}"]))
    if any(entry.name == "promote" for entry in agent.actions):
        lines[-1] += "\nclone NAME-clone NAME meta promotable=true notify=true"
    return "```\n" + " \\\n    ".join(lines) + "\n```"
