"""The service type stackstorm: what is made of it, what is refused, what it watches."""

import pytest
from hafailover.crm import generate, render
from hafailover.crm.errors import UsageError
from hafailover.crm.formats import cib, crmsh
from hafailover.crm.validate import validate
from hafailover.vagrant import adapt
from hafailover.vagrant.standins.st2 import unit_files
from topologies import BASE, changed, parse

WORKERS = "  st2: {type: stackstorm, units: active-active, after: [db.primary]}\n"
SINGLE = "  once: {type: stackstorm, units: singleton, after: [vip]}\n"


def made(services=WORKERS + SINGLE, *replacements):
    return parse(changed(*replacements, text=BASE + services))


def primitives(topology):
    return {primitive.id: primitive for primitive in generate.configuration(topology).primitives()}


def test_active_units_are_a_clone_and_singletons_one_resource():
    configuration = generate.configuration(made())
    assert validate(cib.tree(configuration), "t.yml") is None
    clones = {resource.id for resource in configuration.resources if resource.id.endswith("-clone")}
    assert "st2-clone" in clones
    assert "once-clone" not in clones
    found = primitives(made())
    assert (found["st2"].param("units"), found["once"].param("units")) == ("active", "singleton")
    beside = [dict(op.attributes) for op in found["once"].operations if dict(op.attributes).get("role") == "Stopped"]
    assert beside == [{"role": "Stopped", "timeout": "30s"}]
    assert not [op for op in found["st2"].operations if dict(op.attributes).get("role")]


def test_what_it_comes_after_is_watched_also_through_an_address_and_nothing_else():
    found = primitives(made())
    assert found["st2"].param("watch") == "db=database"
    assert found["once"].param("watch") == "db=database"
    assert primitives(made("  st2: {type: stackstorm, units: active-active}\n"))["st2"].param("watch") is None


def test_a_stop_has_time_for_the_drain():
    found = primitives(made("  st2: {type: stackstorm, units: active-active, drain: 5m}\n"))["st2"]
    assert found.param("drain") == "300s"
    assert {op.name: op.get("timeout") for op in found.operations}["stop"] == "360s"


def test_partitioned_sensors_run_everywhere():
    services = (WORKERS + SINGLE).replace("after:", "sensors: partitioned, after:")
    found = primitives(made(services))
    assert found["st2"].param("units") == "active st2sensorcontainer"
    assert found["once"].param("units") == "singleton -st2sensorcontainer"


def test_the_deep_check_has_a_level_an_interval_and_a_secret_of_its_own(tmp_path):
    services = "  st2: {type: stackstorm, units: active-active, deep_check: {interval: 2m, parameters: {n: 1}}}\n"
    topology = made(services).with_secrets_dir(tmp_path)
    text = crmsh.text(generate.configuration(topology))
    assert "op monitor interval=120s timeout=90s op_params OCF_CHECK_LEVEL=20" in text
    assert 'deep_parameters="{\\"n\\": 1}"' in text or "deep_parameters='{\"n\": 1}'" in text
    render.create_secrets(topology)
    assert not (tmp_path / "st2-api-key").exists(), (
        "StackStorm makes its keys: another is refused, and its API restarted for that"
    )
    (tmp_path / "st2-api-key").write_text("k3y\n")
    (tmp_path / "st2-api-key").chmod(0o600)
    (file,) = [file for file in render.render(topology, "db1") if file.path == "/etc/hafailover/st2.cred"]
    assert (file.content, file.mode, file.secret) == (b"[st2]\napi_key=k3y\n", 0o600, True)
    assert "k3y" not in cib.text(generate.configuration(topology))


@pytest.mark.parametrize(
    ("services", "said"),
    [
        ("  st2: {type: stackstorm}\n", "units: is missing"),
        ("  st2: {type: stackstorm, units: all}\n", "write active-active, singleton, or a list"),
        ("  st2: {type: stackstorm, units: [st2api, st2timersengine]}\n", "make two services of it"),
        (WORKERS + "  b: {type: stackstorm, units: [st2api]}\n", "st2api is used by service st2 on db1, db2 too"),
        ("  st2: {type: stackstorm, units: singleton, drain: 2h}\n", "drain: is longer than 3600s"),
        ("  st2: {type: stackstorm, units: singleton, api: st2}\n", "a URL such as"),
        ("  st2: {type: stackstorm, units: singleton, patience: 20s}\n", "patience: is longer than 15s"),
        ("  st2: {type: stackstorm, units: singleton, deep_check: {interval: 1s}}\n", "shorter than 30s"),
    ],
)
def test_what_is_refused(services, said):
    with pytest.raises(UsageError, match=said):
        made(services)


def test_a_list_is_a_clone_unless_its_units_may_run_only_once():
    found = generate.configuration(
        made("  a: {type: stackstorm, units: [st2api]}\n  b: {type: stackstorm, units: [st2chatops]}\n")
    )
    assert {"a-clone", "b"} <= {resource.id for resource in found.resources}


def test_stand_ins_are_for_topologies_that_have_a_use_for_them():
    assert adapt.standins(parse()) is None
    assert adapt.standins(made()) == "10.77.0.100"
    assert adapt.standins(made(WORKERS, ("follows: db.primary", "follows: db.primary"))) == "10.77.0.100"
    adapted, notes = adapt.adapt(made(), adapt.plan("x", made()))
    assert adapted.services.keys() == made().services.keys()
    assert any("stand-ins" in note for note in notes)


def test_stand_ins_have_the_real_names():
    paths = {file.path for file in unit_files.files("/checkout", "10.77.0.100")}
    for name in ("st2api", "st2actionrunner", "st2actionrunner@", "st2timersengine", "st2sensorcontainer"):
        assert f"/lib/systemd/system/{name}.service" in paths
