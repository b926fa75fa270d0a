"""Run an agent in a node as Pacemaker does, with parameters of the test's own."""

from __future__ import annotations

from hafailover.crm.install import AGENTS_DIR
from hafailover.vagrant.lab import Lab

INSTANCE = "by-hand"


def command(agent: str, action: str, timeout: float = 60, interval: float = 0, **parameters: str) -> list[str]:
    """The command line; times in seconds."""
    words = [f"OCF_RESKEY_{name}={value}" for name, value in parameters.items()]
    words += ["OCF_ROOT=/usr/lib/ocf", f"OCF_RESOURCE_INSTANCE={INSTANCE}"]
    words += [
        f"OCF_RESKEY_CRM_meta_timeout={int(timeout * 1000)}",
        f"OCF_RESKEY_CRM_meta_interval={int(interval * 1000)}",
    ]
    return ["env", *words, f"/{AGENTS_DIR}/{agent}", action]


def run(
    lab: Lab,
    node: str,
    agent: str,
    action: str,
    timeout: float = 60,
    interval: float = 0,
    rc: int = 0,
    **parameters: str,
) -> str:
    """What the agent said. AssertionError when its exit code is not ``rc``."""
    done = lab.exec(node, command(agent, action, timeout, interval, **parameters), timeout=timeout + 60)
    assert done.returncode == rc, f"{action}: {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def passes_ocf_tester(lab: Lab, node: str, agent: str, name: str, timeout: float = 300, **parameters: str) -> None:
    """ocf-tester finds nothing wrong but that its DTD is older than what an agent needs to be reloaded. AssertionError."""
    # Its own limit of 20 s for every action is too short for a JVM or an Erlang node on a busy machine; it takes what Pacemaker would set.
    given = {**parameters, "CRM_meta_timeout": f"{int(timeout * 1000)}"}
    words = [word for key, value in given.items() for word in ("-o", f"{key}={value}")]
    done = lab.exec(node, ["ocf-tester", "-n", name, *words, f"/{AGENTS_DIR}/{agent}"], timeout=timeout)
    said = done.stdout + done.stderr
    faults = [line for line in said.splitlines() if "validity error" in line]
    outcome = "failed 1 tests" if faults else "passed all tests"
    assert f"/{AGENTS_DIR}/{agent} {outcome}" in said, said
    assert all("attribute reloadable" in line or 'Value "reload-agent"' in line for line in faults), said
