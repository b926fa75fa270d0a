"""Rules 1 to 15 and 34: each flags what it must and nothing else, in the eyes of Pacemaker and crmsh as well."""

from __future__ import annotations

import re

import pytest
from hafailover.crm import lint, local
from hafailover.crm.errors import UsageError
from hafailover.crm.formats import cib as cib_format
from hafailover.crm.lint import Facts
from hafailover.crm.resolved import Resolved
from lint_cases import APPS, CASES, cib, location
from topologies import BASE, parse


def facts(text):
    made = cib_format.read(cib_format.parse(text, "test"))
    return Facts(configuration=made, resolved=Resolved(made))


def report(text):
    found = lint.examine(facts(text))
    assert found.broken == ()
    return found


def findings(text):
    mine = {f"L{number:02}" for number in (*range(1, 16), 34)}
    return [one for one in report(text).findings if one.code in mine]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_rule_flags_what_it_must_and_nothing_else(case):
    found = {one.code for one in findings(case.cib)}
    assert found == ({case.code} if case.flagged else set())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_domain_in_the_names_of_the_nodes_makes_no_difference(case):
    domain = ".dc.example"
    named = findings(re.sub(r"\b(n[123])\b", rf"\1{domain}", case.cib, flags=re.IGNORECASE))
    found = [(one.code, one.where, one.text, one.fix) for one in findings(case.cib)]
    assert [
        tuple(word.replace(domain, "") for word in (one.code, one.where, one.text, one.fix)) for one in named
    ] == found


def test_every_rule_has_both():
    for number in (*range(1, 16), 34):
        mine = {case.flagged for case in CASES if case.code == f"L{number:02}"}
        assert mine == {True, False}


def test_what_else_a_constraint_for_an_unknown_node_says_is_kept():
    rule = (
        '<rsc_location id="l" rsc="a"><rule id="lr" score="INFINITY" boolean-op="or"><expression id="le" attribute="#uname" '
        'operation="eq" value="n9"/></rule><rule id="lr2" score="-INFINITY"><expression id="le2" attribute="#uname" '
        'operation="eq" value="n1"/></rule></rsc_location>'
    )
    fixes = [one.fix for one in findings(cib(APPS, rule)) if one.code == "L15"]
    assert fixes == ["# write another node instead of n9:\ncrm configure edit l"]
    meant = cib(APPS, location("l", "a", "db-east-1", "100")).replace('uname="n1"', 'uname="db-east-11"')
    fixes = [one.fix for one in findings(meant) if one.code == "L15"]
    assert fixes == ["# write db-east-11 instead of db-east-1:\ncrm configure edit l"]


@pytest.mark.parametrize(
    ("host", "names", "found"),
    [
        ("ctl1", ["ctl1.dc.example", "ctl2.dc.example"], "ctl1.dc.example"),
        ("ctl1.dc.example", ["ctl1", "ctl2"], "ctl1"),
        ("ctl1", ["ctl1.a.example", "ctl1.b.example"], None),
        ("ctl1", ["ctl1", "ctl1.b.example"], "ctl1"),
        ("ctl1.c.example", ["ctl1.b.example"], None),
    ],
)
def test_this_machine_is_known_with_and_without_its_domain(monkeypatch, host, names, found):
    monkeypatch.setattr(local, "hostname", lambda: host)
    assert local.named_here(names) == found


def test_a_topology_says_what_to_write_for_a_node_with_a_domain():
    with pytest.raises(UsageError, match=r"leave the domain out \(db1\)"):
        parse(BASE.replace("db1", "db1.dc.example"))
