"""The JSON Schema for editors says the same as the loader, as far as a schema can."""

import json
import re

import jsonschema
import pytest
import test_fencing_variants
import test_topology
import yaml
from hafailover.crm import json_schema, schema, topology, topology_schema, yamldoc
from hafailover.crm.commands import schema as command
from hafailover.crm.errors import UsageError
from hafailover.crm.service import service_types
from hypothesis import given, settings
from hypothesis import strategies as st
from topologies import BASE, EXAMPLES, changed, invoke

SCHEMA = json_schema.document()
VALIDATOR = jsonschema.Draft7Validator(SCHEMA)


class EditorLoader(yaml.SafeLoader):
    """YAML as editors read it: 1.2, with fractions."""

    yaml_implicit_resolvers = {}


for tag, pattern, first in (
    ("null", r"^(~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^[-+]?(0|[1-9][0-9]*)$", list("-+0123456789")),
    ("float", r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$", list("-+.0123456789")),
):
    EditorLoader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(pattern), first)


def as_editor(text):
    return yaml.load(text, EditorLoader)


def found(data):
    return [f"{list(error.absolute_path)}: {error.message}" for error in VALIDATOR.iter_errors(data)]


def test_it_is_a_json_schema():
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert json.loads(json_schema.text()) == SCHEMA
    printed = invoke(command.command)
    assert (printed.exit_code, printed.stdout) == (0, json_schema.text())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_examples_are_accepted(path):
    assert found(as_editor(path.read_text())) == []


def test_a_version_that_looks_like_a_fraction_is_accepted():
    assert (
        found(as_editor(changed(("mariadb}", "mariadb, version: 10.11, options: {a: 0.5, b: on, c: 1, d: true}}"))))
        == []
    )


def leaves(part, path=()):
    """The single values of a schema with their dotted paths."""
    if part.get("type") not in (None, "object", "array"):
        yield ".".join(path), part
    for name, one in part.get("properties", {}).items():
        yield from leaves(one, (*path, name))
    for keyword in ("additionalProperties", "items"):
        if isinstance(part.get(keyword), dict):
            yield from leaves(part[keyword], (*path, "NAME"))


LEAVES = [*leaves(topology_schema.SCHEMA)]
LEAVES += [
    one for name, kind in service_types().items() for one in leaves(topology_schema.service_schema(kind), (name,))
]


@pytest.mark.parametrize("word", ["10.11", "3.10", "0.5", "-1.5", "1.5.1", "10", "-3", "x"])
def test_unquoted_decimals_are_told_where_the_loader_tells_them(word):
    """An editor sees a number in them; only where a text is wanted it asks for quotes that the loader can do without."""
    mine, seen = yamldoc.parse(f"a: {word}\n", "t.yml").data["a"], as_editor(f"a: {word}\n")["a"]
    assert len(LEAVES) > 100
    told, quotes = [], []
    for path, leaf in LEAVES:
        loader = bool(schema.problems(mine, leaf))
        editor = not jsonschema.Draft7Validator(json_schema._translated(leaf)).is_valid(seen)
        if loader != editor:
            (quotes if editor and "string" in leaf["type"] and isinstance(seen, float) else told).append(path)
    assert told == []
    assert "mariadb.version" not in quotes and "rabbitmq.version" not in quotes


def test_a_version_below_nothing_is_told():
    for kind in ("mariadb", "rabbitmq"):
        text = changed(("mariadb}", f"{kind}, version: -1.5}}"))
        assert any("version" in one for one in found(as_editor(text)))
        with pytest.raises(UsageError, match="write a version such as"):
            topology.parse(yamldoc.parse(text, "t.yml"))


def test_services_are_completed_by_their_type():
    branches = SCHEMA["properties"]["services"]["additionalProperties"]["allOf"]
    named = {one["if"]["properties"]["type"]["const"]: one["then"]["$ref"] for one in branches}
    assert set(named) == set(service_types())
    for name, reference in named.items():
        definition = SCHEMA["definitions"][reference.rpartition("/")[2]]
        assert definition["properties"]["type"]["enum"] == [name]
        assert set(service_types()[name].schema) <= set(definition["properties"])
        assert definition["additionalProperties"] is False


