"""What hafailover init prints can be used as it is, and stays what the lab tries."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from hafailover.crm import examples, generate, json_schema, render, topology, validate, yamldoc
from hafailover.crm.commands import init, lint
from hafailover.crm.formats import cib
from pacemaker_programs import Pacemaker
from topologies import EXAMPLES, invoke

each = pytest.mark.parametrize("name", examples.names())
# The lab's topology that has the same services, and what is said more in the example.
LAB = {
    "cloudstack": ("cloudstack-pair", {("app", "unit")}),
    "glusterfs": ("gluster-volume", set()),
    "mariadb": ("mariadb-production", {("db", "version"), ("db", "options")}),
    "openstack": ("openstack-controllers", {("cache", "clients")}),
    "stackstorm": ("stackstorm-pair", set()),
}


@pytest.fixture
def started(tmp_path):
    def started(name):
        file = tmp_path / f"{name}.yml"
        result = invoke(init.command, "--example", name)
        assert (result.exit_code, result.stderr) == (0, "")
        file.write_text(result.stdout)
        return file

    return started


def test_there_are_those_that_people_ask_for():
    assert set(examples.names()) == set(LAB)
    listed = invoke(init.command)
    assert listed.exit_code == 0
    assert [line.split()[0] for line in listed.stdout.splitlines()] == sorted(LAB)
    assert all(line.endswith(".") and len(line) < 140 for line in listed.stdout.splitlines())


@each
def test_it_loads_generates_and_lint_finds_nothing(name, started):
    file = started(name)
    loaded = topology.load(file)
    assert not loaded.lab
    assert loaded.fenced
    assert validate.validate(cib.tree(generate.configuration(loaded)), name) is None
    result = invoke(lint.command, file, "-o", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["findings"] == []
    assert list(jsonschema.Draft7Validator(json_schema.document()).iter_errors(yamldoc.read(file).data)) == []


@each
def test_pacemaker_finds_nothing_wrong(name, started, tmp_path_factory, tmp_path):
    pacemaker = Pacemaker(tmp_path_factory.mktemp("programs"))
    pacemaker.started(topology.load(started(name)), tmp_path)


@each
def test_the_files_of_every_node_can_be_rendered(name, started, tmp_path):
    loaded = topology.load(started(name)).with_secrets_dir(tmp_path)
    render.create_secrets(loaded)
    render.create_outside_secrets(loaded)
    (tmp_path / "ipmi").touch(mode=0o600)
    (tmp_path / "ipmi").write_text("hunter2\n")
    for node in loaded.nodes:
        assert render.render(loaded, node)


@each
def test_it_tells_what_to_change(name, started):
    text = started(name).read_text()
    assert f"hafailover init --example {name}" in text
    marked = [line for line in text.splitlines() if "# CHANGE" in line]
    assert len(marked) >= 6
    # Everything that is an address of a machine is one of nobody's, so that a forgotten one does no harm.
    assert "192.168." not in text
    assert "10.77." not in text
    assert all(len(line) <= 160 for line in text.splitlines())
    for word in text.replace("(", " ").split():
        if word.startswith("docs/") and word.rstrip(".,;:").endswith(".md"):
            assert (Path(__file__).parents[2] / word.rstrip(".,;:")).is_file(), word


@each
def test_the_services_are_those_that_the_lab_tries(name, started):
    lab, more = LAB[name]
    tried = topology.load(next(path for path in EXAMPLES if path.stem == lab)).services
    services = topology.load(started(name)).services
    assert list(services) == list(tried)
    for key, service in services.items():
        assert (service.type, service.after, service.beside) == (tried[key].type, tried[key].after, tried[key].beside)
        differing = {
            option
            for option in {*service.options, *tried[key].options}
            if _plain(service, option) != _plain(tried[key], option)
        }
        assert {(key, option) for option in differing} <= more


def _plain(service, option):
    """An option's value; nodes have other names in the lab, and they come in the same order."""
    value = service.options.get(option)
    return sorted(value.values()) if option == "workers" else value


def test_an_unknown_one_is_refused():
    command = [sys.executable, Path(__file__).parents[2] / "bin" / "hafailover", "init", "--example", "gluster"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert "did you mean 'glusterfs'?" in result.stderr


def test_a_full_disk_is_told_without_a_traceback():
    command = [sys.executable, Path(__file__).parents[2] / "bin" / "hafailover", "init", "--example", "mariadb"]
    with open("/dev/full", "w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (result.returncode, result.stderr) == (1, "hafailover: No space left on device\n")


@pytest.mark.parametrize("close", [">&-", ">&- 2>&-"])
def test_closed_output_gives_a_sentence(close):
    program = Path(__file__).parents[2] / "bin" / "hafailover"
    done = subprocess.run(
        ["sh", "-c", f'"$0" "$1" init --example mariadb {close}', sys.executable, str(program)],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert ("standard output is closed" in done.stderr) == (close == ">&-")
