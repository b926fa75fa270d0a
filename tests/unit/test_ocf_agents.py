"""What every agent of this repository owes to Pacemaker, whichever it is."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hafailover.agents import ocf_docs, ocf_xml
from hafailover.crm.install import AGENTS_DIR, agents, install
from lxml import etree

CHECKOUT = Path(__file__).resolve().parents[2]
AGENTS = agents()
each = pytest.mark.parametrize("name", sorted(AGENTS))

# Modules that a run every few seconds must not pay for, in milliseconds of processor time on a small machine.
HEAVY = {
    "argparse": 11, "asyncio": 60, "collections": 3, "concurrent": 20, "contextlib": 4, "ctypes": 5, "dataclasses": 20,
    "enum": 5, "functools": 3, "inspect": 15, "ipaddress": 6, "json": 9, "logging": 20, "pathlib": 12, "pkgutil": 9,
    "pymysql": 36, "random": 12, "re": 7, "shutil": 12, "signal": 5, "socket": 9, "subprocess": 13, "tempfile": 16,
    "threading": 4, "traceback": 10, "typing": 6, "urllib": 12, "uuid": 6, "xml": 10,
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    install(root)
    return root


def start(root: Path, name: str, action: str, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    argv = ["/usr/bin/python3", "-IS", *options, str(root / AGENTS_DIR / name), action]
    environ = {"PATH": os.environ["PATH"], "OCF_RESOURCE_INSTANCE": "x", **environ}
    return subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=30, check=False)


def test_there_are_agents() -> None:
    assert {"mariadb", "vip"} <= set(AGENTS)


@each
def test_name_is_the_files_name(name: str) -> None:
    assert AGENTS[name].name == name


@each
def test_metadata_is_valid(name: str) -> None:
    schema = etree.RelaxNG(etree.parse(CHECKOUT / "tests/unit/data/ocf-metadata.rng"))
    schema.assertValid(etree.fromstring(ocf_xml.metadata(AGENTS[name]).encode()))


@each
def test_required_actions_are_advertised_with_useful_timeouts(name: str) -> None:
    advertised = {action.name for action in ocf_xml.actions(AGENTS[name])}
    assert {"start", "stop", "monitor", "meta-data", "validate-all"} <= advertised
    assert ("promote" in advertised) == ("demote" in advertised)
    monitors = [action for action in AGENTS[name].actions if action.name == "monitor"]
    assert len({action.interval for action in monitors}) == len(monitors), "Pacemaker tells them apart by the interval"


@each
def test_defaults_are_allowed_values(name: str) -> None:
    for parameter in AGENTS[name].parameters.values():
        if parameter.default is not None:
            assert not parameter.required
            parameter.parse(parameter.default)


@each
def test_descriptions_are_there(name: str) -> None:
    agent = AGENTS[name]
    for text in [agent.shortdesc, agent.longdesc, *(p.longdesc for p in agent.parameters.values())]:
        assert text.strip()
    for text in [agent.shortdesc, *(p.shortdesc for p in agent.parameters.values())]:
        assert len(text) < 60
        assert not text.endswith(".")


@each
def test_page_is_current(name: str) -> None:
    page = CHECKOUT / "docs/agents" / f"{name}.md"
    assert page.read_text() == ocf_docs.page(AGENTS[name]), "run: bin/hafailover docs docs/agents"


def test_every_page_has_its_agent() -> None:
    assert {path.stem for path in (CHECKOUT / "docs/agents").glob("*.md")} == set(AGENTS)


@each
def test_launcher_answers(root: Path, name: str) -> None:
    done = start(root, name, "meta-data")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ocf_xml.metadata(AGENTS[name])
    assert start(root, name, "usage").returncode == 0
    assert start(root, name, "fly").returncode == 3
    without = start(root, name, "validate-all")
    assert without.returncode == 6, "it has a required parameter"
    assert "is required" in without.stderr
    assert start(root, name, "monitor").returncode == 7
    assert start(root, name, "stop").returncode == 0


@each
def test_metadata_costs_little(root: Path, name: str) -> None:
    """Pacemaker, crmsh and pcs ask every agent for it, again and again."""
    done = start(root, name, "meta-data", "-X", "importtime")
    assert not {"pymysql", "lxml", "argparse", "logging"} & imported(done.stderr)


def test_monitor_of_an_address_costs_little(root: Path) -> None:
    environ = {"OCF_RESKEY_ip": "192.0.2.1", "OCF_RESKEY_CRM_meta_interval": "10000"}
    done = start(root, "vip", "monitor", "-X", "importtime", **environ)
    assert done.returncode == 7
    assert not set(HEAVY) & imported(done.stderr)


@pytest.mark.parametrize("module", ["st2.tend", "tomcat.tend", "apache.life"])
def test_monitors_of_services_cost_little(module: str) -> None:
    code = "import sys; sys.modules['hafailover'] = m = type(sys)('hafailover'); m.__path__ = [sys.argv[1]]; "
    argv = [
        "/usr/bin/python3",
        "-IS",
        "-X",
        "importtime",
        "-c",
        f"{code}import hafailover.agents.{module}",
        str(CHECKOUT),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
    assert not set(HEAVY) & imported(done.stderr)


def imported(trace: str) -> set[str]:
    """The top-level modules in the output of ``-X importtime``."""
    lines = [line for line in trace.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
