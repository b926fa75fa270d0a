"""Topologies for tests: a small right one, and what is made of it by replacing a piece."""

import inspect
from pathlib import Path

from click.testing import CliRunner
from hafailover.crm import topology, yamldoc

EXAMPLES = sorted((Path(__file__).parents[2] / "vagrant" / "topologies").glob("*.yml"))

CONTROLLERS = Path(__file__).parents[2] / "vagrant" / "topologies" / "openstack-controllers.yml"
CONTROLLERS_OPEN = [
    "udp 5405", "udp 5406", "tcp 3306", "tcp 4444", "tcp 5672", "tcp 4369", "tcp 25672", "tcp 35672-35682", "tcp 11211",
]  # fmt: skip
"""What a node of the OpenStack controllers must let in."""

BASE = """\
version: 1
lab: true
cluster: {name: c1, secrets_dir: s, encryption: off}
nodes:
  db1: {id: 1, links: [10.77.0.11, 10.77.1.11]}
  db2: {id: 2, links: [10.77.0.12, 10.77.1.12]}
quorum: {device: {host: 10.77.0.13, tls: off}}
vips:
  vip: {ip: 10.77.0.100/24, follows: db.primary}
services:
  db: {type: mariadb}
"""


def changed(*replacements, text=BASE):
    """``text`` with each (old, new) replaced once; the old piece must be there."""
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new, 1)
    return text


def parse(text=BASE, file="t.yml"):
    return topology.parse(yamldoc.parse(text, file))


def invoke(command, *arguments):
    """Run a click command; the result's stdout and stderr apart, which click 8.1 has to be asked for and 8.2 always does."""
    separate = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}
    return CliRunner(**separate).invoke(command, [str(one) for one in arguments])


def services(text):
    """The base topology with more services."""
    return changed(("services:\n", f"services:\n{text}"))
