"""The cases of rules 16 to 33 that are CIBs: lint tells the bad from the good, crmsh loads them, and Pacemaker's own check says nothing."""

from __future__ import annotations

import cluster_image
import pytest
from hafailover.crm import lint
from hafailover.crm.formats import cib, crmsh
from hafailover.crm.lint import Facts
from hafailover.crm.resolved import Resolved
from lint_facts import conf, configuration
from lint_silent import CASES
from lxml import etree

KINDS = ("bad", "good")
_LOAD = """
one=$1
if test -e $one.crm; then
    CIB_file=/mnt/$one.xml crm -F configure load update $one.crm >$one.log 2>&1 || echo $one: crmsh >>refused
fi
crm_simulate --xml-file $one.xml --node-up a --node-up b --simulate --save-output $one.up >$one.sim 2>&1 \\
    || echo $one: simulate >>refused
crm_verify --xml-file $one.up --verbose >$one.said 2>&1 || echo $one: verify >>refused
"""


def codes(text):
    made = cib.read(cib.parse(text, "test"))
    report = lint.examine(Facts(None, None, made, Resolved(made), conf()))
    assert report.broken == ()
    return {one.code for one in report.findings if "L16" <= one.code < "L34"}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.code)
def test_the_bad_is_told_from_the_good(case):
    assert codes(case.bad) == {case.code}
    assert codes(case.good) == set()


def test_crmsh_loads_the_bad_ones_and_pacemaker_says_nothing_of_any(tmp_path):
    cluster_image.need()
    empty = etree.fromstring(configuration())
    for section in ("crm_config", "resources", "constraints", "rsc_defaults"):
        empty.find(f".//{section}").clear()
    for case in CASES:
        for kind in KINDS:
            (tmp_path / f"{case.code}-{kind}.xml").write_text(getattr(case, kind))
        # A load takes crmsh a second or more; the good ones differ by a word.
        wanted = cib.read(cib.parse(case.bad, case.code))
        (tmp_path / f"{case.code}-bad.crm").write_text(crmsh.text(wanted))
        (tmp_path / f"{case.code}-bad.xml").write_text(etree.tostring(empty, encoding="unicode"))
    (tmp_path / "load.sh").write_text(_LOAD)
    (tmp_path / "list").write_text("".join(f"{case.code}-{kind}\n" for case in CASES for kind in KINDS))
    done = cluster_image.run(tmp_path, "chmod 666 *.xml; xargs -P 2 -n 1 sh load.sh <list; echo done", timeout=900)
    assert done.stdout == "done\n", done.stderr
    refused = tmp_path / "refused"
    assert not refused.exists(), refused.read_text()
    for case in CASES:
        for kind in KINDS:
            name = f"{case.code}-{kind}"
            assert (tmp_path / f"{name}.said").read_text() == "", name
            assert codes((tmp_path / f"{name}.xml").read_text()) == ({case.code} if kind == "bad" else set()), name
