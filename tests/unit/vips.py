"""The address's agent in the nodes of :mod:`wire`, and how it says no."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from wire import Node


class Vip:
    """The resource, with parameters, on any node."""

    def __init__(self, agent: Path, **params: str) -> None:
        self.agent = agent
        self.env = {f"OCF_RESKEY_{name}": value for name, value in params.items()}
        # All namespaces share one /run, with other workers' as well.
        self.name = self.env["OCF_RESOURCE_INSTANCE"] = f"vip{os.getpid()}"

    def __call__(self, node: Node, action: str, interval: int = 0) -> subprocess.CompletedProcess[str]:
        env = {**self.env, "OCF_RESKEY_CRM_meta_interval": str(interval)}
        return node.exec(str(self.agent), action, env=env)


def reason(done: subprocess.CompletedProcess[str]) -> str:
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("ocf-exit-reason:")]
    return line.partition(":")[2]


def refuses(done: subprocess.CompletedProcess[str], rc: int, *words: str) -> None:
    assert done.returncode == rc, done
    for word in words:
        assert word in reason(done)


ADDRESSES = pytest.mark.parametrize("ip", ["10.77.0.50", "fd77::50"])
