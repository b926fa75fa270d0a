"""crmsh's text and pcs's commands, loaded by these programs themselves (of the lab's image), make the CIB that they were written from."""

import re
from pathlib import Path

import cluster_image
import pytest
from hafailover.crm import generate, topology
from hafailover.crm.commands.generate import command
from hafailover.crm.errors import UsageError
from hafailover.crm.formats import cib, crmsh, pcs
from hypothesis import given, settings
from hypothesis import strategies as st
from loaded import empty, lines, load_all, pcs_own
from lxml import etree
from topologies import changed, invoke

SAMPLES = {path.stem: path for path in sorted((Path(__file__).parent / "data" / "cibs").glob("*.xml"))}
WORDS = ("sayable", "everything", "legacy", "members")


def configuration(name):
    return cib.load(str(SAMPLES[name])).configuration


@pytest.fixture(scope="module")
def by_crmsh(tmp_path_factory):
    texts = {name: (configuration(name), crmsh.write(configuration(name)).text) for name in WORDS}
    return load_all(tmp_path_factory.mktemp("crmsh"), "txt", texts)


@pytest.fixture(scope="module")
def by_pcs(tmp_path_factory):
    found = {name: configuration(name) for name in WORDS}
    found["members-before-3.7"] = before_new_roles()
    texts = {name: (made, pcs.write(made).text) for name, made in found.items()}
    return load_all(tmp_path_factory.mktemp("pcs"), "sh", texts)


def before_new_roles():
    text = SAMPLES["members"].read_text().replace("pacemaker-3.7", "pacemaker-3.5")
    return cib.read(cib.parse(text, "x"))


@pytest.mark.parametrize("name", WORDS)
def test_crmsh_loads_what_is_written_to_the_same_cib(name, by_crmsh):
    wanted = configuration(name)
    written = crmsh.write(wanted)
    roots, done = by_crmsh
    have, want = lines(roots[name]), lines(cib.tree(wanted))
    missing = set(want) - set(have)
    assert set(have) <= set(want), done.stdout + done.stderr
    # What is missing is what was said to be missing.
    assert bool(missing) == (name == "everything")
    unsaid = " ".join(written.unsaid)
    for one in missing:
        top = re.findall(r"\[([^\]]+)\]", one)
        assert any(f'id="{name}"' in unsaid for name in top), one


def test_pcs_makes_everything_that_it_has_words_for(by_pcs):
    wanted = configuration("sayable")
    assert pcs.write(wanted).unsaid == ()
    roots, done = by_pcs
    assert done.returncode == 0, done.stderr
    assert lines(roots["sayable"], pcs_own) == lines(cib.tree(wanted), pcs_own)


def test_pcs_makes_constraints_of_members_and_lists_those_that_it_does_not_take(by_pcs):
    wanted = configuration("members")
    written = pcs.write(wanted)
    roots, done = by_pcs
    assert done.returncode == 0, done.stderr
    listed = {found[1]: one for one in written.unsaid for found in [re.match(r'<rsc_\w+ id="([\w-]+)"', one)] if found}
    because = {
        "again": "replaces the one before",
        "brackets": "something else to pcs",
        **dict.fromkeys(
            ("in-group", "in-cloned-group", "with-itself-too", "set-in-group"), "no two members of one group"
        ),
    }
    assert set(listed) == set(because)
    assert all(reason in listed[name] for name, reason in because.items())
    wanted_root = cib.tree(wanted)
    for one in list(wanted_root.find(".//constraints")):
        if one.get("id") in listed:
            one.getparent().remove(one)
    wanted_root.find(".//rsc_colocation[@id='old']").set("with-rsc-role", "Promoted")
    wanted_root.find(".//resource_set[@role='Slave']").set("role", "Unpromoted")
    assert lines(roots["members"], pcs_own) == lines(wanted_root, pcs_own)


@pytest.mark.parametrize(
    "made, roles",
    [
        (
            "members",
            ["the with-rsc-role Master of old: pcs writes Promoted", "the role Slave of set-0: pcs writes Unpromoted"],
        ),
        ("members-before-3.7", ["the rsc-role Unpromoted of new: pcs writes Slave"]),
    ],
)
def test_roles_that_pcs_calls_otherwise_are_listed(made, roles, by_pcs):
    wanted = configuration("members") if made == "members" else before_new_roles()
    means = ", which means the same"
    assert [one[: -len(means)] for one in pcs.write(wanted).unsaid if one.endswith(means)] == roles
    # And pcs calls no other otherwise.
    given = re.findall(r"'?(\w*role)'?, '(\w+)'", " ".join(lines(cib.tree(wanted), pcs_own)))
    become = re.findall(r"'?(\w*role)'?, '(\w+)'", " ".join(lines(by_pcs[0][made], pcs_own)))
    assert len(given) == len(become) == 3
    assert sum(one not in become for one in given) == len(roles)


