"""The JSON of the status against its schema, and the schema against what was promised: a key may be added, and never changed or lost."""

import json

import jsonschema
import pytest
from golden import check
from hafailover.crm import local, status_offline
from hafailover.crm.status import Lag, SemiSync, as_json
from hafailover.crm.status_facts import ClusterDown
from hafailover.crm.status_judge import judge
from hafailover.crm.status_schema import schema
from status_samples import DIRECTORY, load, status

VALIDATOR = jsonschema.Draft7Validator(schema())
NAMES = sorted(path.stem for path in DIRECTORY.glob("*.json"))


def problems(told):
    return [error.message for error in VALIDATOR.iter_errors(json.loads(json.dumps(told)))]


def test_the_schema_is_what_was_promised():
    jsonschema.Draft7Validator.check_schema(schema())
    check("status.schema.json", json.dumps(schema(), indent=1) + "\n")


@pytest.mark.parametrize("name", NAMES)
def test_every_recorded_status_fits(name):
    try:
        found = status(name)
    except ClusterDown:
        return
    assert problems(as_json(found, judge(found))) == []


def test_what_was_asked_besides_fits():
    found = status("healthy")
    service = found.services[0]
    one = service.instances[0]._replace(lag=Lag(3, 4, None, ""))
    service = service._replace(instances=(one, *service.instances[1:]), semi_sync=SemiSync(True, 1, 0))
    address = found.addresses[0]._replace(seen=("db1", "02:00:00:00:00:09"))
    found = found._replace(services=(service,), addresses=(address,), silent=("db2 did not say",), hidden=("the lag",))
    assert problems(as_json(found, judge(found))) == []


@pytest.mark.parametrize("known", [True, False])
def test_a_node_whose_cluster_is_down_fits(tmp_path, known):
    disk = tmp_path / "cib.xml"
    if known:
        disk.write_text(load("healthy").cib)
    found = status_offline.look(lambda *_, **__: local.Result(3, "inactive\n", ""), "it does not run", str(disk))
    assert problems(status_offline.as_json(found)) == []


def test_the_schema_refuses_what_is_not_promised():
    told = as_json(status("healthy"), judge(status("healthy")))
    assert problems({**told, "surprise": 1})
    assert problems({key: value for key, value in told.items() if key != "quorum"})
    assert problems({**told, "healthy": "yes"})