def parts(schema, path=()):
    yield path, schema
    for keyword, value in schema.items():
        if keyword in ("properties", "definitions"):
            for name, one in value.items():
                yield from parts(one, (*path, keyword, name))
        elif isinstance(value, dict) and keyword not in ("default", "const"):
            yield from parts(value, (*path, keyword))
        elif keyword in ("anyOf", "allOf", "oneOf"):
            for index, one in enumerate(value):
                yield from parts(one, (*path, keyword, index))


def test_every_key_has_a_description_and_nothing_is_in_our_own_words():
    for path, part in parts(SCHEMA):
        assert "expect" not in part, path
        assert "format" not in part, path
        if len(path) > 1 and path[-2] == "properties" and not {"if", "then", "else"} & set(path):
            assert part.get("description"), path
        # What only Python's expressions know; editors have JavaScript's.
        assert not re.search(r"\\[AZz]|\(\?[P<#(aiLmsux]|\(\?<", part.get("pattern", "")), path


# A mapping cannot hold a key twice; editors tell that themselves.
STRUCTURAL = [(old, new) for old, new, said in test_topology.MISTAKES if "is given twice" not in said]


@pytest.mark.parametrize(("old", "new"), STRUCTURAL, ids=[new[:40] or old[:40] for old, new in STRUCTURAL])
def test_what_the_loader_refuses_for_its_structure_is_refused_and_nothing_else(old, new):
    text = changed((old, new))
    data = yamldoc.parse(text, "t.yml").data
    assert bool(found(data)) == bool(topology.structure_problems(data))


@pytest.mark.parametrize(
    "text",
    [
        changed(("mariadb}", "mariadb, replication: {password: hunter2}}")),
        changed(("name: c1", "name: c1, authkey: hunter2")),
        changed(("mariadb}", "mariadb, queues: mirrored}")),
        changed(("mariadb}", "rabbitmq, queues: some}")),
        changed(("mariadb}", "rabbitmq, socket: /x}")),
        changed(("mariadb}", "glusterfs}")),
        changed(("mariadb}", "mariadb, options: {a: [1]}}")),
        changed(("mariadb}", "mariadb, options: [a]}")),
        changed(("id: 1", "id: 70000")),
        changed(("services:", "external: {mongo: {}}\nservices:")),
        changed(("follows: db.primary", "drain: 10")),
        changed(("lab: true", "fencing: {}")),
        changed(("lab: true", "fencing: {sbd: {}, agent: fence_x}")),
        changed(("lab: true", "fencing: {sbd: {devices: []}}")),
    ],
)
def test_further_mistakes_of_structure_are_refused(text):
    data = yamldoc.parse(text, "t.yml").data
    assert topology.structure_problems(data)
    assert found(data)


@pytest.mark.parametrize("path", test_fencing_variants.VARIANTS, ids=lambda path: path.stem)
def test_ways_to_fence_are_accepted(path):
    assert found(as_editor(path.read_text())) == []


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_nothing_is_refused_that_the_loader_takes(data):
    written = yamldoc.parse(BASE, "t.yml").data
    here = written
    while True:
        key = data.draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here))))
        if isinstance(here[key], (dict, list)) and here[key] and data.draw(st.booleans()):
            here = here[key]
            continue
        here[key] = data.draw(
            st.sampled_from(
                [
                    "10.0.0.1/8",
                    "fe80::1",
                    "::/0",
                    "::1",
                    "1.2.3.4",
                    "5m",
                    "file:x",
                    "file:/x/y",
                    "/a",
                    "/",
                    "on",
                    7,
                    1,
                    "db1",
                ]
            )
            | test_topology._values
        )
        break
    if not topology.structure_problems(written):
        assert found(written) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("10.77.0.100/24", "10.77.0.100/024"),
        ("10.77.0.100/24", "10.77.0.100/255.255.255.0"),
        ("mariadb}", "memcached, clients: [192.0.2.0/255.255.255.0]}"),
        ("mariadb}", "mariadb, datadir: /}"),
        ("name: c1", "name: c1, authkey: file:a..b"),
        ("name: c1", "name: c1, authkey: file:/a/../b"),
    ],
)
def test_what_is_refused_is_refused_by_both(old, new):
    data = yamldoc.parse(changed((old, new)), "t.yml").data
    assert found(data)
    assert topology.structure_problems(data)