@pytest.mark.parametrize("name", ["everything", "legacy"])
def test_pcs_makes_nothing_of_what_it_lists(name, by_pcs):
    wanted = configuration(name)
    written = pcs.write(wanted)
    assert written.unsaid
    roots, done = by_pcs
    assert done.returncode == 0, done.stderr
    have, want = lines(roots[name], pcs_own), lines(cib.tree(wanted), pcs_own)
    strange = [one for one in have if one not in want]
    # Their descriptions alone are missing, or they have what the node section of a new cluster has.
    assert all("description" in " ".join(written.unsaid) or "nodes[" in one for one in strange), strange


def test_a_shell_does_nothing_but_what_is_written(tmp_path):
    """The script itself, with values that would do harm if any of them were not quoted."""
    wanted = configuration("sayable")
    text = pcs.text(wanted)
    keep = [line for line in text.splitlines() if not line.startswith("pcs ") or "hostile-monitor" in line]
    (tmp_path / "c.xml").write_text(empty(wanted))
    (tmp_path / "c.sh").write_text("\n".join(keep) + "\n")
    done = cluster_image.run(tmp_path, "sh c.sh c.xml")
    assert done.returncode == 0, done.stderr
    root = etree.parse(str(tmp_path / "c.xml"))
    harmful = next(pair.get("value") for pair in cib.tree(wanted).iter("nvpair") if pair.get("name") == "fake")
    assert [pair.get("value") for pair in root.iter("nvpair") if pair.get("name") == "fake"] == [harmful]
    assert not (tmp_path / "harm").exists()


@given(st.text(max_size=30))
@settings(max_examples=100, deadline=None)
def test_no_value_ends_a_line_or_a_comment(value):
    value = "".join(character for character in value if character.isprintable() or character in "\n\t")
    root = cib.tree(configuration("sayable"))
    for element in root.iter("nvpair", "acl_role"):
        element.set("description" if element.tag == "acl_role" else "value", value)
    root.find("configuration").append(etree.fromstring("<unknown/>"))
    root.find("configuration/unknown").set("a", value)
    root.find("configuration/resources/primitive").set("description", value)
    written = pcs.write(cib.read(root))
    assert written.unsaid
    quoted = re.compile(r"""(?:[\w@%+=:,./-]+|'[^']*'|"'")+""")
    for line in written.text.rstrip("\n").split("\n"):
        if line.startswith('pcs -f "$cib" '):
            rest = line[len('pcs -f "$cib" ') :]
            assert quoted.sub("", rest).strip(" ") == "", line
        else:
            assert line.startswith("#") or line in ("set -eu", "cib=${1:?the file to change}"), line


def test_generate_says_what_the_format_has_no_words_for(tmp_path, monkeypatch):
    path = tmp_path / "t.yml"
    path.write_text(changed())
    whole = invoke(command, path, "--format", "pcs")
    assert whole.exit_code == 0 and whole.stdout.startswith("#!/bin/sh\n") and "INCOMPLETE" not in whole.stdout
    made = generate.configuration(topology.load(path))
    with_more = cib.read(
        cib.parse(cib.text(made).replace("<resources>", '<resources><template id="t" class="lsb" type="x"/>'), "x")
    )
    monkeypatch.setattr(generate, "configuration", lambda wanted: with_more)
    lacking = invoke(command, path, "--format", "pcs")
    assert lacking.exit_code == 4
    assert "# INCOMPLETE. pcs has no words for:\n#   <template " in lacking.stdout
    assert "hafailover: pcs has no words for <template " in lacking.stderr
    assert invoke(command, path, "--format", "pcs", "--partial").exit_code == 0


@pytest.mark.parametrize("form, value", [("pcs", ""), ("crmsh", "DOMAIN\\")])
def test_partial_leaves_out_no_fence_device(form, value, tmp_path, monkeypatch):
    path = tmp_path / "t.yml"
    path.write_text((Path(__file__).parent / "data" / "fencing" / "five-one-device.yml").read_text())
    root = cib.tree(generate.configuration(topology.load(path)))
    root.find(".//primitive[@id='fence-all']/instance_attributes/nvpair[@name='username']").set("value", value)
    monkeypatch.setattr(generate, "configuration", lambda wanted: cib.read(root))
    without = invoke(command, path, "--format", form)
    assert without.exit_code == 4
    assert "fence-all" not in "".join(line for line in without.stdout.splitlines() if not line.startswith("#"))
    assert f'{form} has no words for <primitive id="fence-all"' in without.stderr
    refused = invoke(command, path, "--format", form, "--partial")
    assert isinstance(refused.exception, UsageError) and refused.stdout == ""
    assert "what fences nodes (fence-all), without which a split would write on both sides" in str(refused.exception)
    assert invoke(command, path, "--format", "cib").exit_code == 0


@pytest.mark.parametrize("write", [crmsh.write, pcs.write])
def test_what_fences_is_known_to_be_missing(write):
    root = cib.tree(configuration("sayable"))
    resources = root.find(".//resources")
    resources.insert(0, etree.fromstring('<template id="t" class="stonith" type="fence_x" description="a\\"/>'))
    resources.append(etree.fromstring('<primitive id="by-template" template="t" description="a\\"/>'))
    resources.find("primitive[@id='f1']").append(
        etree.fromstring('<utilization id="u"><nvpair id="u-x" name="x" value="a\\"/></utilization>')
    )
    properties = root.find(".//cluster_property_set")
    etree.SubElement(properties, "nvpair", id="watched", name="stonith-watchdog-timeout", value="a\\")
    assert write(cib.read(root)).unfenced == ("f1", "by-template", "stonith-watchdog-timeout")


@pytest.mark.parametrize("value", ["a\nb", "a\tb", "a\rb", "a\u2028b"])
def test_crmsh_is_given_no_line_break(value):
    for place in ("primitive/instance_attributes/nvpair", "cluster_property_set/nvpair", "primitive/operations/op"):
        root = cib.tree(configuration("sayable"))
        root.find(f".//{place}").set("timeout" if place.endswith("op") else "value", value)
        if not value.isascii():
            with pytest.raises(UsageError, match="garbles what is not ASCII"):
                crmsh.write(cib.read(root))
            continue
        written = crmsh.write(cib.read(root))
        assert any("line break" in one for one in written.unsaid)
        assert "\t" not in written.text and "\r" not in written.text


def test_crmsh_is_given_no_group_or_clone_whose_member_it_cannot_be_told():
    root = cib.tree(configuration("sayable"))
    root.find(".//primitive[@id='a']").set("description", "two\nlines")
    written = crmsh.write(cib.read(root))
    # Nor any other part of it, which would run alone.
    assert not re.search(r"^(group pair|clone both|primitive [ab]) ", written.text, re.MULTILINE)
    assert 'id="both"' not in written.text and 'id="b"' not in written.text
    assert sum(one.startswith('<clone id="both"') for one in written.unsaid) == 1
    assert sum("it is about what is missing" in one for one in written.unsaid) == 2


def test_crmsh_words_that_it_would_misread_are_xml_or_unsaid():
    root = cib.tree(configuration("sayable"))
    pair = root.find(".//primitive/instance_attributes/nvpair")
    for value in ("ends:", "a  b"):
        pair.set("value", value)
        written = crmsh.write(cib.read(root))
        assert written.unsaid == ()
        assert "  " not in next((line for line in written.text.splitlines() if line.startswith("xml ")), "")
    for value in ("\\", 'a\\"b'):
        pair.set("value", value)
        assert any("backslash" in one for one in crmsh.write(cib.read(root)).unsaid)


@pytest.mark.parametrize("word", ["meta", "params", "Meta"])
def test_crmsh_is_given_no_short_group_with_a_member_that_is_its_word(word):
    text = cib.text(configuration("sayable")).replace('"a"', f'"{word}"')
    assert "\ngroup pair " not in crmsh.write(cib.read(cib.parse(text, "x"))).text


def test_pcs_lists_what_would_stop_the_script():
    root = cib.tree(configuration("sayable"))
    constraints = root.find(".//constraints")
    constraints.append(etree.fromstring('<rsc_order id="two" first="a" then="b"/>'))
    constraints.append(
        etree.fromstring(
            '<rsc_colocation id="s" score="1"><resource_set id="s0"><resource_ref id="set"/></resource_set></rsc_colocation>'
        )
    )
    unsaid = " ".join(pcs.write(cib.read(root)).unsaid)
    assert "something else to pcs" in unsaid
    root.find(".//op").set("timeout", "")
    assert "no empty value" in " ".join(pcs.write(cib.read(root)).unsaid)
